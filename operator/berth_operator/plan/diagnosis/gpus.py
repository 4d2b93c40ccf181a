"""A pod that waits for GPUs: there are none, their device plugin is missing, or others hold them."""

from collections.abc import Mapping, Sequence

from berth_operator.api.names import LABEL_WORKSPACE
from berth_operator.plan import nodes
from berth_operator.plan.diagnosis.closed_nodes import closed_finding
from berth_operator.plan.diagnosis.rollout import blocked_by_itself
from berth_operator.plan.observed import Object, Observed, labels, node_name
from berth_operator.plan.placement import GPU_RESOURCE
from berth_operator.plan.reasons import Culprit, Finding, Reason

HOLDERS_SHOWN = 5
"""As many pods as fit into a line; the rest is counted."""


def gpu_finding(
    head: str,
    pod: Object,
    counted: Mapping[str, int],
    matching: Sequence[Object] | None,
    observed: Observed,
) -> Finding | None:
    """Return why a pod gets no GPU; None where nodes with enough of them lack something else.

    `counted` has for how many nodes the scheduler gives which reason, `matching` the nodes that the pod may use:
    None where they are not known.
    """
    spec, name = pod["spec"], str(pod["metadata"]["name"])
    wanted = nodes.requested(spec, GPU_RESOURCE) or 1
    asks, culprit = nodes.amount(GPU_RESOURCE, wanted), Culprit("Pod", name)
    able: list[Object] | None = None
    if matching is not None:
        able = [node for node in matching if nodes.allocatable(node, GPU_RESOURCE) >= wanted]
        if not able:
            return _no_such_node(head, culprit, asks, matching)
        # Nodes that never have enough GPUs are counted, too; where these are all, GPUs are not what lacks.
        unfit = sum(
            nodes.allocatable(node, GPU_RESOURCE) < wanted and not nodes.is_closed(node, spec)
            for node in matching
        )
        said = f"Insufficient {GPU_RESOURCE}"
        lacks_others = counted.get(said, 0) <= unfit
        still_open = [node for node in able if not nodes.is_closed(node, spec)]
        if lacks_others and not still_open:
            return closed_finding(head, name, spec, able)
        if lacks_others and counted.keys() - {said}:
            return None
        able = still_open or able
    if (blocked := blocked_by_itself(name, GPU_RESOURCE, wanted, asks, able, observed)) is not None:
        return blocked
    return Finding(
        Reason.NO_FREE_GPU,
        f"{head}: no matching node has {asks} free; {_holders(able, observed)}{_left_out(matching, spec, wanted)}",
        "free one, add a node with a free GPU, lower resource.count, or annotate the Workspace with "
        "berth.dev/accelerator: cpu to run the preset without one",
        culprit,
    )


def _no_such_node(head: str, culprit: Culprit, asks: str, matching: Sequence[Object]) -> Finding:
    silent = [
        node for node in matching if not nodes.allocatable(node, GPU_RESOURCE) and nodes.has_gpu_hint(node)
    ]
    if silent:
        node = nodes.name_of(silent[0])
        return Finding(
            Reason.DEVICE_PLUGIN_MISSING,
            f'{head}: node "{node}" has a GPU by what it says of itself but offers no {GPU_RESOURCE} to pods, so its '
            "device plugin is missing or not working, or its GPUs are not healthy",
            "install NVIDIA's GPU operator or device plugin, and see its DaemonSet's pod on that node",
            Culprit("Node", node),
            cause=node,
        )
    most = max((nodes.allocatable(node, GPU_RESOURCE) for node in matching), default=0)
    largest = f"the largest matching node has {most}" if most else "no matching node has one"
    return Finding(
        Reason.INSUFFICIENT_GPUS,
        f"{head}: it needs {asks}, and {largest}",
        "add a node with enough GPUs, or annotate the Workspace with berth.dev/accelerator: cpu to run the "
        "preset without one",
        culprit,
    )


def _left_out(matching: Sequence[Object] | None, spec: Object, wanted: int) -> str:
    """Nodes that have enough GPUs and take no pods: opening one may be the shortest way."""
    names = [
        nodes.name_of(node)
        for node in matching or ()
        if nodes.allocatable(node, GPU_RESOURCE) >= wanted and nodes.is_closed(node, spec)
    ]
    if not names:
        return ""
    more = f" and {len(names) - HOLDERS_SHOWN} more" if len(names) > HOLDERS_SHOWN else ""
    return f"; cordoned, tainted or not ready: {', '.join(names[:HOLDERS_SHOWN])}{more}"


def _holders(able: Sequence[Object] | None, observed: Observed) -> str:
    if observed.gpu_pods is None:
        return "which pods hold them may not be read"
    names = None if able is None else {nodes.name_of(node) for node in able}
    held = sorted(
        (node_name(pod), _holder(pod), count)
        for pod, count in nodes.gpu_requests(observed.gpu_pods)
        if names is None or node_name(pod) in names
    )
    if not held:
        return "nobody is seen to hold them"
    shown = [f"{who} holds {count} on node {node}" for node, who, count in held[:HOLDERS_SHOWN]]
    rest = f" and {len(held) - HOLDERS_SHOWN} more pods" if len(held) > HOLDERS_SHOWN else ""
    return ", ".join(shown) + rest


def _holder(pod: Object) -> str:
    namespace, workspace = pod["metadata"].get("namespace", "default"), labels(pod).get(LABEL_WORKSPACE)
    own = f"pod {namespace}/{pod['metadata']['name']}"
    ends = ", which is ending," if pod["metadata"].get("deletionTimestamp") else ""
    return f"{own} of Workspace {workspace}{ends}" if workspace else f"{own}{ends}"
