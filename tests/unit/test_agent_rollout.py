"""Deployments and ReplicaSets: which step of a rollout comes next."""

from typing import Any

import pytest

from agent_objects import NOW, ago, deployment, pod, replica_set
from berth_local.agent.plan.deployment_status import deadline_in, deployment_status
from berth_local.agent.plan.replicas import plan_replica_set, pod_of
from berth_local.agent.plan.rollout import Rollout, plan_rollout, surge_and_unavailable


def test_a_new_deployment_gets_a_replica_set_with_the_template_hash_on_its_pods() -> None:
    created = plan_rollout(deployment(replicas=3), [], []).create
    assert created is not None
    name_hash = created["metadata"]["labels"]["pod-template-hash"]
    assert created["metadata"]["name"] == f"web-{name_hash}"
    assert created["spec"]["selector"]["matchLabels"] == {"app": "web", "pod-template-hash": name_hash}
    assert created["spec"]["template"]["metadata"]["labels"]["pod-template-hash"] == name_hash
    assert created["spec"]["replicas"] == 3
    assert created["metadata"]["ownerReferences"][0]["controller"] is True
    assert created["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"


def test_a_replica_set_that_was_made_is_recognised_as_the_current_one() -> None:
    web = deployment()
    created = plan_rollout(web, [], []).create
    assert created is not None
    stored = {**created, "metadata": {**created["metadata"], "uid": "u"}, "status": {"replicas": 1}}
    assert plan_rollout(web, [stored], []) == Rollout(revision=1)


def test_two_deployments_of_one_name_never_share_a_replica_sets_name() -> None:
    first, second = plan_rollout(deployment(), [], []).create, plan_rollout(deployment(), [], []).create
    assert first is not None
    assert second is not None
    assert first["metadata"]["name"] != second["metadata"]["name"]


def case(
    replicas: int, old: int, old_ok: int, new: int, new_ok: int, **rolling: Any
) -> tuple[Any, list[Any]]:
    strategy = {"rollingUpdate": rolling} if rolling else {}
    web = deployment(replicas=replicas, version="2", strategy=strategy)
    sets = [replica_set(web, "1", old, old_ok, 1), replica_set(web, "2", new, new_ok, 2)]
    return web, sets


@pytest.mark.parametrize(
    ("situation", "scale"),
    [
        pytest.param(
            case(4, 4, 4, 0, 0), {"web-h2": 1}, id="first the new one grows by the surge of 25 percent"
        ),
        pytest.param(
            case(4, 4, 4, 1, 0), {"web-h1": 3}, id="then one old pod goes, as one may be unavailable"
        ),
        pytest.param(case(4, 3, 3, 1, 0), {"web-h2": 2}, id="the room that it leaves goes to the new one"),
        pytest.param(case(4, 3, 3, 2, 0), {}, id="and then nothing moves until new pods are available"),
        pytest.param(case(4, 3, 3, 2, 2), {"web-h1": 1}, id="available new pods let old ones go"),
        pytest.param(case(4, 0, 0, 4, 4), {}, id="a finished rollout is left alone"),
        pytest.param(case(1, 1, 1, 0, 0), {"web-h2": 1}, id="one replica: the new pod comes first"),
        pytest.param(case(1, 1, 1, 1, 0), {}, id="one replica: the old pod stays until the new one serves"),
        pytest.param(case(1, 1, 1, 1, 1), {"web-h1": 0}, id="one replica: then the old pod goes"),
        pytest.param(case(1, 1, 0, 1, 0), {}, id="one replica: even a broken old pod stays until then"),
        pytest.param(case(4, 4, 2, 1, 0), {"web-h1": 3}, id="old pods that serve nobody go first"),
        pytest.param(
            case(2, 2, 2, 0, 0, maxSurge=0, maxUnavailable=1),
            {"web-h1": 1},
            id="no surge: an old one goes first",
        ),
        pytest.param(
            case(2, 2, 2, 0, 0, maxSurge=0, maxUnavailable=0),
            {"web-h1": 1},
            id="neither surge nor unavailable still moves",
        ),
        pytest.param(
            case(3, 3, 3, 0, 0, maxSurge="100%", maxUnavailable=0),
            {"web-h2": 3},
            id="full surge doubles the pods",
        ),
        pytest.param(case(1, 0, 0, 3, 3), {"web-h2": 1}, id="scaling down"),
        pytest.param(case(5, 0, 0, 3, 3), {"web-h2": 5}, id="scaling up"),
        pytest.param(case(0, 1, 1, 1, 1), {"web-h2": 0}, id="scaling to zero, the new one first"),
    ],
)
def test_a_rolling_update_moves_one_step(situation: tuple[Any, list[Any]], scale: dict[str, int]) -> None:
    web, sets = situation
    assert plan_rollout(web, sets, []).scale == scale


@pytest.mark.parametrize("replicas", [0, 1, 2, 3, 5, 8])
@pytest.mark.parametrize(("surge", "unavailable"), [("25%", "25%"), (0, 1), (1, 0), ("100%", "50%"), (0, 0)])
def test_a_rolling_update_ends_and_keeps_its_bounds_all_the_way(
    replicas: int, surge: Any, unavailable: Any
) -> None:
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    web, sets = case(replicas, replicas, replicas, 0, 0, **rolling)
    most, fewest = surge_and_unavailable(web)
    for _ in range(100):
        scale = plan_rollout(web, sets, []).scale
        if not scale:
            # Nothing can move until the pods that were made become available.
            if all(one["status"]["availableReplicas"] == one["spec"]["replicas"] for one in sets):
                break
            for one in sets:
                one["status"] |= {"availableReplicas": one["spec"]["replicas"]}
        for one in sets:
            count = scale.get(one["metadata"]["name"], one["spec"]["replicas"])
            one["spec"]["replicas"] = count
            one["status"] |= {
                "replicas": count,
                "availableReplicas": min(one["status"]["availableReplicas"], count),
            }
        assert sum(one["spec"]["replicas"] for one in sets) <= replicas + most
        assert sum(one["status"]["availableReplicas"] for one in sets) >= replicas - fewest
    assert [one["spec"]["replicas"] for one in sets] == [0, replicas]


def test_recreate_ends_every_old_pod_before_it_makes_a_new_one() -> None:
    web = deployment(version="2", strategy={"type": "Recreate"})
    old = replica_set(web, "1")
    assert plan_rollout(web, [old], []) == Rollout(scale={"web-h1": 0}, revision=1)
    old["spec"]["replicas"] = 0
    leaving = pod(owner=old, going=True)
    assert plan_rollout(web, [old], [leaving]).create is None
    created = plan_rollout(web, [old], []).create
    assert created is not None
    assert created["spec"]["replicas"] == 1


def test_going_back_to_an_earlier_template_reuses_its_replica_set_under_a_new_revision() -> None:
    web = deployment(version="1")
    sets = [replica_set(web, "1", 0, 0, 1), replica_set(web, "2", 1, 1, 2)]
    rollout = plan_rollout(web, sets, [])
    assert rollout.create is None
    assert rollout.revise == {"web-h1": 3}
    assert rollout.revision == 3
    assert rollout.scale == {"web-h1": 1}


def test_a_paused_deployment_scales_but_rolls_nothing_out() -> None:
    web = deployment(replicas=3, version="2", paused=True)
    assert plan_rollout(web, [replica_set(web, "1", 1)], []) == Rollout(scale={"web-h1": 3}, revision=1)


@pytest.mark.parametrize(("limit", "dropped"), [(0, ("web-h1", "web-h2")), (1, ("web-h1",)), (None, ())])
def test_idle_replica_sets_past_the_history_limit_go_oldest_first(
    limit: int | None, dropped: tuple[str, ...]
) -> None:
    web = deployment(version="3", revisionHistoryLimit=limit)
    sets = [replica_set(web, "1", 0, 0, 1), replica_set(web, "2", 0, 0, 2), replica_set(web, "3", 1, 1, 3)]
    assert plan_rollout(web, sets, []).delete == dropped


def test_a_replica_set_makes_the_pods_that_are_missing() -> None:
    owner = replica_set(deployment(), replicas=3)
    plan = plan_replica_set(
        owner, [pod(owner=owner), pod(owner=owner, going=True), pod(owner=owner, phase="Failed")], NOW
    )
    assert plan.create == 2
    assert plan.delete == ()


def test_a_pod_carries_its_templates_labels_and_its_owner() -> None:
    owner = replica_set(deployment())
    made = pod_of(owner)
    assert made["metadata"]["labels"] == {"app": "web", "pod-template-hash": "h1"}
    assert made["metadata"]["ownerReferences"][0]["uid"] == owner["metadata"]["uid"]
    assert made["metadata"]["generateName"] == "web-h1-"


@pytest.mark.parametrize(
    ("pods", "first"),
    [
        pytest.param([pod("a", True), pod("b", False)], "b", id="a pod that is not ready before one that is"),
        pytest.param(
            [pod("a", True), pod("b", node="", phase="Pending")], "b", id="a pod without a node before all"
        ),
        pytest.param(
            [pod("a", False, phase="Pending"), pod("b", False)], "a", id="a pending pod before a running one"
        ),
        pytest.param(
            [pod("a", True, restarts=2), pod("b", True)], "a", id="of ready pods the one that restarted most"
        ),
        pytest.param(
            [pod("a", True, created=50), pod("b", True, created=10)], "b", id="of equal pods the newest"
        ),
    ],
)
def test_scaling_down_ends_the_pod_that_is_missed_least(pods: list[Any], first: str) -> None:
    plan = plan_replica_set(replica_set(deployment(), replicas=1), pods, NOW)
    assert [one["metadata"]["name"] for one in plan.delete] == [first]


def test_a_replica_sets_status_counts_its_pods() -> None:
    owner = replica_set(deployment(), replicas=3, minReadySeconds=30)
    labels = {"app": "web", "pod-template-hash": "h1"}
    pods = [pod("a", True, labels=labels), pod("b", True, ready_since=10, labels=labels), pod("c", False)]
    plan = plan_replica_set(owner, pods, NOW)
    assert plan.status == {
        "replicas": 3,
        "fullyLabeledReplicas": 2,
        "readyReplicas": 2,
        "availableReplicas": 1,
        "observedGeneration": 1,
    }
    assert plan.check_again == 20


def conditions(web: dict[str, Any], sets: list[Any]) -> dict[str, tuple[str, str]]:
    status = deployment_status(web, sets, NOW)
    return {one["type"]: (one["status"], one["reason"]) for one in status["conditions"]}


def test_a_deployment_whose_pods_serve_is_available_and_its_rollout_complete() -> None:
    web = deployment(replicas=2)
    status = deployment_status(web, [replica_set(web, replicas=2)], NOW)
    counts = {key: value for key, value in status.items() if key != "conditions"}
    assert counts == {
        "observedGeneration": 1,
        "replicas": 2,
        "updatedReplicas": 2,
        "readyReplicas": 2,
        "availableReplicas": 2,
    }
    assert conditions(web, [replica_set(web, replicas=2)]) == {
        "Available": ("True", "MinimumReplicasAvailable"),
        "Progressing": ("True", "NewReplicaSetAvailable"),
    }


def test_a_deployment_whose_pods_start_is_unavailable_and_progressing() -> None:
    web = deployment()
    sets = [replica_set(web, available=0)]
    assert deployment_status(web, sets, NOW)["unavailableReplicas"] == 1
    assert conditions(web, sets) == {
        "Available": ("False", "MinimumReplicasUnavailable"),
        "Progressing": ("True", "ReplicaSetUpdated"),
    }


def standing_still(since: float, **spec: Any) -> tuple[dict[str, Any], list[Any]]:
    web = deployment(**spec)
    sets = [replica_set(web, available=0)]
    web["status"] = deployment_status(web, sets, NOW)
    for one in web["status"]["conditions"]:
        one["lastUpdateTime"] = ago(since)
    return web, sets


@pytest.mark.parametrize(
    ("since", "spec", "expected"),
    [
        pytest.param(
            599, {}, ("True", "ReplicaSetUpdated"), id="within the ten minutes that are the default"
        ),
        pytest.param(600, {}, ("False", "ProgressDeadlineExceeded"), id="past them"),
        pytest.param(
            6,
            {"progressDeadlineSeconds": 5},
            ("False", "ProgressDeadlineExceeded"),
            id="past a deadline given",
        ),
    ],
)
def test_a_rollout_that_stands_still_fails_at_its_deadline(
    since: float, spec: dict[str, Any], expected: tuple[str, str]
) -> None:
    web, sets = standing_still(since, **spec)
    assert conditions(web, sets)["Progressing"] == expected
    assert deadline_in(web, NOW) == max(spec.get("progressDeadlineSeconds", 600) - since, 0)


def test_a_failed_rollout_is_complete_once_its_pods_serve() -> None:
    web, sets = standing_still(700)
    web["status"] = deployment_status(web, sets, NOW)
    assert conditions(web, [replica_set(web)])["Progressing"] == ("True", "NewReplicaSetAvailable")


def test_a_pod_that_fails_after_the_rollout_makes_it_unavailable_not_progressing_again() -> None:
    web = deployment()
    web["status"] = deployment_status(web, [replica_set(web)], NOW)
    after = conditions(web, [replica_set(web, available=0)])
    assert after == {
        "Available": ("False", "MinimumReplicasUnavailable"),
        "Progressing": ("True", "NewReplicaSetAvailable"),
    }


def test_a_status_that_has_not_changed_is_written_the_same_later() -> None:
    web = deployment()
    web["status"] = deployment_status(web, [replica_set(web)], NOW)
    later = NOW.replace(hour=18)
    assert deployment_status(web, [replica_set(web)], later) == web["status"]
