"""Measures Berth's server beside others over HTTP, in one run: `python -m benchmarks.inference`.

Every figure is of one machine at one time, and neighbours disturb it; the ratios are what counts, and
each workload is run on one server after another before the next workload. Repeats show the spread.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx2
import torch

from benchmarks.inference.bandwidth import read_bandwidth
from benchmarks.inference.model import SHAPES, save
from benchmarks.inference.workloads import Ask, Workload, workloads

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Row:
    """One workload on one server. Tokens a second over all requests; latencies in seconds."""

    workload: str
    server: str
    tokens_per_second: float
    latency_p50: float
    latency_p99: float
    first_token_idle: float | None
    first_token_busy_p99: float | None
    peak_mib: float


class Server:
    """A server process on a free port of the loopback."""

    def __init__(self, name: str, command: list[str], port: int) -> None:
        self.name, self.command, self.url = name, command, f"http://127.0.0.1:{port}"
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "passive"}
        self.process = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.DEVNULL)

    async def ready(self, client: httpx2.AsyncClient) -> None:
        """Returns once the server can be asked; ends the program if it never will."""
        while self.process.poll() is None:
            try:
                if (await client.get(f"{self.url}/health")).status_code == 200:
                    return
            except httpx2.TransportError:
                pass
            await asyncio.sleep(0.2)
        raise SystemExit(f"{self.name} ended: {' '.join(self.command)}")

    def peak_mib(self) -> float:
        """The most memory that the process has had resident, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024


def servers(names: list[str], model: Path, dtype: str) -> list[Server]:
    """Start servers of these kinds over the same weights."""
    made = []
    for name in names:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if name == "berth":
            command = ["-m", "berth_inference", "serve", "--host", "127.0.0.1", "--model", str(model)]
            command += ["--dtype", dtype, "--max-queued", "256"]
        else:
            command = [
                "-m",
                "benchmarks.inference.pipeline_server",
                name,
                "--model",
                str(model),
                "--dtype",
                dtype,
            ]
        made.append(Server(name, [sys.executable, *command, "--port", str(port)], port))
    return made


async def ask(client: httpx2.AsyncClient, server: Server, what: Ask, source: random.Random) -> float:
    """Seconds until the whole answer was there."""
    body = what.body(source)
    began = time.perf_counter()
    response = await client.post(f"{server.url}/chat", json=body)
    if response.status_code != 200:
        raise SystemExit(f"{server.name} answered {response.status_code}: {response.text[:300]}")
    return time.perf_counter() - began


async def run(client: httpx2.AsyncClient, server: Server, workload: Workload) -> tuple[float, list[float]]:
    """Tokens a second, and each request's latency."""
    source = random.Random(workload.name)
    open_now = asyncio.Semaphore(workload.concurrent)

    async def one(what: Ask) -> float:
        await asyncio.sleep(what.after)
        async with open_now:
            return await ask(client, server, what, source)

    began = time.perf_counter()
    latencies = await asyncio.gather(*(one(what) for what in workload.asks))
    return sum(what.new for what in workload.asks) / (time.perf_counter() - began), latencies


async def first_tokens(client: httpx2.AsyncClient, server: Server) -> tuple[float, float]:
    """Seconds to a first token: the median on an idle server, and the 99th percentile beside 15 others."""
    source = random.Random(1)
    idle = [await ask(client, server, Ask(100, 1), source) for _ in range(5)]
    others = [asyncio.create_task(ask(client, server, Ask(32, 400), source)) for _ in range(15)]
    await asyncio.sleep(1)
    busy = []
    while len(busy) < 20 and not any(task.done() for task in others):
        busy.append(await ask(client, server, Ask(100, 1), source))
    await asyncio.gather(*others)
    return statistics.median(idle), max(busy)


async def measure(options: argparse.Namespace, model: Path) -> list[Row]:
    """Every workload on every server, one at a time."""
    rows = []
    chosen = [item for name, item in workloads().items() if not options.only or name in options.only]
    async with httpx2.AsyncClient(timeout=3600) as client:
        running = servers(options.servers, model, options.dtype)
        try:
            for server in running:
                await server.ready(client)
                await ask(client, server, Ask(32, 16), random.Random(0))
            for workload in chosen:
                for _ in range(options.repeats):
                    for server in running:
                        speed, latencies = await run(client, server, workload)
                        idle = busy = None
                        if workload.name == "16 mixed" and server.name == "berth":
                            idle, busy = await first_tokens(client, server)
                        row = Row(
                            workload.name,
                            server.name,
                            speed,
                            statistics.median(latencies),
                            max(latencies),
                            idle,
                            busy,
                            server.peak_mib(),
                        )
                        rows.append(row)
                        print(json.dumps(asdict(row)), flush=True)
        finally:
            for server in running:
                server.process.terminate()
                server.process.wait()
    return rows


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference", description=__doc__)
    parser.add_argument("--model", choices=SHAPES, default="112m")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--servers", nargs="+", default=["berth", "pipeline", "continuous"])
    parser.add_argument("--only", nargs="+", help="names of workloads")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "berth-benchmark")
    options = parser.parse_args()
    model = save(options.model, options.folder / f"{options.model}-{options.dtype}", options.dtype)
    bandwidth = read_bandwidth()
    size = torch.empty(0, dtype=getattr(torch, options.dtype)).element_size()
    floor = bandwidth / (SHAPES[options.model].decoded * size)
    rows = asyncio.run(measure(options, model))
    print(
        f"\n{options.model} {options.dtype}, {os.cpu_count()} processors, read bandwidth {bandwidth / 1e9:.1f} GB/s;"
    )
    print(f"a single stream can have {floor:.0f} tokens a second at most\n")
    print(
        "| workload | server | tokens/s | berth is | latency p50 | p99 | first token idle / beside 15 | peak MiB |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name in dict.fromkeys(row.workload for row in rows):
        of_this = [row for row in rows if row.workload == name]
        own = [row.tokens_per_second for row in of_this if row.server == "berth"]
        for server in dict.fromkeys(row.server for row in of_this):
            same = [row for row in of_this if row.server == server]
            speed = statistics.median(row.tokens_per_second for row in same)
            ratio = f"{statistics.median(own) / speed:.2f} x" if own else ""
            first = next(
                (
                    f"{row.first_token_idle:.3f} / {row.first_token_busy_p99:.3f}"
                    for row in same
                    if row.first_token_idle is not None and row.first_token_busy_p99 is not None
                ),
                "",
            )
            print(
                f"| {name} | {server} | {speed:.1f} | {ratio} | {same[0].latency_p50:.2f} | {same[0].latency_p99:.2f} "
                f"| {first} | {max(row.peak_mib for row in same):.0f} |"
            )


if __name__ == "__main__":
    main()
