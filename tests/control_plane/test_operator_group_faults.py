"""The calls that only a model over several nodes takes fail in every way: when it is made, and when it is replaced.

A Workspace suffers one fault at one call, in each step. It serves in the end, and its pods are replaced as a group.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from berth_operator.cluster_cache import STATEFUL_SETS, WORKSPACES
from berth_operator.kube import Object
from control_plane.api_calls import GROUP_CALLS, Call
from control_plane.api_faults import FAULTS, FAULTY_CALL, Fault, Faults, times
from control_plane.cluster import Cluster, eventually
from control_plane.fake_nodes import FakeNodes
from control_plane.operator_process import HASTY, OperatorProcess, operator_process
from control_plane.planes import ControlPlane, new_namespace
from control_plane.test_operator_group import create

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(300)]

SUFFERING = {
    f"group-{number:02}-{call.verb}": (call, fault)
    for number, fault in enumerate(FAULTS)
    for call in GROUP_CALLS
}
NAME = re.compile(r"group-\d\d-(?:get|patch)(?!-)")


@dataclass
class Lived:
    """What has come of all, and what was done to them."""

    versions: list[Object] = field(default_factory=list)
    injected: Counter[str] = field(default_factory=Counter)
    unknown: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def lived(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    workdir = tmp_path_factory.mktemp("operator")
    settings = {"BERTH_RESYNC_SECONDS": "2", "BERTH_WORKERS": "32"}
    with (
        new_namespace(control_plane) as namespace,
        operator_process(control_plane.kubeconfig, workdir, namespace, module=HASTY, **settings) as operator,
    ):
        yield asyncio.run(_live(control_plane, namespace, operator))


async def _live(plane: ControlPlane, namespace: str, operator: OperatorProcess) -> Lived:
    lived, left = Lived(), Counter[str]()

    def choose(made: Call, request: web.Request, _body: str) -> Fault | None:
        found = NAME.search(request.path)
        if found is None or not left[found[0]] or made != SUFFERING[found[0]][0]:
            return None
        left[found[0]] -= 1
        lived.injected[found[0]] += 1
        return SUFFERING[found[0]][1]

    def arm() -> None:
        left.update({name: times(call, fault) for name, (call, fault) in SUFFERING.items()})

    faults = operator.proxy.faults = Faults(choose)
    async with await Cluster.connect(str(plane.kubeconfig)) as cluster:
        cluster.namespace = namespace
        nodes = FakeNodes(cluster, has_controllers=plane.has_controllers)

        async def serve() -> None:
            await nodes.serve(*SUFFERING)
            await asyncio.gather(*(cluster.reported(name, "Serving") for name in SUFFERING))

        async with cluster.history(STATEFUL_SETS) as lived.versions:
            arm()
            await asyncio.gather(*(create(cluster, name) for name in SUFFERING))
            await serve()
            arm()
            change = {"metadata": {"annotations": {"berth.dev/weights": "claim/w"}}}
            await asyncio.gather(*(cluster.edit(WORKSPACES, name, change) for name in SUFFERING))
            await eventually(
                lambda: cluster.list_all(STATEFUL_SETS, namespace),
                lambda live: all(map(is_edited, live)),
                "the edit has reached all",
            )
            await serve()
    lived.unknown = faults.unknown
    return lived


def is_edited(stateful_set: Object) -> bool:
    return "claimName" in str(stateful_set["spec"]["template"]["spec"]["volumes"])


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize("call", GROUP_CALLS, ids=str)
def test_whatever_fails_a_group_serves_and_is_replaced_as_a_whole(
    lived: Lived, call: Call, fault: Fault, record_property: Callable[[str, object], None]
) -> None:
    record_property(FAULTY_CALL, str(call))
    name = next(name for name, suffers in SUFFERING.items() if suffers == (call, fault))
    assert lived.injected[name] > 0, "the call was never made"
    assert lived.unknown == []
    mine = [one for one in lived.versions if one["metadata"]["name"] == name]
    steps = dict.fromkeys((one["spec"]["replicas"], is_edited(one)) for one in mine)
    assert list(steps) == [(2, False), (0, True), (2, True)]
