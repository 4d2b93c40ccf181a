"""The runtime vllm on an API server: what is rendered is accepted and kept, changed back, and its failure is named."""

from __future__ import annotations

import pytest

from berth_operator.api.workspace import parse_workspace
from berth_operator.cluster_cache import PODS, WORKSPACES
from berth_operator.kube import Object
from berth_operator.plan.differences import covers
from berth_operator.plan.workload import Workload, plan_workload
from berth_operator.presets import load_presets
from berth_operator.settings import Settings
from control_plane.cluster import Cluster, condition, workspace
from control_plane.fake_nodes import FakeNodes

pytestmark = pytest.mark.usefixtures("operator")

PRESET = {"name": "phi-3-mini-4k-instruct"}
VLLM = "kaito.sh/runtime"


def pod(deployment: Object) -> Object:
    spec: Object = deployment["spec"]["template"]["spec"]
    return spec


def early(deployment: Object) -> list[str]:
    return [one["name"] for one in pod(deployment).get("initContainers") or []]


async def create(cluster: Cluster, name: str) -> Object:
    wanted = workspace(cluster.namespace, name, preset=PRESET)
    wanted["metadata"]["annotations"] = {VLLM: "vllm"}
    return await cluster.create(WORKSPACES, wanted)


def runtime(value: str | None) -> Object:
    return {"metadata": {"annotations": {VLLM: value}}}


async def test_what_is_rendered_is_what_the_api_server_keeps(cluster: Cluster, name: str) -> None:
    asked = await create(cluster, name)
    live = await cluster.deployed(name)
    assert early(live) == ["fetch-weights", "vllm"]
    sidecar = pod(live)["initContainers"][1]
    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    planned = plan_workload(parse_workspace(asked), load_presets(), Settings())
    assert isinstance(planned, Workload)
    # Nothing of it was dropped or written otherwise, which would be applied again for ever.
    assert covers(live, planned.deployment)


async def test_the_runtime_is_changed_by_a_rollout_and_the_change_back_undoes_it(
    cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    await create(cluster, name)
    first = await cluster.deployed(name)
    await nodes.serve(name)
    await cluster.reported(name, "Serving")

    await cluster.edit(WORKSPACES, name, runtime(None))
    plain = await cluster.deployed(name, lambda live: early(live) == ["fetch-weights"])
    (server,) = pod(plain)["containers"]
    assert server["command"][-1] == "serve"
    assert "vllm-tmp" not in {volume["name"] for volume in pod(plain)["volumes"]}
    assert server["resources"]["limits"] == {"nvidia.com/gpu": "1"}

    await cluster.edit(WORKSPACES, name, runtime("vllm"))
    again = await cluster.deployed(name, lambda live: "vllm" in early(live))
    assert pod(again) == pod(first)
    await nodes.serve(name)
    await cluster.reported(name, "Serving")


async def test_a_runtime_that_cannot_be_had_is_told_and_what_ran_goes_on(cluster: Cluster, name: str) -> None:
    await create(cluster, name)
    first = await cluster.deployed(name)
    await cluster.edit(WORKSPACES, name, runtime("vLLM"))
    told = await cluster.reported(name, "NotSupported")
    assert "use transformers or vllm" in condition(told)["message"]
    assert pod(await cluster.deployed(name)) == pod(first)


async def test_a_vllm_that_ends_is_named_with_its_own_words(
    cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    await create(cluster, name)
    await nodes.serve(name)
    await cluster.reported(name, "Serving")

    await nodes.crash(name)
    (found,) = await nodes.pods(name)
    meta, seen = found["metadata"], {"image": "example.com/i:1", "imageID": "", "ready": False}
    words = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.50 GiB."
    vllm = {
        **seen,
        "name": "vllm",
        "restartCount": 3,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": words}},
    }
    running = {"running": {"startedAt": meta["creationTimestamp"]}}
    front = {**seen, "name": "inference", "restartCount": 3, "started": True, "state": running}
    status = {"initContainerStatuses": [vllm], "containerStatuses": [front]}
    await cluster.edit(PODS, meta["name"], {"status": status}, "status")
    message = condition(await cluster.reported(name, "GPUOutOfMemory"))["message"]
    assert f'container "vllm" of pod "{meta["name"]}" ran out of GPU memory' in message
    assert "Tried to allocate 1.50 GiB" in message
    await nodes.serve(name)
    await cluster.reported(name, "Serving")
