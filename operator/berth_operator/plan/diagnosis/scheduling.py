"""A pod that no node takes: the scheduler's words turned into ours, and checked against the nodes themselves."""

import re
from collections.abc import Sequence

from berth_operator.api.names import LABEL_WORKSPACE
from berth_operator.plan import nodes
from berth_operator.plan.diagnosis.claims import claim_finding
from berth_operator.plan.observed import Object, Observed, labels, node_name
from berth_operator.plan.placement import GPU_RESOURCE
from berth_operator.plan.reasons import Culprit, Finding, Reason, clipped
from berth_operator.quantity import gibibytes

COUNTED = re.compile(r"(?P<count>\d+) (?P<why>.+?)(?=, \d+ |\.|$)")

# Insufficient GPUs say more than tainted or unlabelled nodes, which a cluster has by design.
SHORTAGES: tuple[tuple[str, str, Reason, str], ...] = (
    ("Insufficient memory", "memory", Reason.INSUFFICIENT_MEMORY, "memory"),
    ("Insufficient cpu", "cpu", Reason.INSUFFICIENT_CPU, "CPU"),
    ("Insufficient ephemeral-storage", "ephemeral-storage", Reason.INSUFFICIENT_DISK, "disk"),
)

HOLDERS_SHOWN = 5
"""As many pods as fit into a line; the rest is counted."""


def scheduling_finding(pod: Object, message: str, observed: Observed) -> Finding:
    """Return why the pod has no node. `message` is the scheduler's, of the pod's condition PodScheduled."""
    spec, name = pod.get("spec") or {}, str(pod["metadata"]["name"])
    # The sentence about preemption repeats the causes in other words.
    words = message.partition("preemption:")[0].strip().rstrip(".")
    head = f'pod "{name}" cannot be scheduled'
    matching: Sequence[Object] | None = None
    if observed.nodes is not None:
        matching = [node for node in observed.nodes if nodes.is_wanted(node, spec)]
        if not matching:
            return _nothing_matches(head, name, spec, observed.nodes)
    if f"Insufficient {GPU_RESOURCE}" in words:
        return _gpus(head, pod, matching, observed)
    for said, resource, reason, word in SHORTAGES:
        if said in words:
            return _shortage(head, name, spec, matching, resource, reason, word)
    if (lacking := claim_finding(head, name, words)) is not None:
        return lacking
    unlabelled = "node affinity" in words or "node selector" in words or "node(s) didn't match" in words
    if unlabelled and not re.search(r"taint|unschedulable|not ready", words):
        return _nothing_matches(head, name, spec, None)
    if matching is not None and (closed := _closed(head, name, spec, matching)) is not None:
        return closed
    if "taint" in words:
        return Finding(
            Reason.NODES_TAINTED,
            f"{head}: the nodes are tainted ({_said(words, 'taint')})",
            "remove the taint, or use other nodes",
            Culprit("Pod", name),
        )
    if "unschedulable" in words:
        return Finding(
            Reason.NODES_NOT_READY,
            f"{head}: the nodes are cordoned",
            "`kubectl uncordon` one, or add one",
            Culprit("Pod", name),
        )
    return Finding(
        Reason.UNSCHEDULABLE,
        f"{head} ({clipped(words)})",
        "put right what the scheduler's words name",
        Culprit("Pod", name),
        cause=clipped(re.sub(r"\d+", "", words), 120),
    )


def _said(words: str, about: str) -> str:
    found = [match["why"] for match in COUNTED.finditer(words.partition(": ")[2]) if about in match["why"]]
    return clipped(", ".join(found) or words)


def _nothing_matches(head: str, name: str, spec: Object, known: Sequence[Object] | None) -> Finding:
    wanted = nodes.wanted_instance_types(spec)
    if wanted and (known is None or not any(nodes.instance_type(node) in wanted for node in known)):
        there = sorted({nodes.instance_type(node) for node in known or ()} - {""})
        have = f" (there are: {', '.join(there[:8])})" if there else ""
        if known is not None or not _other_labels(spec):
            return Finding(
                Reason.INSTANCE_TYPE_MISSING,
                f"{head}: no node is of instance type {' or '.join(wanted)}{have}",
                "wait if a node autoscaler brings one; else add a node of this type, or change resource.instanceType",
                Culprit("Pod", name),
                cause=",".join(wanted),
            )
    asked = ", ".join(nodes.wanted_labels(spec)) or "what the pod asks for"
    count = "no node" if known is None else f"none of {len(known)} nodes"
    return Finding(
        Reason.NO_MATCHING_NODE,
        f"{head}: {count} carries the labels {asked}",
        "label a node, add one, or change resource.labelSelector and resource.instanceType",
        Culprit("Pod", name),
        cause=asked,
    )


def _other_labels(spec: Object) -> bool:
    return len(list(nodes.wanted_labels(spec))) > 1


