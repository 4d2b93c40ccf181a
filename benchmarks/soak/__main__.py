"""A server under random requests for a long time: `python -m benchmarks.soak --minutes 20`.

A real server process serves tiny-chat. Clients send random requests over every API, good and bad,
streamed or not; some leave before they are answered, and bursts fill the queue. At the end nothing may
be lost or left behind. Prints what happened, and exits with 1 where something did that must not.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from benchmarks.health_probe import HealthProbe
from benchmarks.server_process import ServerProcess
from benchmarks.soak.outcomes import Outcome, What, client, send
from benchmarks.soak.plans import good_plan, random_plan
from benchmarks.soak.watch import growth, holdings, more_than, quiet

# More sequences than run at once, so that some requests always wait.
_CLIENTS, _ROWS, _QUEUED = 24, 16, 32
# Enough to fill the queue whatever runs at the time.
_BURST = 2 * (_ROWS + _QUEUED)
_BURST_SECONDS = 15.0
# Share of the time after which memory is expected to be flat: everything has been allocated once.
_WARM_UP = 1 / 4
_SHOWN = 20


async def _client(
    session: aiohttp.ClientSession, source: random.Random, until: float, seen: list[Outcome]
) -> None:
    while time.monotonic() < until:
        seen.append(await send(session, random_plan(source)))
        if source.random() < 1 / 4:
            await asyncio.sleep(source.uniform(0, 0.2))


async def _bursts(
    session: aiohttp.ClientSession, source: random.Random, until: float, seen: list[Outcome]
) -> None:
    while time.monotonic() < until:
        burst = (send(session, good_plan(source, tokens=50)) for _ in range(_BURST))
        seen += await asyncio.gather(*burst)
        await asyncio.sleep(min(_BURST_SECONDS, max(0.0, until - time.monotonic())))


async def _load(session: aiohttp.ClientSession, seed: str, seconds: float) -> list[Outcome]:
    until = time.monotonic() + seconds
    seen: list[Outcome] = []
    async with asyncio.TaskGroup() as group:
        for number in range(_CLIENTS):
            group.create_task(_client(session, random.Random(f"{seed} {number}"), until, seen))
        group.create_task(_bursts(session, random.Random(seed), until, seen))
    return seen


async def _sample(server: ServerProcess, samples: list[tuple[float, float]]) -> None:
    while True:
        samples.append((time.monotonic(), server.status("VmRSS") / 1024))
        await asyncio.sleep(0.5)


async def _soak(server: ServerProcess, tasks_file: Path, options: argparse.Namespace) -> list[str]:
    """Returns what was wrong, in words."""
    await server.ready()
    warm_up = options.minutes * 60 * _WARM_UP
    samples: list[tuple[float, float]] = []
    async with client(server.url) as session, HealthProbe(server.url) as probe:
        seen = await _load(session, f"{options.seed} warm-up", warm_up)
        wrong = [await quiet(session)]
        before = await holdings(server, tasks_file)
        sampling = asyncio.create_task(_sample(server, samples))
        seen += await _load(session, f"{options.seed}", options.minutes * 60 - warm_up)
        sampling.cancel()
        wrong.append(await quiet(session))
        after = await holdings(server, tasks_file, before)
    server.terminate()
    code = await server.wait()
    risen = growth(samples)
    _tell(seen)
    print(f"/health: {probe.health.asked} answers, the slowest after {probe.health.slowest * 1000:.0f} ms")
    print(
        f"memory: {samples[0][1]:.0f} to {samples[-1][1]:.0f} MiB, a rise of {risen:+.1f} by the line through all"
    )
    print(
        f"before and after: {len(before.tasks)} and {len(after.tasks)} tasks, {before.threads} and {after.threads}"
    )
    print(f"threads, {before.files} and {after.files} files; exit code {code}")
    found = [text for text in wrong if text] + more_than(before, after) + _not_right(seen)
    if probe.health.bad or probe.health.slowest * 1000 > options.health_ms:
        found.append(f"/health: {probe.health.bad} wrong, the slowest after {probe.health.slowest:.3f} s")
    if risen > options.growth_mib:
        found.append(f"memory grew by {risen:.1f} MiB after the warm-up")
    if code != 0:
        found.append(f"the exit code is {code}")
    return found


def _tell(seen: Sequence[Outcome]) -> None:
    counts = Counter((outcome.plan.what, outcome.what) for outcome in seen)
    print("| request | " + " | ".join(What) + " |\n|---|" + "---|" * len(What))
    for name in sorted({outcome.plan.what for outcome in seen}):
        print(f"| {name} | " + " | ".join(str(counts[name, what]) for what in What) + " |")
    refused = Counter(outcome.detail for outcome in seen if outcome.what is What.REFUSED)
    print(f"{len(seen)} requests; refused with {dict(sorted(refused.items()))}")


def _not_right(seen: Sequence[Outcome]) -> list[str]:
    """Requests that were lost, answered wrongly, or failed."""
    never = (What.LOST, What.WRONG, What.FAILED)
    found = [f"{one.plan.what}: {one.what}: {one.detail}" for one in seen if one.what in never]
    return [*found[:_SHOWN], f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=0, help="the same seed plans the same requests")
    parser.add_argument("--health-ms", type=float, default=100, help="slowest that /health may be")
    parser.add_argument(
        "--growth-mib",
        type=float,
        default=32,
        help="by how much memory may rise after the warm-up; the default is what the allocator's arenas "
        "move by, and less than 300 lost requests would hold",
    )
    parser.add_argument("--log", type=Path, help="file for what the server writes")
    return parser.parse_args()


def main() -> int:
    """Soak, and tell. Returns 1 where anything was wrong."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        tasks_file = Path(folder) / "tasks"
        command = [sys.executable, "-m", "benchmarks.soak.watched_server", str(tasks_file), "serve"]
        # Bounded, so that the beginnings of prompts that are kept fill it soon and memory can be seen to be flat.
        command += ["--host", "127.0.0.1", "--model", "tiny-chat", "--kv-memory", str(64 * 2**20)]
        command += ["--max-rows", str(_ROWS), "--max-queued", str(_QUEUED)]
        server = ServerProcess("berth", command, options.log)
        try:
            wrong = asyncio.run(_soak(server, tasks_file, options))
        finally:
            server.end()
    for text in wrong:
        print(f"NOT RIGHT: {text}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
