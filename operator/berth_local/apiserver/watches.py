"""Watches: changes as they happen, from a revision on, out of a bounded history."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping

from berth_local.apiserver.errors import ApiError, bad_request, expired
from berth_local.apiserver.kinds.resource import Resource
from berth_local.apiserver.lists import revision_asked, select, selection
from berth_local.apiserver.negotiation import METADATA, TABLE
from berth_local.apiserver.objects import Object, encode
from berth_local.apiserver.options import truth
from berth_local.apiserver.selectors import Match
from berth_local.apiserver.store import Change, Store, Stored
from berth_local.apiserver.tables import partial, table

BOOKMARK_SECONDS = 30.0
"""Between bookmarks. Clients take a watch for dead that is silent for longer: kopf after 70 s."""

SHORTEST_SECONDS = 1800.0
"""A watch without timeoutSeconds ends after this to twice this, as on a cluster, so that clients list anew."""


class Watch:
    """One client's watch. `lines` yields newline-terminated JSON, several events at a time."""

    def __init__(
        self,
        store: Store,
        resource: Resource,
        namespace: str,
        query: Mapping[str, str],
        form: str,
        name: str = "",
    ) -> None:
        self._store, self._resource, self._namespace, self._form = store, resource, namespace, form
        self._match: Match | None = selection(resource, query, name)
        self._start = revision_asked(query)
        self._bookmarks = truth(query.get("allowWatchBookmarks"))
        self._include = query.get("includeObject", "Metadata")
        self._headed = False
        self._initial = truth(query.get("sendInitialEvents"))
        if self._initial and query.get("resourceVersionMatch") != "NotOlderThan":
            raise bad_request("sendInitialEvents requires resourceVersionMatch to be NotOlderThan")
        text = query.get("timeoutSeconds", "") or "0"
        if not text.isdecimal():
            raise bad_request(f"timeoutSeconds must be a number that is not negative, not {text!r}")
        self._seconds = float(text) or random.uniform(SHORTEST_SECONDS, 2 * SHORTEST_SECONDS)  # noqa: S311

    async def lines(self, closing: asyncio.Event) -> AsyncIterator[bytes]:
        """Yield events until the time is up, the history is lost or the server closes."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._seconds
        table_ = self._store.table(self._resource.table)
        listed = self._initial or self._start in (None, 0)
        start = self._store.revision if listed or self._start is None else self._start
        position = table_.position(start)
        if start < table_.floor:
            yield self._error(expired(f"too old resource version: {start} ({table_.floor})"))
            return
        if listed:
            found = select(self._store, self._resource, self._namespace, self._match)
            if found:
                yield b"".join(self._line("ADDED", one) for one in found)
            if self._initial and self._bookmarks:
                yield self._bookmark({"k8s.io/initial-events-end": "true"})
        wake = asyncio.Event()
        table_.watchers.add(wake)
        due = loop.time() + BOOKMARK_SECONDS
        try:
            while not closing.is_set() and (now := loop.time()) < end:
                changes = table_.since(position)
                if changes is None:
                    yield self._error(expired("too old resource version: the history before it is forgotten"))
                    return
                position += len(changes)
                batch = b"".join(self._event(change) for change in changes)
                if self._bookmarks and now >= due:
                    due = now + BOOKMARK_SECONDS
                    batch += self._bookmark()
                if batch:
                    yield batch
                if self._store.tables.get(self._resource.table) is not table_:
                    return
                wake.clear()
                if table_.first + len(table_.changes) == position and not closing.is_set():
                    await _wait(wake, min(end, due) - loop.time())
            rest = table_.since(position)
            if self._bookmarks and not closing.is_set() and rest is not None:
                # Whoever is told of a revision does not ask for what came before it.
                yield b"".join(self._event(change) for change in rest) + self._bookmark()
        finally:
            table_.watchers.discard(wake)

    def _event(self, change: Change) -> bytes:
        """Return a change as this watch sees it; what enters or leaves its selection is added or deleted."""
        if self._namespace and change.new.key[0] != self._namespace:
            return b""
        kind, match = change.type, self._match
        if match is not None:
            now = kind != "DELETED" and match(change.new.body)
            before = change.old is not None and match(change.old.body)
            if not now and not before:
                return b""
            kind = "MODIFIED" if now and before else "ADDED" if now else "DELETED"
            if kind == "DELETED" and change.type != "DELETED" and change.old is not None:
                meta = {**change.old.body["metadata"], "resourceVersion": str(change.new.revision)}
                return self._line(kind, Stored({**change.old.body, "metadata": meta}, change.new.revision))
        return self._line(kind, change.new)

    def _line(self, kind: str, stored: Stored) -> bytes:
        if self._form == TABLE:
            meta = {"resourceVersion": str(stored.revision)}
            body = encode(table(self._resource, [stored], meta, self._include, headed=not self._headed))
            self._headed = True
        elif self._form == METADATA:
            body = encode(partial(stored))
        else:
            body = self._resource.encoded(stored)
        return b'{"type":"%s","object":%s}\n' % (kind.encode(), body)

    def _bookmark(self, annotations: Object | None = None) -> bytes:
        meta: Object = {"resourceVersion": str(self._store.revision)}
        if self._form == TABLE:
            kept = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta}
            return (
                encode({"type": "BOOKMARK", "object": kept | {"columnDefinitions": [], "rows": []}}) + b"\n"
            )
        if annotations:
            meta["annotations"] = annotations
        kind = {"kind": self._resource.kind, "apiVersion": self._resource.api_version}
        if self._form == METADATA:
            kind = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
        return encode({"type": "BOOKMARK", "object": kind | {"metadata": meta}}) + b"\n"

    def _error(self, error: ApiError) -> bytes:
        return encode({"type": "ERROR", "object": error.status()}) + b"\n"


async def _wait(wake: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(max(seconds, 0)):
            await wake.wait()
    except TimeoutError:
        return
