"""What is reported of pods that do not serve, from what a cluster really says of them; recovering clears it."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from berth_operator.cluster_cache import DEPLOYMENTS, EVENTS, NODES, PODS, WORKSPACES
from berth_operator.kube import Object, Resource
from control_plane.cluster import Cluster, condition, eventually
from control_plane.fake_nodes import FakeNodes
from control_plane.planes import ControlPlane

QUOTAS = Resource("v1", "resourcequotas")
NO_GPU = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
TOKEN = {"inference": {"preset": {"presetOptions": {"modelAccessSecret": "hub"}}}}
"""An edit that gives new pods to a Deployment."""

PATIENCE = 45.0
"""Events of pods have no watch: a Workspace that does not serve is looked at every 20 s."""

pytestmark = pytest.mark.usefixtures("operator")


@pytest.fixture(autouse=True, scope="module")
def _with_controllers(control_plane: ControlPlane) -> None:
    if not control_plane.has_controllers:
        pytest.skip("needs a controller manager, which makes the ReplicaSets and pods that are judged")


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def told(cluster: Cluster, name: str, reason: str) -> str:
    """Wait for a reason and return the message that comes with it."""
    seen = await eventually(
        lambda: cluster.workspace(name),
        lambda item: condition(item).get("reason") == reason,
        f"{name} is {reason}",
        PATIENCE,
    )
    return str(condition(seen)["message"])


async def one_pod(
    cluster: Cluster, nodes: FakeNodes, name: str, accept: Callable[[Object], object] = bool
) -> Object:
    async def look() -> Object | None:
        return next((pod for pod in await nodes.pods(name) if accept(pod)), None)

    found: Object = await eventually(look, lambda pod: pod is not None, f"a pod of {name}")
    return found


async def bind(cluster: Cluster, pod: Object, node: str = "berth-test-node") -> None:
    target = {"apiVersion": "v1", "kind": "Node", "name": node}
    meta = {"name": pod["metadata"]["name"]}
    body = {"apiVersion": "v1", "kind": "Binding", "metadata": meta, "target": target}
    await cluster.post(PODS.path(cluster.namespace, pod["metadata"]["name"], "binding"), body)


async def say(cluster: Cluster, pod: Object, container: Object | None = None, **status: Any) -> None:
    """Report of a pod as its kubelet or the scheduler would."""
    if container is not None:
        own = pod["spec"]["containers"][0]
        base = {"name": own["name"], "image": own["image"], "imageID": "", "ready": False, "restartCount": 0}
        status["containerStatuses"] = [{**base, **container}]
    await cluster.edit(PODS, pod["metadata"]["name"], {"status": status}, "status")


def unschedulable(message: str) -> list[Object]:
    one = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return [{**one, "lastTransitionTime": now()}]


@asynccontextmanager
async def gpu_node(cluster: Cluster, labels: dict[str, str], gpus: str = "1") -> AsyncIterator[str]:
    """A node with GPUs, as its device plugin would report them."""
    name = f"gpu-{uuid.uuid4().hex[:8]}"
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}
    await cluster.post(NODES.path(), node)
    room = {
        "cpu": "32",
        "memory": "128Gi",
        "pods": "110",
        "nvidia.com/gpu": gpus,
        "ephemeral-storage": "500Gi",
    }
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now()}
    status = {"capacity": room, "allocatable": room, "conditions": [ready]}
    path = NODES.path(name=name, subresource="status")
    await cluster._request("PATCH", path, None, {"status": status}, "application/merge-patch+json")
    # Every node begins as tainted; a controller that does not run here takes that away once it is ready.
    await change_node(cluster, name, {"spec": {"taints": None}})
    try:
        yield name
    finally:
        await cluster._request("DELETE", NODES.path(name=name))


async def change_node(cluster: Cluster, name: str, change: Object) -> None:
    await cluster._request("PATCH", NODES.path(name=name), None, change, "application/merge-patch+json")


async def test_who_holds_the_gpu_is_named_and_a_free_one_clears_it(
    cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    async with gpu_node(cluster, {"berth.dev/test-node": name}) as node:
        holder = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"{name}-training", "namespace": cluster.namespace},
            "spec": {
                "nodeName": node,
                "containers": [
                    {
                        "name": "c",
                        "image": "example.com/train:1",
                        "resources": {"limits": {"nvidia.com/gpu": "1"}},
                    }
                ],
                "tolerations": [{"operator": "Exists"}],
            },
        }
        await cluster.send(PODS, holder)
        await cluster.create_workspace(name)
        pod = await one_pod(cluster, nodes, name)
        await say(cluster, pod, conditions=unschedulable(NO_GPU))
        message = await told(cluster, name, "NoFreeGPU")
        assert f"pod {cluster.namespace}/{name}-training holds 1 on node {node}" in message
        seen = await cluster.workspace(name)
        assert condition(seen, "ResourceReady")["reason"] == "NoFreeGPU"
        assert (seen or {})["status"]["progress"] == {"phase": "Scheduling"}
        await nodes.serve(name)
        served = await cluster.reported(name, "Serving")
        assert "progress" not in served["status"]
        await eventually(
            lambda: cluster.events(name),
            lambda found: {item["reason"] for item in found} >= {"NoFreeGPU", "Serving"},
            "an Event for each change of cause",
        )


async def test_a_gpu_that_is_free_on_a_cordoned_node_is_not_told_as_held(
    cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    labels = {"berth.dev/test-node": name}
    async with gpu_node(cluster, labels) as node, gpu_node(cluster, labels, gpus="0"):
        await change_node(cluster, node, {"spec": {"unschedulable": True}})
        await cluster.create_workspace(name)
        pod = await one_pod(cluster, nodes, name)
        words = (
            "0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) were unschedulable. preemption: 0/2 "
            "nodes are available: 1 No preemption victims found, 1 Preemption is not helpful for scheduling."
        )
        await say(cluster, pod, conditions=unschedulable(words))
        message = await told(cluster, name, "NodesNotReady")
        assert f'node "{node}" is cordoned; `kubectl uncordon {node}`' in message


async def test_a_pod_that_its_node_turned_away_is_no_pod_that_starts(
    cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    await cluster.create_workspace(name)
    pod = await one_pod(cluster, nodes, name)
    await bind(cluster, pod)
    await eventually(
        lambda: cluster.workspace(name),
        lambda item: ((item or {}).get("status") or {}).get("workerNodes") == ["berth-test-node"],
        "the node that the pod was given",
    )
    turned_away = pod["metadata"]["name"]
    await say(
        cluster,
        pod,
        phase="Failed",
        reason="UnexpectedAdmissionError",
        message="Pod was rejected: Allocate failed due to requested number of devices unavailable for nvidia.com/gpu. "
        "Requested: 1, Available: 0, which is unexpected",
    )
    # Another is made at once, and has no node yet.
    await one_pod(cluster, nodes, name, lambda other: other["metadata"]["name"] != turned_away)
    seen = await eventually(
        lambda: cluster.workspace(name),
        lambda item: item["status"]["workerNodes"] == [],
        "a pod that has ended runs nowhere",
    )
    assert condition(seen, "ResourceReady")["status"] == "False"
    await nodes.serve(name)
    await cluster.reported(name, "Serving")


async def test_a_model_that_does_not_fit_makes_no_pod_unless_somebody_insists(
    cluster: Cluster, name: str
) -> None:
    labels = {"berth.dev/test-node": name, "nvidia.com/gpu.memory": "4096", "nvidia.com/gpu.count": "1"}
    async with gpu_node(cluster, labels) as node:
        # The nodes have a watch of their own: the Workspace may be seen before the node is.
        await asyncio.sleep(1)
        await cluster.create_workspace(name)
        message = await told(cluster, name, "DoesNotFit")
        assert "7.1 GiB weights" in message
        assert f'the largest matching node "{node}" has 1 x 4 GiB' in message
        assert await cluster.deployment(name) is None
        insist = {"metadata": {"annotations": {"kaito.sh/bypass-resource-checks": "true"}}}
        await cluster.edit(WORKSPACES, name, insist)
        await cluster.deployed(name)
        warnings = await eventually(
            lambda: cluster.events(name),
            lambda found: any("tried all the same" in item["message"] for item in found),
            "the warning",
        )
        assert {item["type"] for item in warnings if item["reason"] == "DoesNotFit"} == {"Warning"}


async def test_a_missing_secret_is_named_and_its_creation_clears_it(
    cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    await cluster.create_workspace(name)
    pod = await one_pod(cluster, nodes, name)
    await bind(cluster, pod)
    waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "hub" not found'}}
    await say(cluster, pod, {"state": waiting})
    assert 'Secret "hub"' in await told(cluster, name, "SecretMissing")
    await nodes.serve(name)
    await cluster.reported(name, "Serving")


async def test_a_volume_that_cannot_be_mounted_is_told_by_the_pods_event(
    cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    await cluster.create_workspace(name)
    pod = await one_pod(cluster, nodes, name)
    await bind(cluster, pod)
    await say(cluster, pod, {"state": {"waiting": {"reason": "ContainerCreating"}}})
    about = {
        "kind": "Pod",
        "apiVersion": "v1",
        **{field: pod["metadata"][field] for field in ("name", "namespace", "uid")},
    }
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name}.mount", "namespace": cluster.namespace},
        "involvedObject": about,
        "type": "Warning",
        "reason": "FailedMount",
        "message": 'MountVolume.SetUp failed for volume "c" : configmap "settings" not found',
        "source": {"component": "kubelet"},
        "firstTimestamp": now(),
        "lastTimestamp": now(),
        "count": 1,
    }
    await cluster.send(EVENTS, event)
    assert 'ConfigMap "settings"' in await told(cluster, name, "ConfigMapMissing")


async def test_gpu_memory_that_the_server_ran_out_of_is_told_in_its_words(
    cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    await cluster.create_workspace(name)
    await nodes.serve(name)
    last = json.dumps({"reason": "gpu_out_of_memory", "message": "m does not fit into the GPU's memory"})
    await nodes.crash(name, exit_code=1, message=last)
    message = await told(cluster, name, "GPUOutOfMemory")
    assert "m does not fit into the GPU's memory" in message
    assert "larger GPU" in message


async def test_a_quota_is_named_and_raising_it_clears_it(
    cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    quota = {
        "metadata": {"name": f"{name}-q", "namespace": cluster.namespace},
        "spec": {"hard": {"pods": "0"}},
    }
    await cluster.send(QUOTAS, {"apiVersion": "v1", "kind": "ResourceQuota", **quota})
    try:
        await eventually(
            lambda: cluster.get(QUOTAS, cluster.namespace, f"{name}-q"),
            lambda live: (live.get("status") or {}).get("hard"),
            "the quota is in force",
        )
        await cluster.create_workspace(name)
        assert f'ResourceQuota "{name}-q"' in await told(cluster, name, "QuotaExceeded")
    finally:
        await cluster.delete(QUOTAS, f"{name}-q")
    # The ReplicaSet tries again by itself, later and later; an edit makes it at once.
    await cluster.edit(WORKSPACES, name, {"resource": {"count": 2}})
    await cluster.deployed(name, lambda live: live["spec"]["replicas"] == 2)
    await nodes.serve(name)
    await cluster.reported(name, "Serving")


async def test_a_rollout_that_waits_for_its_own_gpu_is_told_and_the_old_pod_goes_on_serving(
    cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    async with gpu_node(cluster, {"berth.dev/test-node": name}) as node:
        await cluster.create_workspace(name)
        await bind(cluster, await one_pod(cluster, nodes, name), node)
        await nodes.serve(name)
        await cluster.reported(name, "Serving")
        old = (await nodes.pods(name))[0]["metadata"]["name"]
        await cluster.edit(WORKSPACES, name, TOKEN)
        new = await one_pod(cluster, nodes, name, lambda pod: pod["metadata"]["name"] != old)
        await say(cluster, new, conditions=unschedulable(NO_GPU))
        message = await told(cluster, name, "RolloutBlocked")
        assert f'pod "{old}"' in message
        assert "berth.dev/rollout: recreate" in message


async def test_a_paused_deployment_is_told_and_resuming_it_clears_it(
    cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    await cluster.create_workspace(name)
    await nodes.serve(name)
    await cluster.reported(name, "Serving")
    await cluster.edit(DEPLOYMENTS, name, {"spec": {"paused": True}})
    await cluster.edit(WORKSPACES, name, TOKEN)
    message = await told(cluster, name, "RolloutPaused")
    assert f"kubectl rollout resume deployment -n {cluster.namespace} {name}" in message
    await cluster.edit(DEPLOYMENTS, name, {"spec": {"paused": None}})
    await nodes.serve(name)
    await cluster.reported(name, "Serving")


async def test_a_pod_that_has_to_go_first_is_named_while_it_ends(
    cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    await cluster.create_workspace(name)
    await nodes.serve(name)
    await cluster.reported(name, "Serving")
    old = (await nodes.pods(name))[0]["metadata"]["name"]
    recreate = {"metadata": {"annotations": {"berth.dev/rollout": "recreate"}}}
    await cluster.edit(WORKSPACES, name, {**recreate, **TOKEN})
    # No kubelet ends it here.
    said = f'pod "{old}" is ending; a new one starts once it has gone'
    await eventually(
        lambda: cluster.workspace(name), lambda item: said in condition(item)["message"], said, PATIENCE
    )
    await nodes.serve(name)
    await cluster.reported(name, "Serving")


async def test_progress_is_what_the_server_says_of_it(cluster: Cluster, nodes: FakeNodes, name: str) -> None:
    loading = {
        "status": "loading",
        "phase": "downloading",
        "message": "downloading the weights",
        "bytes_done": 6549825946,
        "bytes_total": 15247212544,
    }

    async def health(_: web.Request) -> web.Response:
        return web.json_response(loading, status=503)

    app = web.Application()
    app.router.add_get("/health", health)
    runner = web.AppRunner(app)
    await runner.setup()
    # Where every address of 127/8 is loopback, a pod can be played at one of its own.
    address = f"127.77.{uuid.uuid4().int % 250}.{uuid.uuid4().int % 250 + 1}"
    try:
        await web.TCPSite(runner, address, 5000).start()
    except OSError as error:
        await runner.cleanup()
        pytest.skip(f"this system has no loopback address beside 127.0.0.1: {error}")
    try:
        await cluster.create_workspace(name)
        pod = await one_pod(cluster, nodes, name)
        await bind(cluster, pod)
        await say(
            cluster,
            pod,
            {"state": {"running": {"startedAt": now()}}, "started": False},
            phase="Running",
            podIP=address,
            podIPs=[{"ip": address}],
        )
        seen = await eventually(
            lambda: cluster.workspace(name),
            lambda item: (item["status"].get("progress") or {}).get("percent") == 42,
            "progress",
            PATIENCE,
        )
        assert seen["status"]["progress"]["phase"] == "Downloading"
        assert seen["status"]["progress"]["bytesTotal"] == 15247212544
        assert "42 %, 6.1 of 14.2 GiB" in condition(seen, "InferenceReady")["message"]
        loading.update(phase="warming_up")
        await eventually(
            lambda: cluster.workspace(name),
            lambda item: (item["status"].get("progress") or {}).get("phase") == "WarmingUp",
            "further progress",
        )
    finally:
        await runner.cleanup()
