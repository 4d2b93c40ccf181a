"""A local copy of one resource's objects, kept by list and watch, that its own writes reach at once."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from berth_local.agent.client import ApiClient, Expired
from berth_local.agent.plan.objects import Key, Object, deleting, key_of, time_text, uid_of
from berth_operator.kube import KubeError, Resource

log = logging.getLogger(__name__)

RETRY_SECONDS = 0.5
"""Between tries to reach an API server that does not answer; it is on this machine, so that soon is cheap."""

REMEMBERED_DELETIONS = 1000
"""How many deleted uids are kept, so that a late event does not bring a deleted object back."""

Listener = Callable[[Object], None]


class Cache:
    """The objects of one resource. Listeners are called with each object that came, changed or went."""

    def __init__(self, client: ApiClient, resource: Resource) -> None:
        self._client = client
        self.resource = resource
        self._objects: dict[Key, Object] = {}
        self._deleted: deque[str] = deque(maxlen=REMEMBERED_DELETIONS)
        self._listeners: list[Listener] = []
        self._synced = asyncio.Event()

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` from now on, from the event loop, and never with an object to be changed."""
        self._listeners.append(listener)

    def get(self, key: Key) -> Object | None:
        """Return the object of that name, if there is one."""
        return self._objects.get(key)

    def __iter__(self) -> Iterator[Object]:
        return iter(list(self._objects.values()))

    async def synced(self) -> None:
        """Wait until the first list is in."""
        await self._synced.wait()

    def put(self, obj: Object) -> None:
        """Take in an object as the API server stored it, unless a newer one is known."""
        key = key_of(obj)
        known = self._objects.get(key)
        if uid_of(obj) in self._deleted or (known is not None and _version(obj) < _version(known)):
            return
        if known is not None and _version(obj) == _version(known):
            return
        self._objects[key] = obj
        self._tell(obj)

    def drop(self, obj: Object) -> None:
        """Forget an object that was deleted."""
        known = self._objects.get(key_of(obj))
        self._deleted.append(uid_of(obj))
        if known is not None and uid_of(known) == uid_of(obj):
            del self._objects[key_of(obj)]
            self._tell(known)

    def mark_deleting(self, obj: Object) -> None:
        """Note that the API server accepted the deletion of an object, ahead of the watch that will say so."""
        known = self._objects.get(key_of(obj))
        if known is not None and uid_of(known) == uid_of(obj) and not deleting(known):
            meta = {**known["metadata"], "deletionTimestamp": time_text(datetime.now(UTC))}
            self._objects[key_of(obj)] = {**known, "metadata": meta}

    async def run(self) -> None:
        """List and watch until cancelled; what goes wrong is logged and tried again."""
        version = ""
        while True:
            try:
                if not version:
                    version = await self._list()
                version = await self._follow(version)
            except Expired:
                version = ""
            except KubeError as error:
                log.info("watching %s: %s", self.resource.plural, error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _list(self) -> str:
        items, version = await self._client.list(self.resource)
        found = {uid_of(item) for item in items}
        for gone in [obj for obj in self if uid_of(obj) not in found]:
            # A write of ours may be newer than this list; its own event will settle it.
            if _version(gone) <= int(version):
                self.drop(gone)
        for item in items:
            self.put(item)
        self._synced.set()
        return version

    async def _follow(self, version: str) -> str:
        async for kind, obj in self._client.watch(self.resource, version):
            version = str(obj["metadata"]["resourceVersion"])
            if kind == "DELETED":
                self.drop(obj)
            elif kind != "BOOKMARK":
                self.put(obj)
        return version

    def _tell(self, obj: Object) -> None:
        for listener in self._listeners:
            listener(obj)


def _version(obj: Object) -> int:
    # Numbers that grow, as Kubernetes has guaranteed since 1.35 and as the embedded server gives them.
    return int(obj["metadata"]["resourceVersion"])
