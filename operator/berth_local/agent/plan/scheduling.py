"""Whether a pod fits the node, judged and worded as the Kubernetes scheduler does for its one node."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from berth_local.agent.plan.objects import requirement_holds
from berth_local.agent.plan.resources import pod_requests, quantity


def unschedulable(
    pod: Mapping[str, Any], node: Mapping[str, Any], bound: Iterable[Mapping[str, Any]]
) -> str | None:
    """Return why the node cannot take the pod, in the scheduler's words, or None when it can.

    `bound` are the pods that already count against the node. Like the scheduler, a node that fails an earlier
    test is not asked the later ones: taints, then affinity, then resources.
    """
    reasons = _taints(pod, node) or _affinity(pod, node) or _resources(pod, node, bound)
    return f"0/1 nodes are available: {', '.join(f'1 {reason}' for reason in reasons)}." if reasons else None


def _taints(pod: Mapping[str, Any], node: Mapping[str, Any]) -> list[str]:
    if (node.get("spec") or {}).get("unschedulable"):
        return ["node(s) were unschedulable"]
    tolerations = pod["spec"].get("tolerations") or ()
    for taint in (node.get("spec") or {}).get("taints") or ():
        if taint.get("effect") == "PreferNoSchedule" or any(
            _tolerates(entry, taint) for entry in tolerations
        ):
            continue
        return [f"node(s) had untolerated taint(s) {{{taint.get('key')}: {taint.get('value', '')}}}"]
    return []


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("operator") == "Exists":
        return not toleration.get("key") or toleration["key"] == taint.get("key")
    return bool(
        toleration.get("key") == taint.get("key") and toleration.get("value", "") == taint.get("value", "")
    )


def _affinity(pod: Mapping[str, Any], node: Mapping[str, Any]) -> list[str]:
    labels = node["metadata"].get("labels") or {}
    selector = pod["spec"].get("nodeSelector") or {}
    required = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    chosen = all(labels.get(key) == value for key, value in selector.items())
    if chosen and (
        required is None or any(_term(term, node) for term in required.get("nodeSelectorTerms") or ())
    ):
        return []
    return ["node(s) didn't match Pod's node affinity/selector"]


def _term(term: Mapping[str, Any], node: Mapping[str, Any]) -> bool:
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    named = {"metadata.name": node["metadata"]["name"]}
    return all(requirement_holds(one, node["metadata"].get("labels") or {}) for one in expressions) and all(
        requirement_holds(one, named) for one in fields
    )


def _resources(
    pod: Mapping[str, Any], node: Mapping[str, Any], bound: Iterable[Mapping[str, Any]]
) -> list[str]:
    room = {name: quantity(amount) for name, amount in node["status"]["allocatable"].items()}
    pods = 0
    for other in bound:
        pods += 1
        for name, amount in pod_requests(other["spec"]).items():
            room[name] = room.get(name, Decimal(0)) - amount
    lacking = ["Too many pods"] if room.get("pods", Decimal(1)) - pods < 1 else []
    return lacking + [
        f"Insufficient {name}"
        for name, amount in sorted(pod_requests(pod["spec"]).items())
        if amount > 0 and amount > room.get(name, Decimal(0))
    ]
