"""From `kubectl apply` to a model that serves, and what is reported on the way and when it fails."""

from __future__ import annotations

import asyncio
import shutil
import subprocess

import pytest

from berth_operator.api.names import LABEL_WORKSPACE
from berth_operator.cluster_cache import DEPLOYMENTS, WORKSPACES
from berth_operator.kube import Object
from control_plane.cluster import Cluster, condition, eventually, is_ready, version
from control_plane.fake_nodes import FakeNodes
from control_plane.operator_process import OperatorProcess
from control_plane.planes import ControlPlane

CONDITIONS = ("ResourceReady", "InferenceReady", "WorkspaceSucceeded", "Ready")

pytestmark = pytest.mark.usefixtures("operator")


async def test_a_workspace_yields_a_deployment_and_a_service_that_it_owns(
    cluster: Cluster, name: str
) -> None:
    workspace = await cluster.create_workspace(name)
    deployment, service = await cluster.deployed(name), await cluster.exposed(name)
    for child in (deployment, service):
        (owner,) = child["metadata"]["ownerReferences"]
        assert owner["uid"] == workspace["metadata"]["uid"]
        assert (owner["kind"], owner["name"], owner["controller"]) == ("Workspace", name, True)
        assert child["metadata"]["labels"][LABEL_WORKSPACE] == name
    assert deployment["spec"]["replicas"] == 1
    assert service["spec"]["type"] == "ClusterIP"
    assert [(port["port"], port["targetPort"]) for port in service["spec"]["ports"]] == [(80, 5000)]
    pod_labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= pod_labels.items()


async def test_conditions_go_from_pending_to_ready_with_the_pods(
    cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    await cluster.create_workspace(name)
    pending: Object = await eventually(
        lambda: cluster.workspace(name), lambda seen: condition(seen), "the first report"
    )
    assert pending["status"]["state"] == "Pending"
    assert {kind: condition(pending, kind).get("status") for kind in CONDITIONS} == dict.fromkeys(
        CONDITIONS, "False"
    )
    await nodes.serve(name)
    ready = await cluster.reported(name, "Serving")
    assert {kind: condition(ready, kind)["status"] for kind in CONDITIONS} == dict.fromkeys(
        CONDITIONS, "True"
    )
    assert ready["status"]["state"] == "Ready"
    assert len(ready["status"]["workerNodes"]) == 1
    service = await cluster.exposed(name)
    assert service["spec"]["clusterIP"] in ready["status"]["endpoint"]


async def test_ready_is_never_said_before_the_deployment_is_available(
    cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    async with cluster.history(WORKSPACES) as workspaces, cluster.history(DEPLOYMENTS) as deployments:
        await cluster.create_workspace(name, preset={"name": "phi-3-mini-4k-instruct"})
        await cluster.edit(WORKSPACES, name, {"resource": {"count": 2}})
        first = await cluster.deployed(name, lambda live: live["spec"]["replicas"] == 2)
        await nodes.serve(name)
        await cluster.reported(name, "Serving")
        # A new template: until its pods serve, the Workspace does not, though the old pods do.
        await cluster.edit(
            WORKSPACES, name, {"inference": {"preset": {"presetOptions": {"modelAccessSecret": "hub"}}}}
        )
        await cluster.deployed(
            name, lambda live: live["metadata"]["generation"] > first["metadata"]["generation"]
        )
        await nodes.serve(name)
        ready = await cluster.reported(name, "Serving")
        await cluster.caught_up(workspaces, ready)
    said = [item for item in workspaces if is_ready(item)]
    assert said
    for workspace in workspaces:
        assert (workspace.get("status") or {})["observedGeneration"] <= workspace["metadata"]["generation"]
    for workspace in said:
        # At that moment the latest Deployment, and not an earlier one, was complete.
        latest = [item for item in deployments if version(item) < version(workspace)][-1]
        status = latest["status"]
        assert status["observedGeneration"] == latest["metadata"]["generation"]
        assert status["updatedReplicas"] == status["availableReplicas"] == status["replicas"] == 2
    generations = {condition(item)["observedGeneration"] for item in said}
    assert len(generations) == 2


async def test_a_crash_ends_ready_and_names_the_cause(cluster: Cluster, nodes: FakeNodes, name: str) -> None:
    await cluster.create_workspace(name)
    await nodes.serve(name)
    await cluster.reported(name, "Serving")
    await nodes.crash(name, exit_code=137, reason="OOMKilled")
    failed = await cluster.reported(name, "OutOfMemory")
    assert condition(failed)["status"] == condition(failed, "InferenceReady")["status"] == "False"
    assert condition(failed, "ResourceReady")["status"] == "True"
    assert failed["status"]["state"] == "NotReady"
    (pod,) = await nodes.pods(name)
    message = condition(failed)["message"]
    assert pod["metadata"]["name"] in message
    assert "137" in message
    assert "use nodes with more memory" in message
    await nodes.serve(name)
    await cluster.reported(name, "Serving")


async def test_kubectl_wait_returns_when_the_workspace_is_ready(
    control_plane: ControlPlane, cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("needs kubectl on the path")
    await cluster.create_workspace(name)
    waiting = await asyncio.create_subprocess_exec(
        *(kubectl, "--kubeconfig", str(control_plane.kubeconfig), "-n", cluster.namespace),
        *("wait", "--for=condition=Ready", f"workspace/{name}", "--timeout=60s"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    await nodes.serve(name)
    said, _ = await waiting.communicate()
    assert waiting.returncode == 0, said
    assert "condition met" in said.decode()
    assert is_ready(await cluster.workspace(name))


async def test_a_workspace_of_many_changes_settles_on_the_last(
    operator: OperatorProcess, cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    await cluster.create_workspace(name)
    for count in (3, 1, 4, 2):
        await cluster.edit(WORKSPACES, name, {"resource": {"count": count}})
    await cluster.deployed(name, lambda live: live["spec"]["replicas"] == 2)
    await nodes.serve(name)
    ready = await cluster.reported(name, "Serving")
    assert ready["status"]["targetNodeCount"] == 2
    assert "2 of 2" in condition(ready)["message"]
