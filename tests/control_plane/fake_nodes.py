"""Nodes that tests play: pods run, serve or crash as told, by the status that a kubelet would report.

Where a controller manager runs, it makes the pods and counts them; elsewhere that is played here too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from berth_operator.api.names import LABEL_WORKSPACE
from berth_operator.cluster_cache import DEPLOYMENTS, PODS, STATEFUL_SETS
from berth_operator.kube import Conflict, NotFound, Object
from berth_operator.plan.differences import digest
from berth_operator.plan.observed import REVISION_HASH, is_of_group, is_put_aside
from control_plane.cluster import PATIENCE_SECONDS, Cluster, eventually
from control_plane.planes import TEST_NODE

TEMPLATE_HASH = "pod-template-hash"
AT_ONCE = 8


class FakeNodes:
    """The pods of the Workspaces of one namespace."""

    def __init__(self, cluster: Cluster, *, has_controllers: bool) -> None:
        self._cluster = cluster
        self._has_controllers = has_controllers

    async def serve(self, *names: str) -> None:
        """Have every pod of these Workspaces' present templates run and be ready, and counted as available."""
        await self._settle(names, lambda pod: None if _is_ready(pod) else running(pod), _is_complete)

    async def crash(self, *names: str, **how: Any) -> None:
        """Have every pod's server end again and again, until none is counted as available."""
        await self._settle(
            names,
            lambda pod: None if _has_crashed(pod) else crashed(pod, **how),
            lambda live: not _count(live, "availableReplicas"),
        )

    async def pods(self, name: str) -> list[Object]:
        return await self._cluster.list_all(PODS, self._cluster.namespace, f"{LABEL_WORKSPACE}={name}")

    async def _settle(
        self,
        names: Sequence[str],
        report: Callable[[Object], Object | None],
        settled: Callable[[Object], bool],
    ) -> None:
        """Make and count pods if nobody else does, and report of each what is to be reported, until it is settled."""
        waiting = set(names)

        async def go_round() -> set[str]:
            live = [
                {**item, "kind": kind}
                for resource, kind in ((DEPLOYMENTS, "Deployment"), (STATEFUL_SETS, "StatefulSet"))
                for item in await self._cluster.list_all(resource, self._cluster.namespace)
            ]
            used = {_name(item): item for item in live if not is_put_aside(item)}
            waiting.difference_update(name for name in tuple(waiting) if name in used and settled(used[name]))
            due = [item for item in live if _name(item) in waiting]
            if not self._has_controllers:
                pods = await self._all_pods()
                await self._for_each(due, lambda item: self._make_pods(item, _own(item, pods)))
            pods = await self._all_pods()
            mine = [pod for name in waiting for pod in pods.get(name, [])]
            await self._for_each(mine, lambda pod: self._tell(pod, report(pod)))
            if not self._has_controllers:
                pods = await self._all_pods()
                await self._for_each(due, lambda item: self._count_pods(item, _own(item, pods)))
            return waiting

        seconds = PATIENCE_SECONDS + len(names)
        await eventually(go_round, lambda left: not left, "the pods of every Workspace run as told", seconds)

    async def _all_pods(self) -> dict[str, list[Object]]:
        """The pods of every Workspace, by its name."""
        found: dict[str, list[Object]] = {}
        for pod in await self._cluster.list_all(PODS, self._cluster.namespace, LABEL_WORKSPACE):
            found.setdefault(pod["metadata"]["labels"][LABEL_WORKSPACE], []).append(pod)
        return found

    async def _for_each(self, items: Iterable[Object], work: Callable[[Object], Awaitable[None]]) -> None:
        at_once = asyncio.Semaphore(AT_ONCE)

        async def one(item: Object) -> None:
            async with at_once:
                await work(item)

        await asyncio.gather(*map(one, items))

    async def _tell(self, pod: Object, status: Object | None) -> None:
        """Do what a kubelet does of a pod: let it end if it is to end, else take it and report of it."""
        name = pod["metadata"]["name"]
        if pod["metadata"].get("deletionTimestamp"):
            await self._cluster.delete(PODS, name, grace=0)
            return
        # A pod may be taken away at any time: a rollout replaces it.
        with suppress(NotFound, Conflict):
            if not pod["spec"].get("nodeName"):
                await self._bind(pod)
            if status is not None:
                await self._cluster.edit(PODS, name, {"status": status}, "status")

    async def _bind(self, pod: Object) -> None:
        name = pod["metadata"]["name"]
        target = {"apiVersion": "v1", "kind": "Node", "name": TEST_NODE}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        await self._cluster.post(PODS.path(self._cluster.namespace, name, "binding"), binding)

    async def _make_pods(self, deployment: Object, pods: Sequence[Object]) -> None:
        if deployment["kind"] == "StatefulSet":
            await self._make_group(deployment, pods)
            return
        name, template = _name(deployment), deployment["spec"]["template"]
        stamp = digest(template)
        left = deployment["spec"]["replicas"]
        for pod in pods:
            if pod["metadata"]["labels"].get(TEMPLATE_HASH) == stamp and left > 0:
                left -= 1
            else:
                await self._cluster.delete(PODS, pod["metadata"]["name"], grace=0)
        for _ in range(left):
            owner = {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": name,
                "uid": deployment["metadata"]["uid"],
                "controller": True,
            }
            metadata = {
                "generateName": f"{name}-{stamp[:8]}-",
                "namespace": self._cluster.namespace,
                "labels": {**template["metadata"]["labels"], TEMPLATE_HASH: stamp},
                "ownerReferences": [owner],
            }
            spec = {**template["spec"], "nodeName": TEST_NODE}
            await self._cluster.create(
                PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
            )

    async def _make_group(self, stateful_set: Object, pods: Sequence[Object]) -> None:
        """Do what a StatefulSet's controller does whose pods are made at once and replaced when they are deleted."""
        name, template = _name(stateful_set), stateful_set["spec"]["template"]
        wanted = [f"{name}-{index}" for index in range(stateful_set["spec"]["replicas"])]
        for pod in pods:
            if _name(pod) not in wanted:
                await self._cluster.delete(PODS, _name(pod), grace=0)
        owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": name, "controller": True}
        for index, own in enumerate(wanted):
            if own in map(_name, pods):
                continue
            made = {
                "statefulset.kubernetes.io/pod-name": own,
                "apps.kubernetes.io/pod-index": str(index),
                REVISION_HASH: _revision(stateful_set),
            }
            metadata = {
                "name": own,
                "namespace": self._cluster.namespace,
                "labels": {**template["metadata"]["labels"], **made},
                "ownerReferences": [{**owner, "uid": stateful_set["metadata"]["uid"]}],
            }
            spec = {**template["spec"], "nodeName": TEST_NODE}
            await self._cluster.create(
                PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
            )

    async def _count_pods(self, deployment: Object, pods: Sequence[Object]) -> None:
        ready = sum(map(_is_ready, pods))
        if deployment["kind"] == "StatefulSet":
            latest = _revision(deployment)
            status = {
                "observedGeneration": deployment["metadata"]["generation"],
                "updateRevision": latest,
                "replicas": len(pods),
                "updatedReplicas": sum(
                    pod["metadata"]["labels"].get(REVISION_HASH) == latest for pod in pods
                ),
                "readyReplicas": ready,
                "availableReplicas": ready,
            }
            await self._cluster.edit(STATEFUL_SETS, _name(deployment), {"status": status}, "status")
            return
        status = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": len(pods),
            "updatedReplicas": len(pods),
            "readyReplicas": ready,
            "availableReplicas": ready,
        }
        await self._cluster.edit(DEPLOYMENTS, _name(deployment), {"status": status}, "status")


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def _own(controller: Object, pods: dict[str, list[Object]]) -> list[Object]:
    """The pods of a Workspace that are of a Deployment or StatefulSet of its name."""
    of_group = controller["kind"] == "StatefulSet"
    return [pod for pod in pods.get(_name(controller), []) if is_of_group(pod) == of_group]


