"""The embedded API server with a thousand Workspaces and several watchers."""

import asyncio
import json
import time

import aiohttp
import pytest

from berth_local.apiserver import ApiServer
from control_plane.transcript import BOATS, DEFINITION, NAMESPACE, NAMESPACES, boat

OBJECTS, WATCHERS, WRITERS = 1000, 5, 8
MOST_SECONDS = 30.0
"""Some ten times what it takes on two quiet cores: a guard against quadratic work, not a benchmark."""


async def _watch(session: aiohttp.ClientSession, url: str, ready: asyncio.Event) -> list[str]:
    """Return the names seen added, in order, once all are."""
    names: list[str] = []
    query = {"watch": "true", "resourceVersion": "0", "allowWatchBookmarks": "true"}
    async with session.get(url, params=query) as response:
        ready.set()
        rest = b""
        async for chunk in response.content.iter_any():
            *lines, rest = (rest + chunk).split(b"\n")
            names += [
                event["object"]["metadata"]["name"]
                for event in map(json.loads, lines)
                if event["type"] == "ADDED"
            ]
            if len(names) == OBJECTS:
                return names
    return names


@pytest.mark.timeout(120)
async def test_a_thousand_objects_reach_every_watcher_once_and_in_order() -> None:
    async with ApiServer(crds=[DEFINITION]) as server, aiohttp.ClientSession() as session:
        await session.post(server.url + NAMESPACES, json={"metadata": {"name": NAMESPACE}})
        url = server.url + BOATS
        started = [asyncio.Event() for _ in range(WATCHERS)]
        watchers = [asyncio.create_task(_watch(session, url, ready)) for ready in started]
        await asyncio.gather(*(ready.wait() for ready in started))

        async def write(part: int) -> None:
            for number in range(part, OBJECTS, WRITERS):
                async with session.post(
                    url, json=boat(f"b{number:04}", sail="ab", tags={"a": "b"})
                ) as response:
                    assert response.status == 201

        begin = time.monotonic()
        await asyncio.gather(*(write(part) for part in range(WRITERS)))
        seen = await asyncio.gather(*watchers)
        took = time.monotonic() - begin
        assert sorted(seen[0]) == [f"b{number:04}" for number in range(OBJECTS)]
        assert all(names == seen[0] for names in seen)
        assert took < MOST_SECONDS, f"{OBJECTS} objects and {WATCHERS} watchers took {took:.1f} s"
        async with session.get(url) as response:
            assert len((await response.json())["items"]) == OBJECTS
