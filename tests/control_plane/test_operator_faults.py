"""Every call that the operator makes for a Workspace fails in every way, in every step of the Workspace's life.

A Workspace suffers one fault at three calls that lie apart: in each step of its life the first of each fails so. What
comes of it is compared with a Workspace of whose calls none fails.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from berth_operator.cluster_cache import DEPLOYMENTS, WORKSPACES
from berth_operator.kube import Object
from control_plane.api_calls import CALLS, DISCOVERY, WORKSPACE_CALLS, Call, granted
from control_plane.api_faults import FAULTS, FAULTY_CALL, Fault, Faults, times
from control_plane.cluster import Cluster, condition, is_ready, version
from control_plane.fake_nodes import FakeNodes
from control_plane.lives import Lives, State, outcome
from control_plane.operator_process import HASTY, OperatorProcess, operator_process
from control_plane.planes import ControlPlane, new_namespace

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(300)]

GROUPS = [WORKSPACE_CALLS[first::4] for first in range(4)]
SUFFERING = {
    f"fault-{number:02}-{letter}": (fault, group)
    for number, fault in enumerate(FAULTS)
    for letter, group in zip("abcd", GROUPS, strict=True)
}
SOUND = "fault-none"
NAME = re.compile(r"fault-(?:\d\d-[a-d]|none)")

MOST_REQUESTS = 3
"""How many times the requests of a Workspace without faults one with faults in every step may cost."""

LOUD = re.compile(r"WARNING|ERROR|CRITICAL")

UNTOLD = {403, 422, 400, 404}
"""Refused so, an Event is not posted again: the condition holds the same words."""


@dataclass
class Lived:
    """What has come of all, and what was seen on the way."""

    states: dict[str, State] = field(default_factory=dict)
    requests: Counter[str] = field(default_factory=Counter)
    workspaces: list[Object] = field(default_factory=list)
    deployments: list[Object] = field(default_factory=list)
    injected: Counter[tuple[str, Call]] = field(default_factory=Counter)
    unknown: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)


class _Armed:
    """How often each call is still to fail in this step, by the Workspace."""

    def __init__(self) -> None:
        self.left: dict[str, Counter[Call]] = {}
        self.injected: Counter[tuple[str, Call]] = Counter()
        self.requests: Counter[str] = Counter()

    def arm(self) -> None:
        self.left = {
            name: Counter({call: times(call, fault) for call in calls})
            for name, (fault, calls) in SUFFERING.items()
        }

    def choose(self, call: Call, request: web.Request, body: str) -> Fault | None:
        found = NAME.search(request.path_qs) or NAME.search(body)
        if found is None or call not in WORKSPACE_CALLS:
            return None
        name = found[0]
        self.requests[name] += 1
        if name not in self.left or not self.left[name][call]:
            return None
        self.left[name][call] -= 1
        self.injected[name, call] += 1
        return SUFFERING[name][0]


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
    armed, lived = _Armed(), Lived()
    faults = operator.proxy.faults = Faults(armed.choose)
    async with await Cluster.connect(str(plane.kubeconfig)) as cluster:
        cluster.namespace = namespace
        nodes = FakeNodes(cluster, has_controllers=plane.has_controllers)
        untold = {name for name, (fault, _) in SUFFERING.items() if fault.status in UNTOLD}
        lives = Lives(cluster, nodes, [*SUFFERING, SOUND], untold)
        async with (
            cluster.history(WORKSPACES) as lived.workspaces,
            cluster.history(DEPLOYMENTS) as lived.deployments,
        ):
            for step in lives.steps():
                armed.arm()
                await step()
            lived.states = await lives.states()
            armed.arm()
            await lives.delete()
    lived.injected, lived.requests = armed.injected, armed.requests
    lived.unknown, lived.log = faults.unknown, operator.log.splitlines()
    return lived


def test_every_call_that_the_operator_has_a_right_to_has_its_faults() -> None:
    assert {(call.verb, call.kind) for call in CALLS if call != DISCOVERY} == granted()


def test_the_operator_makes_no_other_call(lived: Lived) -> None:
    assert lived.unknown == []


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize("call", WORKSPACE_CALLS, ids=str)
def test_whatever_fails_the_end_is_the_same(
    lived: Lived, call: Call, fault: Fault, record_property: Callable[[str, object], None]
) -> None:
    record_property(FAULTY_CALL, str(call))
    name = next(name for name, (own, calls) in SUFFERING.items() if own == fault and call in calls)
    state, sound = lived.states[name], lived.states[SOUND]
    assert lived.injected[name, call] > 0, "the call was never made"
    assert outcome(state, name) == outcome(sound, SOUND)
    if fault.status not in UNTOLD:
        assert {item["reason"] for item in state.events} >= {"Serving", "OutOfMemory"}
    _never_better_than_the_truth(name, lived)
    failures = sum(lived.injected[name, one] for one in WORKSPACE_CALLS)
    # On a machine that has much else to do, requests take too long that no fault holds up.
    lines = [line for line in lived.log if name in line and LOUD.search(line) and "TimeoutError" not in line]
    assert len(lines) <= failures, "\n".join(lines)
    assert lived.requests[name] <= MOST_REQUESTS * lived.requests[SOUND]


def _never_better_than_the_truth(name: str, lived: Lived) -> None:
    """Nobody is told that a Workspace serves, who was told that it does not, unless the pods it asks for do."""
    before: Object = {}
    versions = [item for item in lived.workspaces if item["metadata"]["name"] == name]
    asked = {item["metadata"]["generation"]: item["resource"]["count"] for item in versions}
    for told in versions:
        if is_ready(told) and not is_ready(before):
            live = [
                item
                for item in lived.deployments
                if item["metadata"]["name"] == name and version(item) < version(told)
            ]
            # An edit may come between what was seen and the report, which says of which generation it is.
            wanted = asked[condition(told)["observedGeneration"]]
            assert live, told
            moment = condition(told)["lastTransitionTime"]
            # What changed within the second of the report may have changed while it was on its way.
            before_it = [item for item in live if _changed(item) < moment][-1:]
            within = [item for item in live if _changed(item) >= moment]
            assert any(_available(item) >= wanted for item in before_it + within), (condition(told), live[-1])
        before = told


def _changed(deployment: Object) -> str:
    """When a Deployment last changed, to the second."""
    return max(entry["time"] for entry in deployment["metadata"]["managedFields"])


def _available(deployment: Object) -> int:
    """How many pods serve. That somebody else wants another number of them takes nothing from that."""
    return int((deployment.get("status") or {}).get("availableReplicas", 0))
