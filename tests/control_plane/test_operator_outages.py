"""The operator killed, the API server gone, events lost: in the end all is as if nothing had happened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from berth_operator.cluster_cache import DEPLOYMENTS, SERVICES, WORKSPACES
from control_plane.api_proxy import GONE
from control_plane.cluster import Cluster, eventually, is_ready
from control_plane.fake_nodes import FakeNodes
from control_plane.operator_process import OperatorProcess, operator_process
from control_plane.planes import ControlPlane, new_namespace

MANY = 12


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    with new_namespace(control_plane) as name:
        yield name


@pytest.fixture
def operator(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[OperatorProcess]:
    # Five minutes between resyncs: what these tests see put right is put right by events, unless they say otherwise.
    with operator_process(control_plane.kubeconfig, tmp_path / "operator", namespace) as running:
        yield running


async def test_killed_in_the_middle_of_its_work_and_started_again_it_finishes(
    operator: OperatorProcess, cluster: Cluster, nodes: FakeNodes
) -> None:
    names = [f"w{number}" for number in range(MANY)]
    for name in names:
        await cluster.create_workspace(name)
        if name in names[2::4]:
            operator.kill()
            operator.start()
    await nodes.serve(*names)
    for name in names:
        await cluster.reported(name, "Serving")
    for resource in (DEPLOYMENTS, SERVICES):
        children = await cluster.list_all(resource, cluster.namespace)
        assert sorted(item["metadata"]["name"] for item in children) == sorted(names)
        assert all(len(item["metadata"]["ownerReferences"]) == 1 for item in children)


async def test_what_changed_while_it_was_down_is_put_right_at_its_start(
    operator: OperatorProcess, cluster: Cluster, nodes: FakeNodes
) -> None:
    for name in ("edited", "deleted", "drifted"):
        await cluster.create_workspace(name)
    await nodes.serve("edited", "deleted", "drifted")
    for name in ("edited", "deleted", "drifted"):
        await cluster.reported(name, "Serving")
    operator.stop()
    await cluster.edit(WORKSPACES, "edited", {"resource": {"count": 2}})
    await cluster.edit(DEPLOYMENTS, "drifted", {"spec": {"replicas": 7}})
    await cluster.delete(WORKSPACES, "deleted")
    # Nothing but the owner references deletes them: the operator is down.
    await cluster.gone(DEPLOYMENTS, "deleted")
    await cluster.gone(SERVICES, "deleted")
    await cluster.create_workspace("new")
    operator.start()
    await cluster.deployed("edited", lambda live: live["spec"]["replicas"] == 2)
    await cluster.deployed("drifted", lambda live: live["spec"]["replicas"] == 1)
    await cluster.exposed("new")
    assert await cluster.deployment("deleted") is None


async def test_a_deletion_that_no_watch_told_of_brings_nothing_back(
    operator: OperatorProcess, cluster: Cluster, nodes: FakeNodes
) -> None:
    await cluster.create_workspace("ghost")
    await cluster.create_workspace("stays")
    await nodes.serve("ghost", "stays")
    for name in ("ghost", "stays"):
        await cluster.reported(name, "Serving")
    await operator.watching()
    operator.proxy.cut(answer=GONE)
    since = len(operator.proxy.requests)
    await cluster.delete(WORKSPACES, "ghost")
    await cluster.gone(WORKSPACES, "ghost")
    await cluster.gone(DEPLOYMENTS, "ghost")
    await cluster.gone(SERVICES, "ghost")
    # Drift, too, that no watch tells of, on what remains.
    await cluster.delete(SERVICES, "stays")
    operator.proxy.mend()
    await operator.watching(since)
    await cluster.exposed("stays")
    # The watches that started over told of what is there; only the lists that follow show what is not.
    await operator.looked_again(1, since)
    assert await cluster.deployment("ghost") is None
    # A report on a Workspace that is gone finds nothing to write to; a child would come back for good.
    written = [line for line in operator.proxy.writes(since) if "ghost" in line and not line.endswith("404")]
    assert written == []
    again = await cluster.create_workspace("ghost")
    child = await cluster.deployed("ghost")
    assert child["metadata"]["ownerReferences"][0]["uid"] == again["metadata"]["uid"]


async def test_a_workspace_deleted_and_made_again_unseen_gets_children_of_its_own(
    operator: OperatorProcess, cluster: Cluster, nodes: FakeNodes
) -> None:
    await cluster.create_workspace("same")
    await nodes.serve("same")
    await cluster.reported("same", "Serving")
    await operator.watching()
    operator.proxy.cut(answer=GONE)
    await cluster.delete(WORKSPACES, "same")
    await cluster.gone(WORKSPACES, "same")
    again = await cluster.create_workspace("same")
    operator.proxy.mend()
    uid = again["metadata"]["uid"]
    for look in (cluster.deployed, cluster.exposed):
        await look("same", lambda live: live["metadata"]["ownerReferences"][0]["uid"] == uid)
    await nodes.serve("same")
    await cluster.reported("same", "Serving")


async def test_watches_that_end_with_an_error_are_started_over(
    operator: OperatorProcess, cluster: Cluster
) -> None:
    await cluster.create_workspace("before")
    await cluster.exposed("before")
    await operator.watching()
    process = operator.pid
    operator.proxy.cut(answer=500)
    await cluster.delete(SERVICES, "before")
    operator.proxy.mend()
    await operator.logs("the watches have ended")
    await cluster.exposed("before")
    await cluster.create_workspace("after")
    await cluster.exposed("after")
    assert operator.pid == process


async def test_told_to_stop_while_its_watches_are_down_it_stops(operator: OperatorProcess) -> None:
    await operator.watching()
    operator.proxy.cut(answer=500)
    operator.proxy.mend()
    await operator.logs("the watches have ended")


async def test_an_api_server_that_is_not_there_yet_is_waited_for(
    control_plane: ControlPlane, namespace: str, cluster: Cluster, tmp_path: Path
) -> None:
    with operator_process(control_plane.kubeconfig, tmp_path, namespace) as operator:
        operator.kill()
        operator.proxy.cut()
        operator.start(waits=False)
        await operator.logs("cannot list")
        operator.proxy.mend()
        await cluster.create_workspace("patient")
        await cluster.exposed("patient")


async def test_an_operator_that_waits_for_its_api_server_stops_when_told_to(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    with operator_process(control_plane.kubeconfig, tmp_path, namespace) as operator:
        operator.kill()
        operator.proxy.cut()
        operator.start(waits=False)
        await operator.logs("cannot list")


@pytest.mark.real_apiserver
async def test_an_api_server_that_crashes_and_comes_back_loses_nothing(
    control_plane: ControlPlane, operator: OperatorProcess, cluster: Cluster, nodes: FakeNodes
) -> None:
    if control_plane.real is None:
        pytest.skip("needs an API server to crash: set KUBEBUILDER_ASSETS, without --kubeconfig")
    names = [f"w{number}" for number in range(MANY)]
    for name in names:
        await cluster.create_workspace(name)
    # Let through again when it is ready, as a load balancer would: until it has read the roles, it refuses everybody.
    operator.proxy.cut()
    control_plane.real.stop_apiserver(kill=True)
    control_plane.real.start_apiserver()
    operator.proxy.mend()
    await nodes.serve(*names)

    async def ready() -> int:
        return sum(map(is_ready, await cluster.list_all(WORKSPACES, cluster.namespace)))

    await eventually(ready, lambda count: count == MANY, "ready Workspaces")
