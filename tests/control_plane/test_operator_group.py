"""A model over several nodes on an API server: its StatefulSet is kept, replaced as a whole, and taken over from."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from berth_operator.api.workspace import parse_workspace
from berth_operator.cluster_cache import DEPLOYMENTS, PODS, SERVICES, STATEFUL_SETS, WORKSPACES
from berth_operator.kube import Object, Resource
from berth_operator.plan.differences import covers
from berth_operator.plan.metadata import ANNOTATION_RENDERED
from berth_operator.plan.observed import is_of_group
from berth_operator.plan.workload import Workload, plan_workload
from berth_operator.presets import load_presets
from berth_operator.settings import Settings
from control_plane.cluster import Cluster, condition, eventually, workspace
from control_plane.fake_nodes import FakeNodes
from control_plane.operator_process import OperatorProcess

pytestmark = pytest.mark.usefixtures("operator")

QUOTAS = Resource("v1", "resourcequotas")
PRESET = {"name": "phi-3-medium-4k-instruct"}
SMALL = "Standard_NV36ads_A10_v5"  # 24 GiB, of which two hold it
LARGE = "Standard_NC24ads_A100_v4"  # 80 GiB
FIRST = "statefulset.kubernetes.io/pod-name"


async def create(cluster: Cluster, name: str, instance_type: str = SMALL) -> Object:
    wanted = workspace(cluster.namespace, name, preset=PRESET)
    wanted["metadata"]["annotations"] = {"kaito.sh/runtime": "vllm"}
    wanted["resource"] |= {"count": 2, "instanceType": instance_type}
    return await cluster.create(WORKSPACES, wanted)


async def grouped(cluster: Cluster, name: str, accept: Callable[[Object], object] = bool) -> Object:
    """Wait until the Workspace's StatefulSet is there and accepted."""
    return await cluster.seen(
        lambda: cluster.get(STATEFUL_SETS, cluster.namespace, name), accept, f"StatefulSet {name}"
    )


def replicas(live: Object) -> int:
    return int(live["spec"]["replicas"])


