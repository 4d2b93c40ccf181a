"""A proxy in front of any API server: it notes every request that an operator makes, and can lose the line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from aiohttp import web
from kubernetes.aio import config
from kubernetes.aio.client import Configuration

from control_plane.api_faults import Fault, Faults, bent, enact, hang_up

T = TypeVar("T")

HOP_BY_HOP = frozenset({"host", "connection", "content-length", "transfer-encoding", "authorization"})
START_SECONDS = 30.0
GONE = 410
"""The code on a watch from a moment that the API server no longer remembers."""


@dataclass(frozen=True)
class Request:
    """One request that came by. `status` is the answer's."""

    method: str
    path: str
    query: dict[str, str]
    agent: str
    status: int

    @property
    def is_write(self) -> bool:
        return self.method in ("POST", "PUT", "PATCH", "DELETE")

    @property
    def is_watch(self) -> bool:
        return self.query.get("watch") in ("true", "1")

    def __str__(self) -> str:
        return f"{self.method} {self.path} -> {self.status}"


class ApiProxy:
    """Runs in a thread of its own. `requests` holds what was answered, in order; watches are noted when they open."""

    def __init__(self, kubeconfig: Path) -> None:
        self.requests: list[Request] = []
        self.url = ""
        self.faults: Faults | None = None
        """What is to go wrong; None for nothing."""
        self._kubeconfig = kubeconfig
        self._down = False
        self._errors: dict[str, int] = {}
        self._asked: set[asyncio.Transport] = set()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._started: Future[str] = Future()

    def write_kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig that leads here, without credentials: the proxy has its own."""
        body = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "proxy", "cluster": {"server": self.url}}],
            "users": [{"name": "proxy", "user": {}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
            "current-context": "proxy",
        }
        path.write_text(json.dumps(body))
        return path

    def writes(self, since: int = 0) -> list[str]:
        """The writes from the given position in `requests` on, each as a line."""
        return [str(request) for request in self.requests[since:] if request.is_write]

    def about(self, name: str, since: int = 0) -> list[Request]:
        """The requests for objects of a name, from the given position in `requests` on."""
        return [request for request in self.requests[since:] if f"/{name}" in request.path]

    def cut(self, *, answer: int | None = None) -> None:
        """Break every connection and refuse new ones. With an answer's code, each kind's first watch afterwards ends
        with that error: GONE as after a long outage, 500 as when the API server's storage is in trouble."""
        self._call(self._cut(answer))

    def mend(self) -> None:
        """Let connections through again."""
        self._down = False

    @contextmanager
    def running(self) -> Iterator[ApiProxy]:
        thread = threading.Thread(target=self._loop.run_until_complete, args=[self._serve()])
        thread.start()
        try:
            self.url = self._started.result(START_SECONDS)
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._stop.set)
            thread.join(START_SECONDS)
            self._loop.close()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(START_SECONDS)

    async def _cut(self, answer: int | None) -> None:
        self._down = True
        if answer is not None:
            self._errors = {request.path: answer for request in self.requests if request.is_watch}
        for transport in self._asked:
            transport.abort()

    async def _serve(self) -> None:
        try:
            async with contextlib.AsyncExitStack() as stack:
                forward, session = await upstream(self._kubeconfig)
                await stack.enter_async_context(session)
                app = web.Application(client_max_size=16 * 2**20)
                app.router.add_route("*", "/{path:.*}", self._handler(session, forward))
                # A watch has no end: those that are still open when the proxy stops are cut.
                runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
                await runner.setup()
                stack.push_async_callback(runner.cleanup)
                site = web.TCPSite(runner, "127.0.0.1", 0)
                await site.start()
                self._started.set_result(f"http://127.0.0.1:{runner.addresses[0][1]}")
                await self._stop.wait()
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)

    def _handler(
        self, session: aiohttp.ClientSession, server: str
    ) -> Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            transport = request.transport
            if transport is None or self._down:
                return hang_up(request)
            self._asked.add(transport)
            try:
                return await self._forward(session, server, request)
            except (aiohttp.ClientError, ConnectionError):
                return hang_up(request)
            finally:
                self._asked.discard(transport)

        return handle

    async def _forward(
        self, session: aiohttp.ClientSession, server: str, request: web.Request
    ) -> web.StreamResponse:
        watch = request.query.get("watch") in ("true", "1")
        if watch and (code := self._errors.pop(request.path, None)) is not None:
            self._note(request, 200)
            status = {
                "kind": "Status",
                "apiVersion": "v1",
                "status": "Failure",
                "code": code,
                "message": "in a test",
            }
            event = {"type": "ERROR", "object": status}
            return web.Response(text=json.dumps(event) + "\n", content_type="application/json")
        fault = await self.faults.about(request) if self.faults is not None else None
        if fault is not None and fault.end != "stream":
            return await enact(fault, request, lambda: self._answer(session, server, request))
        if watch:
            return await self._stream(session, server, request, fault)
        return await self._answer(session, server, request)

    async def _answer(
        self, session: aiohttp.ClientSession, server: str, request: web.Request
    ) -> web.Response:
        async with _passed_on(session, server, request) as got:
            content = await got.read()
            self._note(request, got.status)
            return web.Response(status=got.status, body=content, headers=_kept(got.headers))

    async def _stream(
        self, session: aiohttp.ClientSession, server: str, request: web.Request, fault: Fault | None
    ) -> web.StreamResponse:
        async with _passed_on(session, server, request) as got:
            self._note(request, got.status)
            answer = web.StreamResponse(status=got.status, headers=_kept(got.headers))
            await answer.prepare(request)
            chunks = got.content.iter_any() if fault is None else bent(fault, aiter(got.content))
            async for chunk in chunks:
                await answer.write(chunk)
            return answer

    def _note(self, request: web.Request, status: int) -> None:
        agent = request.headers.get("User-Agent", "")
        self.requests.append(Request(request.method, request.path, dict(request.query), agent, status))


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in HOP_BY_HOP}


@asynccontextmanager
async def _passed_on(
    session: aiohttp.ClientSession, server: str, request: web.Request
) -> AsyncIterator[aiohttp.ClientResponse]:
    body = await request.read() or None
    headers = _kept(request.headers)
    async with session.request(request.method, server + request.path_qs, headers=headers, data=body) as got:
        yield got


async def upstream(kubeconfig: Path) -> tuple[str, aiohttp.ClientSession]:
    """The API server's address, and a session that trusts it and that it trusts."""
    found = Configuration()
    await config.load_kube_config(config_file=str(kubeconfig), client_configuration=found)
    trust = ssl.create_default_context(cafile=found.ssl_ca_cert, cadata=found.ca_cert_data)
    if found.cert_file:
        trust.load_cert_chain(found.cert_file, found.key_file)
    token = found.api_key.get("BearerToken")
    return found.host.rstrip("/"), aiohttp.ClientSession(
        auto_decompress=False,
        connector=aiohttp.TCPConnector(limit=0, ssl=trust),
        headers={"Authorization": token} if token else None,
        timeout=aiohttp.ClientTimeout(total=None),
    )
