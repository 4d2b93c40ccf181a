"""Nodes that would do for a pod and take none now: cordoned, not ready, short of something, or tainted."""

from collections.abc import Sequence

from berth_operator.plan import nodes
from berth_operator.plan.observed import Object
from berth_operator.plan.reasons import Culprit, Finding, Reason


def closed_finding(head: str, name: str, spec: Object, matching: Sequence[Object]) -> Finding | None:
    """Return why the nodes that match take no pods; None where one of them does, or where there is none."""
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
    if not matching or not all(nodes.is_closed(node, spec) for node in matching):
        return None
    cordoned = [node for node in matching if nodes.is_cordoned(node)]
    away = [node for node in matching if nodes.is_away(node)]
    shut = {nodes.name_of(node) for node in [*cordoned, *away]}
    if len(shut) == len(matching):
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
    first = next(node for node in matching if nodes.name_of(node) not in shut)
    node, own = nodes.name_of(first), nodes.untolerated(first, spec)
    return Finding(
        Reason.NODES_TAINTED,
        f'{head}: the nodes that match are tainted, as node "{node}" with {", ".join(own[:5])}',
        "remove the taint, or use other nodes",
        Culprit("Node", node),
        cause=",".join(taints),
    )
