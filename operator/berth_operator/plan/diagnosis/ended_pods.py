"""Pods that their node ended for good, or never took: they stay as records, and others are made in their place."""

from collections.abc import Iterator

from berth_operator.plan.observed import Object, Observed, has_ended, node_name
from berth_operator.plan.placement import GPU_RESOURCE
from berth_operator.plan.reasons import Culprit, Finding, Reason, clipped

REJECTED = "Pod was rejected"
"""How the kubelet begins its words about a pod that it does not take (`pkg/kubelet/kubelet.go`)."""


def ended_findings(pod: Object, observed: Observed) -> Iterator[Finding]:
    """Yield why a pod ended; nothing once another is there, which then tells how things are."""
    if any(not has_ended(one) for one in observed.current_pods):
        return
    name, status, node = pod["metadata"]["name"], pod.get("status") or {}, node_name(pod) or "unknown"
    reason, message = clipped(status.get("reason"), 60), str(status.get("message") or "")
    said = clipped(message) or reason or "it says nothing of why"
    evicted = reason == "Evicted"
    if not evicted and (message.startswith(REJECTED) or not status.get("containerStatuses")):
        of_gpus = GPU_RESOURCE in f"{reason} {message}"
        yield Finding(
            Reason.POD_REJECTED,
            f'node "{node}" does not take pod "{name}", which was given to it: {said}',
            "see NVIDIA's device plugin and driver on that node, and cordon it while its GPUs are not healthy"
            if of_gpus
            else "put right what these words name; another pod is made by itself",
            Culprit("Node", node),
            cause=f"{node}/{reason}",
        )
        return
    ended = "was evicted from" if evicted else "was ended by"
    yield Finding(
        Reason.POD_EVICTED,
        f'pod "{name}" {ended} node "{node}": {said}',
        "free that resource on the node, or let the pod run on a larger one"
        if evicted
        else "see to that node; another pod is made by itself",
        Culprit("Pod", name),
        cause=node_name(pod),
    )
