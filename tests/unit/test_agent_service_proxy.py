"""Service ports: forwarded to ready pods in turn, refused when there are none."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from berth_local.agent.service_proxy import Endpoint, PortProxy


class Backend:
    """A server that says its name and then echoes."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.endpoint: Endpoint = ("", 0)

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.endpoint = self.server.sockets[0].getsockname()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.name)
        while data := await reader.read(1000):
            writer.write(data)
            await writer.drain()
        writer.close()


@pytest.fixture
async def backends() -> AsyncIterator[list[Backend]]:
    made = [Backend(b"a"), Backend(b"b")]
    for one in made:
        await one.start()
    yield made
    for one in made:
        one.server.close()


@pytest.fixture
async def ready() -> list[Endpoint]:
    return []


@pytest.fixture
async def proxy(ready: list[Endpoint]) -> AsyncIterator[PortProxy]:
    made = PortProxy(lambda: ready)
    made.reserve([("127.0.0.1", 0)])
    yield made
    await made.close()


async def name_of(proxy: PortProxy) -> bytes:
    reader, writer = await asyncio.open_connection(*proxy.address)
    try:
        return await reader.read(1)
    finally:
        writer.close()
        await writer.wait_closed()


async def test_without_a_ready_pod_connections_are_refused_and_the_port_stays_taken(
    proxy: PortProxy, ready: list[Endpoint], backends: list[Backend]
) -> None:
    for endpoints in ([], [backends[0].endpoint], []):
        ready[:] = endpoints
        await proxy.refresh()
        if endpoints:
            assert await name_of(proxy) == b"a"
        else:
            with pytest.raises(ConnectionRefusedError):
                await name_of(proxy)
        with pytest.raises(OSError, match="in use"):
            await asyncio.start_server(lambda *_: None, *proxy.address, reuse_address=False)


async def test_connections_go_to_the_ready_pods_in_turn(
    proxy: PortProxy, ready: list[Endpoint], backends: list[Backend]
) -> None:
    ready[:] = [one.endpoint for one in backends]
    await proxy.refresh()
    assert [await name_of(proxy) for _ in range(4)] == [b"a", b"b", b"a", b"b"]
    del ready[0]
    assert [await name_of(proxy) for _ in range(2)] == [b"b", b"b"]


async def test_a_pod_that_just_went_is_passed_over(
    proxy: PortProxy, ready: list[Endpoint], backends: list[Backend]
) -> None:
    ready[:] = [one.endpoint for one in backends]
    await proxy.refresh()
    backends[0].server.close()
    await backends[0].server.wait_closed()
    assert [await name_of(proxy) for _ in range(3)] == [b"b"] * 3


async def test_when_every_pod_just_went_the_client_sees_a_failure_not_an_empty_answer(
    proxy: PortProxy, ready: list[Endpoint], backends: list[Backend]
) -> None:
    ready[:] = [backends[0].endpoint]
    await proxy.refresh()
    backends[0].server.close()
    await backends[0].server.wait_closed()
    with pytest.raises(ConnectionResetError):
        await name_of(proxy)


async def test_much_data_passes_both_ways_and_an_end_is_passed_on(
    proxy: PortProxy, ready: list[Endpoint], backends: list[Backend]
) -> None:
    ready[:] = [backends[0].endpoint]
    await proxy.refresh()
    reader, writer = await asyncio.open_connection(*proxy.address)
    data = bytes(range(256)) * 10_000

    async def send() -> None:
        writer.write(data)
        await writer.drain()
        writer.write_eof()

    sending = asyncio.create_task(send())
    assert await reader.read() == b"a" + data
    await sending
    writer.close()
    await writer.wait_closed()


async def test_the_first_address_that_can_be_had_is_taken(backends: list[Backend]) -> None:
    proxy = PortProxy(list)
    proxy.reserve([("192.0.2.1", 80), backends[0].endpoint, ("127.0.0.1", 0)])
    assert proxy.address[0] == "127.0.0.1"
    assert proxy.address != backends[0].endpoint
    await proxy.close()


async def test_of_two_that_reserved_one_address_the_second_moves_when_it_must_listen(
    backends: list[Backend],
) -> None:
    endpoints = [backends[0].endpoint]
    first, second = PortProxy(lambda: endpoints), PortProxy(lambda: endpoints)
    first.reserve([("127.0.0.1", 0)])
    second.reserve([first.address, ("127.0.0.1", 0)])
    assert second.address == first.address
    for proxy in (first, second):
        await proxy.refresh()
        assert await name_of(proxy) == b"a"
    assert second.address != first.address
    await first.close()
    await second.close()
