"""What the operator asks of the API server: three writes for a new Workspace, none for one that is as it should be."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest

from berth_operator.cluster_cache import WORKSPACES
from berth_operator.kube import Object
from control_plane.cluster import Cluster, eventually, is_ready
from control_plane.fake_nodes import FakeNodes
from control_plane.operator_process import OperatorProcess, operator_process
from control_plane.planes import ControlPlane

MANY = 100

ODD_QUANTITIES = {
    "requests": {"cpu": "0.5", "memory": "1024Mi", "ephemeral-storage": "1e9"},
    "limits": {"memory": "1.5Gi"},
}


@pytest.fixture(scope="module")
def operator(
    control_plane: ControlPlane, namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    workdir = tmp_path_factory.mktemp("operator")
    with operator_process(control_plane.kubeconfig, workdir, namespace, BERTH_RESYNC_SECONDS="1") as running:
        yield running


async def test_a_new_workspace_costs_three_writes_and_one_for_each_change_of_its_status(
    operator: OperatorProcess, cluster: Cluster, name: str
) -> None:
    async with cluster.history(WORKSPACES) as versions:
        await cluster.create_workspace(name)
        await cluster.deployed(name)
        await cluster.exposed(name)
        await operator.looked_again()
        latest = await cluster.workspace(name)
        assert latest is not None
        await cluster.caught_up(versions, latest)
    writes = [line for line in operator.proxy.writes() if f"/{name}" in line]
    reports = [line for line in writes if line.endswith(f"workspaces/{name}/status -> 200")]
    statuses = [item["status"] for item in versions if (item.get("status") or {}).get("conditions")]
    # Whoever counts pods changes the Deployment's status, and what is reported follows; no report says the same twice.
    assert len(reports) == len(statuses)
    assert all(before != after for before, after in pairwise(statuses))
    assert sorted(set(writes) - set(reports)) == [
        f"PATCH /api/v1/namespaces/{cluster.namespace}/services/{name} -> 201",
        f"PATCH /apis/apps/v1/namespaces/{cluster.namespace}/deployments/{name} -> 201",
    ]
    assert len(writes) == 2 + len(reports)


async def test_a_new_workspace_costs_three_writes_where_nothing_acts_on_its_deployment(
    control_plane: ControlPlane, operator: OperatorProcess, cluster: Cluster, name: str
) -> None:
    if control_plane.has_controllers:
        pytest.skip("a controller manager acts on every Deployment: the test above counts that")
    await cluster.create_workspace(name)
    await cluster.exposed(name)
    await operator.looked_again()
    assert len([line for line in operator.proxy.writes() if f"/{name}" in line]) == 3


async def test_one_event_is_posted_for_each_change_of_cause(
    operator: OperatorProcess, cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    await cluster.create_workspace(name)
    await nodes.serve(name)
    await cluster.reported(name, "Serving")
    await nodes.crash(name, exit_code=3)
    await cluster.reported(name, "CrashLoop")
    await operator.looked_again()
    events = [item for item in await cluster.events(name) if item["reason"] in ("Serving", "CrashLoop")]
    assert sorted((item["reason"], item["type"]) for item in events) == [
        ("CrashLoop", "Warning"),
        ("Serving", "Normal"),
    ]


async def test_a_template_with_quantities_of_another_spelling_settles(
    operator: OperatorProcess, cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    server = {"name": "server", "image": "example.com/server:1", "resources": ODD_QUANTITIES}
    await cluster.create_workspace(name, template={"spec": {"containers": [server]}})
    await nodes.serve(name)
    await cluster.reported(name, "Serving")
    await operator.looked_again()
    since = len(operator.proxy.requests)
    await operator.looked_again()
    assert [line for line in operator.proxy.writes(since) if name in line] == []


@pytest.mark.timeout(
    300
)  # a thousand writes, each under a tenth of a second where four others want the processor
async def test_a_hundred_ready_workspaces_cost_no_write_however_often_they_are_looked_at(
    operator: OperatorProcess, cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    names = [f"{name}-{number}" for number in range(MANY)]
    for one in names:
        await cluster.create_workspace(one)
    await nodes.serve(*names)

    async def ready() -> int:
        live: list[Object] = await cluster.list_all(WORKSPACES, cluster.namespace)
        return sum(is_ready(item) for item in live if item["metadata"]["name"].startswith(name))

    await eventually(ready, lambda count: count == MANY, "ready Workspaces", seconds=60)
    await operator.looked_again()
    since = len(operator.proxy.requests)
    await operator.looked_again()
    assert operator.proxy.writes(since) == []

    operator.stop()
    since = operator.start()
    await operator.watching(since)
    await operator.looked_again()
    assert operator.proxy.writes(since) == []
    reads = [request for request in operator.proxy.requests[since:] if request.path.count(name)]
    assert reads == [], "a restart reads lists, not objects one by one"
