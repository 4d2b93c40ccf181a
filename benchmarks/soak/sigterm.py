"""SIGTERM under load, many times: `python -m benchmarks.soak.sigterm --times 20`.

Each time a server is started, loaded with more requests than run at once, and told to stop. Every
second time they have time enough to finish, and all of them must be answered; else they are ended at
the grace period's end, and each that is not answered must be told so in its API's own form. The exit
code must be 0, and a request that comes too late must be refused in form.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections import Counter
from pathlib import Path

import aiohttp

from benchmarks.server_process import ServerProcess, berth
from benchmarks.soak.outcomes import Outcome, What, client, send
from benchmarks.soak.plans import long_plan
from benchmarks.soak.watch import occupancy

_REQUESTS, _ROWS = 24, 8
# Tokens of each: some seconds of work for tiny-chat in all, or far more than it can do in the short grace.
_SOME, _MANY = 150, 1800
_ENOUGH, _TOO_SHORT = 60.0, 0.3


async def _stop(server: ServerProcess, source: random.Random, *, enough: bool) -> list[str]:
    """One time. Returns what was wrong, in words."""
    await server.ready()
    async with client(server.url) as session:
        asked = [
            asyncio.create_task(send(session, long_plan(source, tokens=_SOME if enough else _MANY)))
            for _ in range(_REQUESTS)
        ]
        # All of them are admitted, or waiting to be.
        while sum(list((await occupancy(session)).values())[:2]) < _REQUESTS:
            if all(task.done() for task in asked):
                return ["the requests ended before the signal: the load is too small"]
        await asyncio.sleep(source.uniform(0, 0.5))
        server.terminate()
        late = await _late(session, source)
        outcomes = [await task for task in asked]
    code = await server.wait()
    print(
        f"grace {'enough' if enough else 'too short'}: {dict(Counter(one.what.value for one in outcomes))}, ",
        end="",
    )
    print(f"late: {late}, exit code {code}", flush=True)
    wrong = [
        f"{one.plan.what}: {one.what}: {one.detail}" for one in outcomes if not _right(one, enough=enough)
    ]
    return [*wrong, *([f"the exit code is {code}"] if code != 0 else [])]


def _right(outcome: Outcome, *, enough: bool) -> bool:
    if outcome.what is What.ANSWERED:
        return True
    ended = outcome.what is What.FAILED or (outcome.what is What.REFUSED and outcome.detail == "503")
    return ended and not enough


async def _late(session: aiohttp.ClientSession, source: random.Random) -> str:
    """What a request is told that comes after the signal. The listener may have gone, too."""
    while True:
        outcome = await send(session, long_plan(source, tokens=1))
        if outcome.what is not What.ANSWERED:  # the signal has not been taken in yet
            return outcome.detail


async def _all(options: argparse.Namespace) -> list[str]:
    wrong = []
    for number in range(options.times):
        enough = number % 2 == 0
        grace = _ENOUGH if enough else _TOO_SHORT
        limits = ("--max-rows", str(_ROWS), "--max-queued", str(_REQUESTS), "--drain-seconds", str(grace))
        server = berth("tiny-chat", *limits, log=options.log)
        try:
            source = random.Random(f"{options.seed} {number}")
            wrong += [f"{number + 1}: {text}" for text in await _stop(server, source, enough=enough)]
        finally:
            server.end()
    return wrong


def main() -> int:
    """Stop servers, and tell. Returns 1 where anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak.sigterm", description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, help="file for what the servers write")
    wrong = asyncio.run(_all(parser.parse_args()))
    for text in wrong:
        print(f"NOT RIGHT: {text}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
