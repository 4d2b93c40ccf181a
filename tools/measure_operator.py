"""What the operator takes: memory and CPU with a number of Workspaces, on a real API server under its own account.

KUBEBUILDER_ASSETS=... python tools/measure_operator.py [NUMBER]
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[1]
IDLE_SECONDS: Final = 30.0
TICKS: Final = os.sysconf("SC_CLK_TCK")


def taken(pid: int) -> tuple[float, float]:
    """CPU seconds and resident MiB of a process, as Linux counts them."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    resident = int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return (int(fields[11]) + int(fields[12])) / TICKS, resident


async def fill(kubeconfig: Path, number: int) -> None:
    """Apply the Workspaces, and wait until each has been reported on."""
    from berth_operator.cluster_cache import WORKSPACES
    from control_plane.cluster import Cluster, eventually

    async with await Cluster.connect(str(kubeconfig)) as cluster:
        cluster.namespace = "default"
        await asyncio.gather(
            *(cluster.create_workspace(f"w-{count}", preset={"name": "tiny-chat"}) for count in range(number))
        )

        async def reported() -> int:
            found = await cluster.list_all(WORKSPACES, "default")
            return sum(bool((one.get("status") or {}).get("conditions")) for one in found)

        await eventually(reported, lambda count: count == number, "every Workspace has a status", 300)


def main(arguments: list[str]) -> int:
    """Measure, and print a line for each state."""
    sys.path.insert(0, str(REPOSITORY / "tests"))
    from control_plane.operator_process import operator_process
    from control_plane.planes import started_here
    from control_plane.real_apiserver import find_assets

    number, assets = int(arguments[0]) if arguments else 100, find_assets()
    if assets is None:
        sys.stderr.write("needs a real control plane: set KUBEBUILDER_ASSETS\n")
        return 1
    with (
        tempfile.TemporaryDirectory() as folder,
        started_here(assets, Path(folder) / "plane") as plane,
        operator_process(plane.kubeconfig, Path(folder) / "operator", "") as operator,
    ):
        asyncio.run(operator.watching())
        before, resident = taken(operator.pid)
        sys.stdout.write(f"started:         {before:.2f} s of CPU, {resident:.0f} MiB\n")
        asyncio.run(fill(plane.kubeconfig, number))
        after, resident = taken(operator.pid)
        sys.stdout.write(f"{number} Workspaces:  {after - before:.2f} s of CPU, {resident:.0f} MiB\n")
        time.sleep(IDLE_SECONDS)
        idle, resident = taken(operator.pid)
        share = (idle - after) / IDLE_SECONDS * 1000
        sys.stdout.write(f"then idle:       {share:.0f}m of a CPU, {resident:.0f} MiB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
