"""berth explain: a Workspace as a tree, the first cause marked once."""

from __future__ import annotations

from typing import Any

import pytest

from berth_operator.cli.explain import _drawn
from berth_operator.plan.observed import Observed
from berth_operator.plan.tree import Branch, explain
from unit.cluster_objects import NOW, crashed, deployment, node, observed, pod, replica_set, runs


def workspace(reason: str = "", message: str = "", state: str = "NotReady") -> dict[str, Any]:
    conditions = (
        [{"type": "Ready", "status": "False", "reason": reason, "message": message}] if reason else []
    )
    return {
        "metadata": {"name": "ws", "namespace": "ns", "generation": 2},
        "status": {"state": state, "conditions": conditions, "observedGeneration": 2},
    }


def branches(tree: Branch) -> list[Branch]:
    return [tree, *(below for child in tree.children for below in branches(child))]


def marked(tree: Branch) -> list[tuple[str, str]]:
    return [(one.kind, one.name) for one in branches(tree) if one.is_cause]


ENDING = pod("ws-old-1", stamp="old", ready=True)
ENDING["metadata"]["deletionTimestamp"] = "2026-01-01T09:00:00Z"
QUOTA = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: gpus"}


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param(
            observed(pod(containerStatuses=[crashed(1)])), [("Pod", "ws-new-1")], id="a pod that crashes"
        ),
        pytest.param(
            observed(
                pod(containerStatuses=[runs(started=True)]), nodes=(node(conditions={"Ready": "Unknown"}),)
            ),
            [("Node", "n1")],
            id="a node that is lost",
        ),
        pytest.param(
            observed(replica_sets=(replica_set(conditions=[QUOTA]),), deployment=deployment(total=0)),
            [("ReplicaSet", "ws-new")],
            id="a quota",
        ),
        pytest.param(
            observed(
                ENDING,
                deployment={**deployment(total=0), "spec": {"replicas": 1, "strategy": {"type": "Recreate"}}},
                replica_sets=(replica_set("1", "old"), replica_set()),
                nodes=(node(),),
            ),
            [("Pod", "ws-old-1")],
            id="an old pod that does not go",
        ),
        pytest.param(
            observed(pod(containerStatuses=[runs()])), [], id="nothing that is wrong, only under way"
        ),
        pytest.param(observed(pod(ready=True), deployment=deployment(ready=1)), [], id="all is well"),
    ],
)
def test_the_first_cause_is_marked_where_it_lies(seen: Observed, expected: list[tuple[str, str]]) -> None:
    assert marked(explain(workspace(), seen, NOW).tree) == expected


def test_what_the_operator_refused_lies_in_the_workspace_itself() -> None:
    found = explain(workspace("UnknownPreset", "there is no preset"), Observed(), NOW)
    assert marked(found.tree) == [("Workspace", "ws")]
    assert found.cause is not None
    assert found.cause.message == "there is no preset"


@pytest.mark.parametrize(
    ("phase", "seen", "said"),
    [
        pytest.param("Downloading", runs(), "downloading: 42 %", id="what the server says"),
        pytest.param("Pulling", runs(), "its model is loading", id="what is seen by now is newer"),
        pytest.param("Downloading", crashed(1), "keeps ending", id="what is seen by now is worse"),
    ],
)
def test_how_far_a_start_is_is_told_as_the_operator_has_it(
    phase: str, seen: dict[str, Any], said: str
) -> None:
    raw = workspace("Starting", "downloading: 42 %")
    raw["status"]["progress"] = {"phase": phase}
    cause = explain(raw, observed(pod(containerStatuses=[seen])), NOW).cause
    assert cause is not None
    assert said in cause.message


@pytest.mark.parametrize(
    ("looked_at", "said"),
    [
        pytest.param(2, "", id="as it stands"),
        pytest.param(1, "no operator has looked at the last edit", id="before the last edit"),
        pytest.param(-1, "no operator has looked at this Workspace", id="never"),
        pytest.param(None, "no operator has looked at this Workspace", id="never, and it has no status"),
    ],
)
def test_conditions_of_before_are_told_to_be_so(looked_at: int | None, said: str) -> None:
    raw = workspace()
    raw["status"] = {} if looked_at is None else {**raw["status"], "observedGeneration": looked_at}
    unseen = explain(raw, observed(pod(ready=True), deployment=deployment(ready=1)), NOW).unseen
    assert unseen.startswith(said)
    assert bool(unseen) == bool(said)


def test_the_tree_goes_from_the_workspace_to_the_node() -> None:
    seen = observed(pod(containerStatuses=[crashed(1)]), nodes=(node(),))
    kinds = [one.kind for one in branches(explain(workspace(), seen, NOW).tree)]
    assert kinds == ["Workspace", "Deployment", "ReplicaSet", "Pod", "Node"]


def test_a_tree_is_drawn_in_plain_lines_where_nobody_looks() -> None:
    seen = observed(pod(containerStatuses=[crashed(1)]), nodes=(node(),))
    lines = list(_drawn(explain(workspace(), seen, NOW).tree))
    assert lines == [
        "Workspace ws  NotReady",
        "└─ Deployment ws  0 of 1 pods available",
        "   └─ ReplicaSet ws-new  the present template, 1 pod",
        "      └─ Pod ws-new-1  Pending  CrashLoop  <-- first cause",
        "         └─ Node n1  ready",
    ]


def test_pods_of_an_earlier_template_have_a_branch_of_their_own() -> None:
    seen = observed(
        pod(containerStatuses=[crashed(1)]),
        pod("ws-old-1", ready=True, stamp="old"),
        deployment=deployment(total=2, updatedReplicas=1),
        replica_sets=(replica_set("1", "old"), replica_set()),
    )
    sets = [one for one in branches(explain(workspace(), seen, NOW).tree) if one.kind == "ReplicaSet"]
    assert [(one.name, one.state) for one in sets] == [
        ("ws-new", "the present template, 1 pod"),
        ("ws-old", "an earlier template, 1 pod"),
    ]
