"""Live objects as a cluster would hold them, for judging what is said of them."""

from __future__ import annotations

from typing import Any

from berth_operator.plan.observed import Observed

NOW = "2026-01-01T10:00:00Z"
STARTED = "2026-01-01T09:58:00Z"

SERVICE: dict[str, Any] = {"metadata": {}, "spec": {"clusterIP": "10.0.0.7", "type": "ClusterIP"}}
PROBE = {"periodSeconds": 5, "failureThreshold": 360}
GPU = {"limits": {"nvidia.com/gpu": "1"}, "requests": {"nvidia.com/gpu": "1"}}


def deployment(wanted: int = 1, *, ready: int = 0, total: int = 1, **status: Any) -> dict[str, Any]:
    numbers = {
        "updatedReplicas": total,
        "replicas": total,
        "readyReplicas": ready,
        "availableReplicas": ready,
    }
    return {
        "metadata": {"name": "ws", "namespace": "ns", "generation": 2, "annotations": {REVISION: "2"}},
        "spec": {"replicas": wanted},
        "status": {"observedGeneration": 2, **numbers, **status},
    }


REVISION = "deployment.kubernetes.io/revision"


def replica_set(revision: str = "2", stamp: str = "new", **status: Any) -> dict[str, Any]:
    meta = {
        "name": f"ws-{stamp}",
        "annotations": {REVISION: revision},
        "labels": {"pod-template-hash": stamp},
    }
    return {"metadata": meta, "spec": {"replicas": 1}, "status": status}


def pod(
    name: str = "ws-new-1",
    *,
    node: str = "n1",
    ready: bool = False,
    stamp: str = "new",
    spec: dict[str, Any] | None = None,
    scheduler: str = "",
    **status: Any,
) -> dict[str, Any]:
    """A pod; `scheduler` is what the scheduler says of one that it cannot place."""
    conditions: list[dict[str, Any]] = [{"type": "Ready", "status": str(ready)}]
    scheduled: dict[str, Any] = {"type": "PodScheduled", "status": "True"}
    if scheduler:
        node, scheduled = (
            "",
            {**scheduled, "status": "False", "reason": "Unschedulable", "message": scheduler},
        )
    labels = {"pod-template-hash": stamp, "kaito.sh/workspace": "ws"}
    declared = {
        "containers": [{"name": "inference", "startupProbe": PROBE, "resources": GPU}],
        **(spec or {}),
    }
    return {
        "metadata": {"name": name, "namespace": "ns", "uid": f"uid-{name}", "labels": labels},
        "spec": {**declared, **({"nodeName": node} if node else {})},
        "status": {"conditions": [*conditions, scheduled], **status},
    }


def container(**status: Any) -> dict[str, Any]:
    return {
        "name": "inference",
        "image": "registry.example/berth:1",
        "ready": False,
        "restartCount": 0,
        **status,
    }


def waits(reason: str, message: str = "", **status: Any) -> dict[str, Any]:
    return container(state={"waiting": {"reason": reason, "message": message}}, **status)


def runs(**status: Any) -> dict[str, Any]:
    return container(**{"state": {"running": {"startedAt": STARTED}}, "started": False, **status})


def ended(code: int, message: str = "", reason: str = "Error", **times: str) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message, **times}}


def crashed(
    code: int, message: str = "", reason: str = "Error", restarts: int = 3, **times: str
) -> dict[str, Any]:
    return waits("CrashLoopBackOff", lastState=ended(code, message, reason, **times), restartCount=restarts)


def node(
    name: str = "n1",
    *,
    labels: dict[str, str] | None = None,
    gpus: int = 1,
    taints: list[dict[str, str]] | None = None,
    conditions: dict[str, str] | None = None,
    provider: str = "",
    cordoned: bool = False,
    capacity: dict[str, str] | None = None,
    **allocatable: str,
) -> dict[str, Any]:
    offered = {"cpu": "8", "memory": "32Gi", "ephemeral-storage": "100Gi", **allocatable}
    if gpus:
        offered["nvidia.com/gpu"] = str(gpus)
    held = {"Ready": "True", **(conditions or {})}
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {
            "taints": taints or [],
            **({"providerID": provider} if provider else {}),
            **({"unschedulable": True} if cordoned else {}),
        },
        "status": {
            "allocatable": offered,
            "capacity": {**offered, **(capacity or {})},
            "conditions": [{"type": kind, "status": value} for kind, value in held.items()],
        },
    }


def event(reason: str, message: str, at: str = NOW) -> dict[str, Any]:
    return {"metadata": {"name": "e"}, "reason": reason, "message": message, "lastTimestamp": at}


def events(*of_pod: dict[str, Any], name: str = "ws-new-1") -> dict[str, tuple[dict[str, Any], ...]]:
    return {f"uid-{name}": of_pod}


def observed(*pods: dict[str, Any], **more: Any) -> Observed:
    """A Workspace of one replica whose pods are these, none of which serves unless told otherwise."""
    given: dict[str, Any] = {
        "deployment": deployment(),
        "service": SERVICE,
        "replica_sets": (replica_set(),),
        **more,
    }
    return Observed(pods=pods, **given)
