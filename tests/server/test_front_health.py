"""What the front takes for a vLLM that is not healthy."""

from __future__ import annotations

import asyncio

from berth_inference.engine.remote.upstream import Upstream

BROKEN = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\nConnection: close\r\n\r\nxyz"


async def test_an_answer_that_cannot_be_decoded_is_no_health() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(BROKEN)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    upstream = Upstream(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    async with server:
        assert "does not answer" in (await upstream.unhealthy() or "")
        assert await upstream.metrics() == ""
        await upstream.close()
