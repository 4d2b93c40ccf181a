"""Watches of the embedded API server: where they start, what they say, how they end."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from berth_local.apiserver import ApiServer, store, watches
from control_plane.api_session import Api, api_session

MAPS = "/api/v1/namespaces/default/configmaps"
MERGE = "application/merge-patch+json"


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with ApiServer() as server:
        yield server


@pytest.fixture
async def api(server: ApiServer) -> AsyncIterator[Api]:
    async with api_session(server) as api:
        yield api


async def make(api: Api, name: str) -> str:
    made = await api.create(MAPS, {"metadata": {"name": name}})
    return str(made["metadata"]["resourceVersion"])


async def test_a_watch_from_a_list_sees_exactly_what_came_after_it(api: Api) -> None:
    await make(api, "before")
    _, listed = await api.ask("GET", MAPS)
    await make(api, "after")
    async with api.watch(MAPS, resourceVersion=listed["metadata"]["resourceVersion"]) as events:
        assert (await anext(events))["object"]["metadata"]["name"] == "after"
        await api.ask("PATCH", f"{MAPS}/before", {"data": {"a": "b"}}, MERGE)
        event = await anext(events)
        assert (event["type"], event["object"]["data"]) == ("MODIFIED", {"a": "b"})


async def test_a_watch_ends_after_its_timeout_with_a_bookmark(api: Api) -> None:
    revision = await make(api, "a")
    async with api.watch(
        MAPS, resourceVersion=revision, timeoutSeconds="1", allowWatchBookmarks="true"
    ) as events:
        seen = [event async for event in events]
    assert [event["type"] for event in seen] == ["BOOKMARK"]
    assert seen[0]["object"]["kind"] == "ConfigMap"
    assert int(seen[0]["object"]["metadata"]["resourceVersion"]) >= int(revision)


async def test_a_quiet_watch_is_kept_alive_by_bookmarks(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "BOOKMARK_SECONDS", 0.05)
    async with api.watch(MAPS, allowWatchBookmarks="true") as events:
        assert [(await anext(events))["type"] for _ in range(3)] == ["BOOKMARK"] * 3


async def test_a_watch_list_says_where_what_was_there_ends(api: Api) -> None:
    await make(api, "a")
    query = {
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
    }
    async with api.watch(MAPS, **query) as events:
        assert (await anext(events))["type"] == "ADDED"
        assert (await anext(events))["object"]["metadata"]["annotations"] == {
            "k8s.io/initial-events-end": "true"
        }


async def test_history_that_was_forgotten_is_410(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "HISTORY", 8)
    revision = await make(api, "a")
    for number in range(20):
        await api.ask("PATCH", f"{MAPS}/a", {"data": {"n": str(number)}}, MERGE)
    async with api.watch(MAPS, resourceVersion=revision) as events:
        event = await anext(events)
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")


async def test_a_list_at_a_revision_to_come_is_refused_for_now(api: Api) -> None:
    status, answer = await api.ask("GET", MAPS, resourceVersion="999999")
    assert (status, answer["reason"]) == (504, "Timeout")
    assert answer["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


async def test_a_watch_of_one_object_by_its_path(api: Api) -> None:
    await make(api, "a")
    await make(api, "b")
    async with api.watch(f"{MAPS}/b", resourceVersion="0") as events:
        assert (await anext(events))["object"]["metadata"]["name"] == "b"
        await api.ask("PATCH", f"{MAPS}/a", {"data": {"x": "y"}}, MERGE)
        await api.ask("DELETE", f"{MAPS}/b")
        assert (await anext(events))["type"] == "DELETED"


async def test_stopping_ends_watches_at_once(server: ApiServer, api: Api) -> None:
    async with api.watch(MAPS) as events:
        stopping = asyncio.create_task(server.stop())
        async with asyncio.timeout(5):
            assert [event async for event in events] == []
            await stopping
