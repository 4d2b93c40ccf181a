"""Runs the application: socket, signals, drain, exit code."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from berth_inference.app import create_app
from berth_inference.errors import LoadError
from berth_inference.logs import configure_logs
from berth_inference.service import Loader, Service, State
from berth_inference.settings import Settings
from berth_inference.termination import fail

_log = logging.getLogger(__name__)

# Seconds for answers that are complete to reach slow clients, after the drain.
_LAST_BYTES_SECONDS = 3

# Connections that the kernel holds while the process is busy: the usual maximum on Linux.
_BACKLOG = 2048


class _Server(uvicorn.Server):
    """uvicorn without its signal handling, which closes the listener at once and dies by the signal.

    Ours keeps the listener open while requests drain, so that late ones get a 503 instead of a
    refused connection, and exits with 0.
    """

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to `run`."""
        yield


def run(settings: Settings, load: Loader) -> int:
    """Serve until SIGTERM or SIGINT, or until the model cannot be loaded. Returns the exit code."""
    configure_logs(settings.log_format)
    # Its messages are of lifecycle steps that are logged here already.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    try:
        app = create_app(settings, load)
    except LoadError as error:
        return fail(error)
    try:
        listener = _listen(settings.host, settings.port)
    except OSError as error:
        why = os.strerror(error.errno or 0)
        sys.stderr.write(
            f"berth_inference: error: cannot listen on {settings.host} port {settings.port}: {why}\n"
        )
        return 1
    server = _Server(http_config(app))
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        return runner.run(_serve(app.state.service, server, settings.drain_seconds, listener))


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


def http_config(app: ASGIApp) -> uvicorn.Config:
    """How HTTP is spoken: by uvicorn's own fast parts, a fifth of a request's time less than its plain ones."""
    return uvicorn.Config(
        app,
        http="httptools",
        loop="uvloop",
        log_config=None,
        access_log=False,  # request_log.py says more
        lifespan="on",
        timeout_graceful_shutdown=_LAST_BYTES_SECONDS,
        server_header=False,
    )


async def _serve(service: Service, server: _Server, drain_seconds: float, listener: socket.socket) -> int:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()

    def tell(signum: int) -> None:
        _log.info("%s: draining", signal.Signals(signum).name)
        if told.is_set():  # asked twice: whoever asks is in a hurry
            server.should_exit = True
        told.set()

    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, tell, signum)
    host, port = listener.getsockname()[:2]
    _log.info("listening on http://%s:%d", f"[{host}]" if ":" in host else host, port)
    ending = asyncio.create_task(_end(service, server, told, drain_seconds))
    try:
        await server.serve(sockets=[listener])
    finally:
        ending.cancel()
    return fail(service.failure) if service.failure is not None else 0


async def _end(service: Service, server: _Server, told: asyncio.Event, drain_seconds: float) -> None:
    """Waits for a reason to stop, and stops: at once for a failed load, drained for a signal."""
    waits = [asyncio.create_task(told.wait()), asyncio.create_task(_failed(service))]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    if service.state is not State.FAILED:
        await service.drain(drain_seconds)
    server.should_exit = True


async def _failed(service: Service) -> None:
    await service.settled.wait()
    if service.state is not State.FAILED:
        await asyncio.Event().wait()
