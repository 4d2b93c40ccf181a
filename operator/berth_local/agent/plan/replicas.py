"""ReplicaSet and its pods -> which pods to make, which to end, and the ReplicaSet's status."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from berth_local.agent.plan.objects import (
    Object,
    controller_reference,
    is_active,
    is_available,
    is_ready,
    matches,
    ready_for,
)


@dataclass(frozen=True, slots=True)
class ReplicaSetPlan:
    """What to do for one ReplicaSet."""

    create: int
    """How many pods to make of `pod_of`."""
    delete: tuple[Object, ...]
    """Pods to end."""
    status: Object
    check_again: float | None
    """Seconds until a ready pod counts as available, when one is waiting for that."""


def plan_replica_set(replica_set: Object, pods: Sequence[Object], now: datetime) -> ReplicaSetPlan:
    """Compare a ReplicaSet with the pods it controls."""
    if replica_set["metadata"].get("deletionTimestamp"):
        return ReplicaSetPlan(0, (), replica_set.get("status") or {}, None)
    active = [pod for pod in pods if is_active(pod)]
    surplus = len(active) - wanted_replicas(replica_set)
    return ReplicaSetPlan(
        create=max(-surplus, 0),
        delete=tuple(sorted(active, key=_keep_order)[: max(surplus, 0)]),
        status=_status(replica_set, active, now),
        check_again=_check_again(replica_set, active, now),
    )


def wanted_replicas(workload: Mapping[str, Any]) -> int:
    """Return `spec.replicas`, 1 when not given."""
    replicas = workload["spec"].get("replicas")
    return 1 if replicas is None else int(replicas)


def pod_of(replica_set: Object) -> Object:
    """Return a pod as the ReplicaSet's template has it; `metadata.generateName` stands for its name."""
    meta, template = replica_set["metadata"], replica_set["spec"]["template"]
    given = template.get("metadata") or {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": f"{meta['name']}-",
            "namespace": meta["namespace"],
            "labels": dict(given.get("labels") or {}),
            "annotations": dict(given.get("annotations") or {}),
            "ownerReferences": [controller_reference(replica_set)],
        },
        "spec": template["spec"],
    }


def _keep_order(pod: Object) -> tuple[bool, bool, bool, int, str]:
    """Sort first what is missed least: unscheduled, then not running, then not ready, then oft restarted."""
    status = pod.get("status") or {}
    restarts = sum(int(one.get("restartCount", 0)) for one in status.get("containerStatuses") or ())
    return (
        bool(pod["spec"].get("nodeName")),
        status.get("phase") == "Running",
        is_ready(pod),
        -restarts,
        # Of equals the newest goes, so that connections to the longest-serving pods last.
        "".join(chr(0x10FFFF - ord(letter)) for letter in pod["metadata"].get("creationTimestamp") or ""),
    )


def _status(replica_set: Object, active: Sequence[Object], now: datetime) -> Object:
    spec = replica_set["spec"]
    labels = (spec["template"].get("metadata") or {}).get("labels") or {}
    labelled = [
        pod for pod in active if matches({"matchLabels": labels}, pod["metadata"].get("labels") or {})
    ]
    available = [pod for pod in active if is_available(pod, spec.get("minReadySeconds") or 0, now)]
    status: Object = {
        "replicas": len(active),
        "fullyLabeledReplicas": len(labelled),
        "readyReplicas": sum(is_ready(pod) for pod in active),
        "availableReplicas": len(available),
    }
    return {
        **{name: count for name, count in status.items() if count or name == "replicas"},
        "observedGeneration": replica_set["metadata"].get("generation", 1),
    }


def _check_again(replica_set: Object, active: Sequence[Object], now: datetime) -> float | None:
    needed = float(replica_set["spec"].get("minReadySeconds") or 0)
    waits = [
        needed - ready_for(pod, now) for pod in active if is_ready(pod) and not is_available(pod, needed, now)
    ]
    return min(waits, default=None)
