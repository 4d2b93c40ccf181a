"""What is reported about a Workspace. Nothing here is True unless the live objects show it."""

from typing import Any

from berth_operator.api.workspace import Workspace
from berth_operator.plan.diagnosis import diagnose, unplaced
from berth_operator.plan.observed import Observed
from berth_operator.plan.reasons import Finding, Reason
from berth_operator.plan.service import endpoint

MESSAGE_LIMIT = 1024
"""Long enough for any cause and remedy, short enough for a terminal and for etcd."""


def status(
    workspace: Workspace, refusal: Finding | None, observed: Observed, previous: dict[str, Any], now: str
) -> dict[str, Any]:
    """Return the whole `status` of a Workspace.

    `refusal` is why the Workspace cannot be carried out, if so; `previous` is the status that stands in the cluster;
    `now` is an RFC 3339 time, used only for conditions whose status flips.
    """
    wanted = workspace.resource.count
    address = endpoint(observed.service)
    resources = refusal or unplaced(observed, wanted)
    inference = refusal or diagnose(observed)
    if inference is None and observed.service is None:
        inference = Finding(Reason.DEPLOYING, "the Service is being created")
    whole = inference or resources
    serving = f"{wanted} of {wanted} pods serve" + (f" at {address}" if address else "")
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
    return {
        "observedGeneration": generation,
        "state": "Ready" if whole is None else "NotReady" if has_served else "Pending",
        "targetNodeCount": wanted,
        "workerNodes": sorted(
            {
                pod["spec"]["nodeName"]
                for pod in observed.current_pods
                if (pod.get("spec") or {}).get("nodeName")
            }
        ),
        "endpoint": address,
        "conditions": [
            condition("ResourceReady", resources, Reason.SCHEDULED, f"{wanted} of {wanted} pods have a node"),
            condition("InferenceReady", inference, Reason.SERVING, serving),
            condition("WorkspaceSucceeded", whole, Reason.SERVING, serving),
            condition("Ready", whole, Reason.SERVING, serving),
        ],
    }
