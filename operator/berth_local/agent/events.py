"""Events about objects: one object per cause, counted up when it happens again."""

import asyncio
import logging
import uuid
from collections import OrderedDict
from datetime import UTC, datetime, timedelta

from berth_local.agent.client import EVENTS, ApiClient
from berth_local.agent.plan.objects import Object, parse_time, time_text
from berth_operator.kube import KubeError, NotFound

log = logging.getLogger(__name__)

REMEMBERED = 500
"""Events that are counted up rather than told anew; older ones start a new count, as after an hour on a cluster."""


KEPT = timedelta(hours=1)
"""How long events are kept: a cluster's default."""

EXPIRE_SECONDS = 300.0


class EventRecorder:
    """Tells the API server what happened. `record` never waits and never fails; `flush` waits for what is told."""

    def __init__(self, client: ApiClient, host: str) -> None:
        self._client = client
        self._host = host
        self._known: OrderedDict[tuple[str, ...], Object] = OrderedDict()
        self._queue: asyncio.Queue[tuple[Object, str, str, str, str]] = asyncio.Queue()

    def record(
        self, about: Object, reason: str, message: str, kind: str = "Normal", by: str = "kubelet"
    ) -> None:
        """Say that something happened to an object: `reason` in CamelCase, `kind` Normal or Warning."""
        self._queue.put_nowait((about, reason, message, kind, by))

    async def run(self) -> None:
        """Send what is recorded, until cancelled."""
        while True:
            item = await self._queue.get()
            try:
                await self._send(*item)
            except KubeError as error:
                log.info("event %s could not be recorded: %s", item[1], error)
            finally:
                self._queue.task_done()

    async def expire(self) -> None:
        """Remove every component's events once they are old, as a cluster does, until cancelled."""
        while True:
            try:
                events, _ = await self._client.list(EVENTS)
                oldest = datetime.now(UTC) - KEPT
                for event in events:
                    if (_last(event) or oldest) < oldest:
                        meta = event["metadata"]
                        await self._client.delete(EVENTS, meta["namespace"], meta["name"], meta["uid"])
            except KubeError as error:
                log.info("old events were not removed: %s", error)
            await asyncio.sleep(EXPIRE_SECONDS)

    async def flush(self, seconds: float) -> None:
        """Wait, at most that long, until all that was recorded has been sent."""
        try:
            await asyncio.wait_for(self._queue.join(), seconds)
        except TimeoutError:
            log.info("%d events were not sent in time", self._queue.qsize())

    async def _send(self, about: Object, reason: str, message: str, kind: str, by: str) -> None:
        meta, now = about["metadata"], time_text(datetime.now(UTC))
        cause = (meta["uid"], reason, message, kind, by)
        namespace = meta.get("namespace") or "default"
        if (known := self._known.get(cause)) is not None:
            self._known.move_to_end(cause)
            known["count"] += 1
            change = {"count": known["count"], "lastTimestamp": now}
            try:
                await self._client.merge(EVENTS, namespace, known["metadata"]["name"], change)
            except NotFound:
                del self._known[cause]
            else:
                return
        body: Object = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{meta['name'][:230]}.{uuid.uuid4().hex[:16]}", "namespace": namespace},
            "involvedObject": {
                "apiVersion": about["apiVersion"],
                "kind": about["kind"],
                "name": meta["name"],
                "namespace": meta.get("namespace", ""),
                "uid": meta["uid"],
            },
            "reason": reason,
            "message": message,
            "type": kind,
            "source": {"component": by, "host": self._host},
            "reportingComponent": by,
            "reportingInstance": self._host,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        await self._client.create(EVENTS, body)
        self._known[cause] = body
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)


def _last(event: Object) -> datetime | None:
    """When an event last happened, as far as it says."""
    times = (event.get("lastTimestamp"), event.get("eventTime"), event["metadata"].get("creationTimestamp"))
    return next((time for time in map(parse_time, times) if time is not None), None)
