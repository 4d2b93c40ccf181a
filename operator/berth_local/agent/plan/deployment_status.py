"""Deployment and its ReplicaSets -> the Deployment's status, with the standard conditions and reasons."""

from collections.abc import Sequence
from datetime import datetime

from berth_local.agent.plan.objects import Object, condition, parse_time, time_text, with_condition
from berth_local.agent.plan.replicas import wanted_replicas
from berth_local.agent.plan.rollout import current_replica_set, surge_and_unavailable

DEFAULT_PROGRESS_SECONDS = 600
"""How long a rollout may stand still before it counts as failed, when `progressDeadlineSeconds` is not given."""


def deployment_status(deployment: Object, replica_sets: Sequence[Object], now: datetime) -> Object:
    """Return the status of a Deployment whose ReplicaSets are these."""
    current = current_replica_set(deployment, replica_sets)
    counts: Object = {
        "replicas": sum(_count(one, "replicas") for one in replica_sets),
        "updatedReplicas": _count(current, "replicas"),
        "readyReplicas": sum(_count(one, "readyReplicas") for one in replica_sets),
        "availableReplicas": sum(_count(one, "availableReplicas") for one in replica_sets),
    }
    everyone = sum(wanted_replicas(one) for one in replica_sets)
    counts["unavailableReplicas"] = max(everyone - counts["availableReplicas"], 0)
    conditions = list((deployment.get("status") or {}).get("conditions") or ())
    conditions = _put(conditions, _available(deployment, counts["availableReplicas"]), now)
    conditions = _put(conditions, _progressing(deployment, counts, current, now), now)
    return {
        "observedGeneration": deployment["metadata"].get("generation", 1),
        **{name: count for name, count in counts.items() if count},
        "conditions": conditions,
    }


def deadline_in(deployment: Object, now: datetime) -> float | None:
    """Return in how many seconds a rollout that stands still is to be called failed; None when none is under way."""
    found = condition(deployment, "Progressing")
    if found is None or found.get("reason") not in ("ReplicaSetUpdated", "NewReplicaSetCreated"):
        return None
    since = parse_time(found.get("lastUpdateTime"))
    return None if since is None else max(_deadline(deployment) - (now - since).total_seconds(), 0.0)


def _deadline(deployment: Object) -> float:
    given = deployment["spec"].get("progressDeadlineSeconds")
    return float(DEFAULT_PROGRESS_SECONDS if given is None else given)


def _count(replica_set: Object | None, name: str) -> int:
    return int(((replica_set or {}).get("status") or {}).get(name) or 0)


def _put(conditions: list[Object], new: Object, now: datetime) -> list[Object]:
    """Replace a condition; lastUpdateTime moves with any change of it, and with `touched` progress."""
    touched = bool(new.pop("touched", False))
    old = next((found for found in conditions if found.get("type") == new["type"]), {})
    same = all(old.get(name) == new.get(name) for name in ("status", "reason", "message"))
    updated = old["lastUpdateTime"] if same and not touched and "lastUpdateTime" in old else time_text(now)
    return with_condition(conditions, {**new, "lastUpdateTime": updated}, now)


def _available(deployment: Object, available: int) -> Object:
    _, unavailable = surge_and_unavailable(deployment)
    if available >= wanted_replicas(deployment) - unavailable:
        return {
            "type": "Available",
            "status": "True",
            "reason": "MinimumReplicasAvailable",
            "message": "Deployment has minimum availability.",
        }
    return {
        "type": "Available",
        "status": "False",
        "reason": "MinimumReplicasUnavailable",
        "message": "Deployment does not have minimum availability.",
    }


def _progressing(deployment: Object, counts: Object, current: Object | None, now: datetime) -> Object:
    wanted, name = wanted_replicas(deployment), deployment["metadata"]["name"]
    if deployment["spec"].get("paused"):
        return _unknown("DeploymentPaused", "Deployment is paused")
    if current is None:
        return {
            "type": "Progressing",
            "status": "True",
            "reason": "ReplicaSetUpdated",
            "message": f'Deployment "{name}" is progressing.',
        }
    subject = f'ReplicaSet "{current["metadata"]["name"]}"'
    if counts["updatedReplicas"] == counts["replicas"] == counts["availableReplicas"] == wanted:
        return {
            "type": "Progressing",
            "status": "True",
            "reason": "NewReplicaSetAvailable",
            "message": f"{subject} has successfully progressed.",
        }
    old_condition = condition(deployment, "Progressing") or {}
    if _complete_before(counts, subject, old_condition):
        # Pods that fail or a change of scale after a finished rollout are no new rollout.
        return {key: old_condition[key] for key in ("type", "status", "reason", "message")}
    moved = _moved(deployment.get("status") or {}, counts)
    since = parse_time(old_condition.get("lastUpdateTime"))
    overdue = since is not None and (now - since).total_seconds() >= _deadline(deployment)
    if not moved and (overdue or old_condition.get("reason") == "ProgressDeadlineExceeded"):
        return {
            "type": "Progressing",
            "status": "False",
            "reason": "ProgressDeadlineExceeded",
            "message": f"{subject} has timed out progressing.",
        }
    return {
        "type": "Progressing",
        "status": "True",
        "reason": "ReplicaSetUpdated",
        "message": f"{subject} is progressing.",
        "touched": moved,
    }


def _complete_before(counts: Object, subject: str, progressing: Object) -> bool:
    finished = progressing.get("reason") == "NewReplicaSetAvailable"
    same = str(progressing.get("message", "")).startswith(subject)
    return finished and same and bool(counts["replicas"] == counts["updatedReplicas"])


def _moved(before: Object, counts: Object) -> bool:
    """Whether the rollout advanced: more updated, ready or available pods, or fewer old ones."""

    def was(name: str) -> int:
        return int(before.get(name) or 0)

    old_pods_before = was("replicas") - was("updatedReplicas")
    return (
        any(counts[name] > was(name) for name in ("updatedReplicas", "readyReplicas", "availableReplicas"))
        or counts["replicas"] - counts["updatedReplicas"] < old_pods_before
    )


def _unknown(reason: str, message: str) -> Object:
    return {"type": "Progressing", "status": "Unknown", "reason": reason, "message": message}
