"""A pod that no node takes: the scheduler's words turned into ours, and checked against the nodes themselves."""

import re
from collections.abc import Iterator, Sequence

from berth_operator.plan import node_affinity, nodes
from berth_operator.plan.clock import seconds_between
from berth_operator.plan.diagnosis.claims import claim_finding
from berth_operator.plan.diagnosis.closed_nodes import closed_finding
from berth_operator.plan.diagnosis.gpus import gpu_finding
from berth_operator.plan.diagnosis.rollout import blocked_by_itself
from berth_operator.plan.observed import Object, Observed
from berth_operator.plan.placement import GPU_RESOURCE
from berth_operator.plan.reasons import Culprit, Finding, Reason, clipped

COUNTED = re.compile(r"(?P<count>\d+) (?P<why>.+?)(?=, \d+ |\.\s|\.?$)")

# What is insufficient says more than tainted or unlabelled nodes, which a cluster has by design.
SHORTAGES: tuple[tuple[str, str, Reason], ...] = (
    ("Insufficient memory", "memory", Reason.INSUFFICIENT_MEMORY),
    ("Insufficient cpu", "cpu", Reason.INSUFFICIENT_CPU),
    ("Insufficient ephemeral-storage", "ephemeral-storage", Reason.INSUFFICIENT_DISK),
)

UNSEEN_SECONDS = 60.0
"""A scheduler has its first word for a pod within a second; one that restarts takes some more."""


def scheduling_finding(pod: Object, message: str, observed: Observed) -> Finding:
    """Return why the pod has no node. `message` is the scheduler's, of the pod's condition PodScheduled."""
    spec, name = pod.get("spec") or {}, str(pod["metadata"]["name"])
    # The sentence about preemption repeats the causes in other words.
    words = message.partition("preemption:")[0].strip().rstrip(".")
    head = f'pod "{name}" cannot be scheduled'
    matching: Sequence[Object] | None = None
    if observed.nodes is not None:
        matching = [node for node in observed.nodes if node_affinity.is_wanted(node, spec)]
        if not matching:
            return _nothing_matches(head, name, spec, observed.nodes)
    if f"Insufficient {GPU_RESOURCE}" in words:
        if (gpus := gpu_finding(head, pod, _counted(words), matching, observed)) is not None:
            return gpus
        # The nodes with enough GPUs lack something else, which is what the rest of the words tells.
        wanted = nodes.requested(spec, GPU_RESOURCE)
        matching = [node for node in matching or () if nodes.allocatable(node, GPU_RESOURCE) >= wanted]
    for said, resource, reason in SHORTAGES:
        if said in words:
            return _shortage(head, pod, matching, resource, reason, observed)
    if (lacking := claim_finding(head, name, words)) is not None:
        return lacking
    unlabelled = "node affinity" in words or "node selector" in words or "node(s) didn't match" in words
    if unlabelled and not re.search(r"taint|unschedulable|not ready", words):
        return _nothing_matches(head, name, spec, None)
    if matching is not None and (closed := closed_finding(head, name, spec, matching)) is not None:
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


def unseen_finding(pod: Object, now: str) -> Iterator[Finding]:
    """Yield that no scheduler has a word for a pod, once that has lasted longer than any scheduler takes."""
    name, made = pod["metadata"]["name"], pod["metadata"].get("creationTimestamp")
    age = seconds_between(made, now)
    if age is None or age < UNSEEN_SECONDS:
        return
    scheduler = (pod.get("spec") or {}).get("schedulerName") or "default-scheduler"
    yield Finding(
        Reason.UNSCHEDULABLE,
        f'no scheduler has looked at pod "{name}" of {made}; it waits for the one called "{scheduler}"',
        "see that this scheduler runs (`kubectl get pods -n kube-system`), or correct schedulerName in a template",
        Culprit("Pod", name),
        cause="unseen",
    )


def _counted(words: str) -> dict[str, int]:
    """Return for how many nodes the scheduler gives which reason."""
    return {match["why"]: int(match["count"]) for match in COUNTED.finditer(words.partition(": ")[2])}


def _said(words: str, about: str) -> str:
    return clipped(", ".join(why for why in _counted(words) if about in why) or words)


def _nothing_matches(head: str, name: str, spec: Object, known: Sequence[Object] | None) -> Finding:
    wanted = node_affinity.wanted_instance_types(spec)
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
    if known is not None and not known:
        return Finding(
            Reason.NO_MATCHING_NODE,
            f"{head}: the cluster has no node",
            "add one, or see to those that should have joined",
            Culprit("Pod", name),
        )
    asked = ", ".join(node_affinity.wanted_labels(spec)) or "what the pod asks for"
    count = "no node" if known is None else f"none of {len(known)} nodes"
    return Finding(
        Reason.NO_MATCHING_NODE,
        f"{head}: {count} carries the labels {asked}",
        "label a node, add one, or change resource.labelSelector and resource.instanceType",
        Culprit("Pod", name),
        cause=asked,
    )


def _other_labels(spec: Object) -> bool:
    return len(list(node_affinity.wanted_labels(spec))) > 1


def _shortage(
    head: str,
    pod: Object,
    matching: Sequence[Object] | None,
    resource: str,
    reason: Reason,
    observed: Observed,
) -> Finding:
    spec, name = pod.get("spec") or {}, str(pod["metadata"]["name"])
    wanted = nodes.requested(spec, resource)
    large = [node for node in matching or () if nodes.allocatable(node, resource) >= wanted]
    shut = large and all(nodes.is_closed(node, spec) for node in large)
    if shut and (closed := closed_finding(head, name, spec, large)) is not None:
        return closed
    has = ""
    remedy = "add a larger node, or free what runs on these"
    if matching:
        most = max(nodes.allocatable(node, resource) for node in matching)
        has = f"; the largest matching node offers {nodes.amount(resource, most)} in all"
        if most < wanted:
            remedy = "add a larger node, or choose a smaller preset: emptying these would not be enough"
    asks = nodes.amount(resource, wanted)
    able = None if matching is None else large
    if (blocked := blocked_by_itself(name, resource, wanted, asks, able, observed)) is not None:
        return blocked
    return Finding(reason, f"{head}: no node has {asks} free{has}", remedy, Culprit("Pod", name))
