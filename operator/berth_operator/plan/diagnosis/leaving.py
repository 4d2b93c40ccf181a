"""A pod that is to go and does not, where no other starts before it has gone."""

from collections.abc import Iterator

from berth_operator.plan import nodes
from berth_operator.plan.clock import seconds_between
from berth_operator.plan.observed import Object, Observed, has_ended, node_name
from berth_operator.plan.reasons import Culprit, Finding, Reason

OVERDUE_SECONDS = 60.0
"""A pod's deletionTimestamp is when its grace is over, and the kubelet kills it within seconds then."""


def leaving_findings(observed: Observed, now: str) -> Iterator[Finding]:
    """Yield what is known of the pod that a group, or a Deployment of the strategy Recreate, waits for."""
    of_group = observed.group is not None
    strategy = ((observed.deployment or {}).get("spec") or {}).get("strategy") or {}
    waits = of_group or strategy.get("type") == "Recreate"
    if not waits or any(not has_ended(pod) for pod in observed.live_pods):
        return
    leaving = (
        pod for pod in observed.pods if pod["metadata"].get("deletionTimestamp") and not has_ended(pod)
    )
    pod = min(leaving, key=lambda one: str(one["metadata"]["deletionTimestamp"]), default=None)
    if pod is None:
        return
    name = str(pod["metadata"]["name"])
    overdue = seconds_between(pod["metadata"]["deletionTimestamp"], now)
    if overdue is not None and overdue >= OVERDUE_SECONDS:
        yield _stuck(pod, observed)
    elif not of_group:  # of one, the state of its rollout says so
        yield Finding(
            Reason.DEPLOYING,
            f'pod "{name}" is ending; a new one starts once it has gone',
            "",
            Culprit("Pod", name),
        )


def _stuck(pod: Object, observed: Observed) -> Finding:
    meta, node = pod["metadata"], observed.node_of(pod)
    name, where = str(meta["name"]), node_name(pod)
    # The moment and not how long ago: a status that says so is not written again every minute.
    what = f'pod "{name}" should have gone at {meta["deletionTimestamp"]}, and a new one starts only then'
    force = f"`kubectl delete pod -n {meta.get('namespace', 'default')} {name} --grace-period=0 --force`"
    if meta.get("finalizers"):
        return Finding(
            Reason.POD_STUCK,
            f"{what}: it waits for its finalizers {', '.join(meta['finalizers'])[:200]}",
            "see to what should remove them",
            Culprit("Pod", name),
            cause="finalizers",
        )
    if observed.nodes is not None and (node is None or not nodes.is_ready(node)):
        return Finding(
            Reason.NODE_LOST,
            f'{what}: its node "{where}" {"does not exist any more" if node is None else "is not ready"}',
            f"repair the node, or, once that machine is surely off, {force}",
            Culprit("Node", where),
            cause=where,
        )
    return Finding(
        Reason.POD_STUCK,
        f'{what}: node "{where}" does not end it',
        f"see `kubectl describe pod -n {meta.get('namespace', 'default')} {name}` and the kubelet of that node; a "
        f"process that hangs in its GPU's driver goes only with a restart of the machine, and then {force}",
        Culprit("Pod", name),
        cause=where,
    )
