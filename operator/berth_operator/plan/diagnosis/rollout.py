"""The workload's own numbers: does every replica of the present template serve, and if not, where is it?"""

from berth_operator.plan.observed import Observed, is_pod_ready
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
        return Finding(
            Reason.ROLLING_OUT,
            f"{culprit} is replacing its pods all at once, for they hold the model together: {len(observed.pods)} of "
            "the earlier template have yet to end, and nothing serves until the new ones have loaded",
            "",
            culprit,
        )
    if not observed.is_settled:
        return Finding(
            Reason.DEPLOYING, f"{culprit} has a change that is not being acted on yet", "", culprit
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
