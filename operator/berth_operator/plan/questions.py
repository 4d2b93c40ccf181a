"""What a diagnosis would want to know of a pod beyond what the watches tell."""

from berth_operator.plan.clock import seconds_between
from berth_operator.plan.diagnosis.images import IMAGE_REASONS
from berth_operator.plan.observed import (
    Object,
    Observed,
    declared,
    has_ended,
    is_pod_ready,
    is_running,
    is_sidecar,
    node_name,
)
from berth_operator.plan.placement import GPU_RESOURCE

CREATING = frozenset({"ContainerCreating", "PodInitializing"})


PATIENCE_SECONDS = 10.0
"""A container is mostly created sooner, and nobody has to be told of what takes no longer."""


def asks_for_events(pod: Object, now: str = "") -> bool:
    """Whether only a pod's Events can tell why it does not get on.

    They say which volume cannot be mounted, which image pull secret is missing, and which probe ended a container.
    """
    if is_pod_ready(pod) or not node_name(pod) or has_ended(pod):
        return False
    status = pod.get("status") or {}
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    age = seconds_between(pod["metadata"].get("creationTimestamp"), now)
    is_new = age is not None and age < PATIENCE_SECONDS
    if not containers:
        return not is_new
    for container in containers:
        waiting = ((container.get("state") or {}).get("waiting") or {}).get("reason", "")
        ended = (container.get("lastState") or {}).get("terminated")
        if (
            (waiting in CREATING and not is_new)
            or waiting in IMAGE_REASONS
            or (ended and not container.get("ready"))
        ):
            return True
    return False


def lacks_pods(observed: Observed) -> bool:
    """Whether a StatefulSet has fewer pods than it is to have: only its Events tell what refuses them."""
    group = observed.group or {}
    wanted = (group.get("spec") or {}).get("replicas", 1)
    return observed.is_settled and (group.get("status") or {}).get("replicas", 0) < wanted


def asks_for_gpu_holders(pod: Object) -> bool:
    """Whether a pod waits for a GPU that others hold."""
    return not node_name(pod) and any(
        condition.get("type") == "PodScheduled"
        and f"Insufficient {GPU_RESOURCE}" in str(condition.get("message", ""))
        for condition in (pod.get("status") or {}).get("conditions") or []
    )


def asks_for_health(pod: Object) -> bool:
    """Whether a pod's server runs and has not served yet, so that it has something to say of its start."""
    if is_pod_ready(pod) or pod["metadata"].get("deletionTimestamp"):
        return False
    status = pod.get("status") or {}
    # One that fetches the weights tells of itself as a server does. A sidecar does not: its server starts after it.
    early = status.get("initContainerStatuses") or []
    containers = [one for one in early if not is_sidecar(declared(pod, one))]
    return any(is_running(container) for container in [*containers, *(status.get("containerStatuses") or [])])
