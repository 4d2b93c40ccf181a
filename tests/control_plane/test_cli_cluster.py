"""berth explain, chat and logs against an API server."""

from __future__ import annotations

import asyncio

import pytest

from berth_operator.cli import kubectl_main, main
from berth_operator.cluster_cache import PODS
from control_plane.cluster import Cluster
from control_plane.model_server import report, server
from control_plane.planes import ControlPlane


@pytest.fixture
def options(control_plane: ControlPlane, namespace: str) -> list[str]:
    return ["-n", namespace, "--kubeconfig", str(control_plane.kubeconfig)]


async def run(*arguments: str, kubectl: bool = False) -> int:
    return await asyncio.to_thread(kubectl_main if kubectl else main, list(arguments))


@pytest.mark.parametrize("openai", [True, False], ids=["streamed", "by /chat alone"])
async def test_chat_asks_at_the_endpoint_and_prints_the_answer(
    cluster: Cluster, name: str, options: list[str], openai: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    async with server(openai=openai) as (address, asked):
        await report(cluster, name, ready=True, message="", endpoint=address)
        assert await run("chat", name, "-m", "Hi", *options) == 0
    assert capsys.readouterr().out == "Hello there.\n"
    assert asked[0]["messages"] == [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize(
    ("key", "code", "said"),
    [
        pytest.param("sk-7", 0, "Hello there.", id="the right one"),
        pytest.param("sk-8", 1, "put a valid one into BERTH_API_KEY", id="a wrong one"),
        pytest.param("", 1, "put a valid one into BERTH_API_KEY", id="none"),
    ],
)
async def test_chat_presents_the_key_of_its_environment_to_a_model_that_asks_for_one(
    cluster: Cluster,
    name: str,
    options: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    code: int,
    said: str,
) -> None:
    monkeypatch.setenv("BERTH_API_KEY", key)
    async with server(openai=True, key="sk-7") as (address, _):
        await report(cluster, name, ready=True, message="", endpoint=address)
        assert await run("chat", name, "-m", "Hi", *options) == code
    printed = capsys.readouterr()
    assert said in printed.out + printed.err


async def test_chat_with_one_that_does_not_serve_says_why(
    cluster: Cluster, name: str, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    await report(cluster, name, ready=False, message="there is no preset of this name")
    assert await run("chat", name, "-m", "Hi", *options) == 1
    error = capsys.readouterr().err
    assert error == f'berth chat: Workspace "{name}" does not serve: there is no preset of this name\n'


async def test_explain_marks_what_the_operator_refused_and_exits_with_1(
    cluster: Cluster, name: str, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    await report(cluster, name, ready=False, message="there is no preset of this name")
    assert await run("explain", name, *options, kubectl=True) == 1
    said = capsys.readouterr().out
    assert f"Workspace {name}" in said
    assert "UnknownPreset  <-- first cause" in said
    assert "Cause  UnknownPreset: there is no preset of this name" in said
    assert "\nFix    " in said


async def test_a_workspace_that_nobody_has_looked_at_is_told_so(
    cluster: Cluster, name: str, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    await cluster.create_workspace(name)
    assert await run("explain", name, *options) == 1
    said = capsys.readouterr().out
    assert "not looked at yet" in said
    assert (
        "Note   no operator has looked at this Workspace; see that it runs (kubectl get deploy,pods -A"
        in said
    )
    assert await run("logs", name, *options) == 1
    assert "has no pods" in capsys.readouterr().err


async def test_a_container_that_no_pod_has_is_told_with_those_there_are(
    cluster: Cluster, name: str, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    await cluster.create_workspace(name)
    containers = {
        "initContainers": [{"name": "vllm", "image": "i", "restartPolicy": "Always"}],
        "containers": [{"name": "inference", "image": "i"}],
    }
    meta = {"name": name, "namespace": cluster.namespace, "labels": {"kaito.sh/workspace": name}}
    await cluster.create(PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": containers})
    assert await run("logs", name, "-c", "vlm", *options) == 1
    said = capsys.readouterr().err
    assert said == 'berth logs: no pod has a container "vlm"; there are: inference, vllm\n'


@pytest.mark.parametrize("command", ["explain", "chat", "logs"])
async def test_a_workspace_that_is_not_there_is_one_line(
    command: str, namespace: str, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run(command, "nobody", *options) == 1
    assert (
        capsys.readouterr().err
        == f'berth {command}: there is no workspace "nobody" in namespace "{namespace}"\n'
    )
