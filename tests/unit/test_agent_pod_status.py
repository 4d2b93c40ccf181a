"""Facts about containers become the status that a kubelet would write."""

from dataclasses import replace
from typing import Any

import pytest

from agent_objects import NOW, ago, container, pod
from berth_local.agent.plan.backoff import Backoff, Failures, after_failure
from berth_local.agent.plan.pod_status import (
    Facts,
    Place,
    Running,
    State,
    Terminated,
    Waiting,
    container_status,
    grace_seconds,
    pod_status,
    restarts,
    unscheduled_status,
)
from berth_local.agent.plan.probe import Probe, Verdict, judge, port_number, probe_of, unsupported

HERE = Place("127.0.0.1", "127.100.0.1", NOW)
CREATING = Waiting("ContainerCreating")
DONE = Terminated(0, "Completed", NOW, NOW)
FAILED = Terminated(1, "Error", NOW, NOW)


def facts(state: State, name: str = "main", **more: Any) -> Facts:
    return Facts(name, "image", state, **more)


def states(status: dict[str, Any]) -> dict[str, str]:
    return {one["type"]: one["status"] for one in status["conditions"]}


@pytest.mark.parametrize(
    ("policy", "init", "main", "phase"),
    [
        pytest.param("Always", [], [facts(CREATING)], "Pending", id="being created"),
        pytest.param("Always", [], [facts(Running(NOW))], "Running", id="running"),
        pytest.param(
            "Always",
            [],
            [facts(Running(NOW)), facts(CREATING, "b")],
            "Pending",
            id="one of two being created",
        ),
        pytest.param("Always", [], [facts(FAILED)], "Running", id="ended and to be started again"),
        pytest.param(
            "Always", [], [facts(Waiting("CrashLoopBackOff"), last=FAILED)], "Running", id="in a crash loop"
        ),
        pytest.param("Never", [], [facts(DONE)], "Succeeded", id="done"),
        pytest.param("Never", [], [facts(FAILED)], "Failed", id="failed for good"),
        pytest.param(
            "Never", [], [facts(FAILED), facts(Running(NOW), "b")], "Running", id="one failed, one running"
        ),
        pytest.param("OnFailure", [], [facts(DONE)], "Succeeded", id="done on failure policy"),
        pytest.param("Always", [facts(Running(NOW), "i")], [facts(CREATING)], "Pending", id="initializing"),
        pytest.param(
            "Always", [facts(FAILED, "i")], [facts(CREATING)], "Pending", id="an init container to retry"
        ),
        pytest.param(
            "Never", [facts(FAILED, "i")], [facts(CREATING)], "Failed", id="an init container failed for good"
        ),
        pytest.param("Always", [facts(DONE, "i")], [facts(Running(NOW))], "Running", id="initialized"),
        pytest.param(
            "Always",
            [facts(Running(NOW), "i", sidecar=True, started=True)],
            [facts(Running(NOW))],
            "Running",
            id="beside a sidecar",
        ),
    ],
)
def test_the_phase_follows_from_the_containers(
    policy: str, init: list[Facts], main: list[Facts], phase: str
) -> None:
    subject = pod(restartPolicy=policy)
    assert pod_status(subject, HERE, init, main, NOW)["phase"] == phase


def test_a_pod_being_created_is_scheduled_and_not_ready() -> None:
    status = pod_status(pod(), replace(HERE, pod_ip=None), [], [facts(CREATING)], NOW)
    assert states(status) == {
        "PodReadyToStartContainers": "False",
        "Initialized": "True",
        "Ready": "False",
        "ContainersReady": "False",
        "PodScheduled": "True",
    }
    assert "podIP" not in status
    assert status["containerStatuses"][0]["state"] == {"waiting": {"reason": "ContainerCreating"}}


def test_a_pod_is_ready_when_every_container_is() -> None:
    both = [facts(Running(NOW), ready=True, started=True), facts(Running(NOW), "b", ready=True, started=True)]
    assert states(pod_status(pod(), HERE, [], both, NOW))["Ready"] == "True"
    both[1] = replace(both[1], ready=False)
    ready = next(
        one for one in pod_status(pod(), HERE, [], both, NOW)["conditions"] if one["type"] == "Ready"
    )
    assert ready["reason"] == "ContainersNotReady"
    assert ready["message"] == "containers with unready status: [b]"


