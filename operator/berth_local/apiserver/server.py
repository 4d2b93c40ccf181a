"""The API server as a whole: started, stopped, and how to reach it."""

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from berth_local.apiserver.application import application, is_loopback
from berth_local.apiserver.bodies import decode
from berth_local.apiserver.collector import Collector
from berth_local.apiserver.context import Context
from berth_local.apiserver.journal import Journal
from berth_local.apiserver.kinds.definitions import DEFINITIONS
from berth_local.apiserver.kinds.registry import Registry
from berth_local.apiserver.logs import PodLogs
from berth_local.apiserver.objects import Object, clone
from berth_local.apiserver.options import STRICT, WriteOptions
from berth_local.apiserver.store import Change, Store
from berth_local.apiserver.writing import Writer

_log = logging.getLogger(__name__)

NAMESPACES = ("default", "kube-system")
MANAGER = "berth-apiserver"
CONTEXT = "berth-local"
_CLOSING_SECONDS = 1.0
"""What a request in flight may still take when the server stops; watches end at once."""


class NotLoopback(ValueError):
    """The server knows no users and no passwords, so it listens on loopback alone."""


class ApiServer:
    """A small Kubernetes API server on loopback, over plain HTTP.

    `port` 0 takes a free one. `state` is a folder that keeps objects over a restart; without one they live as long
    as the server. `crds` are CustomResourceDefinitions that exist from the start (an older one of the same name is
    brought up to date). `pod_logs` provides containers' logs. Use it as an async context manager, or start and stop
    it. Raises NotLoopback, OSError when it cannot listen, and ApiError for a definition that is refused.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        state: Path | None = None,
        crds: Sequence[Mapping[str, Any]] = (),
        pod_logs: PodLogs | None = None,
    ) -> None:
        if not is_loopback(host):
            raise NotLoopback(f"{host} is not an address of this machine alone; use 127.0.0.1")
        self._host, self._port, self._state, self._crds = host, port, state, list(crds)
        self._pod_logs = pod_logs
        self._context: Context | None = None
        self._runner: web.AppRunner | None = None
        self._journal: Journal | None = None
        self._work: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """`http://127.0.0.1:<port>`, once started."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def kubeconfig(self) -> Object:
        """Return a kubeconfig for this server. It holds no credentials: none are asked for."""
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": CONTEXT, "cluster": {"server": self.url}}],
            "users": [{"name": CONTEXT, "user": {}}],
            "contexts": [
                {"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT, "namespace": "default"}}
            ],
            "current-context": CONTEXT,
            "preferences": {},
        }

    def write_kubeconfig(self, path: Path) -> Path:
        """Write the kubeconfig, readable by its owner alone, and return its path."""
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps(self.kubeconfig(), indent=2) + "\n")
        fresh.replace(path)
        return path

    async def start(self) -> None:
        """Load what was kept, make what every cluster has, and listen."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        store, registry = Store(), Registry()
        writer = Writer(store, registry)
        collector = Collector(store, registry)
        if self._state is not None:
            self._journal = Journal(self._state)
            self._journal.load(store)
        self._context = context = Context(store, registry, writer, self._pod_logs)
        store.listeners.append(_definitions_follow(registry, store))
        for stored in store.list(DEFINITIONS):
            registry.define(stored.body)
        collector.notice_all()
        self._furnish(context)
        self._runner = web.AppRunner(
            application(context),
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=_CLOSING_SECONDS,
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self._work = asyncio.create_task(collector.run(), name="berth-apiserver-collector")

    def _furnish(self, context: Context) -> None:
        """Make the namespaces and definitions that are there from the start."""
        namespaces = context.registry.get("v1", "namespaces")
        for name in NAMESPACES:
            if context.store.get("namespaces", ("", name)) is None:
                body: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
                context.writer.create(namespaces, "", body, WriteOptions(manager=MANAGER))
        definitions = context.registry.get("apiextensions.k8s.io/v1", "customresourcedefinitions")
        for definition in self._crds:
            options = WriteOptions(manager=MANAGER, validation=STRICT)
            body = decode(definitions, clone(dict(definition)), options)
            old = context.store.get(DEFINITIONS, ("", body["metadata"].get("name", "")))
            if old is None:
                context.writer.create(definitions, "", body, options)
            else:
                body["metadata"]["finalizers"] = old.body["metadata"].get("finalizers") or []
                context.writer.replace(definitions, old, body, options)

    async def stop(self) -> None:
        """End watches, finish requests in flight, stop listening and let the state go. May be called again."""
        if self._context is not None:
            self._context.closing.set()
            for table in self._context.store.tables.values():
                for event in table.watchers:
                    event.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self._work is not None:
            self._work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._work
            self._work = None
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        self._context = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


def _definitions_follow(registry: Registry, store: Store) -> Any:
    """Return a listener that serves what definitions say, as they come, change and go."""

    def follow(table: str, change: Change) -> None:
        if table != DEFINITIONS:
            return
        if change.type == "DELETED":
            name = change.new.body["metadata"]["name"]
            registry.forget(name)
            store.drop_table(name)
        else:
            registry.define(change.new.body)

    return follow
