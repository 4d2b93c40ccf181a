"""Everything that is known of one Workspace's objects at one moment, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from berth_operator.plan.progress import ServerReport

Object = dict[str, Any]

TEMPLATE_HASH = "pod-template-hash"
"""The label by which a Deployment tells its ReplicaSets and their pods apart."""

REVISION = "deployment.kubernetes.io/revision"
"""On a Deployment and its ReplicaSets: which template is the present one."""


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
    """By the uid of a pod: its Events, the oldest first. Read only for pods that are stuck."""
    reports: Mapping[str, ServerReport] = field(default_factory=dict)
    """By the uid of a pod: what its server last said of its start."""

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
        wanted = self.current_hash
        return tuple(
            pod for pod in self.live_pods if wanted is None or labels(pod).get(TEMPLATE_HASH) == wanted
        )

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
