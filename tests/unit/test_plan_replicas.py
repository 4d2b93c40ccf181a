"""Who says how many pods run: the Workspace, or whatever scales the Deployment itself."""

from __future__ import annotations

from typing import Any

import pytest

from berth_operator.api.workspace import Workspace, parse_workspace
from berth_operator.plan.deployment import ANNOTATION_RENDERED
from berth_operator.plan.observed import Observed
from berth_operator.plan.replicas import scales_itself, with_live_replicas
from berth_operator.plan.status import report
from berth_operator.plan.workload import Workload, plan_workload
from berth_operator.presets import load_presets
from berth_operator.settings import Settings
from unit.cluster_objects import NOW, SERVICE, deployment, pod

CATALOGUE = load_presets()


def workspace(count: int = 1, **annotations: str) -> Workspace:
    return parse_workspace(
        {
            "apiVersion": "kaito.sh/v1beta1",
            "kind": "Workspace",
            "metadata": {
                "name": "ws",
                "namespace": "ns",
                "annotations": {f"berth.dev/{name}": value for name, value in annotations.items()},
            },
            "resource": {"count": count},
            "inference": {"preset": {"name": "tiny-chat"}},
        }
    )


def planned(asked: Workspace) -> dict[str, Any]:
    found = plan_workload(asked, CATALOGUE, Settings())
    assert isinstance(found, Workload), found
    return found.deployment


def test_replicas_are_the_workspace_s_unless_something_else_scales() -> None:
    assert not scales_itself(workspace())
    assert scales_itself(workspace(replicas="external"))


@pytest.mark.parametrize(
    ("live", "replicas", "version"),
    [
        pytest.param(None, 2, None, id="there is no Deployment yet, which begins with count"),
        pytest.param({"metadata": {"resourceVersion": "7"}, "spec": {"replicas": 5}}, 5, "7", id="scaled up"),
        pytest.param(
            {
                "metadata": {"resourceVersion": "7", "annotations": {ANNOTATION_RENDERED: "digest"}},
                "spec": {"replicas": 0},
            },
            0,
            "7",
            id="scaled to zero",
        ),
        pytest.param(
            {"metadata": {"resourceVersion": "7"}, "spec": {"replicas": 0}},
            2,
            None,
            id="it was put aside for a group, and is wanted again",
        ),
        pytest.param({"metadata": {"resourceVersion": "7"}, "spec": {}}, 2, None, id="it says nothing"),
    ],
)
def test_the_number_that_stands_in_the_cluster_is_kept(
    live: dict[str, Any] | None, replicas: int, version: str | None
) -> None:
    found = with_live_replicas(planned(workspace(2, replicas="external")), live)
    assert found["spec"]["replicas"] == replicas
    # A scaling that happens meanwhile makes a conflict of the write, and is not undone.
    assert found["metadata"].get("resourceVersion") == version


def test_scaling_is_no_change_of_what_is_meant() -> None:
    def digest(count: int, **annotations: str) -> str:
        return str(planned(workspace(count, **annotations))["metadata"]["annotations"][ANNOTATION_RENDERED])

    assert digest(1, replicas="external") == digest(4, replicas="external")
    assert digest(1) != digest(4)


def test_what_is_reported_follows_whoever_scales() -> None:
    pods = tuple(pod(f"ws-new-{number}", ready=True) for number in range(3))
    scaled = Observed(deployment(3, ready=3, total=3), SERVICE, pods)
    by_itself = report(workspace(1, replicas="external"), None, scaled, {}, NOW).status
    assert by_itself["targetNodeCount"] == 3
    assert "3 of 3 pods serve" in by_itself["conditions"][1]["message"]
