"""Facts that only a Workspace in trouble needs, read from the API server when asked for and kept for a moment."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from berth_operator.cluster_cache import EVENTS, PODS, ClusterCache
from berth_operator.kube import KubeClient, KubeError, Object, Refused
from berth_operator.plan import nodes
from berth_operator.plan.node_affinity import is_wanted
from berth_operator.plan.observed import Observed, uid
from berth_operator.plan.placement import GPU_RESOURCE
from berth_operator.plan.questions import asks_for_events, asks_for_gpu_holders, lacks_pods

log = logging.getLogger(__name__)

Value = TypeVar("Value")

KEEP_SECONDS = 10.0
"""A burst of changes of one pod asks once; a person who fixes something waits no longer than this."""

REFUSED_SECONDS = 300.0
"""How long a right that we lack is not asked for again."""

GPU_NODES_ASKED = 20
"""Nodes whose pods are listed to find who holds their GPUs. More would be more than anyone reads."""

PODS_ASKED = 5
"""Pods of one Workspace whose Events are read: those of one template mostly fail alike."""


KEPT_METADATA = ("name", "namespace", "uid", "labels", "deletionTimestamp")


class OnDemand:
    """Completes what the watches tell."""

    def __init__(
        self, client: KubeClient, cache: ClusterCache, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._cache = cache
        self._clock = clock
        self._kept: dict[tuple[str, str], tuple[float, tuple[Object, ...]]] = {}
        self._refused_until: dict[str, float] = {}

    async def complete(self, observed: Observed, now: str = "") -> Observed:
        """Return what is observed, with the Events and holders of GPUs that its diagnosis would ask for.

        `now` is an RFC 3339 time; without it, pods that have only just been made are asked about, too.
        """
        asking = [pod for pod in observed.current_pods if asks_for_events(pod, now)][:PODS_ASKED]
        if asking:
            found = await asyncio.gather(*(self._events(pod) for pod in asking))
            observed = replace(
                observed, events={uid(pod): events for pod, events in zip(asking, found, strict=True)}
            )
        if (group := observed.group) is not None and lacks_pods(observed):
            events = await self._events(group, "StatefulSet")
            observed = replace(observed, events={**observed.events, uid(group): events})
        waiting = [pod for pod in observed.current_pods if asks_for_gpu_holders(pod)]
        if waiting:
            observed = replace(observed, gpu_pods=await self._gpu_pods(waiting, observed.nodes))
        return observed

    async def _events(self, obj: Object, kind: str = "Pod") -> tuple[Object, ...]:
        namespace, name = obj["metadata"]["namespace"], obj["metadata"]["name"]
        fields = f"involvedObject.kind={kind},involvedObject.name={name},involvedObject.uid={uid(obj)}"
        events = await self._read(
            ("events", uid(obj)), lambda: self._client.list_all(EVENTS, namespace, fields=fields)
        )
        return tuple(sorted(events or (), key=_last_seen))

    async def _gpu_pods(
        self, waiting: list[Object], known: tuple[Object, ...] | None
    ) -> tuple[Object, ...] | None:
        """The pods on the nodes with GPUs that the waiting pods could have, as far as they may be read."""
        ours = self._cache.all_pods()
        if known is None:
            return ours if any(True for _ in nodes.gpu_requests(ours)) else None
        asked = sorted(
            nodes.name_of(node)
            for node in known
            if nodes.allocatable(node, GPU_RESOURCE) and any(is_wanted(node, pod["spec"]) for pod in waiting)
        )
        lists = await asyncio.gather(*(self._pods_on(name) for name in asked[:GPU_NODES_ASKED]))
        seen = {uid(pod): pod for pod in ours}
        if asked and all(found is None for found in lists):
            return ours if any(True for _ in nodes.gpu_requests(ours)) else None
        seen.update({uid(pod): pod for found in lists for pod in found or ()})
        return tuple(seen.values())

    async def _pods_on(self, node: str) -> tuple[Object, ...] | None:
        return await self._read(
            ("pods", node), lambda: self._client.list_all(PODS, None, fields=f"spec.nodeName={node}")
        )

    async def _read(
        self, key: tuple[str, str], read: Callable[[], Awaitable[list[Object]]]
    ) -> tuple[Object, ...] | None:
        now, kind = self._clock(), key[0]
        at, kept = self._kept.get(key, (float("-inf"), ()))
        if now - at < KEEP_SECONDS:
            return kept
        if now < self._refused_until.get(kind, 0.0):
            return None
        try:
            found = tuple(_slim(await read(), kind))
        except Refused as error:
            self._refused_until[kind] = now + REFUSED_SECONDS
            log.info("diagnoses will say less, for %s may not be listed: %s", kind, error)
            return None
        except KubeError as error:
            log.info("%s of %s could not be listed: %s", kind, key[1], error)
            return kept or None
        self._kept = {known: entry for known, entry in self._kept.items() if now - entry[0] < KEEP_SECONDS}
        self._kept[key] = (now, found)
        return found


def _slim(objects: Iterable[Object], kind: str) -> list[Object]:
    """Of other people's pods, only what tells who holds a GPU; nothing of their content is kept."""
    if kind == "events":
        return list(objects)
    return [
        {
            "metadata": {name: pod["metadata"].get(name) for name in KEPT_METADATA},
            "spec": {
                "nodeName": (pod.get("spec") or {}).get("nodeName"),
                **{
                    # Init containers, too: one that goes on running holds its GPU, as vLLM's does.
                    kind: [
                        {name: container.get(name) for name in ("resources", "restartPolicy")}
                        for container in (pod.get("spec") or {}).get(kind) or []
                    ]
                    for kind in ("initContainers", "containers")
                },
            },
            "status": {"phase": (pod.get("status") or {}).get("phase")},
        }
        for pod in objects
    ]


def _last_seen(event: Object) -> str:
    return str(
        event.get("lastTimestamp")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp")
        or ""
    )
