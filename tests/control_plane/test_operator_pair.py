"""Two operators at once: one writes, and the other takes over when it is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from berth_operator.cluster_cache import WORKSPACES
from control_plane.cluster import Cluster, eventually
from control_plane.operator_process import HASTY, OperatorProcess, operator_process
from control_plane.own_account import LEASE, own_kubeconfig
from control_plane.planes import ControlPlane, new_namespace

pytestmark = [pytest.mark.timeout(120), pytest.mark.thorough]

Pair = tuple[OperatorProcess, OperatorProcess]


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    with new_namespace(control_plane) as name:
        yield name


@pytest.fixture
def pair(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Pair]:
    # An account of the chart's may take the release's Lease only.
    has_account = own_kubeconfig(control_plane.kubeconfig) != control_plane.kubeconfig
    lease = LEASE if has_account else f"{namespace}/berth"
    with ExitStack() as stack:

        def one(name: str) -> OperatorProcess:
            return stack.enter_context(
                operator_process(
                    control_plane.kubeconfig,
                    tmp_path / name,
                    namespace,
                    module=HASTY,
                    BERTH_LEADER_ELECTION=lease,
                )
            )

        yield one("first"), one("second")


def written(operator: OperatorProcess, since: int = 0) -> list[str]:
    return [line for line in operator.proxy.writes(since) if "/leases" not in line]


async def leader_and_standby(pair: Pair) -> Pair:
    """The one that leads, and the other."""

    async def leading() -> list[bool]:
        return ["leading:" in operator.log for operator in pair]

    first, _ = await eventually(leading, any, "one of them leads")
    return pair if first else (pair[1], pair[0])


async def edits(cluster: Cluster, name: str, times: int) -> None:
    """Edit a Workspace so often, and see each edit carried out."""
    for number in range(times):
        count = 2 + number % 2
        await cluster.edit(WORKSPACES, name, {"resource": {"count": count}})
        await cluster.deployed(name, lambda live, count=count: live["spec"]["replicas"] == count)


async def test_only_the_one_that_holds_the_lease_writes(pair: Pair, cluster: Cluster) -> None:
    leader, standby = await leader_and_standby(pair)
    await standby.logs("standing by")
    await cluster.create_workspace("w")
    await cluster.exposed("w")
    await edits(cluster, "w", 5)
    assert written(leader)
    assert written(standby) == []
    assert not [request for request in standby.proxy.requests if request.is_watch]


async def test_when_the_leader_is_killed_the_other_goes_on(pair: Pair, cluster: Cluster) -> None:
    leader, standby = await leader_and_standby(pair)
    await cluster.create_workspace("w")
    await cluster.exposed("w")
    await standby.logs("standing by")
    leader.kill()
    await cluster.edit(WORKSPACES, "w", {"resource": {"count": 4}})
    await cluster.deployed("w", lambda live: live["spec"]["replicas"] == 4)
    since = leader.start()
    await edits(cluster, "w", 3)
    assert written(leader, since) == []
    assert written(standby)


def moment(line: str) -> str:
    """When a line was logged, in a form that sorts."""
    return line[: line.index("]")]


async def test_a_leader_that_is_cut_off_stops_before_the_other_starts(pair: Pair, cluster: Cluster) -> None:
    leader, standby = await leader_and_standby(pair)
    await cluster.create_workspace("w")
    await cluster.exposed("w")
    await standby.logs("standing by")
    leader.proxy.cut()

    async def status() -> tuple[int | None, bool]:
        return leader.status, "leading:" in standby.log

    ended, _ = await eventually(status, lambda seen: seen[0] is not None and seen[1], "the other leads")
    assert ended == 1
    assert "is lost: not renewed" in leader.log
    [begun] = [line for line in standby.log.splitlines() if "leading:" in line]
    last = max(moment(line) for line in leader.log.splitlines() if line.startswith("["))
    assert last < moment(begun), "the other leads while the first one still may write"
    leader.kill()
    await edits(cluster, "w", 2)
    leader.proxy.mend()
    leader.start()
