"""What is reported of a Workspace, for every state its Deployment and pods can be in."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_operator.api.workspace import Workspace
from berth_operator.plan.events import event_about, told_by
from berth_operator.plan.metadata import ANNOTATION_RENDERED
from berth_operator.plan.observed import Observed
from berth_operator.plan.reasons import Finding, Reason
from berth_operator.plan.status import Report
from berth_operator.plan.status import report as judge

NOW, EARLIER = "2026-01-01T10:00:00Z", "2026-01-01T09:00:00Z"


def workspace(count: int = 1, generation: int = 3) -> Workspace:
    return Workspace.model_validate(
        {
            "metadata": {"name": "ws", "namespace": "ns", "generation": generation},
            "resource": {"count": count},
            "inference": {"preset": {"name": "tiny-chat"}},
        }
    )


def deployment(
    wanted: int = 1, *, updated: int = 1, total: int = 1, ready: int = 1, available: int = 1, **more: Any
) -> dict[str, Any]:
    numbers = {
        "updatedReplicas": updated,
        "replicas": total,
        "readyReplicas": ready,
        "availableReplicas": available,
    }
    return {
        "metadata": {
            "name": "ws",
            "namespace": "ns",
            "generation": 2,
            "annotations": {ANNOTATION_RENDERED: "one"},
        },
        "spec": {"replicas": wanted},
        "status": {"observedGeneration": 2, **numbers, **more},
    }


def pod(name: str = "ws-1", *, node: str = "n1", conditions: Any = None, **status: Any) -> dict[str, Any]:
    spec = {"nodeName": node} if node else {}
    kinds = {"PodScheduled": "True" if node else "False", "Ready": "False", **(conditions or {})}
    listed = [
        value if isinstance(value, dict) else {"type": kind, "status": value} for kind, value in kinds.items()
    ]
    return {
        "metadata": {"name": name, "namespace": "ns"},
        "spec": spec,
        "status": {"conditions": listed, **status},
    }


def container(**state: Any) -> dict[str, Any]:
    return {"name": "inference", "image": "berth-inference:1", "ready": False, "restartCount": 4, **state}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"state": {"waiting": {"reason": reason, "message": message}}}


def ended(code: int, reason: str = "Error") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason}}


def unschedulable(message: str) -> dict[str, Any]:
    return pod(
        node="",
        conditions={
            "PodScheduled": {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": message,
            }
        },
    )


SERVICE = {"metadata": {}, "spec": {"clusterIP": "10.0.0.7", "type": "ClusterIP"}}
SERVING = pod(conditions={"Ready": "True"}, containerStatuses=[container(ready=True, started=True)])


def judged(observed: Observed, previous: dict[str, Any] | None = None, **kwargs: Any) -> Report:
    return judge(workspace(**kwargs), None, observed, previous or {}, NOW)


def report(observed: Observed, previous: dict[str, Any] | None = None, **kwargs: Any) -> dict[str, Any]:
    return judged(observed, previous, **kwargs).status


def condition(report: dict[str, Any], kind: str = "Ready") -> dict[str, Any]:
    return next(item for item in report["conditions"] if item["type"] == kind)


def test_a_serving_workspace_is_ready_and_says_where() -> None:
    found = report(Observed(deployment(), SERVICE, (SERVING,)))
    assert [item["status"] for item in found["conditions"]] == ["True"] * 4
    assert found["state"] == "Ready"
    assert found["workerNodes"] == ["n1"]
    assert found["endpoint"] == "http://10.0.0.7"
    assert {item["observedGeneration"] for item in found["conditions"]} == {3}


CASES: list[tuple[str, Observed, Reason, str]] = [
    ("nothing exists yet", Observed(), Reason.DEPLOYING, "is being created"),
    ("the Service is missing", Observed(deployment(), None, (SERVING,)), Reason.DEPLOYING, "Service"),
    (
        "the Deployment has a change that nobody has acted on",
        Observed(deployment() | {"metadata": {"name": "ws", "generation": 5}}, SERVICE, (SERVING,)),
        Reason.DEPLOYING,
        "not being acted on",
    ),
    (
        "an old pod still runs beside the new one",
        Observed(deployment(total=2), SERVICE, (SERVING,)),
        Reason.ROLLING_OUT,
        "1 old ones",
    ),
    (
        "no GPU is free",
        Observed(
            deployment(ready=0, available=0),
            SERVICE,
            (unschedulable("0/1 nodes: 1 Insufficient nvidia.com/gpu."),),
        ),
        Reason.NO_FREE_GPU,
        "berth.dev/accelerator: cpu",
    ),
    (
        "no node carries the labels",
        Observed(
            deployment(ready=0, available=0),
            SERVICE,
            (unschedulable("0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."),),
        ),
        Reason.NO_MATCHING_NODE,
        "resource.labelSelector",
    ),
    (
        "a quota keeps pods from being created",
        Observed(
            deployment(
                total=0,
                updated=0,
                ready=0,
                available=0,
                conditions=[{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: gpus"}],
            ),
            SERVICE,
        ),
        Reason.QUOTA_EXCEEDED,
        'ResourceQuota "gpus"',
    ),
    (
        "the image cannot be pulled",
        Observed(
            deployment(ready=0, available=0),
            SERVICE,
            (pod(containerStatuses=[container(**waiting("ImagePullBackOff", "not found"))]),),
        ),
        Reason.IMAGE_NOT_FOUND,
        'image "berth-inference:1": its registry does not have it (not found)',
    ),
    (
        "a Secret is missing",
        Observed(
            deployment(ready=0, available=0),
            SERVICE,
            (
                pod(
                    containerStatuses=[
                        container(**waiting("CreateContainerConfigError", 'secret "hub" not found'))
                    ]
                ),
            ),
        ),
        Reason.SECRET_MISSING,
        'Secret "hub" in namespace "ns", which does not exist',
    ),
    (
        "the container was killed for memory, and waits to be restarted",
        Observed(
            deployment(ready=0, available=0),
            SERVICE,
            (
                pod(
                    containerStatuses=[
                        container(**waiting("CrashLoopBackOff"), lastState=ended(137, "OOMKilled"))
                    ]
                ),
            ),
        ),
        Reason.OUT_OF_MEMORY,
        'OOMKilled (exit 137) on node "n1"',
    ),
    (
        "the container keeps crashing",
        Observed(
            deployment(ready=0, available=0),
            SERVICE,
            (pod(containerStatuses=[container(**waiting("CrashLoopBackOff"), lastState=ended(3))]),),
        ),
        Reason.CRASH_LOOP,
        "exit 3 (4 restarts)",
    ),
    (
        "the container runs again after a crash but is not ready",
        Observed(
            deployment(ready=0, available=0),
            SERVICE,
            (pod(containerStatuses=[container(state={"running": {}}, lastState=ended(1))]),),
        ),
        Reason.CRASH_LOOP,
        "exit 1",
    ),
    (
        "the pod was evicted",
        Observed(
            deployment(ready=0, available=0),
            SERVICE,
            (pod(phase="Failed", reason="Evicted", message="low on disk"),),
        ),
        Reason.POD_EVICTED,
        "low on disk",
    ),
    (
        "the model is loading",
        Observed(
            deployment(ready=0, available=0),
            SERVICE,
            (pod(containerStatuses=[container(state={"running": {}}, started=False)]),),
        ),
        Reason.STARTING,
        "its model is loading",
    ),
    (
        "the server started and stopped answering",
        Observed(
            deployment(ready=0, available=0),
            SERVICE,
            (pod(containerStatuses=[container(state={"running": {}}, started=True)]),),
        ),
        Reason.NOT_READY,
        "does not answer its readiness probe",
    ),
]


@pytest.mark.parametrize(
    ("observed", "reason", "words"), [pytest.param(*case[1:], id=case[0]) for case in CASES]
)
def test_what_does_not_serve_is_not_ready_and_says_why(
    observed: Observed, reason: Reason, words: str
) -> None:
    ready = condition(report(observed))
    assert (ready["status"], ready["reason"]) == ("False", reason)
    assert words in ready["message"]


def test_a_workspace_of_count_zero_has_its_resources_and_serves_nothing() -> None:
    nothing = deployment(0, updated=0, total=0, ready=0, available=0)
    found = report(Observed(nothing, SERVICE), count=0)
    assert condition(found, "ResourceReady")["status"] == "True"
    assert (condition(found)["status"], condition(found)["reason"]) == ("False", Reason.STOPPED)


def test_the_root_cause_comes_before_its_consequences() -> None:
    crashing = pod("ws-1", containerStatuses=[container(**waiting("CrashLoopBackOff"), lastState=ended(1))])
    pulling = pod("ws-2", containerStatuses=[container(**waiting("ErrImagePull"))])
    observed = Observed(deployment(2, ready=0, available=0), SERVICE, (crashing, pulling))
    assert condition(report(observed))["reason"] == Reason.IMAGE_PULL_FAILED


def test_a_pod_being_deleted_is_no_cause() -> None:
    leaving = pod("ws-0", containerStatuses=[container(**waiting("CrashLoopBackOff"), lastState=ended(1))])
    leaving["metadata"]["deletionTimestamp"] = NOW
    assert condition(report(Observed(deployment(), SERVICE, (SERVING, leaving))))["status"] == "True"


def test_a_refusal_overrides_what_still_serves() -> None:
    refusal = Finding(Reason.UNKNOWN_PRESET, "there is no such preset", terminal=True)
    found = judge(workspace(), refusal, Observed(deployment(), SERVICE, (SERVING,)), {}, NOW).status
    assert {(item["status"], item["reason"]) for item in found["conditions"]} == {("False", "UnknownPreset")}


def test_resources_are_ready_once_every_pod_has_a_node() -> None:
    loading = pod(containerStatuses=[container(state={"running": {}}, started=False)])
    found = report(Observed(deployment(ready=0, available=0), SERVICE, (loading,)))
    assert condition(found, "ResourceReady")["status"] == "True"
    assert condition(found, "InferenceReady")["status"] == "False"


def test_a_pod_that_has_ended_is_neither_at_work_nor_on_its_way() -> None:
    ended = pod("ws-0", node="n0", phase="Failed", reason="Evicted", message="low on disk")
    waiting = pod("ws-1", node="")
    found = report(Observed(deployment(ready=0, available=0), SERVICE, (ended, waiting)))
    assert found["workerNodes"] == []
    assert found["progress"] == {"phase": "Scheduling"}
    assert condition(found, "ResourceReady")["status"] == "False"
    alone = report(Observed(deployment(ready=0, available=0), SERVICE, (ended,)))
    assert alone["progress"] is None
    assert condition(alone, "ResourceReady")["reason"] == Reason.POD_EVICTED


def test_a_condition_keeps_its_time_until_its_status_flips() -> None:
    serving = Observed(deployment(), SERVICE, (SERVING,))
    before = judge(workspace(), None, serving, {}, EARLIER).status
    assert condition(report(serving, before))["lastTransitionTime"] == EARLIER
    broken = Observed(deployment(ready=0, available=0), SERVICE, (pod(),))
    assert condition(report(broken, before))["lastTransitionTime"] == NOW


@pytest.mark.parametrize(
    ("before", "serving", "expected"),
    [
        pytest.param("", False, "Pending", id="never served"),
        pytest.param("Pending", False, "Pending", id="still never served"),
        pytest.param("Pending", True, "Ready", id="serves for the first time"),
        pytest.param("Ready", False, "NotReady", id="served before"),
        pytest.param("NotReady", False, "NotReady", id="has not come back"),
        pytest.param("NotReady", True, "Ready", id="came back"),
    ],
)
def test_the_state_remembers_whether_the_model_has_served(before: str, serving: bool, expected: str) -> None:
    observed = Observed(deployment(), SERVICE, (SERVING,)) if serving else Observed()
    assert report(observed, {"state": before} if before else {})["state"] == expected


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        pytest.param(None, "", id="no Service"),
        pytest.param({"metadata": {}, "spec": {}}, "", id="no address yet"),
        pytest.param(SERVICE, "http://10.0.0.7", id="a cluster address"),
        pytest.param(
            {"metadata": {}, "spec": {"clusterIP": "fd00::7"}}, "http://[fd00::7]", id="an IPv6 address"
        ),
        pytest.param(
            {
                "metadata": {},
                "spec": {"clusterIP": "10.0.0.7", "type": "LoadBalancer"},
                "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}},
            },
            "http://1.2.3.4",
            id="a load balancer's address",
        ),
        pytest.param(
            {"metadata": {}, "spec": {"clusterIP": "10.0.0.7", "type": "LoadBalancer"}, "status": {}},
            "http://10.0.0.7",
            id="a load balancer that has none yet",
        ),
        pytest.param(
            {**SERVICE, "metadata": {"annotations": {"berth.dev/endpoint": "http://127.0.0.1:3000"}}},
            "http://127.0.0.1:3000",
            id="an address that was published for it",
        ),
    ],
)
def test_the_endpoint_is_where_the_service_answers(service: dict[str, Any] | None, expected: str) -> None:
    assert report(Observed(deployment(), service, (SERVING,)))["endpoint"] == expected


small = st.integers(0, 3)


pod_states = st.lists(
    st.tuples(
        st.booleans(),
        st.booleans(),
        st.sampled_from(["new", "old"]),
        st.sampled_from(["", "n1"]),
        st.sampled_from(["Pending", "Running", "Failed"]),
    ),
    max_size=4,
)


@given(
    wanted=st.integers(0, 3),
    updated=small,
    total=small,
    ready=small,
    available=small,
    observed=st.integers(0, 4),
    pods=pod_states,
    knows_templates=st.booleans(),
)
def test_ready_is_true_only_when_every_wanted_replica_of_the_current_template_serves(
    wanted: int,
    updated: int,
    total: int,
    ready: int,
    available: int,
    observed: int,
    pods: list[tuple[bool, bool, str, str, str]],
    knows_templates: bool,
) -> None:
    live = deployment(wanted, updated=updated, total=total, ready=ready, available=available)
    live["status"]["observedGeneration"] = observed
    live["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": "2"}
    running = []
    for number, (is_ready, is_leaving, template, node, phase) in enumerate(pods):
        one = pod(f"ws-{number}", node=node, conditions={"Ready": str(is_ready)}, phase=phase)
        one["metadata"]["labels"] = {"pod-template-hash": template}
        if is_leaving:
            one["metadata"]["deletionTimestamp"] = NOW
        running.append(one)
    replica_set = {
        "metadata": {
            "name": "ws-new",
            "annotations": {"deployment.kubernetes.io/revision": "2"},
            "labels": {"pod-template-hash": "new"},
        }
    }
    seen = Observed(live, SERVICE, tuple(running), (replica_set,) if knows_templates else ())
    found = condition(judge(workspace(wanted), None, seen, {}, NOW).status)
    counted = (
        wanted > 0
        and observed >= 2
        and updated >= wanted
        and total == updated
        and min(ready, available) >= wanted
    )
    serving = sum(
        is_ready and phase == "Running" and not is_leaving and (template == "new" or not knows_templates)
        for is_ready, is_leaving, template, _, phase in pods
    )
    if found["status"] == "True":
        assert counted
        assert serving >= wanted
    else:
        assert found["reason"] != "Serving"
        assert found["message"]


def test_one_event_tells_of_one_change_of_cause() -> None:
    stuck = judged(Observed(deployment(ready=0, available=0), SERVICE, (unschedulable("no"),)))
    serving = judged(Observed(deployment(), SERVICE, (SERVING,)))
    assert event_about(judged(Observed()), None, {}) is None
    assert event_about(stuck, told_by(stuck), {}) is None
    warning = event_about(stuck, None, {})
    assert warning is not None
    assert (warning.type, warning.reason) == ("Warning", "Unschedulable")
    normal = event_about(serving, told_by(stuck), stuck.status)
    assert normal is not None
    assert (normal.type, normal.reason) == ("Normal", "Serving")


def test_a_workspace_that_serves_at_the_first_look_is_news() -> None:
    serving = judged(Observed(deployment(), SERVICE, (SERVING,)))
    note = event_about(serving, None, {})
    assert note is not None
    assert (note.type, note.reason) == ("Normal", "Serving")


def test_an_operator_that_has_just_started_tells_nothing_that_the_status_says_already() -> None:
    stuck = judged(Observed(deployment(ready=0, available=0), SERVICE, (unschedulable("no"),)))
    assert event_about(stuck, None, stuck.status) is None
    assert event_about(stuck, None, judged(Observed()).status) is not None


def test_another_secret_that_is_missing_is_news_though_the_reason_is_the_same() -> None:
    def lacks(name: str) -> Report:
        waits = waiting("CreateContainerConfigError", f'secret "{name}" not found')
        stuck = pod(containerStatuses=[container(**waits)])
        return judged(Observed(deployment(ready=0, available=0), SERVICE, (stuck,)))

    assert event_about(lacks("hub"), told_by(lacks("hub")), {}) is None
    assert event_about(lacks("other"), told_by(lacks("hub")), {}) is not None
