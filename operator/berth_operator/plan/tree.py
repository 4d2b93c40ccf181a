"""A Workspace and everything under it as a tree, each with how it is, the first cause marked: `berth explain`."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from berth_operator.plan import nodes
from berth_operator.plan.diagnosis import findings
from berth_operator.plan.diagnosis.leaving import leaving_findings
from berth_operator.plan.diagnosis.pods import pod_findings
from berth_operator.plan.observed import REVISION, Object, Observed, annotations, is_pod_ready, node_name
from berth_operator.plan.progress import PHASES
from berth_operator.plan.reasons import SEVERITY, UNDER_WAY, Culprit, Finding, Reason

REFUSALS = frozenset(SEVERITY[: SEVERITY.index(Reason.ROLLOUT_PAUSED)])
"""Reasons that lie in the Workspace itself."""

TOLD_BY_SERVERS = frozenset(name for name, _ in PHASES.values())
"""Phases of `status.progress` of which a server says how far it is."""

UNCREATED = (Reason.QUOTA_EXCEEDED, Reason.ADMISSION_REFUSED, Reason.POD_CREATION_FAILED)
"""Reasons for which there is no pod that could be at fault."""


@dataclass(frozen=True, slots=True)
class Branch:
    """One object: what it is, how it is in a few words, what is wrong with it, and what is under it."""

    kind: str
    name: str
    state: str
    finding: Finding | None = None
    is_cause: bool = False
    children: tuple["Branch", ...] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Explanation:
    """The tree of a Workspace, and its first cause: None where nothing is wrong.

    `unseen` says that no operator has looked at the Workspace as it stands, so that its conditions are of before.
    """

    tree: Branch
    cause: Finding | None
    unseen: str = ""


def explain(workspace: Object, observed: Observed, now: str) -> Explanation:
    """Explain a Workspace as it stands in the cluster. Pure; `now` is an RFC 3339 time."""
    ready = _ready(workspace)
    refused = next((reason for reason in REFUSALS if reason == ready.get("reason")), None)
    if refused is not None:
        # What the operator refused it knows best: it has read the presets and the ConfigMap.
        cause: Finding | None = Finding(
            refused,
            str(ready.get("message", "")),
            culprit=Culprit("Workspace", workspace["metadata"]["name"]),
            terminal=True,
        )
    else:
        cause = next(iter(findings(observed, now)), None)
        of_server = ((workspace.get("status") or {}).get("progress") or {}).get("phase") in TOLD_BY_SERVERS
        if cause is not None and of_server and cause.reason == ready.get("reason") == Reason.STARTING:
            # The operator asks the servers how far they are.
            cause = replace(cause, what=str(ready.get("message") or cause.what))
    marked = cause if cause is not None and (refused is not None or cause.reason not in UNDER_WAY) else None
    status = workspace.get("status") or {}
    state = f"{status.get('state') or 'not looked at yet'}"
    tree = Branch(
        "Workspace",
        workspace["metadata"]["name"],
        state,
        cause if refused is not None else None,
        refused is not None,
        tuple(_controller(observed, marked, now)),
    )
    return Explanation(tree, cause, _unseen(workspace))


def _unseen(workspace: Object) -> str:
    generation = workspace["metadata"].get("generation", 0)
    looked_at = (workspace.get("status") or {}).get("observedGeneration", -1)
    if looked_at < 0:
        return "no operator has looked at this Workspace"
    if looked_at < generation:
        return f"no operator has looked at the last edit: the conditions are of generation {looked_at} of {generation}"
    return ""


def _controller(observed: Observed, cause: Finding | None, now: str) -> Iterator[Branch]:
    controller = observed.controller
    if controller is None:
        yield from _pods(observed.live_pods, observed, cause, now)
        return
    status = controller.get("status") or {}
    wanted = (controller.get("spec") or {}).get("replicas", 1)
    kind, name = "Deployment" if observed.group is None else "StatefulSet", controller["metadata"]["name"]
    state = f"{status.get('availableReplicas', 0)} of {wanted} pods available"
    below = () if observed.group else tuple(_replica_sets(observed, cause, now))
    is_own = cause is not None and (
        cause.culprit == Culprit(kind, name) or (observed.group is not None and cause.reason in UNCREATED)
    )
    pods = below or tuple(_pods(observed.live_pods, observed, cause, now))
    yield Branch(kind, name, state, cause if is_own else None, is_own, pods)


def _replica_sets(observed: Observed, cause: Finding | None, now: str) -> Iterator[Branch]:
    revision = annotations(observed.deployment or {}).get(REVISION)
    for replica_set in sorted(
        observed.replica_sets, key=lambda one: int(annotations(one).get(REVISION, "0") or 0), reverse=True
    ):
        name, current = replica_set["metadata"]["name"], annotations(replica_set).get(REVISION) == revision
        stamp = (replica_set["metadata"].get("labels") or {}).get("pod-template-hash")
        pods = [
            pod
            for pod in sorted(observed.pods, key=lambda one: str(one["metadata"]["name"]))
            if (pod["metadata"].get("labels") or {}).get("pod-template-hash") == stamp
        ]
        if not pods and not current:
            continue
        of_quota = cause is not None and cause.reason in UNCREATED
        own = cause if current and of_quota else None
        state = "the present template" if current else "an earlier template"
        yield Branch(
            "ReplicaSet",
            name,
            f"{state}, {len(pods)} pod{'' if len(pods) == 1 else 's'}",
            own,
            own is not None,
            tuple(_pods(pods, observed, cause, now)),
        )


def _pods(
    pods: "tuple[Object, ...] | list[Object]", observed: Observed, cause: Finding | None, now: str
) -> Iterator[Branch]:
    for pod in pods:
        ending = bool(pod["metadata"].get("deletionTimestamp"))
        of_it = leaving_findings(observed, now) if ending else pod_findings(pod, observed, now)
        found = min(of_it, key=lambda one: SEVERITY.index(one.reason), default=None)
        is_cause = found is not None and cause is not None and _same(found, cause)
        on_node = is_cause and found is not None and found.culprit == Culprit("Node", node_name(pod))
        yield Branch(
            "Pod",
            pod["metadata"]["name"],
            _pod_state(pod),
            None if on_node else found,
            is_cause and not on_node,
            tuple(_node(pod, observed, found if on_node else None)),
        )


def _pod_state(pod: Object) -> str:
    if pod["metadata"].get("deletionTimestamp"):
        return "ending"
    return "ready" if is_pod_ready(pod) else str((pod.get("status") or {}).get("phase") or "Pending")


def _same(one: Finding, other: Finding) -> bool:
    """Whether two findings are of one thing, whatever is said of it."""
    return (one.reason, one.culprit, one.cause) == (other.reason, other.culprit, other.cause)


def _node(pod: Object, observed: Observed, finding: Finding | None) -> Iterator[Branch]:
    name = node_name(pod)
    if not name:
        return
    node = observed.node_of(pod)
    if node is None:
        state = "not known" if observed.nodes is None else "does not exist"
    else:
        state = ", ".join(
            [
                "ready" if nodes.is_ready(node) else "not ready",
                *(f"short of {word}" for word in nodes.pressures(node)),
            ]
        )
    yield Branch("Node", name, state, finding, finding is not None)


def _ready(workspace: Object) -> Object:
    found = (workspace.get("status") or {}).get("conditions") or []
    return next((item for item in found if item.get("type") == "Ready"), {})
