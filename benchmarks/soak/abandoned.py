"""Requests whose clients have gone: `python -m benchmarks.soak.abandoned`.

200 clients ask a server for 10,000 tokens each and leave after half a second. The next one must be
answered within five seconds, /health throughout, and nothing of the 200 may be left.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from benchmarks.health_probe import HealthProbe
from benchmarks.inference.model import save
from benchmarks.server_process import ServerProcess, berth
from benchmarks.soak.outcomes import What, client, send
from benchmarks.soak.plans import Plan
from benchmarks.soak.watch import quiet


def _ask(source: random.Random, tokens: int) -> Plan:
    body = {
        "prompt": [source.randrange(1, 30_000) for _ in range(20)],
        "max_tokens": tokens,
        "ignore_eos": True,
    }
    if source.random() < 1 / 2:
        body["stream"] = True
    return Plan("completions", "/v1/completions", json.dumps(body).encode())


async def _abandon(server: ServerProcess, options: argparse.Namespace) -> list[str]:
    """Returns what was wrong, in words."""
    await server.ready()
    source = random.Random(0)
    async with client(server.url) as session, HealthProbe(server.url) as probe:
        leaving = [replace(_ask(source, options.tokens), leaves=0.5) for _ in range(options.requests)]
        outcomes = await asyncio.gather(*(send(session, plan) for plan in leaving))
        began = time.monotonic()
        answer = await send(session, _ask(source, 10))
        seconds = time.monotonic() - began
        left = await quiet(session)
    told = Counter(f"{one.what} {one.detail}".strip() for one in outcomes)
    print(f"{dict(told)}; the next one was {answer.what} after {seconds:.2f} s; ", end="")
    print(f"/health took {probe.health.slowest * 1000:.0f} ms at most")
    wrong = [left] if left else []
    wrong += [f"{one.what}: {one.detail}" for one in outcomes if one.what is not What.CANCELLED]
    if answer.what is not What.ANSWERED or seconds > options.seconds:
        wrong.append(f"the next one was {answer.what} after {seconds:.2f} s: {answer.detail}")
    if probe.health.bad or probe.health.slowest * 1000 > options.health_ms:
        wrong.append(f"/health: {probe.health.bad} wrong, the slowest after {probe.health.slowest:.3f} s")
    return wrong


def main() -> int:
    """Abandon requests, and tell. Returns 1 where anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak.abandoned", description=__doc__)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=5, help="in which the next one must be answered")
    parser.add_argument("--health-ms", type=float, default=100, help="slowest that /health may be")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "berth-benchmark")
    parser.add_argument("--log", type=Path, help="file for what the server writes")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    folder = save("tiny", options.folder / "tiny-float32", "float32")
    limits = ("--max-output-tokens", str(options.tokens), "--max-queued", str(options.requests))
    server = berth(str(folder), "--dtype", "float32", *limits, log=options.log)
    try:
        wrong = asyncio.run(_abandon(server, options))
    finally:
        server.end()
    for text in wrong:
        print(f"NOT RIGHT: {text}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
