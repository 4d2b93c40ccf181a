"""Kubernetes objects as an API server stores them, for tests of the node agent."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
_uids = (f"{number:08x}-0000-4000-8000-000000000000" for number in itertools.count(1))


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def meta(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "namespace": "default", "uid": next(_uids), "generation": 1, **more}


def container(**more: Any) -> dict[str, Any]:
    return {"name": "main", "image": "registry.example/berth-inference:1", **more}


def template(version: str = "1") -> dict[str, Any]:
    return {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container(args=[version])]}}


def deployment(replicas: int | None = 1, version: str = "1", **spec: Any) -> dict[str, Any]:
    body = {"selector": {"matchLabels": {"app": "web"}}, "template": template(version), **spec}
    if replicas is not None:
        body["replicas"] = replicas
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta("web"), "spec": body}


def replica_set(
    owner: dict[str, Any],
    version: str = "1",
    replicas: int = 1,
    available: int | None = None,
    revision: int = 1,
    name: str | None = None,
    **spec: Any,
) -> dict[str, Any]:
    made = template(version)
    made["metadata"]["labels"]["pod-template-hash"] = f"h{version}"
    count = replicas if available is None else available
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": meta(
            name or f"web-h{version}",
            annotations={"deployment.kubernetes.io/revision": str(revision)},
            ownerReferences=[{"kind": "Deployment", "uid": owner["metadata"]["uid"], "controller": True}],
        ),
        "spec": {"replicas": replicas, "template": made, **spec},
        "status": {"replicas": replicas, "readyReplicas": count, "availableReplicas": count},
    }


def pod(
    name: str = "web-1",
    ready: bool | None = None,
    ready_since: float = 60,
    owner: dict[str, Any] | None = None,
    node: str = "berth-local",
    phase: str = "Running",
    labels: dict[str, str] | None = None,
    created: float = 100,
    restarts: int = 0,
    going: bool = False,
    **spec: Any,
) -> dict[str, Any]:
    more: dict[str, Any] = {
        "labels": {"app": "web"} if labels is None else labels,
        "creationTimestamp": ago(created),
    }
    if owner is not None:
        more["ownerReferences"] = [
            {"kind": owner["kind"], "uid": owner["metadata"]["uid"], "controller": True}
        ]
    if going:
        more["deletionTimestamp"] = ago(1)
    status: dict[str, Any] = {
        "phase": phase,
        "containerStatuses": [{"name": "main", "restartCount": restarts}],
    }
    if ready is not None:
        since = ago(ready_since)
        status["conditions"] = [{"type": "Ready", "status": str(ready), "lastTransitionTime": since}]
    body = {"containers": [container()], **spec}
    if node:
        body["nodeName"] = node
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta(name, **more), "spec": body, "status": status}


def node(**allocatable: str) -> dict[str, Any]:
    amounts = {"cpu": "4", "memory": "8Gi", "ephemeral-storage": "100Gi", "pods": "110", **allocatable}
    labels = {"kubernetes.io/os": "linux", "node.kubernetes.io/instance-type": "local"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "berth-local", "labels": labels},
        "status": {"allocatable": amounts},
    }