def test_a_condition_keeps_the_time_of_its_last_turn() -> None:
    subject = pod()
    subject["status"]["conditions"] = [{"type": "Ready", "status": "True", "lastTransitionTime": ago(500)}]
    ready, unready = facts(Running(NOW), ready=True), facts(Running(NOW), ready=False)
    for one, expected in ((ready, ago(500)), (unready, ago(0))):
        found = pod_status(subject, HERE, [], [one], NOW)["conditions"]
        assert next(c for c in found if c["type"] == "Ready")["lastTransitionTime"] == expected


def test_a_crash_shows_its_exit_code_and_the_wait_that_follows() -> None:
    crashed = facts(
        Waiting("CrashLoopBackOff", "back-off 10s"), last=Terminated(3, "Error", NOW, NOW, "bye"), restarts=2
    )
    status = container_status(crashed)
    assert status["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    assert status["lastState"]["terminated"]["exitCode"] == 3
    assert status["lastState"]["terminated"]["message"] == "bye"
    assert status["restartCount"] == 2


def test_a_pod_that_fits_nowhere_is_pending_and_says_why() -> None:
    status = unscheduled_status(pod(node=""), "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.", NOW)
    assert status["phase"] == "Pending"
    assert status["conditions"] == [
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
            "lastTransitionTime": ago(0),
        }
    ]


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 1, False),
    ],
)
def test_the_restart_policy_decides_what_an_exit_code_leads_to(policy: str, code: int, again: bool) -> None:
    assert restarts(policy, code) is again


@pytest.mark.parametrize(
    ("asked", "spec", "seconds"),
    [(None, {}, 30), (None, {"terminationGracePeriodSeconds": 60}, 60), (0, {}, 0)],
)
def test_the_grace_period_is_the_deletions_or_the_specs(
    asked: int | None, spec: dict[str, Any], seconds: float
) -> None:
    subject = pod(**spec)
    if asked is not None:
        subject["metadata"]["deletionGracePeriodSeconds"] = asked
    assert grace_seconds(subject) == seconds


def test_restarts_wait_twice_as_long_each_time_up_to_five_minutes() -> None:
    past, now, delays = Failures(), 0.0, []
    for _ in range(9):
        past, delay = after_failure(past, now, Backoff())
        delays.append(delay)
        now += delay + 1
    assert delays == [0, 10, 20, 40, 80, 160, 300, 300, 300]


def test_ten_minutes_without_a_failure_forgive_the_earlier_ones() -> None:
    past, _ = after_failure(Failures(160, 0.0), 601.0, Backoff())
    assert past == Failures(10, 601.0)
    assert after_failure(Failures(160, 0.0), 599.0, Backoff())[1] == 160


def run(results: str, probe: Probe) -> list[bool | None]:
    verdict, seen = Verdict(), []
    for letter in results:
        verdict = judge(verdict, letter == "+", probe)
        seen.append(verdict.passing)
    return seen


@pytest.mark.parametrize(
    ("results", "failures", "successes", "verdicts"),
    [
        pytest.param("+", 3, 1, [True], id="one success is enough by default"),
        pytest.param("---", 3, 1, [None, None, False], id="three failures in a row fail"),
        pytest.param("+--+", 3, 1, [True, True, True, True], id="two failures do not turn a pass"),
        pytest.param("--+--+", 3, 1, [None, None, True, True, True, True], id="a success breaks the row"),
        pytest.param("-+++", 1, 3, [False, False, False, True], id="a success threshold of three"),
    ],
)
def test_a_verdict_turns_only_at_its_threshold(
    results: str, failures: int, successes: int, verdicts: list[bool | None]
) -> None:
    probe = Probe("readiness", {}, failure_threshold=failures, success_threshold=successes)
    assert run(results, probe) == verdicts


def test_a_probe_left_short_has_kubernetes_defaults() -> None:
    subject = container(livenessProbe={"httpGet": {"path": "/livez", "port": "http"}})
    probe = probe_of(subject, "liveness")
    assert probe == Probe("liveness", {"httpGet": {"path": "/livez", "port": "http"}}, 0, 10, 1, 3, 1)
    assert probe_of(subject, "startup") is None


@pytest.mark.parametrize(("port", "number"), [(8080, 8080), ("8080", 8080), ("http", 5000), ("other", None)])
def test_a_port_is_found_by_number_or_name(port: object, number: int | None) -> None:
    assert port_number(port, container(ports=[{"name": "http", "containerPort": 5000}])) == number


def test_a_probe_that_cannot_be_made_is_named() -> None:
    assert unsupported(container(readinessProbe={"tcpSocket": {"port": 1}})) is None
    why = unsupported(container(livenessProbe={"grpc": {"port": 1}}))
    assert why == "liveness probe uses grpc: the embedded agent makes httpGet, tcpSocket and exec probes"
