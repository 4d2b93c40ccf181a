"""Telling users: the status of a Workspace, and one Event for each change of what keeps it from serving."""

import logging
from collections.abc import Callable

from berth_operator.api.names import FIELD_MANAGER
from berth_operator.cluster_cache import EVENTS, WORKSPACES, ClusterCache, Key, Object
from berth_operator.kube import Conflict, KubeClient, NotFound, Refused
from berth_operator.plan.differences import digest
from berth_operator.plan.events import EventNote, Told, event_about, told_by, warning_event
from berth_operator.plan.reasons import Finding
from berth_operator.plan.status import Report

log = logging.getLogger(__name__)

NOTHING_TOLD: Told = ("", "")
"""Unlike no entry at all, it leaves no doubt: the status may say it already, but no Event does."""


class Reporter:
    """Writes reports where users look. Repeated Events are counted up, as Kubernetes' own are."""

    def __init__(self, client: KubeClient, cache: ClusterCache, now: Callable[[], str]) -> None:
        self._client = client
        self._cache = cache
        self._now = now
        self._told: dict[Key, Told] = {}
        self._warned: dict[Key, frozenset[str]] = {}

    async def tell(self, key: Key, raw: Object, previous: Object, current: Report) -> None:
        """Write the status if it differs from the one that stands; post an Event if the cause changed.

        Raises `KubeError` if either could not be written now; an Event that was not posted then is posted later.
        """
        status = current.status
        if any(previous.get(field) != value for field, value in status.items()):
            try:
                answer = await self._client.merge(WORKSPACES, *key, {"status": status}, "status")
            except NotFound:
                return
            self._cache.put(WORKSPACES, answer)
        note = event_about(current, self._told.get(key), previous)
        if note is not None:
            self._told.setdefault(key, NOTHING_TOLD)
            await self._post(raw, note)
        self._told[key] = told_by(current)

    async def warn(self, key: Key, raw: Object, warnings: tuple[Finding, ...]) -> None:
        """Post an Event for each warning that is new since the last time."""
        said = frozenset(warning.message for warning in warnings)
        for warning in warnings:
            if warning.message not in self._warned.get(key, ()):
                # After a restart the Event stands already: then it is not counted up.
                await self._post(raw, warning_event(warning), again=False)
        if said:
            self._warned[key] = said
        else:
            self._warned.pop(key, None)

    def forget(self, key: Key) -> None:
        """Forget a Workspace that is gone."""
        self._told.pop(key, None)
        self._warned.pop(key, None)

    async def _post(self, raw: Object, note: EventNote, *, again: bool = True) -> None:
        body = self._event(raw, note)
        name, namespace = body["metadata"]["name"], body["metadata"]["namespace"]
        try:
            try:
                await self._client.create(EVENTS, body)
            except Conflict as error:
                if again:
                    await self._count_up(namespace, name, body, error)
        except (NotFound, Refused) as error:
            # The namespace or the Workspace is going, or we may not; the condition holds the same words.
            log.info(
                "event %s for workspace %s/%s not posted: %s",
                note.reason,
                namespace,
                raw["metadata"]["name"],
                error,
            )

    async def _count_up(self, namespace: str, name: str, body: Object, conflict: Conflict) -> None:
        live = await self._client.get(EVENTS, namespace, name)
        if live is None:
            # What stood in its place has gone meanwhile: it is posted when the Workspace is looked at again.
            raise conflict
        more = {
            "count": int(live.get("count") or 1) + 1,
            "lastTimestamp": body["lastTimestamp"],
            "message": body["message"],
        }
        await self._client.merge(EVENTS, namespace, name, more)

    def _event(self, raw: Object, note: EventNote) -> Object:
        meta, now = raw["metadata"], self._now()
        # The same cause has the same name, so that it is one Event however often it comes back.
        stamp = digest([meta.get("uid"), note.type, note.reason, note.cause])
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{meta['name'][:200]}.{stamp}", "namespace": meta["namespace"]},
            "involvedObject": {
                "apiVersion": raw["apiVersion"],
                "kind": raw["kind"],
                **{field: meta[field] for field in ("name", "namespace", "uid", "resourceVersion")},
            },
            "type": note.type,
            "reason": note.reason,
            "message": note.message,
            "source": {"component": FIELD_MANAGER},
            "reportingComponent": FIELD_MANAGER,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
