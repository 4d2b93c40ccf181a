"""The loops that keep every Workspace looked at: workers over the queue, and a resync that lists everything."""

import asyncio
import logging
import time
from collections.abc import Iterable

from berth_operator.cluster_cache import NODES, OPTIONAL, WATCHED, WORKSPACES, ClusterCache, Key, Object
from berth_operator.kube import Conflict, KubeClient, KubeError, NotFound, Refused, Resource
from berth_operator.reconcile import Reconciler
from berth_operator.settings import Settings
from berth_operator.workqueue import WorkQueue

log = logging.getLogger(__name__)

RELIST_SETTLE_SECONDS = 2.0
"""A watch that starts over tells of every object again; one resync after that burst is enough."""

RESYNC_RETRY_SECONDS = 5.0

STUCK_SECONDS = 120.0
"""A single reconcile is a handful of requests of at most 30 seconds each; longer means that it will not end."""


class ResourceMissing(Exception):
    """The cluster does not know the kind Workspace: the CRD was never installed, or was removed."""


class Controller:
    """Feeds the cache, keeps the queue, runs the workers. Watches call `seen`; nothing else needs to happen there."""

    def __init__(
        self,
        client: KubeClient,
        cache: ClusterCache,
        reconciler: Reconciler,
        settings: Settings,
        queue: WorkQueue[Key] | None = None,
    ) -> None:
        self._client = client
        self._cache = cache
        self._reconciler = reconciler
        self._settings = settings
        self._queue: WorkQueue[Key] = queue or WorkQueue()
        self._relist = asyncio.Event()
        self._started_at: dict[Key, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._synced = False
        self.unreadable: set[Resource] = set()
        """Optional kinds that the API server did not let us list the last time."""
        self.readable_again = asyncio.Event()
        """Set when one of them could be listed after all: its watch is to begin."""

    def seen(self, resource: Resource, event_type: str | None, obj: Object) -> None:
        """Take note of a watch event. It marks its Workspace as due; it never fails.

        An event without a type tells of an object that a watch found when it started over: events may have been
        lost before it, deletions above all.
        """
        if resource is NODES:
            self._seen_node(event_type, obj)
            return
        if event_type == "DELETED":
            self._queue.add(self._cache.remove(resource, obj))
            return
        self._queue.add(self._cache.put(resource, obj))
        if event_type is None:
            self._relist.set()

    def _seen_node(self, event_type: str | None, obj: Object) -> None:
        if event_type == "DELETED":
            self._cache.nodes.remove(obj)
        elif not self._cache.nodes.put(obj):
            return
        self.wake(self._cache.concerned_by_nodes())

    def wake(self, keys: Iterable[Key]) -> None:
        """Mark Workspaces as due for a reason that is not among the watched kinds."""
        for key in keys:
            self._queue.add(key)

    @property
    def ready(self) -> bool:
        """Whether everything has been listed once."""
        return self._synced

    @property
    def stuck(self) -> str | None:
        """What has stopped working and would not recover, or None."""
        for task in self._tasks:
            if task.done():
                return f"{task.get_name()} has ended"
        now = time.monotonic()
        for key, started in self._started_at.items():
            if now - started > STUCK_SECONDS:
                return f"workspace {key[0]}/{key[1]} has been reconciled for {now - started:.0f} s"
        return None

    async def start(self) -> None:
        """List everything, then start the workers and the resync. Raises `ResourceMissing` or `KubeError`."""
        await self.resync()
        self._tasks = {
            asyncio.create_task(self._work(), name=f"worker {number}")
            for number in range(self._settings.workers)
        }
        self._tasks.add(asyncio.create_task(self._keep_synced(), name="resync"))

    async def stop(self) -> None:
        """End the workers. What they were doing is done again after the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._queue.close()

    async def resync(self) -> None:
        """List every watched kind, believe the lists, and mark every Workspace as due."""
        for resource, selector in WATCHED:
            try:
                await self._list(resource, selector)
            except NotFound as error:
                if resource is WORKSPACES:
                    raise ResourceMissing(str(error)) from error
                raise
            except Refused as error:
                if resource not in OPTIONAL:
                    raise
                if resource not in self.unreadable:
                    self.unreadable.add(resource)
                    log.info("less will be told and done, for %s may not be read: %s", resource.plural, error)
            else:
                if resource in self.unreadable:
                    self.unreadable.remove(resource)
                    self.readable_again.set()
                    log.info("%s may be read again", resource.plural)
        self._synced = True

    async def _list(self, resource: Resource, selector: str) -> None:
        if resource is NODES:
            if self._cache.nodes.replace(await self._client.list_all(NODES)):
                self.wake(self._cache.concerned_by_nodes())
            return
        for namespace in self._settings.watch_namespaces or (None,):
            known = self._cache.versions(resource)
            if namespace is not None:
                known = {identity: version for identity, version in known.items() if identity[0] == namespace}
            objects = await self._client.list_all(resource, namespace, selector)
            self.wake(self._cache.replace(resource, objects, known))

    async def _keep_synced(self) -> None:
        pause = self._settings.resync_seconds
        while True:
            try:
                async with asyncio.timeout(pause):
                    await self._relist.wait()
                await asyncio.sleep(RELIST_SETTLE_SECONDS)
            except TimeoutError:
                pass
            self._relist.clear()
            try:
                await self.resync()
                pause = self._settings.resync_seconds
            except (KubeError, ResourceMissing) as error:
                log.warning("listing everything failed, again in %.0f s: %s", RESYNC_RETRY_SECONDS, error)
                pause = RESYNC_RETRY_SECONDS

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            self._started_at[key] = time.monotonic()
            try:
                again = await self._reconciler.reconcile(key)
            except KubeError as error:
                delay = self._queue.failed(key, error.retry_after)
                level = logging.INFO if isinstance(error, Conflict) else logging.WARNING
                log.log(level, "workspace %s/%s: %s; again in %.1f s", *key, error, delay)
            except Exception:
                # A fault of ours must not stop the other Workspaces, and must be seen.
                delay = self._queue.failed(key)
                log.exception("workspace %s/%s: an unforeseen error; again in %.1f s", *key, delay)
            else:
                self._queue.done(key)
                if again is not None:
                    self._queue.add_after(key, again)
            finally:
                del self._started_at[key]