def _gpus(head: str, pod: Object, matching: Sequence[Object] | None, observed: Observed) -> Finding:
    spec, name = pod["spec"], str(pod["metadata"]["name"])
    wanted = nodes.requested(spec, GPU_RESOURCE) or 1
    asks = f"{wanted} GPU{'s' if wanted > 1 else ''}"
    culprit = Culprit("Pod", name)
    if matching is not None:
        offered = {nodes.name_of(node): nodes.allocatable(node, GPU_RESOURCE) for node in matching}
        silent = [node for node in matching if not offered[nodes.name_of(node)] and nodes.has_gpu_hint(node)]
        most = max(offered.values(), default=0)
        if silent and most < wanted:
            node = nodes.name_of(silent[0])
            return Finding(
                Reason.DEVICE_PLUGIN_MISSING,
                f'{head}: node "{node}" has a GPU by its labels but offers no {GPU_RESOURCE} to pods, so its device '
                "plugin is missing or not working",
                "install NVIDIA's GPU operator or device plugin, and see its DaemonSet's pod on that node",
                Culprit("Node", node),
                cause=node,
            )
        if most < wanted:
            largest = "no matching node has one" if not most else f"the largest matching node has {most}"
            return Finding(
                Reason.INSUFFICIENT_GPUS,
                f"{head}: it needs {asks}, and {largest}",
                "add a node with enough GPUs, or annotate the Workspace with berth.dev/accelerator: cpu to run the "
                "preset without one",
                culprit,
            )
    if (blocked := _blocked_by_itself(name, asks, observed)) is not None:
        return blocked
    return Finding(
        Reason.NO_FREE_GPU,
        f"{head}: no matching node has {asks} free; {_holders(matching, observed)}",
        "free one, add a node with a free GPU, lower resource.count, or annotate the Workspace with "
        "berth.dev/accelerator: cpu to run the preset without one",
        culprit,
    )


def _blocked_by_itself(name: str, asks: str, observed: Observed) -> Finding | None:
    holders = [held for held, _ in nodes.gpu_requests(observed.old_pods)]
    if not holders:
        return None
    old = holders[0]["metadata"]["name"]
    return Finding(
        Reason.ROLLOUT_BLOCKED,
        f'pod "{name}" of the new template needs {asks}, which pod "{old}" of the old one holds on node '
        f'"{node_name(holders[0])}"; the old one goes on serving',
        "add a node with a free GPU, or annotate the Workspace with berth.dev/rollout: recreate, which ends the old "
        "pod first and serves nothing until the new one has loaded",
        Culprit("Pod", old),
    )


def _holders(matching: Sequence[Object] | None, observed: Observed) -> str:
    if observed.gpu_pods is None:
        return "which pods hold them may not be read"
    names = None if matching is None else {nodes.name_of(node) for node in matching}
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
    return f"Workspace {namespace}/{workspace}" if workspace else f"pod {namespace}/{pod['metadata']['name']}"


def _shortage(
    head: str,
    name: str,
    spec: Object,
    matching: Sequence[Object] | None,
    resource: str,
    reason: Reason,
    word: str,
) -> Finding:
    wanted = nodes.requested(spec, resource)
    shown = gibibytes(wanted) if resource != "cpu" else f"{wanted} CPUs"
    has = ""
    remedy = "add a larger node, or free what runs on these"
    if matching:
        most = max(nodes.allocatable(node, resource) for node in matching)
        largest = gibibytes(most) if resource != "cpu" else f"{most} CPUs"
        has = f"; the largest matching node offers {largest} in all"
        if most < wanted:
            remedy = "add a larger node, or choose a smaller preset: emptying these would not be enough"
    return Finding(reason, f"{head}: no node has {shown} of {word} free{has}", remedy, Culprit("Pod", name))


def _closed(head: str, name: str, spec: Object, matching: Sequence[Object]) -> Finding | None:
    """Nodes that would do and take no pods now: tainted, cordoned, not ready."""
    taints = sorted({taint for node in matching for taint in nodes.untolerated(node, spec)})
    keys = {taint.partition("=")[0] for taint in taints}
    short = sorted({word for key, word in nodes.PRESSURE_TAINTS.items() if key in keys})
    if short:
        culprit = next(node for node in matching if nodes.untolerated(node, spec))
        return Finding(
            Reason.NODES_NOT_READY,
            f'{head}: node "{nodes.name_of(culprit)}" is short of {" and ".join(short)} and takes no pods',
            "free it, or add a node",
            Culprit("Node", nodes.name_of(culprit)),
            cause=nodes.name_of(culprit),
        )
    cordoned = [node for node in matching if (node.get("spec") or {}).get("unschedulable")]
    away = [node for node in matching if not nodes.is_ready(node) or keys & nodes.UNREACHABLE_TAINTS]
    if len({nodes.name_of(node) for node in [*cordoned, *away]}) == len(matching):
        node = nodes.name_of((cordoned or away)[0])
        state, remedy = (
            ("is cordoned", f"`kubectl uncordon {node}`")
            if cordoned
            else ("is not ready", f"see `kubectl describe node {node}`")
        )
        return Finding(
            Reason.NODES_NOT_READY,
            f'{head}: the nodes that match take no pods; node "{node}" {state}',
            f"{remedy}, or add a node",
            Culprit("Node", node),
            cause=node,
        )
    if taints and all(nodes.untolerated(node, spec) for node in matching):
        node = nodes.name_of(matching[0])
        return Finding(
            Reason.NODES_TAINTED,
            f'{head}: the nodes that match are tainted, as node "{node}" with {", ".join(taints[:5])}',
            "remove the taint, or use other nodes",
            Culprit("Node", node),
            cause=",".join(taints),
        )
    return None
