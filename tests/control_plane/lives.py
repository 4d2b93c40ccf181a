"""Whole lives of many Workspaces side by side: created, served, edited, meddled with, crashed, mended, deleted."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from berth_operator.api.names import LABEL_WORKSPACE
from berth_operator.cluster_cache import CONFIG_MAPS, DEPLOYMENTS, EVENTS, SERVICES, WORKSPACES
from berth_operator.kube import Object
from control_plane.cluster import Cluster, condition, eventually, workspace
from control_plane.fake_nodes import FakeNodes

STEP_SECONDS = 60.0
AT_ONCE = 16
TIMES = frozenset({"lastTransitionTime", "creationTimestamp", "firstTimestamp", "lastTimestamp"})

Settled = Callable[["State"], bool]


@dataclass
class State:
    """What there is of one Workspace."""

    workspace: Object | None = None
    deployment: Object | None = None
    service: Object | None = None
    events: list[Object] = field(default_factory=list)

    def is_reported(self, *reasons: str) -> bool:
        """Whether its present generation has been reported on, with one of these reasons."""
        if self.workspace is None:
            return False
        ready = condition(self.workspace)
        present = ready.get("observedGeneration") == self.workspace["metadata"]["generation"]
        return present and ready["reason"] in reasons

    @property
    def replicas(self) -> int:
        return int(self.deployment["spec"]["replicas"]) if self.deployment else -1

    @property
    def selector(self) -> Mapping[str, str]:
        return self.service["spec"]["selector"] if self.service else {}


class Lives:
    """Leads Workspaces of these names through their lives, all of them one step at a time."""

    def __init__(
        self, cluster: Cluster, nodes: FakeNodes, names: Sequence[str], untold: Collection[str] = ()
    ) -> None:
        """`untold` are those whose Events may be missing."""
        self._cluster, self._nodes, self._names, self._untold = cluster, nodes, names, untold

    def steps(self) -> Sequence[Callable[[], Awaitable[None]]]:
        """The steps, in order. Each returns once the operator has done of every Workspace what is to be done."""
        return self._create, self._serve, self._edit, self._meddle, self._crash, self._serve

    async def states(self) -> dict[str, State]:
        """What there is of each Workspace."""
        found = {name: State() for name in self._names}
        for resource, attribute in (
            (WORKSPACES, "workspace"),
            (DEPLOYMENTS, "deployment"),
            (SERVICES, "service"),
        ):
            for item in await self._cluster.list_all(resource, self._cluster.namespace):
                if (state := found.get(item["metadata"]["name"])) is not None:
                    setattr(state, attribute, item)
        for item in await self._cluster.list_all(EVENTS, self._cluster.namespace):
            about = item["involvedObject"]
            if about.get("kind") == "Workspace" and (state := found.get(about["name"])) is not None:
                state.events.append(item)
        return found

    async def delete(self) -> None:
        await self._each(lambda name: self._cluster.delete(WORKSPACES, name))
        await self._until("gone", lambda state: not (state.workspace or state.deployment or state.service))

    async def _create(self) -> None:
        async def create(name: str) -> None:
            body = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": self._cluster.namespace},
                "data": {"inference_config.yaml": "transformers: {max_rows: 4}"},
            }
            await self._cluster.send(CONFIG_MAPS, body)
            preset = {"preset": {"name": "tiny-chat"}, "config": name}
            await self._cluster.send(WORKSPACES, workspace(self._cluster.namespace, name, **preset))

        await self._each(create)
        await self._until(
            "deployed",
            lambda state: state.replicas == 1 and bool(state.service) and state.is_reported("Deploying"),
        )

    async def _serve(self) -> None:
        await self._nodes.serve(*self._names)
        await self._told("Serving")

    async def _edit(self) -> None:
        await self._each(lambda name: self._cluster.edit(WORKSPACES, name, {"resource": {"count": 2}}))
        await self._until("scaled", lambda state: state.replicas == 2)
        await self._serve()

    async def _meddle(self) -> None:
        async def meddle(name: str) -> None:
            await self._cluster.edit(DEPLOYMENTS, name, {"spec": {"replicas": 5}})
            await self._cluster.edit(SERVICES, name, {"spec": {"selector": {"alien": "yes"}}})

        await self._each(meddle)
        await self._until(
            "put right", lambda state: state.replicas == 2 and state.selector.keys() == {LABEL_WORKSPACE}
        )
        await self._serve()

    async def _crash(self) -> None:
        await self._nodes.crash(*self._names, exit_code=137, reason="OOMKilled")
        await self._told("OutOfMemory")

    async def _told(self, reason: str) -> None:
        """Wait for the report, and for its Event: a cause that passes before its Event could be posted has none."""
        await self._until(f"reported as {reason}", lambda state: state.is_reported(reason))

        def has_event(state: State) -> bool:
            assert state.workspace is not None
            reasons = {event["reason"] for event in state.events}
            return reason in reasons or state.workspace["metadata"]["name"] in self._untold

        await self._until(f"told of {reason} by an Event", has_event)

    async def _each(self, work: Callable[[str], Awaitable[Any]]) -> None:
        at_once = asyncio.Semaphore(AT_ONCE)

        async def one(name: str) -> None:
            async with at_once:
                await work(name)

        await asyncio.gather(*map(one, self._names))

    async def _until(self, what: str, settled: Settled) -> None:
        async def left() -> dict[str, Any]:
            return {
                name: [state.replicas, dict(state.selector), condition(state.workspace)]
                for name, state in (await self.states()).items()
                if not settled(state)
            }

        await eventually(left, lambda names: not names, f"every Workspace is {what}", STEP_SECONDS)


def outcome(state: State, name: str) -> Object:
    """What has come of a Workspace, without its name, its identity and the times: equal for equal lives."""
    assert state.workspace is not None
    assert state.deployment is not None
    assert state.service is not None
    meant = {
        "status": state.workspace["status"],
        "finalizers": state.workspace["metadata"].get("finalizers"),
        "annotations": state.workspace["metadata"].get("annotations"),
        "deployment": _meant(state.deployment),
        "service": _meant(state.service),
    }
    text = json.dumps(meant).replace(name, "NAME").replace(state.service["spec"]["clusterIP"], "ADDRESS")
    return dict(_without_times(json.loads(text)))


def _meant(live: Object) -> Object:
    meta, spec = live["metadata"], copy.deepcopy(live["spec"])
    for assigned in ("clusterIP", "clusterIPs"):
        spec.pop(assigned, None)
    owners = [{**owner, "uid": ""} for owner in meta["ownerReferences"]]
    # Digests among the values of annotations are of the name, too.
    annotations = sorted(meta.get("annotations") or {})
    return {"labels": meta.get("labels"), "annotations": annotations, "owners": owners, "spec": spec}


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(inner) for key, inner in value.items() if key not in TIMES}
    return [_without_times(item) for item in value] if isinstance(value, list) else value
