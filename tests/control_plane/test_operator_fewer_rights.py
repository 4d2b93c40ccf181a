"""An operator of one namespace, with the chart's Role and so without a right to nodes: it serves, and says less."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from berth_operator.cluster_cache import PODS
from berth_operator.kube import Conflict, KubeClient, Resource
from control_plane.cluster import Cluster, condition
from control_plane.fake_nodes import FakeNodes
from control_plane.operator_process import OperatorProcess, operator_process
from control_plane.own_account import KINDS, NAMESPACE, account_token, rendered
from control_plane.planes import ControlPlane

pytestmark = pytest.mark.real_apiserver


@pytest.fixture(scope="module")
def operator(
    control_plane: ControlPlane, namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    if control_plane.real is None:
        pytest.skip("needs a control plane of its own, to give out tokens")
    workdir = tmp_path_factory.mktemp("one-namespace")
    token = asyncio.run(_grant(control_plane.kubeconfig, namespace))
    kubeconfig = control_plane.real.write_kubeconfig(workdir / "kubeconfig", token)
    with operator_process(kubeconfig, workdir, namespace) as running:
        yield running


async def _grant(administrator: Path, namespace: str) -> str:
    values = {"scope": "namespace", "namespaces": [namespace], "serviceAccount": {"name": "one-namespace"}}
    async with await KubeClient.connect(str(administrator)) as client:
        with suppress(Conflict):
            meta = {"name": NAMESPACE}
            await client._request(
                "POST",
                Resource("v1", "namespaces").path(),
                None,
                {"apiVersion": "v1", "kind": "Namespace", "metadata": meta},
            )
        for manifest in rendered(json.dumps(values)):
            if manifest["kind"] in KINDS and "annotations" not in manifest["metadata"]:
                path = KINDS[manifest["kind"]].path(manifest["metadata"].get("namespace"))
                with suppress(Conflict):
                    await client._request("POST", path, None, manifest)
        return await account_token(client, "one-namespace")


async def test_it_serves_without_a_right_to_nodes(
    operator: OperatorProcess, cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    await cluster.create_workspace(name)
    await nodes.serve(name)
    await cluster.reported(name, "Serving")
    assert "nodes may not be read" in operator.log
    assert "Traceback" not in operator.log


async def test_it_says_what_it_may_not_see(
    operator: OperatorProcess, cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    await cluster.create_workspace(name)
    await nodes.serve(name)
    await cluster.reported(name, "Serving")
    await cluster.edit(Resource("kaito.sh/v1beta1", "workspaces"), name, {"resource": {"count": 2}})

    async def waiting() -> str | None:
        pods = await nodes.pods(name)
        return next((pod["metadata"]["name"] for pod in pods if not pod["spec"].get("nodeName")), None)

    pod = await cluster.seen(waiting, bool, "a pod without a node")  # type: ignore[arg-type]
    said = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
        "lastTransitionTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    await cluster.edit(PODS, str(pod), {"status": {"conditions": [said]}}, "status")
    seen = await cluster.reported(name, "NoFreeGPU")
    # Its own namespace it may read: the pod that serves holds a GPU, and is named.
    assert f"of Workspace {name} holds 1" in condition(seen)["message"]
