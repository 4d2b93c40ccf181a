"""The end of a watch of the embedded API server: whoever goes on from its last revision misses nothing."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from berth_local.apiserver.kinds.builtin import builtin_resources
from berth_local.apiserver.store import Store
from berth_local.apiserver.watches import Watch

[MAPS] = [one for one in builtin_resources() if one.plural == "configmaps"]
SECONDS = 1


def config_map(name: str) -> dict[str, Any]:
    meta = {"name": name, "namespace": "default", "uid": name}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}


async def test_a_change_just_before_the_end_is_told_before_the_last_revision_is() -> None:
    store = Store()
    store.put(MAPS.table, config_map("first"))
    query = {"timeoutSeconds": str(SECONDS), "allowWatchBookmarks": "true"}
    lines = Watch(store, MAPS, "default", query, "").lines(asyncio.Event())
    told = await anext(lines)
    # The loop has much else to do until the time is up.
    time.sleep(SECONDS + 0.05)  # noqa: ASYNC251
    late = store.put(MAPS.table, config_map("late"))
    told += b"".join([one async for one in lines])
    events = [json.loads(line) for line in told.splitlines()]
    assert [event["type"] for event in events] == ["ADDED", "ADDED", "BOOKMARK"]
    assert [event["object"]["metadata"].get("name") for event in events] == ["first", "late", None]
    assert events[-1]["object"]["metadata"]["resourceVersion"] == str(late.revision)
