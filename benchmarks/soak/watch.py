"""What a server holds: requests, memory for keys and values, tasks, threads, files, and how its memory grows."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from benchmarks.server_process import ServerProcess

# Long enough for requests whose clients have gone to be noticed, and for what they held to be freed.
_QUIET_SECONDS = 30.0

# A server closes connections over which nothing has come for 5 seconds.
_KEPT_OPEN_SECONDS = 10.0

# In which a server that is alive reports its tasks.
_REPORT_SECONDS = 10.0

# Workers that asyncio's pool starts when it first needs so many at once, and keeps.
_POOL = min(32, (os.cpu_count() or 1) + 4)

_GAUGES = ("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc")


@dataclass(frozen=True, slots=True)
class Holdings:
    """Of a server that nobody asks anything."""

    tasks: tuple[str, ...]
    threads: int
    files: int


async def occupancy(session: aiohttp.ClientSession) -> dict[str, float]:
    """Running and waiting requests, and the share of the key-value memory, by their metrics' names."""
    async with session.get("/metrics") as response:
        page = await response.text()
    found = {}
    for name in _GAUGES:
        match = re.search(rf"^{name}{{.*}} (\S+)$", page, re.MULTILINE)
        assert match, f"{name} is missing from /metrics"
        found[name] = float(match[1])
    return found


async def quiet(session: aiohttp.ClientSession) -> str | None:
    """Waits until nothing runs, waits or holds memory; what is left after some time, in words."""
    deadline = time.monotonic() + _QUIET_SECONDS
    while any((left := await occupancy(session)).values()):
        if time.monotonic() > deadline:
            return f"still held after {_QUIET_SECONDS:.0f} s: {left}"
        await asyncio.sleep(0.1)
    return None


async def holdings(server: ServerProcess, tasks_file: Path, before: Holdings | None = None) -> Holdings:
    """Of a quiet server that was started by `watched_server`; if there was less `before`, after a while."""
    # Connections of the last requests are closed by now, or will be in a moment.
    await asyncio.sleep(1)
    deadline = time.monotonic() + _KEPT_OPEN_SECONDS
    while before is not None and time.monotonic() < deadline:
        if server.open_files() <= before.files:
            break
        await asyncio.sleep(0.1)
    tasks = await asyncio.to_thread(_unfinished_tasks, server, tasks_file)
    return Holdings(tasks, server.status("Threads"), server.open_files())


def _unfinished_tasks(server: ServerProcess, tasks_file: Path) -> tuple[str, ...]:
    tasks_file.unlink(missing_ok=True)
    os.kill(server.pid, signal.SIGUSR1)
    deadline = time.monotonic() + _REPORT_SECONDS
    while not tasks_file.exists():
        if time.monotonic() > deadline:
            raise SystemExit("the server did not report its tasks")
        time.sleep(0.05)
    return tuple(tasks_file.read_text().split())


def more_than(before: Holdings, after: Holdings) -> list[str]:
    """What has leaked between two quiet moments, in words."""
    found = []
    if len(after.tasks) > len(before.tasks):
        found.append(f"{len(after.tasks)} tasks after {len(before.tasks)}: {', '.join(after.tasks)}")
    if after.threads > before.threads + _POOL:
        found.append(f"{after.threads} threads after {before.threads}")
    if after.files > before.files:
        found.append(f"{after.files} open files after {before.files}")
    return found


def growth(samples: Sequence[tuple[float, float]]) -> float:
    """By how much a straight line through the samples, (seconds, MiB), rises from the first to the last."""
    times, values = zip(*samples, strict=True)
    middle, mean = sum(times) / len(times), sum(values) / len(values)
    spread = sum((time - middle) ** 2 for time in times)
    together = sum((time - middle) * (value - mean) for time, value in samples)
    return float(together / spread * (times[-1] - times[0])) if spread else 0.0
