"""The built-in kinds that are served, one row each."""

from berth_local.apiserver.kinds import columns, events
from berth_local.apiserver.kinds.resource import Resource
from berth_local.apiserver.names import LABEL, LABEL_1035, PATH_SEGMENT

STATUS = ("status",)
SCALED = ("scale", "status")
ALL = ("all",)
RBAC = "rbac.authorization.k8s.io"


def builtin_resources() -> list[Resource]:
    """Return every built-in resource. The inert ones are stored and validated, but nothing acts on them."""
    return [*_core(), *_apps(), *_others()]


def _core() -> list[Resource]:
    return [
        Resource("", "v1", "configmaps", "ConfigMap", "V1ConfigMap", short_names=("cm",), columns=columns.CONFIG_MAPS),
        Resource("", "v1", "endpoints", "Endpoints", "V1Endpoints", short_names=("ep",), inert=True),
        Resource(
            "", "v1", "events", "Event", "CoreV1Event", short_names=("ev",), columns=columns.EVENTS,
        ),
        Resource(
            "", "v1", "limitranges", "LimitRange", "V1LimitRange", short_names=("limits",), inert=True,
        ),
        Resource(
            "", "v1", "namespaces", "Namespace", "V1Namespace", namespaced=False, short_names=("ns",),
            subresources=STATUS, name_rule=LABEL, columns=columns.NAMESPACES, returns_deleted=True,
        ),
        Resource(
            "", "v1", "nodes", "Node", "V1Node", namespaced=False, short_names=("no",), subresources=STATUS,
            columns=columns.NODES,
        ),
        Resource(
            "", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", "V1PersistentVolumeClaim",
            short_names=("pvc",), subresources=STATUS, returns_deleted=True, inert=True,
        ),
        Resource(
            "", "v1", "pods", "Pod", "V1Pod", short_names=("po",), categories=ALL,
            subresources=("binding", "log", "status"), columns=columns.PODS, generation=True, returns_deleted=True,
        ),
        Resource(
            "", "v1", "resourcequotas", "ResourceQuota", "V1ResourceQuota", short_names=("quota",),
            subresources=STATUS, inert=True,
        ),
        Resource("", "v1", "secrets", "Secret", "V1Secret", columns=columns.SECRETS),
        Resource(
            "", "v1", "serviceaccounts", "ServiceAccount", "V1ServiceAccount", short_names=("sa",),
            returns_deleted=True, columns=columns.SERVICE_ACCOUNTS,
        ),
        Resource(
            "", "v1", "services", "Service", "V1Service", short_names=("svc",), categories=ALL, subresources=STATUS,
            name_rule=LABEL_1035, returns_deleted=True, columns=columns.SERVICES,
        ),
    ]  # fmt: skip


def _apps() -> list[Resource]:
    return [
        Resource(
            "apps", "v1", "deployments", "Deployment", "V1Deployment", short_names=("deploy",), categories=ALL,
            subresources=SCALED, generation=True, columns=columns.DEPLOYMENTS,
        ),
        Resource(
            "apps", "v1", "replicasets", "ReplicaSet", "V1ReplicaSet", short_names=("rs",), categories=ALL,
            subresources=SCALED, generation=True, columns=columns.REPLICA_SETS,
        ),
        Resource(
            "apps", "v1", "statefulsets", "StatefulSet", "V1StatefulSet", short_names=("sts",), categories=ALL,
            subresources=SCALED, generation=True, columns=columns.STATEFUL_SETS, inert=True,
        ),
        Resource(
            "batch", "v1", "jobs", "Job", "V1Job", categories=ALL, subresources=STATUS, generation=True, inert=True,
        ),
    ]  # fmt: skip


def _others() -> list[Resource]:
    return [
        Resource(
            "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition",
            "V1CustomResourceDefinition", namespaced=False, short_names=("crd", "crds"),
            categories=("api-extensions",), subresources=STATUS, generation=True, columns=columns.DEFINITIONS,
            unconditional=False, returns_deleted=True,
        ),
        Resource(
            "coordination.k8s.io", "v1", "leases", "Lease", "V1Lease", columns=columns.LEASES, unconditional=False
        ),
        Resource(
            "discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", "V1EndpointSlice", generation=True
        ),
        Resource(
            "events.k8s.io", "v1", "events", "Event", "EventsV1Event", short_names=("ev",), stored_as="events",
            columns=columns.EVENTS, incoming=events.to_core, outgoing=events.from_core,
        ),
        Resource(
            "networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", "V1NetworkPolicy",
            short_names=("netpol",), inert=True, generation=True,
        ),
        Resource(
            "policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", "V1PodDisruptionBudget",
            short_names=("pdb",), subresources=STATUS, inert=True, generation=True,
        ),
        Resource(RBAC, "v1", "roles", "Role", "V1Role", name_rule=PATH_SEGMENT, inert=True),
        Resource(RBAC, "v1", "rolebindings", "RoleBinding", "V1RoleBinding", name_rule=PATH_SEGMENT, inert=True),
        Resource(
            RBAC, "v1", "clusterroles", "ClusterRole", "V1ClusterRole", namespaced=False, name_rule=PATH_SEGMENT,
            inert=True,
        ),
        Resource(
            RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", "V1ClusterRoleBinding", namespaced=False,
            name_rule=PATH_SEGMENT, inert=True,
        ),
    ]  # fmt: skip
