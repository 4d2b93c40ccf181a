"""Every list, every watch and every look at the kinds fails in every way, and watches in ways of their own.

For each fault the watches are broken off. When they start over, the first call of every sort fails so, while a
Workspace is created, another one's Service is deleted, and a third one goes. All of it is seen in the end.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from aiohttp import web

from berth_operator.cluster_cache import SERVICES, WORKSPACES
from control_plane.api_calls import DISCOVERY, LIST_CALLS, WATCH_CALLS, Call
from control_plane.api_faults import FAULTS, FAULTY_CALL, STREAM_FAULTS, Fault, Faults, times
from control_plane.cluster import Cluster, eventually
from control_plane.operator_process import HASTY, OperatorProcess, operator_process
from control_plane.planes import ControlPlane, new_namespace

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(300)]

PLAIN = (DISCOVERY, *LIST_CALLS, *WATCH_CALLS)
CELLS = [(call, fault) for fault in FAULTS for call in PLAIN] + [
    (call, fault) for fault in STREAM_FAULTS for call in WATCH_CALLS
]
Injected = Counter[tuple[Call, str]]


class _Armed:
    def __init__(self) -> None:
        self.fault: Fault | None = None
        self.left: Counter[Call] = Counter()

    def arm(self, fault: Fault) -> None:
        self.fault = fault
        self.left = Counter({call: times(call, fault) for call, own in CELLS if own == fault})

    def choose(self, call: Call, _request: web.Request, _body: str) -> Fault | None:
        if not self.left[call]:
            return None
        self.left[call] -= 1
        return self.fault


@pytest.fixture(scope="module")
def injected(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Injected]:
    workdir = tmp_path_factory.mktemp("operator")
    with (
        new_namespace(control_plane) as namespace,
        operator_process(
            control_plane.kubeconfig, workdir, namespace, module=HASTY, BERTH_RESYNC_SECONDS="1"
        ) as operator,
    ):
        yield asyncio.run(_suffer(control_plane, namespace, operator))


async def _suffer(plane: ControlPlane, namespace: str, operator: OperatorProcess) -> Injected:
    armed = _Armed()
    faults = operator.proxy.faults = Faults(armed.choose)
    async with await Cluster.connect(str(plane.kubeconfig)) as cluster:
        cluster.namespace = namespace
        await cluster.create_workspace("stays")
        await cluster.create_workspace("w0")
        await cluster.exposed("w0")
        await operator.watching()
        for number, fault in enumerate((*FAULTS, *STREAM_FAULTS)):
            armed.arm(fault)
            operator.proxy.cut(answer=500)
            await cluster.delete(SERVICES, "stays")
            await cluster.delete(WORKSPACES, f"w{number}")
            await cluster.create_workspace(f"w{number + 1}")
            operator.proxy.mend()

            async def left() -> list[str]:
                return [str(call) for call, count in armed.left.items() if count]

            await eventually(left, lambda calls: not calls, f"{fault}: every call is made")
            await cluster.exposed("stays")
            await cluster.exposed(f"w{number + 1}")
            await cluster.gone(SERVICES, f"w{number}")
        # All is well again: what changes is told by watches alone.
        since = len(operator.proxy.requests)
        await operator.looked_again(2, since)
    assert faults.unknown == []
    return faults.injected


@pytest.mark.parametrize(
    ("call", "fault"), [pytest.param(*cell, id=f"{cell[0]}-{cell[1]}") for cell in CELLS]
)
def test_what_the_watches_missed_is_put_right(
    injected: Injected, call: Call, fault: Fault, record_property: Callable[[str, object], None]
) -> None:
    record_property(FAULTY_CALL, str(call))
    assert injected[call, fault.name] == times(call, fault)
