"""Pods on the embedded node: started, probed, restarted, ended, and their status true all the while."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent_cluster import Cluster, cluster, container, pod, probe, running, shell, state_of, status_of
from berth_local.agent.client import PODS, SECRETS
from berth_local.agent.plan.objects import condition, deleting


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path / "state") as made:
        yield made


async def ready(here: Cluster, name: str = "web") -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found = here.get("pods", name)
        return found if found is not None and status_of(found, "Ready") == "True" else None

    return await here.until(look)


async def test_a_pod_runs_with_what_its_spec_gives_it_and_nothing_of_ours(
    here: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/mine")
    monkeypatch.setenv("HF_TOKEN", "mine")
    env = [
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "F", "value": "/scratch/f"},
    ]
    mounts = [{"name": "scratch", "mountPath": "/scratch"}]
    await here.create(
        PODS, pod(container(env=env, volumeMounts=mounts), volumes=[{"name": "scratch", "emptyDir": {}}])
    )
    alive = await ready(here)
    answer = await here.ask(f"http://{alive['status']['podIP']}:5000/")
    environment = answer["env"]
    assert environment["NAME"] == "web"
    assert environment["BERTH_HOST"] == alive["status"]["podIP"]
    assert environment["BERTH_PORT"] == "5000"
    assert not {"KUBECONFIG", "HF_TOKEN"} & set(environment)
    state = str(here.plane.folder)
    assert environment["F"].startswith(state)
    assert environment["HOME"].startswith(state)
    assert answer["cwd"].startswith(state)
    assert alive["status"]["phase"] == "Running"
    assert alive["spec"]["nodeName"] == "berth-local"
    for reason in ("Scheduled", "Pulled", "Created", "Started"):
        await here.until(lambda reason=reason: here.events(reason))  # type: ignore[misc]


async def test_a_pod_is_ready_when_its_probe_says_so_and_no_longer_when_it_does_not(here: Cluster) -> None:
    await here.create(PODS, pod(container(readinessProbe=probe(failureThreshold=1))))
    begun = await here.until(lambda: running(here.pods()))
    await here.until(
        lambda: here.told("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503")
    )
    assert status_of(begun, "Ready") == "False"
    await here.tell(begun, "/ready")
    await ready(here)
    await here.tell(begun, "/unready")
    await here.until(lambda: status_of(here.pods()[0], "Ready") == "False")
    assert state_of(here.pods()[0])["restartCount"] == 0


async def test_a_startup_probe_holds_the_others_back(here: Cluster) -> None:
    liveness = probe("/health", failureThreshold=1)
    await here.create(
        PODS,
        pod(
            container(
                startupProbe=probe(failureThreshold=100), readinessProbe=probe(), livenessProbe=liveness
            )
        ),
    )
    failed = await here.until(lambda: [one for one in here.events("Unhealthy") if one["count"] >= 2])
    assert "Startup probe failed: HTTP probe failed with statuscode: 503" in failed[0]["message"]
    starting = here.pods()[0]
    assert state_of(starting)["started"] is False
    assert state_of(starting)["restartCount"] == 0
    await here.tell(starting, "/ready")
    assert state_of(await ready(here))["started"] is True


async def test_a_container_that_fails_its_liveness_probe_is_started_again(here: Cluster) -> None:
    await here.create(PODS, pod(container(livenessProbe=probe(failureThreshold=2), startupProbe=probe())))
    first = await ready(here)
    await here.tell(first, "/unready")
    again = await here.until(
        lambda: next((p for p in here.pods() if state_of(p).get("restartCount") == 1), None)
    )
    assert state_of(again)["lastState"]["terminated"]["exitCode"] == 0
    killing = await here.until(lambda: here.events("Killing"))
    assert killing[0]["message"] == "Container main failed liveness probe, will be restarted"
    await ready(here)


async def test_a_crash_is_told_with_its_exit_code_and_restarted_ever_more_slowly(here: Cluster) -> None:
    await here.create(
        PODS, pod(shell("echo last words; exit 3", terminationMessagePolicy="FallbackToLogsOnError"))
    )

    def backing_off() -> dict[str, Any] | None:
        state = state_of(here.get("pods", "web"))
        return state if state.get("reason") == "CrashLoopBackOff" and state["restartCount"] >= 2 else None

    state = await here.until(backing_off)
    ended = state["lastState"]["terminated"]
    assert ended["exitCode"] == 3
    assert ended["reason"] == "Error"
    assert ended["message"] == "last words"
    assert "restarting failed container=main pod=web_default" in state["message"]
    assert status_of(here.pods()[0], "Ready") == "False"
    (event,) = await here.until(lambda: [one for one in here.events("BackOff") if one["count"] >= 2])
    assert event["type"] == "Warning"


async def test_a_crashed_server_serves_again(here: Cluster) -> None:
    await here.create(PODS, pod())
    first = await ready(here)
    before = await here.ask(f"http://{first['status']['podIP']}:5000/")
    await here.tell(first, "/exit/9")
    await here.until(lambda: state_of(here.get("pods", "web")).get("restartCount") == 1)
    again = await ready(here)
    assert state_of(again)["lastState"]["terminated"]["exitCode"] == 9
    assert (await here.ask(f"http://{again['status']['podIP']}:5000/"))["pid"] != before["pid"]


@pytest.mark.parametrize(
    ("policy", "code", "phase"),
    [("Never", 0, "Succeeded"), ("Never", 1, "Failed"), ("OnFailure", 0, "Succeeded")],
)
async def test_a_pod_that_may_end_ends(here: Cluster, policy: str, code: int, phase: str) -> None:
    await here.create(PODS, pod(shell(f"exit {code}"), restartPolicy=policy))
    ended = await here.until(
        lambda: next(
            (p for p in here.pods() if (p.get("status") or {}).get("phase") in ("Succeeded", "Failed")), None
        )
    )
    assert ended["status"]["phase"] == phase
    assert state_of(ended)["state"]["terminated"]["exitCode"] == code


async def test_a_program_that_does_not_exist_is_named(here: Cluster) -> None:
    await here.create(PODS, pod({**shell(""), "command": ["no-such-program"]}))
    state = await here.until(
        lambda: next(
            (s for s in [state_of(here.get("pods", "web"))] if s.get("reason") == "CrashLoopBackOff"), None
        )
    )
    ended = state["lastState"]["terminated"]
    assert ended["reason"] == "StartError"
    assert "no-such-program" in ended["message"]


async def test_init_containers_run_one_after_the_other_before_the_rest(here: Cluster) -> None:
    mounts = [{"name": "shared", "mountPath": "/shared"}]
    env = [{"name": "SHARED", "value": "/shared"}]
    steps = [
        shell("echo one > $SHARED/log", name="one", env=env, volumeMounts=mounts),
        # Fails the first time, so that the order also holds across a retry.
        shell(
            "echo two >> $SHARED/log; test $(wc -l < $SHARED/log) = 3",
            name="two",
            env=env,
            volumeMounts=mounts,
        ),
    ]
    steps = [{**step, "name": name} for step, name in zip(steps, ("one", "two"), strict=True)]
    main = shell("sleep 600", volumeMounts=mounts)
    await here.create(PODS, pod(main, initContainers=steps, volumes=[{"name": "shared", "emptyDir": {}}]))
    alive = await ready(here)
    assert status_of(alive, "Initialized") == "True"
    assert state_of(alive, 0, "initContainerStatuses")["state"]["terminated"]["exitCode"] == 0
    assert state_of(alive, 1, "initContainerStatuses")["restartCount"] == 1
    (log,) = (here.plane.folder / "node" / "pods").glob("*/volumes/shared/log")
    assert log.read_text() == "one\ntwo\ntwo\n"


async def test_a_missing_secret_is_named_and_its_creation_heals_the_pod(here: Cluster) -> None:
    env = [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "HF_TOKEN"}}}]
    await here.create(PODS, pod(container(env=env)))
    waiting = await here.until(
        lambda: next(
            (
                s
                for s in [state_of(here.get("pods", "web"))]
                if s.get("reason") == "CreateContainerConfigError"
            ),
            None,
        )
    )
    assert waiting["message"] == 'secret "hf" not found'
    data = {"HF_TOKEN": base64.b64encode(b"told").decode()}
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "hf", "namespace": "default"},
        "data": data,
    }
    await here.create(SECRETS, body)
    alive = await ready(here)
    assert (await here.ask(f"http://{alive['status']['podIP']}:5000/"))["env"]["TOKEN"] == "told"


async def test_a_missing_volume_source_keeps_the_pod_in_creation_and_says_so(here: Cluster) -> None:
    await here.create(PODS, pod(volumes=[{"name": "keys", "secret": {"secretName": "keys"}}]))
    (event,) = await here.until(lambda: here.events("FailedMount"))
    assert event["message"] == 'MountVolume.SetUp failed: secret "keys" not found'
    assert state_of(here.pods()[0])["reason"] == "ContainerCreating"
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": "default"}}
    await here.create(SECRETS, body)
    await ready(here)


async def test_mounted_files_of_a_running_pod_follow_their_secret(here: Cluster) -> None:
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": "default"}}
    await here.create(SECRETS, {**body, "stringData": {"key": "old"}})
    mounts = [{"name": "keys", "mountPath": "/keys"}]
    env = [{"name": "KEYS", "value": "/keys"}]
    await here.create(
        PODS,
        pod(
            container(env=env, volumeMounts=mounts),
            volumes=[{"name": "keys", "secret": {"secretName": "keys"}}],
        ),
    )
    alive = await ready(here)
    folder = (await here.ask(f"http://{alive['status']['podIP']}:5000/"))["env"]["KEYS"]
    file = Path(folder) / "key"
    assert file.read_text() == "old"
    await here.client.merge(SECRETS, "default", "keys", {"stringData": {"key": "new"}})
    async with asyncio.timeout(10):
        while not file.exists() or file.read_text() != "new":  # noqa: ASYNC110 - nobody tells of a file
            await asyncio.sleep(0.02)


async def test_a_foreign_image_is_not_pulled_and_the_message_says_why(here: Cluster) -> None:
    await here.create(PODS, pod({"name": "main", "image": "docker.io/library/nginx:1.29"}))
    for reason in ("ErrImagePull", "ImagePullBackOff"):
        waiting = await here.until(
            lambda reason=reason: next(  # type: ignore[misc]
                (s for s in [state_of(here.get("pods", "web"))] if s.get("reason") == reason), None
            )
        )
        assert (
            "the embedded agent pulls no images, it runs only the program of berth-inference"
            in waiting["message"]
        )
    assert here.pods()[0]["status"]["phase"] == "Pending"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        pytest.param(
            {"containers": [container(resources={"limits": {"nvidia.com/gpu": "1"}})]},
            "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
            id="a GPU",
        ),
        pytest.param(
            {"nodeSelector": {"node.kubernetes.io/instance-type": "Standard_NC24ads_A100_v4"}},
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
            id="another instance type",
        ),
    ],
)
async def test_a_pod_that_fits_nowhere_stays_pending(
    here: Cluster, spec: dict[str, Any], message: str
) -> None:
    await here.create(PODS, pod(**spec))
    (event,) = await here.until(lambda: here.events("FailedScheduling"))
    assert event["message"] == message
    pending = here.pods()[0]
    assert pending["status"]["phase"] == "Pending"
    scheduled = condition(pending, "PodScheduled")
    assert scheduled is not None
    assert scheduled["reason"] == "Unschedulable"
    assert scheduled["message"] == message


async def test_a_pod_that_waits_for_room_runs_when_another_goes(here: Cluster) -> None:
    big = [container(resources={"requests": {"cpu": "40"}})]
    await here.create(PODS, pod(name="first", containers=big))
    await ready(here, "first")
    await here.create(PODS, pod(name="second", containers=big))
    await here.until(lambda: here.events("FailedScheduling"))
    first = here.get("pods", "first")
    assert first is not None
    await here.client.delete(PODS, "default", "first", first["metadata"]["uid"])
    await ready(here, "second")


@pytest.mark.parametrize(
    ("env", "grace", "code"),
    [
        pytest.param([], 30, 0, id="one that ends when asked"),
        pytest.param(
            [{"name": "STUBBORN", "value": "1"}], 1, 137, id="one that does not, after its grace period"
        ),
    ],
)
async def test_deletion_asks_waits_and_then_kills(
    here: Cluster, env: list[dict[str, str]], grace: int, code: int
) -> None:
    await here.create(PODS, pod(container(env=env), terminationGracePeriodSeconds=grace))
    alive = await ready(here)
    seen: list[dict[str, Any]] = []
    here.caches["pods"].subscribe(seen.append)
    await here.client.delete(PODS, "default", "web", alive["metadata"]["uid"])
    await here.until(lambda: here.get("pods", "web") is None)
    assert deleting(seen[-1])
    assert state_of(seen[-1])["state"]["terminated"]["exitCode"] == code
    assert not list((here.plane.folder / "node" / "pods").iterdir())
    await here.until(lambda: here.events("Killing"))


async def test_a_stop_hook_runs_before_the_container_is_asked_to_end(here: Cluster) -> None:
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo hook > $OUT"]}}}
    out = here.plane.folder / "out"
    script = "trap 'cat $OUT > $OUT.seen; exit 0' TERM; touch $OUT.up; while :; do sleep 0.05; done"
    listens = {"exec": {"command": ["sh", "-c", "test -f $OUT.up"]}, "periodSeconds": 1}
    await here.create(
        PODS,
        pod(shell(script, lifecycle=hook, readinessProbe=listens, env=[{"name": "OUT", "value": str(out)}])),
    )
    alive = await ready(here)
    await here.client.delete(PODS, "default", "web", alive["metadata"]["uid"])
    await here.until(lambda: here.get("pods", "web") is None)
    assert (out.parent / "out.seen").read_text() == "hook\n"


@pytest.mark.parametrize(
    ("action", "is_ready"),
    [
        ({"tcpSocket": {"port": "http"}}, True),
        ({"tcpSocket": {"port": 9}}, False),
        ({"exec": {"command": ["true"]}}, True),
        ({"exec": {"command": ["false"]}}, False),
        ({"exec": {"command": ["sleep", "60"]}, "timeoutSeconds": 1}, False),
        ({"httpGet": {"path": "/health", "port": "none"}}, False),
    ],
    ids=["a port that listens", "one that does not", "success", "failure", "no end", "an unknown port"],
)
async def test_probes_of_every_kind(here: Cluster, action: dict[str, Any], is_ready: bool) -> None:
    readiness = {"periodSeconds": 1, "failureThreshold": 100, **action}
    env = [{"name": "READY", "value": "1"}]
    await here.create(PODS, pod(container(env=env, readinessProbe=readiness)))
    if is_ready:
        await ready(here)
    else:
        await here.until(lambda: [one for one in here.events("Unhealthy") if one["count"] >= 2])
        assert status_of(here.pods()[0], "Ready") == "False"


async def test_logs_are_read_through_the_api(here: Cluster) -> None:
    await here.create(PODS, pod())
    await ready(here)
    url = f"{here.plane.url}{PODS.path('default', 'web', 'log')}"
    async with here.web.get(url) as response:
        assert response.status == 200
        assert (await response.text()).splitlines()[0] == "listening"


async def test_the_node_says_what_it_is(here: Cluster) -> None:
    node = here.get("nodes", "berth-local")
    assert node is not None
    assert status_of(node, "Ready") == "True"
    assert node["status"]["capacity"]["cpu"] == "64"
    assert "nvidia.com/gpu" not in node["status"]["capacity"]
    assert node["metadata"]["labels"]["kubernetes.io/os"] == "linux"
    assert node["metadata"]["labels"]["node.kubernetes.io/instance-type"] == "local"
