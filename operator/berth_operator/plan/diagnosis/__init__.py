"""Why a Workspace is not serving: from its live objects to findings, the one nearest the root first.

What is matched here are the words of Kubernetes itself: the kubelet's (`pkg/kubelet/images/types.go`,
`pkg/kubelet/container/sync_result.go`, `pkg/kubelet/events/event.go`), the scheduler's
(`pkg/scheduler/framework/plugins`), the quota's and the admission's (`plugin/pkg/admission`).
"""

from dataclasses import replace

from berth_operator.plan.diagnosis.creation import creation_failures
from berth_operator.plan.diagnosis.leaving import leaving_findings
from berth_operator.plan.diagnosis.pods import pod_findings
from berth_operator.plan.diagnosis.rollout import rollout_state
from berth_operator.plan.observed import Observed, has_ended, is_pod_ready, node_name
from berth_operator.plan.reasons import SEVERITY, Finding, Reason

__all__ = ["diagnose", "findings", "unplaced"]

UNPLACED = frozenset(
    SEVERITY[SEVERITY.index(Reason.QUOTA_EXCEEDED) : SEVERITY.index(Reason.SECRET_MISSING)]
    + SEVERITY[SEVERITY.index(Reason.ROLLOUT_BLOCKED) : SEVERITY.index(Reason.NODE_LOST)]
    + (Reason.VOLUME_UNAVAILABLE, Reason.NODE_LOST, Reason.POD_STUCK, Reason.POD_REJECTED, Reason.POD_EVICTED)
)
"""Reasons for which a pod has no node."""


def diagnose(observed: Observed, now: str = "") -> Finding | None:
    """Return the first cause why the current template does not serve on every replica, or None when it does.

    `now` is an RFC 3339 time; without it, ages are left out.
    """
    return next(iter(findings(observed, now)), None)


def findings(observed: Observed, now: str = "") -> list[Finding]:
    """Return everything that stands between the Workspace and serving, the nearest to the root first."""
    if observed.controller is None:
        return [_nothing_yet(observed)]
    state = rollout_state(observed)
    if state is None:
        return []
    found = [
        *creation_failures(observed),
        *(one for pod in observed.current_pods for one in pod_findings(pod, observed, now)),
        *leaving_findings(observed, now),
        state,
    ]
    # Sorting is stable: of several pods with the same trouble, the first by name stays first.
    first, *rest = sorted(found, key=lambda finding: SEVERITY.index(finding.reason))
    return [_with_who_serves(first, observed), *rest]


def _nothing_yet(observed: Observed) -> Finding:
    """Say what is waited for while nothing makes pods of the present template."""
    left = len(observed.pods)
    if not left or (observed.deployment is None and observed.stateful_set is None):
        return Finding(Reason.DEPLOYING, "the Deployment is being created")
    pods = "1 pod has" if left == 1 else f"{left} pods have"
    return Finding(
        Reason.ROLLING_OUT,
        f"the model goes from one node to several, or back: {pods} yet to end, which frees their GPUs, and nothing "
        "serves until the new ones have loaded",
    )


def _with_who_serves(finding: Finding, observed: Observed) -> Finding:
    """Add that pods of an earlier template go on serving, where the finding does not say so itself."""
    serving = sum(is_pod_ready(pod) for pod in observed.old_pods)
    if not serving or finding.reason in (Reason.ROLLOUT_BLOCKED, Reason.ROLLING_OUT):
        return finding
    pods = (
        "1 pod of the earlier template goes" if serving == 1 else f"{serving} pods of the earlier template go"
    )
    return replace(finding, what=f"{finding.what} ({pods} on serving)")


def unplaced(observed: Observed, wanted: int, now: str = "") -> Finding | None:
    """Return why not every wanted pod has a node, or None when each has one."""
    placed = [pod for pod in observed.current_pods if node_name(pod) and not has_ended(pod)]
    if observed.controller is not None and len(placed) >= wanted:
        return None
    for finding in findings(observed, now):
        if finding.reason in UNPLACED:
            return finding
    return Finding(Reason.DEPLOYING, f"{len(placed)} of {wanted} pods have a node")
