"""Service addresses: listens where a Service is to be reached and forwards to its ready pods, in turn."""

import asyncio
import contextlib
import errno
import itertools
import logging
import socket
import struct
from collections.abc import Callable, Sequence

log = logging.getLogger(__name__)

BACKLOG = 512
CHUNK_BYTES = 2**16
CONNECT_SECONDS = 2.0
"""A pod on this machine accepts at once or not at all."""

Endpoint = tuple[str, int]


class PortProxy:
    """One port of one Service. While it has no ready pod, connections are refused, as on a cluster."""

    def __init__(self, endpoints: Callable[[], Sequence[Endpoint]]) -> None:
        self._endpoints = endpoints
        self._turn = itertools.count()
        self._candidates: Sequence[Endpoint] = ()
        self._reserved: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.address: Endpoint = ("", 0)
        """Where it listens, once `reserve` succeeded."""

    def reserve(self, candidates: Sequence[Endpoint]) -> None:
        """Take the first of these addresses that can be had; port 0 means any. Raises OSError when none can be."""
        self._candidates = candidates
        problem = OSError(errno.EADDRNOTAVAIL, "no address to listen on")
        for ip, port in candidates:
            try:
                self._reserved = _bound(ip, port)
            except OSError as error:
                problem = error
            else:
                self.address = self._reserved.getsockname()
                return
        raise problem

    async def refresh(self) -> None:
        """Listen if there is a ready pod, refuse if there is none."""
        ready = bool(self._endpoints())
        if ready and self._server is None:
            if self._reserved is None:
                self.reserve(self._candidates)
            try:
                self._server = await asyncio.start_server(self._accept, sock=self._reserved, backlog=BACKLOG)
            except OSError:
                # Another control plane had reserved the same address and listened first.
                self._drop_reservation()
                self.reserve(self._candidates)
                self._server = await asyncio.start_server(self._accept, sock=self._reserved, backlog=BACKLOG)
            self._reserved = None
        elif not ready and self._server is not None:
            self._server.close()
            self._server = None
            # Bound but not listening: connections are refused and nobody else takes the port.
            with contextlib.suppress(OSError):
                self._reserved = _bound(*self.address)

    async def close(self) -> None:
        """Stop listening and end the connections."""
        if self._server is not None:
            self._server.close()
        self._server = None
        self._drop_reservation()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _drop_reservation(self) -> None:
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        with contextlib.suppress(asyncio.CancelledError):
            try:
                await self._forward(reader, writer)
            finally:
                writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = await self._connect()
        if upstream is None:
            _reset(writer)
            return
        up_reader, up_writer = upstream
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, up_writer))
                group.create_task(_copy(up_reader, writer))
        except* OSError:
            # One side is gone; the other learns it by the reset below.
            _reset(writer)
        finally:
            up_writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        ready = list(self._endpoints())
        first = next(self._turn)
        for step in range(len(ready)):
            # A pod may have gone since it was last probed: then the next one serves.
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await asyncio.open_connection(*ready[(first + step) % len(ready)])
        return None


def _bound(ip: str, port: int) -> socket.socket:
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((ip, port))
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while chunk := await source.read(CHUNK_BYTES):
        target.write(chunk)
        await target.drain()
    if target.can_write_eof():
        target.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            # Linger for zero seconds: closing then sends a reset, so that the client sees a failure, not an end.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
