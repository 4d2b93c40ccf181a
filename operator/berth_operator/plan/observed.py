"""Everything that is known of one Workspace's objects at one moment, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from berth_operator.plan.metadata import ANNOTATION_RENDERED, owner_of
from berth_operator.plan.progress import ServerReport

Object = dict[str, Any]

TEMPLATE_HASH = "pod-template-hash"
"""The label by which a Deployment tells its ReplicaSets and their pods apart."""

REVISION = "deployment.kubernetes.io/revision"
"""On a Deployment and its ReplicaSets: which template is the present one."""

REVISION_HASH = "controller-revision-hash"
"""The label of a StatefulSet's pods that says of which template they are, as its `status.updateRevision` does."""


@dataclass(frozen=True, slots=True)
class Observed:
    """The live objects that concern one Workspace. Absent ones are None or empty."""

    deployment: Object | None = None
    service: Object | None = None
    pods: tuple[Object, ...] = ()
    replica_sets: tuple[Object, ...] = ()
    nodes: tuple[Object, ...] | None = None
    """Every node of the cluster; None where the operator may not read them."""
    gpu_pods: tuple[Object, ...] | None = None
    """Every pod that holds a GPU, whoever made it; None where nobody asked, or where they may not be read."""
    events: Mapping[str, tuple[Object, ...]] = field(default_factory=dict)
    """By the uid of a pod, or of a StatefulSet: its Events, the oldest first. Read only for those that are stuck."""
    reports: Mapping[str, ServerReport] = field(default_factory=dict)
    """By the uid of a pod: what its server last said of its start."""
    stateful_set: Object | None = None
    peers: Object | None = None
    """The Service by which the StatefulSet's pods find each other."""

    @property
    def group(self) -> Object | None:
        """The StatefulSet whose pods hold the model together; None where none is to. One that was put aside for a
        Deployment has lost the digest of what it was meant to be."""
        found = self.stateful_set
        return found if found is not None and ANNOTATION_RENDERED in annotations(found) else None

    @property
    def controller(self) -> Object | None:
        """What makes the pods, the group's StatefulSet or a Deployment; None while there is neither."""
        return self.group or (None if is_put_aside(self.deployment) else self.deployment)

    @property
    def is_settled(self) -> bool:
        """Whether what makes the pods has acted on its last change."""
        found = self.controller or {"metadata": {}}
        seen = (found.get("status") or {}).get("observedGeneration", 0)
        return bool(seen >= found["metadata"].get("generation", 1))

    @property
    def current_hash(self) -> str | None:
        """The hash of the Deployment's present template, or None while it is not known."""
        revision = annotations(self.deployment or {}).get(REVISION)
        for replica_set in self.replica_sets:
            if revision and annotations(replica_set).get(REVISION) == revision:
                return labels(replica_set).get(TEMPLATE_HASH)
        return None

    @property
    def live_pods(self) -> tuple[Object, ...]:
        """The pods that are not being deleted, in the order of their names."""
        live = (pod for pod in self.pods if not pod["metadata"].get("deletionTimestamp"))
        return tuple(sorted(live, key=lambda pod: str(pod["metadata"]["name"])))

    @property
    def current_pods(self) -> tuple[Object, ...]:
        """The live pods of the present template; all of them while it is not known which they are."""
        if (group := self.group) is not None:
            latest = (group.get("status") or {}).get("updateRevision") if self.is_settled else None
            mine = (pod for pod in self.live_pods if is_of_group(pod))
            return tuple(pod for pod in mine if latest is None or revision_of(pod) == latest)
        wanted = self.current_hash
        mine = (pod for pod in self.live_pods if not is_of_group(pod))
        return tuple(pod for pod in mine if wanted is None or labels(pod).get(TEMPLATE_HASH) == wanted)

    @property
    def old_pods(self) -> tuple[Object, ...]:
        """The live pods of earlier templates, which a rollout is about to replace."""
        current = {pod["metadata"]["name"] for pod in self.current_pods}
        return tuple(pod for pod in self.live_pods if pod["metadata"]["name"] not in current)

    def events_of(self, pod: Object) -> tuple[Object, ...]:
        """Return the Events of a pod that were read."""
        return self.events.get(uid(pod), ())

    def node_of(self, pod: Object) -> Object | None:
        """Return the node that a pod runs on; None where it is not known."""
        name = node_name(pod)
        return next((node for node in self.nodes or () if node["metadata"]["name"] == name), None)


def is_put_aside(controller: Object | None) -> bool:
    """Whether what makes pods has been left without any, for another kind to make them."""
    if controller is None or ANNOTATION_RENDERED in annotations(controller):
        return False
    return (controller.get("spec") or {}).get("replicas") == 0


def is_of_group(pod: Object) -> bool:
    """Whether a StatefulSet made the pod."""
    owner = owner_of(pod)
    return owner is not None and owner[0] == "StatefulSet"


def revision_of(pod: Object) -> str | None:
    """Return of which template of its StatefulSet a pod is."""
    return labels(pod).get(REVISION_HASH)


def uid(obj: Object) -> str:
    """Return what tells an object from every other, also of its own name."""
    return str(obj["metadata"].get("uid", ""))


def labels(obj: Object) -> dict[str, str]:
    """Return an object's labels."""
    return (obj.get("metadata") or {}).get("labels") or {}


def annotations(obj: Object) -> dict[str, str]:
    """Return an object's annotations."""
    return (obj.get("metadata") or {}).get("annotations") or {}


def node_name(pod: Object) -> str:
    """Return the name of the node that a pod was given, or ""."""
    return str((pod.get("spec") or {}).get("nodeName") or "")


def is_pod_ready(pod: Object) -> bool:
    """Whether a pod says of itself that it may be sent requests; one that has not started or has ended may not."""
    status = pod.get("status") or {}
    found = status.get("conditions") or []
    says_so = any(item.get("type") == "Ready" and item.get("status") == "True" for item in found)
    return says_so and status.get("phase") not in ("Pending", "Succeeded", "Failed")


def has_ended(pod: Object) -> bool:
    """Whether a pod has ended for good and stays only as a record."""
    return (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded")


def declared(pod: Object, container: Object) -> Object:
    """Return how a pod's spec declares the container whose status is given; {} where it does not."""
    spec = pod.get("spec") or {}
    for one in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        if one.get("name") == container.get("name"):
            return dict(one)
    return {}


def is_init(pod: Object, container: Object) -> bool:
    """Whether the container whose status is given is one of those that end before the pod's others start."""
    inits = (pod.get("spec") or {}).get("initContainers") or []
    return any(one.get("name") == container.get("name") and not is_sidecar(one) for one in inits)


def is_sidecar(declaration: Object) -> bool:
    """Whether an init container, as a pod's spec declares it, goes on running beside the pod's others."""
    return bool(declaration.get("restartPolicy") == "Always")


def described(pod: Object, container: Object) -> str:
    """Return the words for a container of a pod."""
    kind = "init container" if is_init(pod, container) else "container"
    return f'{kind} "{container.get("name")}" of pod "{pod["metadata"]["name"]}"'


def is_running(container: Object) -> bool:
    """Whether the container whose status is given has a process."""
    return (container.get("state") or {}).get("running") is not None
