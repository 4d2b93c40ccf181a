"""Measures Berth's server beside others over HTTP, in one run: `python -m benchmarks.inference`.

Every figure is of one machine at one time, and neighbours disturb it; the ratios are what counts, and
each workload is run on one server after another before the next workload. Only the server that is
asked takes processor time; the others are stopped meanwhile. Repeats show the spread.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmarks.health_probe import HealthProbe
from benchmarks.inference.client import WrongAnswer, run
from benchmarks.inference.criteria import Run, judge, verdict_table
from benchmarks.inference.model import SHAPES, save
from benchmarks.inference.results import Results, Row, row, table
from benchmarks.inference.servers import KINDS, Weights, start, why_skipped
from benchmarks.inference.workloads import SINGLE, Ask, Workload, workloads
from benchmarks.server_process import ServerProcess

# What each server is asked first, untimed: two at once, for what is set up at the first batch.
_WARM_UP = Workload("warm-up", (Ask(32, 16), Ask(100, 16)), 2)


class Comparison:
    """The servers of one run. Each is started when it is first asked, and stopped while another is asked."""

    def __init__(self, weights: Weights, limit: float) -> None:
        self._weights = weights
        self._limit = limit
        self._running: dict[str, ServerProcess] = {}

    async def measure(self, workload: Workload, name: str, repeat: int) -> Row:
        """One workload on one server. Raises `WrongAnswer`, in a group, where it is not served.

        Each repeat has prompts of its own, the same for every server: some servers know a prompt again.
        """
        kind = KINDS[name]
        server = await self._resumed(name)
        server.forget_peak()
        async with HealthProbe(server.url) as probe:
            timing = await run(server.url, kind, workload, self._limit, seed=repeat)
        found = row(
            *(workload.name, name, timing),
            streams=kind.streams,
            health=probe.health,
            peak_mib=server.status("VmHWM") / 1024,
        )
        if timing.whole:
            server.pause()
        else:  # it may go on with what was asked of it
            self._running.pop(name).end()
        return found

    async def _resumed(self, name: str) -> ServerProcess:
        if name in self._running:
            self._running[name].resume()
            return self._running[name]
        server = self._running[name] = start(name, self._weights)
        await server.ready()
        await run(server.url, KINDS[name], _WARM_UP, self._limit)
        return server

    def end(self) -> None:
        """Stop all servers."""
        for server in self._running.values():
            server.end()


async def _measure(options: argparse.Namespace, weights: Weights) -> tuple[list[Row], list[float]]:
    """Every row; and how fast memory was read before each round of single streams, bytes a second."""
    from benchmarks.inference.bandwidth import read_bandwidth

    rows, bandwidths = [], []
    comparison = Comparison(weights, options.limit)
    try:
        for name in options.only:
            for repeat in range(options.repeats):
                if name == SINGLE:
                    bandwidths.append(read_bandwidth())
                for server in options.servers:
                    found = await comparison.measure(workloads()[name], server, repeat)
                    rows.append(found)
                    print(json.dumps(asdict(found)), flush=True)
    except* WrongAnswer as wrong:
        raise SystemExit(f"not measured: {wrong.exceptions[0]}") from None
    finally:
        comparison.end()
    return rows, bandwidths or [read_bandwidth()]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference", description=__doc__)
    parser.add_argument("--model", choices=SHAPES, default="112m")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument(
        "--transformers-dtype",
        choices=("bfloat16", "float32"),
        help="in which the servers of transformers compute with the same weights, where that is faster for them",
    )
    parser.add_argument("--servers", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument(
        "--only", nargs="+", choices=workloads(), default=list(workloads()), metavar="WORKLOAD"
    )
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument(
        "--limit", type=float, default=300, help="seconds for one workload on one server, then it is cut"
    )
    parser.add_argument("--llama-python", help="an interpreter with xllamacpp and gguf, for llama.cpp")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "berth-benchmark")
    options = parser.parse_args()
    options.transformers_dtype = options.transformers_dtype or options.dtype
    options.folder.mkdir(parents=True, exist_ok=True)
    return options


def _command(options: argparse.Namespace) -> str:
    words = f"python -m benchmarks.inference --model {options.model} --dtype {options.dtype}"
    if options.transformers_dtype != options.dtype:
        words += f" --transformers-dtype {options.transformers_dtype}"
    if options.llama_python:
        words += " --llama-python PYTHON"
    return f'{words} --servers {{servers}} --only "{{workload}}"'


def main() -> int:
    """Measure, and print a table and what it shows. Returns 1 where a criterion does not hold."""
    options = _options()
    folder = save(options.model, options.folder / f"{options.model}-{options.dtype}", options.dtype)
    weights = Weights(folder, options.dtype, options.transformers_dtype, options.llama_python)
    skipped = {name: why for name in options.servers if (why := why_skipped(name, weights))}
    options.servers = [name for name in options.servers if name not in skipped]
    longest = len(options.only) * options.repeats * len(options.servers) * options.limit
    print(f"this takes {longest / 60:.0f} minutes at most", file=sys.stderr)
    rows, bandwidths = asyncio.run(_measure(options, weights))
    results, bandwidth = Results(rows), statistics.median(bandwidths)
    import torch

    size = torch.empty(0, dtype=getattr(torch, options.dtype)).element_size()
    floor = bandwidth / (SHAPES[options.model].decoded * size)
    print(f"\n{options.model} {options.dtype}, {os.cpu_count()} processors, {options.repeats} repeats.")
    if options.transformers_dtype != options.dtype:
        print(f"The servers of transformers computed in {options.transformers_dtype}.")
    print(f"Memory is read at {bandwidth / 1e9:.1f} GB/s: a single stream has {floor:.0f} tokens/s at most.")
    for name, why in skipped.items():
        print(f"Without {name}: {why}.")
    print(f"\n{table(results, _command(options))}\n")
    verdicts = judge(Run(options.model, floor, results))
    print(verdict_table(verdicts))
    return 0 if all(verdict.holds for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
