"""Two thousand edits leave nothing behind in the operator's memory."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from berth_operator.cluster_cache import WORKSPACES
from control_plane.cluster import Cluster
from control_plane.operator_process import OperatorProcess

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(300)]

WORKSPACES_EDITED = 20
ROUNDS, WARM_UP_ROUNDS = 100, 10
GROWTH_MIB = 6.0
"""A tenth of what one object of a few KiB kept for each edit would take is below what the allocator moves by itself;
2,000 Workspaces and Deployments of 5 KiB, as Python objects, are some 100 MiB."""


def resident_mib(pid: int) -> float:
    """The memory that a process holds."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
async def test_memory_is_flat_over_two_thousand_edits(operator: OperatorProcess, cluster: Cluster) -> None:
    names = [f"w{number}" for number in range(WORKSPACES_EDITED)]
    for name in names:
        await cluster.create_workspace(name)

    async def edit_all(count: int) -> None:
        patch = {"resource": {"count": count}}
        await asyncio.gather(*(cluster.edit(WORKSPACES, name, patch) for name in names))

        # One after the other: to list them all again and again would cost the API server more than the edits.
        for name in names:
            await cluster.deployed(name, lambda seen: seen["spec"]["replicas"] == count)

    before = 0.0
    for number in range(WARM_UP_ROUNDS + ROUNDS):
        if number == WARM_UP_ROUNDS:
            before = resident_mib(operator.pid)
        await edit_all(2 + number % 2)
    grown = resident_mib(operator.pid) - before
    assert grown < GROWTH_MIB, f"{grown:.1f} MiB more than before, of {before:.0f}"
