"""`helm test`, run by Helm's engine: its pod is played here, with its own account, arguments and a model's answer."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from aiohttp import web

from berth_operator.api.names import ANNOTATION_ENDPOINT
from berth_operator.cluster_cache import PODS, SERVICES, WORKSPACES
from berth_operator.kube import Object
from control_plane.cluster import Cluster, eventually
from control_plane.fake_nodes import FakeNodes
from control_plane.helm_release import installed, leftovers, operator_of_release, prepare
from control_plane.own_account import NAMESPACE, RELEASE, account_token, refusals
from control_plane.real_apiserver import RealControlPlane, find_assets

ANSWER = "An open-source system."
NAME = f"{RELEASE}-smoke-test"

pytestmark = pytest.mark.real_apiserver


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealControlPlane]:
    assets = find_assets()
    if assets is None:
        pytest.skip("needs a control plane of its own: set KUBEBUILDER_ASSETS")
    with RealControlPlane(assets, tmp_path_factory.mktemp("smoke"), prepare) as running:
        if not running.has_controller_manager:
            pytest.skip("needs kube-controller-manager beside kube-apiserver")
        yield running


@pytest.fixture
async def cluster(plane: RealControlPlane) -> AsyncIterator[Cluster]:
    async with await Cluster.connect(str(plane.kubeconfig)) as connected:
        connected.namespace = NAMESPACE
        yield connected


async def play_pod(cluster: Cluster, plane: RealControlPlane, pod: Object, workdir: Path) -> str:
    """Run what the pod's one container would, as the account it names, and report its end; return what it said."""
    token = await account_token(cluster, pod["spec"]["serviceAccountName"])
    [container] = pod["spec"]["containers"]
    command = [sys.executable, *container["command"][1:], *container["args"]]
    kubeconfig = plane.write_kubeconfig(workdir / "smoke.kubeconfig", token)
    environment = {"PATH": os.environ["PATH"], "HOME": str(workdir), "KUBECONFIG": str(kubeconfig)}
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    phase = "Succeeded" if process.returncode == 0 else "Failed"
    await cluster.edit(PODS, NAME, {"status": {"phase": phase}}, "status")
    return said.decode()


async def test_it_passes_when_the_model_answers_and_leaves_nothing(
    plane: RealControlPlane, cluster: Cluster, tmp_path: Path
) -> None:
    async def chat(request: web.Request) -> web.Response:
        assert (await request.json())["messages"][0]["role"] == "user"
        return web.json_response({"Result": ANSWER})

    app = web.Application()
    app.router.add_post("/chat", chat)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"

    with (
        installed(plane) as helm,
        operator_of_release(plane, tmp_path / "operator"),
        ThreadPoolExecutor(1) as thread,
    ):
        testing = asyncio.get_running_loop().run_in_executor(thread, lambda: helm.test(RELEASE))
        pod = await eventually(lambda: cluster.get(PODS, NAMESPACE, NAME), bool, "Helm makes the test's pod")
        playing = asyncio.create_task(play_pod(cluster, plane, pod, tmp_path))
        await cluster.exposed(NAME)
        await cluster.edit(SERVICES, NAME, {"metadata": {"annotations": {ANNOTATION_ENDPOINT: endpoint}}})
        await FakeNodes(cluster, has_controllers=True).serve(NAME)
        said = await playing
        await testing
        assert said.endswith(f"it answered: {ANSWER}\n"), said
        assert refusals(plane.audit_log, NAME) == []
        assert await cluster.get(WORKSPACES, NAMESPACE, NAME) is None, (
            "it deletes its Workspace, whatever came of it"
        )

        async def left() -> list[str]:
            return [one for one in await leftovers(cluster) if NAME in one]

        await eventually(left, lambda found: not found, "Helm removes what the test needed")
    await runner.cleanup()
