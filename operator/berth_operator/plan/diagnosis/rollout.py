"""The workload's own numbers: does every replica of the present template serve, and if not, where is it?"""

from collections.abc import Sequence

from berth_operator.plan import nodes
from berth_operator.plan.observed import Object, Observed, has_ended, is_pod_ready, node_name
from berth_operator.plan.reasons import Culprit, Finding, Reason


def replicas_wanted(observed: Observed) -> int:
    """Return how many pods the Deployment or StatefulSet is to run."""
    return int((((observed.controller or {}).get("spec")) or {}).get("replicas", 1))


def rollout_state(observed: Observed) -> Finding | None:
    """Judge the status of what makes the pods; None only if every replica of the current template is available."""
    controller = observed.controller or {"metadata": {"name": ""}}
    of_group = observed.group is not None
    culprit = Culprit("StatefulSet" if of_group else "Deployment", controller["metadata"]["name"])
    status = controller.get("status") or {}
    wanted = replicas_wanted(observed)
    if wanted == 0 and of_group:
        left = (
            "1 of the earlier template has"
            if len(observed.pods) == 1
            else f"{len(observed.pods)} of the earlier template have"
        )
        return Finding(
            Reason.ROLLING_OUT,
            f"{culprit} is replacing its pods all at once, for they hold the model together: {left} yet to end, and "
            "nothing serves until the new ones have loaded",
            "",
            culprit,
        )
    if not observed.is_settled:
        return Finding(
            Reason.DEPLOYING, f"{culprit} has a change that is not being acted on yet", "", culprit
        )
    present = len(observed.current_pods)
    if of_group and wanted < present:
        return Finding(
            Reason.DEPLOYING,
            f"{culprit} was scaled down to {wanted} of {present} pods, which hold the model together",
            "set resource.count of the Workspace, not the replicas of its StatefulSet",
            culprit,
        )
    updated, total = status.get("updatedReplicas", 0), status.get("replicas", 0)
    # Available implies ready for minReadySeconds; both count old pods too, hence the comparison with `total`. The
    # pods themselves have the last word: whoever counts them may be late.
    ready = sum(is_pod_ready(pod) for pod in observed.current_pods)
    available = min(status.get("availableReplicas", 0), status.get("readyReplicas", 0), ready)
    if wanted == 0:
        return Finding(
            Reason.STOPPED,
            f"{culprit} has 0 replicas: nothing serves",
            "set resource.count to 1 or more",
            culprit,
        )
    if updated >= wanted and total == updated and available >= wanted:
        return None
    if updated < wanted and (controller.get("spec") or {}).get("paused"):
        namespace = controller["metadata"].get("namespace", "default")
        return Finding(
            Reason.ROLLOUT_PAUSED,
            f"{culprit} is paused: what was changed since is not rolled out",
            f"`kubectl rollout resume deployment -n {namespace} {culprit.name}`",
            culprit,
        )
    if total > updated:
        return Finding(
            Reason.ROLLING_OUT,
            f"{culprit} is replacing pods: {updated} of {wanted} are of the current template, "
            f"{total - updated} old ones still run{_gap(controller)}",
            "",
            culprit,
        )
    return Finding(Reason.DEPLOYING, f"{culprit} has {available} of {wanted} pods available", "", culprit)


def _gap(controller: dict[str, dict[str, dict[str, str]]]) -> str:
    kind = ((controller.get("spec") or {}).get("strategy") or {}).get("type")
    return ", and end before new ones start (berth.dev/rollout: recreate)" if kind == "Recreate" else ""


def blocked_by_itself(
    name: str, resource: str, wanted: int, asks: str, able: Sequence[Object] | None, observed: Observed
) -> Finding | None:
    """Return the finding where a pod of an earlier template holds what the new pod waits for.

    It holds as much as is `wanted`, on a node that the new pod could use (None: they are not known), so that the new
    pod fits once it is gone.
    """
    names = None if able is None else {nodes.name_of(node) for node in able}
    holders = (
        pod
        for pod in observed.old_pods
        if nodes.requested(pod.get("spec") or {}, resource) >= max(wanted, 1) and not has_ended(pod)
    )
    old = next(
        (pod for pod in holders if node_name(pod) and (names is None or node_name(pod) in names)), None
    )
    if old is None:
        return None
    serves = "goes on serving" if is_pod_ready(old) else "does not serve either"
    then = " and serves nothing until the new one has loaded" if is_pod_ready(old) else ""
    return Finding(
        Reason.ROLLOUT_BLOCKED,
        f'pod "{name}" of the new template needs {asks}, which pod "{old["metadata"]["name"]}" of the old one holds on '
        f'node "{node_name(old)}"; the old one {serves}',
        "add a node with as much free, or annotate the Workspace with berth.dev/rollout: recreate, which ends the old "
        f"pod first{then}",
        Culprit("Pod", old["metadata"]["name"]),
    )