def _revision(stateful_set: Object) -> str:
    return f"{_name(stateful_set)}-{digest(stateful_set['spec']['template'])}"


def running(pod: Object) -> Object:
    """The status of a pod whose containers all run and answer their probes."""
    state = {"running": {"startedAt": _now()}}
    return _status(pod, "True", {"ready": True, "started": True, "restartCount": 0, "state": state})


def crashed(pod: Object, exit_code: int = 1, reason: str = "Error", message: str = "") -> Object:
    """The status of a pod whose containers end and are started again and again."""
    last = {"exitCode": exit_code, "reason": reason, "message": message, "finishedAt": _now()}
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}
    return _status(
        pod,
        "False",
        {
            "ready": False,
            "started": False,
            "restartCount": 3,
            "state": {"waiting": waiting},
            "lastState": {"terminated": last},
        },
    )


def _status(pod: Object, ready: str, container: Object) -> Object:
    kinds = (("PodScheduled", "True"), ("Ready", ready), ("ContainersReady", ready))
    return {
        "phase": "Running",
        "conditions": [
            {"type": kind, "status": value, "lastTransitionTime": _now()} for kind, value in kinds
        ],
        "containerStatuses": [
            {"name": own["name"], "image": own["image"], "imageID": "", **container}
            for own in pod["spec"]["containers"]
        ],
    }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _is_ready(pod: Object) -> bool:
    found = (pod.get("status") or {}).get("conditions") or []
    return any(item["type"] == "Ready" and item["status"] == "True" for item in found)


def _has_crashed(pod: Object) -> bool:
    containers = (pod.get("status") or {}).get("containerStatuses") or []
    return any((item.get("lastState") or {}).get("terminated") for item in containers)


def _count(deployment: Object, field: str) -> int:
    return int((deployment.get("status") or {}).get(field) or 0)


def _is_complete(deployment: Object) -> bool:
    wanted = deployment["spec"]["replicas"]
    if deployment["kind"] == "StatefulSet" and not wanted:
        # It is between two templates.
        return False
    seen = _count(deployment, "observedGeneration") >= deployment["metadata"]["generation"]
    fields = ("replicas", "updatedReplicas", "availableReplicas")
    return seen and all(_count(deployment, field) == wanted for field in fields)
