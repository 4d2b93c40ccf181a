"""How lists and maps of the built-in types merge, as published in Kubernetes' own OpenAPI documents.

Every list that is not named here is replaced as a whole, every object field by field. Keys are
(type, field); types are named without their version prefix.
"""

BY_NAME = ("name", ("name",))

MERGED: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    # (type, field): (key of strategic merge patch, keys of server-side apply; none where that takes it whole)
    ("Container", "env"): BY_NAME,
    ("Container", "ports"): ("containerPort", ("containerPort", "protocol")),
    ("Container", "volumeDevices"): ("devicePath", ("devicePath",)),
    ("Container", "volumeMounts"): ("mountPath", ("mountPath",)),
    ("ContainerStatus", "volumeMounts"): ("mountPath", ("mountPath",)),
    ("CustomResourceDefinitionStatus", "conditions"): ("type", ("type",)),
    ("DaemonSetStatus", "conditions"): ("type", ("type",)),
    ("DeploymentStatus", "conditions"): ("type", ("type",)),
    ("EphemeralContainer", "env"): BY_NAME,
    ("EphemeralContainer", "volumeMounts"): ("mountPath", ("mountPath",)),
    ("JobStatus", "conditions"): ("type", ()),
    ("NamespaceStatus", "conditions"): ("type", ("type",)),
    ("NodeStatus", "addresses"): ("type", ("type",)),
    ("NodeStatus", "conditions"): ("type", ("type",)),
    ("ObjectMeta", "ownerReferences"): ("uid", ("uid",)),
    ("PersistentVolumeClaimStatus", "conditions"): ("type", ("type",)),
    ("PodSpec", "containers"): BY_NAME,
    ("PodSpec", "ephemeralContainers"): BY_NAME,
    ("PodSpec", "hostAliases"): ("ip", ("ip",)),
    ("PodSpec", "imagePullSecrets"): BY_NAME,
    ("PodSpec", "initContainers"): BY_NAME,
    ("PodSpec", "resourceClaims"): BY_NAME,
    ("PodSpec", "schedulingGates"): BY_NAME,
    ("PodSpec", "topologySpreadConstraints"): ("topologyKey", ("topologyKey", "whenUnsatisfiable")),
    ("PodSpec", "volumes"): BY_NAME,
    ("PodStatus", "conditions"): ("type", ("type",)),
    ("PodStatus", "hostIPs"): ("ip", ()),
    ("PodStatus", "podIPs"): ("ip", ("ip",)),
    ("PodStatus", "resourceClaimStatuses"): BY_NAME,
    ("ReplicaSetStatus", "conditions"): ("type", ("type",)),
    ("ResourceRequirements", "claims"): ("", ("name",)),
    ("ServiceAccount", "secrets"): BY_NAME,
    ("ServiceSpec", "ports"): ("port", ("port", "protocol")),
    ("ServiceStatus", "conditions"): ("type", ("type",)),
    ("StatefulSetStatus", "conditions"): ("type", ("type",)),
}

SETS = {("ObjectMeta", "finalizers"), ("NodeSpec", "podCIDRs")}

RETAINED = {("DeploymentSpec", "strategy"), ("PodSpec", "volumes"), ("PodSpec", "resourceClaims")}
"""Where a client may send `$retainKeys`, as one choice excludes another."""

WHOLE_TYPES = {
    "ConfigMapKeySelector", "EndpointAddress", "FileKeySelector", "LabelSelector", "LocalObjectReference",
    "NodeSelector", "NodeSelectorTerm", "ObjectFieldSelector", "ObjectReference", "OwnerReference",
    "ResourceFieldSelector", "RoleRef", "ScopeSelector", "SecretKeySelector", "SecretReference", "Subject",
    "TypedLocalObjectReference",
}  # fmt: skip
"""Objects that server-side apply owns and replaces as a whole."""

WHOLE_FIELDS = {("PodSpec", "nodeSelector"), ("ServiceSpec", "selector")}

INLINE = {
    ("", "metadata"), ("", "spec"), ("", "status"),
    ("CustomResourceDefinitionSpec", "names"), ("Event", "involvedObject"), ("Event", "source"),
    ("DeploymentSpec", "strategy"), ("DeploymentSpec", "template"), ("JobSpec", "template"),
    ("NodeStatus", "daemonEndpoints"), ("NodeStatus", "nodeInfo"), ("PodSpec", "containers"),
    ("PodTemplateSpec", "metadata"), ("PodTemplateSpec", "spec"), ("ReplicaSetSpec", "template"),
    ("ServiceStatus", "loadBalancer"), ("StatefulSetSpec", "template"),
}  # fmt: skip
"""Fields that the Go types hold by value; "" stands for any top-level object."""

QUANTITIES = {
    ("ContainerStatus", "allocatedResources"), ("EmptyDirVolumeSource", "sizeLimit"), ("NodeStatus", "allocatable"),
    ("NodeStatus", "capacity"), ("PersistentVolumeClaimStatus", "capacity"), ("PodSpec", "overhead"),
    ("ResourceFieldSelector", "divisor"), ("ResourceRequirements", "limits"), ("ResourceRequirements", "requests"),
    ("VolumeResourceRequirements", "limits"), ("VolumeResourceRequirements", "requests"),
}  # fmt: skip
"""Where a number may be written for an amount: `cpu: 1` is kept as "1"."""

BYTES = {("Secret", "data"), ("ConfigMap", "binaryData")}
"""Maps whose values are base64."""
