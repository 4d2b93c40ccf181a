"""Asks /health ten times a second until its input ends, then prints how long the answers took, as JSON.

A process of its own, and nothing but the standard library: what it measures is the server, not the
event loop of the client that loads it. `python -m benchmarks.health_probe http://127.0.0.1:5000`
"""

from __future__ import annotations

import asyncio
import http.client
import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_INTERVAL = 0.1
# Longer than any bound that is asked for, so that a slow answer is measured instead of lost.
_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Health:
    """Seconds of the slowest answer, and counts; `bad` are answers other than 200, and none at all."""

    asked: int
    slowest: float
    bad: int


class HealthProbe:
    """`async with` it around a load; `health` is there afterwards."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.health = Health(0, 0.0, 0)

    async def __aenter__(self) -> HealthProbe:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "benchmarks.health_probe", self._url),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[1],
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        output, _ = await self._process.communicate(b"")
        self.health = Health(**json.loads(output))


def _probe(url: str, ended: threading.Event) -> Health:
    address = urlsplit(url).netloc
    asked, slowest, bad = 0, 0.0, 0
    while not ended.wait(_INTERVAL):
        began = time.monotonic()
        connection = http.client.HTTPConnection(address, timeout=_TIMEOUT)
        try:
            connection.request("GET", "/health")
            bad += connection.getresponse().status != 200
        except OSError:
            bad += 1
        finally:
            connection.close()
        asked += 1
        slowest = max(slowest, time.monotonic() - began)
    return Health(asked, round(slowest, 4), bad)


def _wait_for_end(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


if __name__ == "__main__":
    over = threading.Event()
    threading.Thread(target=_wait_for_end, args=(over,), daemon=True).start()
    found = _probe(sys.argv[1], over)
    print(json.dumps({"asked": found.asked, "slowest": found.slowest, "bad": found.bad}))