async def test_what_is_rendered_is_what_the_api_server_keeps_and_it_serves(
    cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    asked = await create(cluster, name)
    await nodes.serve(name)
    told = await cluster.reported(name, "Serving")
    placed = condition(told, "ResourceReady")["message"]
    assert "2 of 2 pods have a node, and hold one copy of the model together: 26.0 GiB weights" in placed
    assert told["status"]["workerNodes"]
    planned = plan_workload(parse_workspace(asked), load_presets(), Settings())
    assert isinstance(planned, Workload)
    assert planned.peers is not None
    # Nothing of it was dropped or written otherwise, which would be applied again for ever.
    assert covers(await grouped(cluster, name), planned.deployment)
    assert covers(await cluster.exposed(name), planned.service)
    assert covers(await cluster.exposed(f"{name}-peers"), planned.peers)
    assert await cluster.deployment(name) is None
    members = {pod["metadata"]["name"]: pod["metadata"]["labels"] for pod in await nodes.pods(name)}
    assert members.keys() == {f"{name}-0", f"{name}-1"}
    assert members[f"{name}-1"]["apps.kubernetes.io/pod-index"] == "1"
    assert [own for own, labels in members.items() if labels[FIRST] == f"{name}-0"] == [f"{name}-0"]


async def test_an_edit_replaces_all_pods_and_none_starts_before_the_last_has_ended(
    cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    await create(cluster, name)
    await nodes.serve(name)
    await cluster.reported(name, "Serving")
    before = {pod["metadata"]["uid"] for pod in await nodes.pods(name)}
    async with cluster.history(STATEFUL_SETS) as versions, cluster.history(PODS) as pods:
        await cluster.edit(WORKSPACES, name, {"metadata": {"annotations": {"berth.dev/weights": "claim/w"}}})
        await grouped(cluster, name, lambda live: replicas(live) == 0)
        told = await cluster.reported(name, "RollingOut")
        assert "all at once, for they hold the model together" in condition(told)["message"]
        await nodes.serve(name)
        await cluster.reported(name, "Serving")
        last = await grouped(cluster, name)
        await cluster.caught_up(versions, last)
    mine = [one for one in versions if one["metadata"]["name"] == name]
    steps = list(
        dict.fromkeys((replicas(one), one["metadata"]["annotations"][ANNOTATION_RENDERED]) for one in mine)
    )
    assert [count for count, _ in steps] == [0, 2]
    after = {pod["metadata"]["uid"] for pod in await nodes.pods(name)}
    assert len(after) == 2
    assert not after & before
    assert {pod["metadata"]["uid"] for pod in pods} <= before | after


async def test_a_group_takes_over_from_a_deployment_and_the_reverse_and_never_do_both_run(
    cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    await create(cluster, name, LARGE)
    await nodes.serve(name)
    await cluster.reported(name, "Serving")
    async with cluster.history(PODS) as pods:
        for instance_type, kind in ((SMALL, STATEFUL_SETS), (LARGE, DEPLOYMENTS)):
            await cluster.edit(WORKSPACES, name, {"resource": {"instanceType": instance_type}})
            told = await cluster.reported(name, "RollingOut")
            assert "from one node to several, or back" in condition(told)["message"]
            await nodes.serve(name)
            await cluster.reported(name, "Serving")
            other = DEPLOYMENTS if kind is STATEFUL_SETS else STATEFUL_SETS
            used, aside = [await cluster.get(one, cluster.namespace, name) for one in (kind, other)]
            assert used is not None
            assert replicas(used) == 2
            assert aside is not None
            assert replicas(aside) == 0
            assert ANNOTATION_RENDERED not in aside["metadata"].get("annotations", {})
            selector = (await cluster.exposed(name))["spec"]["selector"]
            assert (FIRST in selector) is (kind is STATEFUL_SETS)
            assert {is_of_group(pod) for pod in await nodes.pods(name)} == {kind is STATEFUL_SETS}
        # Somebody starts what was put aside.
        await cluster.edit(STATEFUL_SETS, name, {"spec": {"replicas": 1}})
        await grouped(cluster, name, lambda live: replicas(live) == 0)
    assert pods


async def test_what_others_change_of_a_group_is_undone(cluster: Cluster, nodes: FakeNodes, name: str) -> None:
    await create(cluster, name)
    await nodes.serve(name)
    await cluster.reported(name, "Serving")
    await cluster.edit(STATEFUL_SETS, name, {"spec": {"replicas": 3}})
    await grouped(cluster, name, lambda live: replicas(live) == 2)
    await cluster.edit(SERVICES, f"{name}-peers", {"spec": {"selector": {"app": "another"}}})
    await cluster.exposed(f"{name}-peers", lambda live: set(live["spec"]["selector"]) == {"berth.dev/group"})
    await cluster.delete(SERVICES, f"{name}-peers")
    await cluster.exposed(f"{name}-peers")
    await cluster.delete(STATEFUL_SETS, name)
    await grouped(cluster, name)
    await nodes.serve(name)
    await cluster.reported(name, "Serving")


async def test_the_pod_that_fails_is_named_and_the_group_serves_again_when_it_does(
    cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    await create(cluster, name)
    await nodes.serve(name)
    await cluster.reported(name, "Serving")
    await nodes.crash(name, exit_code=137, reason="OOMKilled")
    await cluster.reported(name, "OutOfMemory")
    # One crashes after the other, and may be told of alone for a moment.
    await cluster.seen(
        lambda: cluster.workspace(name),
        lambda live: f'pod "{name}-0"' in condition(live)["message"],
        "the first of them is named",
    )
    await nodes.serve(name)
    await cluster.reported(name, "Serving")


async def test_a_group_that_would_not_do_is_refused_and_what_ran_goes_on(
    cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    await create(cluster, name)
    await nodes.serve(name)
    await cluster.reported(name, "Serving")
    await cluster.edit(WORKSPACES, name, {"resource": {"count": 1}})
    told = await cluster.reported(name, "DoesNotFit")
    assert "set resource.count to 2, so that as many nodes hold it together" in condition(told)["message"]
    assert replicas(await grouped(cluster, name)) == 2
    await cluster.edit(WORKSPACES, name, {"resource": {"count": 0}})
    await grouped(cluster, name, lambda live: replicas(live) == 0)
    await cluster.reported(name, "RollingOut" if await nodes.pods(name) else "Stopped")


async def test_it_goes_with_its_workspace(cluster: Cluster, name: str, operator: OperatorProcess) -> None:
    await create(cluster, name)
    await grouped(cluster, name)
    await cluster.exposed(f"{name}-peers")
    await cluster.delete(WORKSPACES, name)
    await cluster.gone(STATEFUL_SETS, name)
    await cluster.gone(SERVICES, f"{name}-peers")
    assert f"StatefulSet {cluster.namespace}/{name} created" in operator.log


@pytest.mark.real_apiserver
async def test_what_refuses_its_pods_is_told_in_the_words_of_kubernetes(cluster: Cluster, name: str) -> None:
    hard = {"requests.nvidia.com/gpu": "0"}
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": name, "namespace": cluster.namespace},
        "spec": {"hard": hard},
    }
    await cluster.send(QUOTAS, quota)

    async def status() -> Object:
        live = await cluster.get(QUOTAS, cluster.namespace, name)
        return (live or {}).get("status") or {}

    await eventually(status, lambda seen: seen.get("hard") == hard, "the quota is enforced")
    await create(cluster, name)
    told = await cluster.reported(name, "QuotaExceeded")
    message = condition(told)["message"]
    assert (
        f'StatefulSet "{name}" cannot create pods: ResourceQuota "{name}" is used up (exceeded quota'
        in message
    )
    await cluster.delete(QUOTAS, name)
