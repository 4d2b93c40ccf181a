"""The operator is killed after every single write that it makes for a Workspace, before it hears of the answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from control_plane.api_calls import Call
from control_plane.api_faults import Fault, Faults
from control_plane.cluster import Cluster
from control_plane.fake_nodes import FakeNodes
from control_plane.lives import Lives, outcome
from control_plane.operator_process import HASTY, OperatorProcess, operator_process
from control_plane.planes import ControlPlane, new_namespace

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(300)]

FEWEST_WRITES = 10
"""Deployment and Service made, put right and scaled, and a report for each step."""


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    with new_namespace(control_plane) as name:
        yield name


@pytest.fixture
def operator(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[OperatorProcess]:
    with operator_process(
        control_plane.kubeconfig, tmp_path, namespace, module=HASTY, BERTH_RESYNC_SECONDS="1"
    ) as running:
        yield running


async def test_killed_after_each_of_its_writes_it_ends_where_it_would_have(
    operator: OperatorProcess, cluster: Cluster, nodes: FakeNodes
) -> None:
    killed, sound = "fault-kill", "fault-none"
    written: list[Call] = []

    def start_over() -> None:
        operator.kill()
        operator.start(waits=False)

    def choose(call: Call, request: web.Request, body: str) -> Fault | None:
        if call.verb not in ("create", "patch") or killed not in request.path + body:
            return None
        written.append(call)
        return Fault("the operator is killed", "cut", effect=True, then=start_over)

    operator.proxy.faults = Faults(choose)
    # Between a report and its Event lies a moment; started again, it tells nothing that the report says already.
    lives = Lives(cluster, nodes, [killed, sound], untold={killed, sound})
    for step in lives.steps():
        await step()
    states = await lives.states()
    assert outcome(states[killed], killed) == outcome(states[sound], sound)
    assert len(written) >= FEWEST_WRITES, written
    await lives.delete()
    # The last one is up: it is to end in order.
    await operator.looked_again(1)
