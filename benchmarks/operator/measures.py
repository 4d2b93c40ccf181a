"""What is measured: one Workspace after another, many at once, the writes of each, and a restart."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from benchmarks.operator.client import (
    DEPLOYMENTS,
    PODS,
    SERVICES,
    WORKSPACES,
    Client,
    Object,
    all_at_once,
    what_was_written,
)

SETTLE_SECONDS = 600.0

Written = tuple[Object, Object, Object]


class Progress:
    """Which Workspaces have their Deployment, and which are wholly done, as watches tell it."""

    def __init__(self) -> None:
        self.deployed: dict[str, float] = {}
        self.done: dict[str, set[str]] = {}
        self._changed = asyncio.Event()

    def seen(self, plural: str, obj: Object) -> None:
        """Take note of an object that was created or changed."""
        name = obj["metadata"]["name"]
        if plural == "workspaces" and not (obj.get("status") or {}).get("conditions"):
            return
        if plural == "deployments":
            self.deployed.setdefault(name, time.perf_counter())
        self.done.setdefault(name, set()).add(plural)
        self._changed.set()

    async def until(self, *, deployed: int = 0, done: int = 0) -> None:
        """Wait for so many Deployments, or for so many Workspaces with everything."""
        async with asyncio.timeout(SETTLE_SECONDS):
            while (
                len(self.deployed) < deployed or sum(len(kinds) == 3 for kinds in self.done.values()) < done
            ):
                self._changed.clear()
                await self._changed.wait()


async def in_sequence(client: Client, alone: Client, count: int) -> tuple[list[float], list[float], Written]:
    """Milliseconds from applying a Workspace until its Deployment exists, one after the other: by the operator, and by
    the client alone in a namespace that no operator watches. They take turns. Returns what the operator wrote, too.
    """
    both: tuple[list[float], list[float]] = [], []
    there, here = Progress(), Progress()
    async with client.watching(there.seen), alone.watching(here.seen):
        # Before the first that counts: connections, and what is to be written.
        await client.create_workspace("one-0")
        await there.until(done=1)
        live = [await client.get(kind, "one-0") for kind in (DEPLOYMENTS, SERVICES, WORKSPACES)]
        written = what_was_written(live[0], live[1], live[2])
        await alone.write_as_the_operator(written, await alone.create_workspace("one-0"))
        for number in range(1, count + 1):
            name = f"one-{number}"
            began = time.perf_counter()
            await client.create_workspace(name)
            await there.until(deployed=number + 1)
            both[0].append((there.deployed[name] - began) * 1000)
            await there.until(done=number + 1)
            began = time.perf_counter()
            owner = await alone.create_workspace(name)
            await alone.apply_deployment(written, owner)
            await here.until(deployed=number + 1)
            both[1].append((here.deployed[name] - began) * 1000)
            await alone.write_as_the_operator(written, owner)
    return *both, written


@dataclass(frozen=True, slots=True)
class Rate:
    """Workspaces that were applied at once, and how long it took until each had all that it gets."""

    count: int
    seconds: float

    @property
    def per_second(self) -> float:
        """Workspaces a second."""
        return self.count / self.seconds


async def at_once(client: Client, count: int, written: Written | None) -> Rate:
    """Apply so many Workspaces; with `written`, the client makes the operator's writes itself."""
    progress = Progress()

    async def one(name: str) -> None:
        owner = await client.create_workspace(name)
        if written is not None:
            await client.write_as_the_operator(written, owner)

    async with client.watching(progress.seen):
        began = time.perf_counter()
        await all_at_once(one, [f"many-{number}" for number in range(count)])
        await progress.until(done=count)
        return Rate(count, time.perf_counter() - began)


async def until_all_have_pods(client: Client) -> None:
    """Wait until the controllers have made a pod for every Workspace."""
    count = await client.count(WORKSPACES)
    async with asyncio.timeout(SETTLE_SECONDS):
        while True:
            if await client.count(PODS) >= count:
                return
            await asyncio.sleep(1)
