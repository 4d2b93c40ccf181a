"""What is reported about a Workspace. Nothing here is True unless the live objects show it."""

from dataclasses import dataclass
from typing import Any

from berth_operator.api.workspace import Workspace
from berth_operator.plan.diagnosis import diagnose, unplaced
from berth_operator.plan.diagnosis.rollout import replicas_wanted
from berth_operator.plan.fit import Fit
from berth_operator.plan.observed import (
    Object,
    Observed,
    declared,
    has_ended,
    is_pod_ready,
    is_running,
    is_sidecar,
    node_name,
    uid,
)
from berth_operator.plan.reasons import Finding, Reason
from berth_operator.plan.replicas import scales_itself
from berth_operator.plan.service import endpoint

MESSAGE_LIMIT = 1024
"""Long enough for any cause and remedy, short enough for a terminal and for etcd."""

PHASES = ("Scheduling", "Pulling", "Downloading", "Loading", "WarmingUp")
"""The phases of a pod's start, in order."""


@dataclass(frozen=True, slots=True)
class Report:
    """The whole `status` of a Workspace, and what keeps it from serving: None when it serves."""

    status: dict[str, Any]
    finding: Finding | None


def report(
    workspace: Workspace,
    refusal: Finding | None,
    observed: Observed,
    previous: dict[str, Any],
    now: str,
    fit: Fit | None = None,
) -> Report:
    """Report on a Workspace.

    `refusal` is why the Workspace cannot be carried out, if so; `previous` is the status that stands in the cluster;
    `now` is an RFC 3339 time, used for conditions whose status flips and for ages; `fit` is what was judged of GPUs.
    """
    wanted = workspace.resource.count
    if scales_itself(workspace) and observed.controller is not None:
        wanted = replicas_wanted(observed)
    address = endpoint(observed.service)
    resources = refusal or unplaced(observed, wanted, now)
    inference = refusal or diagnose(observed, now)
    if inference is None and observed.service is None:
        inference = Finding(Reason.DEPLOYING, "the Service is being created")
    whole = inference or resources
    serving = f"{wanted} of {wanted} pods serve" + (f" at {address}" if address else "")
    placed = f"{wanted} of {wanted} pods have a node"
    if fit is not None and fit.nodes > 1:
        placed += f", and hold one copy of the model together: {fit.arithmetic} on {fit.where}"
    generation = workspace.metadata.generation
    old = {condition.get("type"): condition for condition in previous.get("conditions") or []}

    def condition(kind: str, finding: Finding | None, reason: Reason, message: str) -> dict[str, Any]:
        value = "True" if finding is None else "False"
        before = old.get(kind, {})
        return {
            "type": kind,
            "status": value,
            "reason": str(finding.reason if finding else reason),
            "message": (finding.message if finding else message)[:MESSAGE_LIMIT],
            "observedGeneration": generation,
            "lastTransitionTime": before["lastTransitionTime"] if before.get("status") == value else now,
        }

    has_served = previous.get("state") in ("Ready", "NotReady")
    current = {
        "observedGeneration": generation,
        "state": "Ready" if whole is None else "NotReady" if has_served else "Pending",
        "targetNodeCount": wanted,
        "workerNodes": worker_nodes(observed),
        "endpoint": address,
        "progress": None if whole is None or refusal is not None else progress(observed),
        "conditions": [
            condition("ResourceReady", resources, Reason.SCHEDULED, placed),
            condition("InferenceReady", inference, Reason.SERVING, serving),
            condition("WorkspaceSucceeded", whole, Reason.SERVING, serving),
            condition("Ready", whole, Reason.SERVING, serving),
        ],
    }
    return Report(current, whole)


def worker_nodes(observed: Observed) -> list[str]:
    """Return the names of the nodes that run the Workspace's pods, of whichever template, sorted."""
    return sorted({node_name(pod) for pod in observed.live_pods if node_name(pod) and not has_ended(pod)})


def progress(observed: Observed) -> dict[str, Any] | None:
    """Return how far the slowest of the present template's pods is, or None when none is on its way."""
    starting = (pod for pod in observed.current_pods if not is_pod_ready(pod) and not has_ended(pod))
    steps = [_step(pod, observed) for pod in starting]
    return min(steps, key=lambda step: (PHASES.index(step["phase"]), step.get("percent", 0)), default=None)


def _step(pod: Object, observed: Observed) -> dict[str, Any]:
    if not node_name(pod):
        return {"phase": "Scheduling"}
    if (told := observed.reports.get(uid(pod))) is not None:
        return told.as_status()
    status = pod.get("status") or {}
    early = status.get("initContainerStatuses") or []
    sidecars = [container for container in early if is_sidecar(declared(pod, container))]
    if any(is_running(container) and container not in sidecars for container in early):
        return {"phase": "Downloading"}
    containers = [*sidecars, *(status.get("containerStatuses") or [])]
    started = any(
        is_running(container) or (container.get("lastState") or {}).get("terminated")
        for container in containers
    )
    return {"phase": "Loading" if started else "Pulling"}
