"""The operator's whole life under its own ServiceAccount. What it is refused fails the run at its end.

It asks for every right that the chart grants at least once, so that one that is taken away is missed:
tools/try_without_each_right.py does that for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from berth_operator.api.names import LABEL_WORKSPACE
from berth_operator.cluster_cache import CONFIG_MAPS, DEPLOYMENTS, SERVICES, WORKSPACES
from berth_operator.kube import Resource
from control_plane.api_proxy import Request
from control_plane.cluster import Cluster, condition, eventually
from control_plane.fake_nodes import FakeNodes
from control_plane.operator_process import OperatorProcess, operator_process
from control_plane.own_account import LEASE, own_kubeconfig, refusals
from control_plane.planes import ControlPlane
from control_plane.test_operator_group import LARGE
from control_plane.test_operator_group import create as create_group

LEASES = Resource("coordination.k8s.io/v1", "leases")
EVENTS = Resource("v1", "events")

pytestmark = pytest.mark.real_apiserver


@pytest.fixture(scope="module")
def operator(
    control_plane: ControlPlane, namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """One that takes the Lease that a standby would wait for."""
    workdir = tmp_path_factory.mktemp("operator")
    with operator_process(
        control_plane.kubeconfig, workdir, namespace, BERTH_LEADER_ELECTION=LEASE
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def _never_refused(control_plane: ControlPlane) -> Iterator[None]:
    """Fail at the first refusal rather than at the end of the run, so that it is seen where it comes from."""
    if control_plane.real is None:
        pytest.skip("needs a control plane of its own, for its audit log")
    yield
    assert refusals(control_plane.real.audit_log) == []


def test_it_runs_under_its_own_account(control_plane: ControlPlane) -> None:
    assert own_kubeconfig(control_plane.kubeconfig) != control_plane.kubeconfig


async def test_a_workspace_lives_from_apply_to_delete(
    operator: OperatorProcess, cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    await operator.watching()
    workspace = await cluster.create_workspace(name)
    await nodes.serve(name)
    await cluster.reported(name, "Serving")
    # Drift: another writer's change is undone, with "patch" alone.
    await cluster.edit(DEPLOYMENTS, name, {"spec": {"replicas": 3}})
    await cluster.edit(SERVICES, name, {"spec": {"selector": {LABEL_WORKSPACE: "other"}}})
    await cluster.deployed(name, lambda live: live["spec"]["replicas"] == 1)
    await cluster.exposed(name, lambda live: live["spec"]["selector"][LABEL_WORKSPACE] == name)
    # A cause that comes back is counted up in its Event, and one that is new makes one.
    for _ in range(2):
        await nodes.crash(name, exit_code=137, reason="OOMKilled")
        await cluster.reported(name, "OutOfMemory")
        await nodes.serve(name)
        await cluster.reported(name, "Serving")

    async def events() -> list[str]:
        found = await cluster.list_all(EVENTS, cluster.namespace)
        mine = [one for one in found if one["involvedObject"]["uid"] == workspace["metadata"]["uid"]]
        return [one["reason"] for one in mine]

    await eventually(events, lambda reasons: {"OutOfMemory", "Serving"} <= set(reasons), "its Events")
    await cluster.delete(WORKSPACES, name)
    await cluster.gone(DEPLOYMENTS, name)
    await cluster.gone(SERVICES, name)


async def test_a_model_over_several_nodes_is_made_and_gives_way_to_one_on_one_node(
    operator: OperatorProcess, cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    await create_group(cluster, name)
    await nodes.serve(name)
    await cluster.reported(name, "Serving")
    await cluster.edit(WORKSPACES, name, {"resource": {"instanceType": LARGE}})
    await cluster.reported(name, "RollingOut")
    await nodes.serve(name)
    await cluster.reported(name, "Serving")


async def test_a_workspace_that_names_a_config_map_is_told_what_is_wrong_with_it(
    operator: OperatorProcess, cluster: Cluster, name: str
) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": cluster.namespace},
        "data": {"inference_config.yaml": "transformers: {no_such_setting: 1}"},
    }
    await cluster.send(CONFIG_MAPS, body)
    await cluster.create_workspace(name, preset={"name": "tiny-chat"}, config=name)
    reported = await eventually(
        lambda: cluster.workspace(name), lambda seen: condition(seen).get("reason"), "a report"
    )
    assert condition(reported)["status"] == "False"


async def test_a_pod_that_cannot_be_placed_is_looked_at_closely(
    operator: OperatorProcess, cluster: Cluster, name: str
) -> None:
    await cluster.create_workspace(name)
    await eventually(lambda: cluster.workspace(name), lambda seen: condition(seen).get("message"), "a report")
    since = len(operator.proxy.requests)
    await cluster.edit(WORKSPACES, name, {"resource": {"count": 2}})
    await cluster.deployed(name, lambda live: live["spec"]["replicas"] == 2)

    async def made() -> list[Request]:
        return operator.proxy.requests[since:]

    # A request is noted when it has been answered, which is after others see what it did.
    await eventually(made, bool, "the edit is acted on through the account")


async def test_it_holds_and_renews_the_lease_and_gives_it_back(
    control_plane: ControlPlane, operator: OperatorProcess, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    lease_namespace, lease_name = LEASE.split("/")

    async def lease() -> dict[str, object]:
        found = await cluster.get(LEASES, lease_namespace, lease_name)
        return dict(found["spec"]) if found else {}

    first = await eventually(lease, lambda spec: spec.get("holderIdentity"), "somebody leads")
    await eventually(lease, lambda spec: spec["renewTime"] != first["renewTime"], "the lease is renewed")
    with operator_process(
        control_plane.kubeconfig, tmp_path, namespace, BERTH_LEADER_ELECTION=LEASE
    ) as standby:
        await standby.logs("standing by")
        assert not [request for request in standby.proxy.requests if request.is_watch]
        operator.stop()
        await standby.logs("leading")
        await standby.watching()
        second = await lease()
        assert second["holderIdentity"] != first["holderIdentity"]
        operator.start()
    given_back = await eventually(lease, lambda spec: spec, "the lease is there")
    assert given_back["holderIdentity"] != second["holderIdentity"]
