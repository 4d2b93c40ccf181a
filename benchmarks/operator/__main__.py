"""Measures the operator beside a client that makes the same writes: `python -m benchmarks.operator`.

The API server is a kube-apiserver with its controllers where KUBEBUILDER_ASSETS names one, else the embedded one of
`berth local`, or with --embedded. The client (client.py) keeps its connections, watches the same kinds and makes the
operator's own writes with the same bodies, on the same server. One after the other, it takes turns with the operator;
with many at once, it runs just after it, and the operator is stopped meanwhile. Only ratios within one run mean
anything. Exits with 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.operator.client import all_at_once
from benchmarks.operator.measures import Rate, Written, at_once, in_sequence, until_all_have_pods
from benchmarks.operator.planes import ApiProxy, ControlPlane, Operator, client, own_kubeconfig, plane

LATENCY_TIMES = 3.0
"""How many times the client's own median the operator's may be."""

RATE_SHARE = 0.5
"""What share of the client's rate the operator has with the most Workspaces at once."""

WRITES = 3
"""A Workspace: Deployment, Service, status."""

MEMORY_MB = 150.0

QUIET_SECONDS = 30.0
"""Longer than it takes until the operator looks again at a Workspace that does not serve."""

Row = tuple[str, str, str, str, str]


def percentile(values: Sequence[float], percent: int) -> float:
    """By linear interpolation."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def verdict(holds: bool) -> str:
    """For the table."""
    return "pass" if holds else "FAIL"


async def latency(found: ControlPlane, workdir: Path, count: int) -> tuple[list[Row], Written]:
    """One after the other."""
    async with client(found.kubeconfig, "sequence") as own, client(found.kubeconfig, "alone") as alone:
        with Operator(found, workdir, "sequence") as operator:
            operator.wait_until_idle()
            real, floor, written = await in_sequence(own, alone, count)
    rows: list[Row] = []
    for name, percent in (("p50", 50), ("p99", 99)):
        values = percentile(real, percent), percentile(floor, percent)
        ratio = values[0] / values[1]
        judged = (
            (f"at most {LATENCY_TIMES:.0f} x", verdict(ratio <= LATENCY_TIMES)) if percent == 50 else ("", "")
        )
        what = f"apply to Deployment, {count} in sequence, {name}"
        rows.append((what, f"{values[0]:.1f} ms", f"{values[1]:.1f} ms ({ratio:.1f} x)", *judged))
    return rows, written


async def rates(
    found: ControlPlane, workdir: Path, count: int, written: Written, *, judged: bool
) -> list[Row]:
    """So many at once; with the most of them, memory is looked at."""
    async with client(found.kubeconfig, f"many-{count}") as own:
        with Operator(found, workdir, own.namespace) as operator:
            operator.wait_until_idle()
            used = operator.processor_seconds
            real = await at_once(own, count, None)
            used = operator.processor_seconds - used
            if found.has_controllers:
                await until_all_have_pods(own)
            operator.wait_until_idle()
            memory = operator.resident_mb
    async with client(found.kubeconfig, f"many-{count}-floor") as own:
        floor: Rate = await at_once(own, count, written)
    share = real.per_second / floor.per_second
    target = (f"at least {RATE_SHARE:.1f} x", verdict(share >= RATE_SHARE)) if judged else ("", "")
    rows: list[Row] = [
        (
            f"{count} at once",
            f"{real.per_second:.0f}/s",
            f"{floor.per_second:.0f}/s ({share:.2f} x)",
            *target,
        ),
        (f"processor for each of {count}", f"{used / count * 1000:.1f} ms", "", "", ""),
    ]
    if judged:
        limit = f"under {MEMORY_MB:.0f} MB"
        rows.append((f"memory with {count}", f"{memory:.0f} MB", "", limit, verdict(memory < MEMORY_MB)))
    return rows


async def writes(found: ControlPlane, workdir: Path, count: int, existing: str) -> list[Row]:
    """What is written for each new Workspace, and at a start with those of an earlier namespace."""
    with ApiProxy(own_kubeconfig(found.kubeconfig)).running() as proxy:
        async with client(found.kubeconfig, "counted") as own:
            with Operator(found, workdir, "counted", proxy) as operator:
                operator.wait_until_idle()
                await all_at_once(own.create_workspace, [f"one-{number}" for number in range(count)])
                operator.wait_until_idle()
        made = proxy.writes()
        statuses = sum("/status" in line for line in made)
        others = (len(made) - statuses) / count
        with Operator(found, workdir, existing, proxy):
            until_no_writes(proxy)
        since = len(proxy.requests)
        with Operator(found, workdir, existing, proxy) as operator:
            operator.wait_until_idle()
        again = proxy.writes(since)
    first = f"{others + statuses / count:.2f}"
    # Whoever counts the pods changes the Deployment's status, and the report follows.
    fits = others <= WRITES - 1 and (found.has_controllers or statuses <= count)
    return [
        (
            f"writes a Workspace, of {count}",
            first,
            "3",
            f"{WRITES}, more for changes of status",
            verdict(fits),
        ),
        (
            f"writes of a restart with {existing.partition('-')[2]}",
            str(len(again)),
            "",
            "0",
            verdict(not again),
        ),
    ]


def until_no_writes(proxy: ApiProxy) -> None:
    """Wait until all has been told that shows only with time, as a pod that no scheduler looks at for a minute."""
    count, since = 0, time.monotonic()
    while time.monotonic() - since < QUIET_SECONDS:
        time.sleep(2)
        if len(proxy.writes()) > count:
            count, since = len(proxy.writes()), time.monotonic()


def table(rows: Sequence[Sequence[str]]) -> str:
    """In Markdown."""
    head = ("measure", "operator", "client", "target", "verdict")
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows))


async def measure(found: ControlPlane, workdir: Path, options: argparse.Namespace) -> list[Row]:
    """Every row."""
    rows, written = await latency(found, workdir, options.sequence)
    most = max(options.at_once)
    for count in sorted(options.at_once):
        rows += await rates(found, workdir, count, written, judged=count == most)
    return rows + await writes(found, workdir, options.sequence, f"many-{most}")


def main() -> int:
    """Measure, and print a table. Returns 1 where a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.operator", description=__doc__)
    parser.add_argument(
        "--sequence", type=int, default=50, help="Workspaces one after the other (default: 50)"
    )
    parser.add_argument("--at-once", type=int, nargs="+", default=[200, 1000], help="(default: 200 1000)")
    parser.add_argument("--embedded", action="store_true", help="measure on the embedded API server")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        plane(Path(folder) / "plane", real=not options.embedded) as found,
    ):
        rows = asyncio.run(measure(found, Path(folder), options))
    print(f"\nOn {'kube-apiserver with its controllers' if found.is_real else 'the embedded API server'}\n")
    print(table(rows))
    return int(any(row[-1] == "FAIL" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
