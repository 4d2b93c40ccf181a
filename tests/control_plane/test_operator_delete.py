"""What is deleted stays deleted, and what Berth did not make is never touched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from berth_operator.cluster_cache import DEPLOYMENTS, SERVICES, WORKSPACES
from berth_operator.kube import Object, Resource
from control_plane.cluster import Cluster, condition
from control_plane.fake_nodes import FakeNodes
from control_plane.operator_process import OperatorProcess, operator_process
from control_plane.planes import ControlPlane

CHILDREN = (DEPLOYMENTS, SERVICES)

THEIR_DEPLOYMENT = {
    "selector": {"matchLabels": {"app": "theirs"}},
    "template": {
        "metadata": {"labels": {"app": "theirs"}},
        "spec": {"containers": [{"name": "theirs", "image": "example.com/theirs:1"}]},
    },
}
THEIR_SERVICE = {"selector": {"app": "theirs"}, "ports": [{"port": 8080, "protocol": "TCP"}]}


@pytest.fixture(scope="module")
def operator(
    control_plane: ControlPlane, namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    # No watch tells of the end of an object that is not ours; a second instead of half a minute finds it.
    workdir = tmp_path_factory.mktemp("operator")
    with operator_process(control_plane.kubeconfig, workdir, namespace, BERTH_RESYNC_SECONDS="1") as running:
        yield running


async def test_deleting_a_workspace_deletes_what_was_made_for_it(
    operator: OperatorProcess, cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    await cluster.create_workspace(name)
    await nodes.serve(name)
    await cluster.reported(name, "Serving")
    await cluster.delete(WORKSPACES, name)
    await cluster.gone(WORKSPACES, name)
    for child in CHILDREN:
        await cluster.gone(child, name)
    since = len(operator.proxy.requests)
    await operator.looked_again()
    assert [line for line in operator.proxy.writes(since) if name in line] == []


@pytest.mark.usefixtures("operator")
async def test_a_workspace_made_again_gets_children_of_its_own(
    cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    first = await cluster.create_workspace(name)
    await nodes.serve(name)
    await cluster.reported(name, "Serving")
    await cluster.delete(WORKSPACES, name)
    await cluster.gone(WORKSPACES, name)
    second = await cluster.create_workspace(name)
    assert first["metadata"]["uid"] != second["metadata"]["uid"]
    for look in (cluster.deployed, cluster.exposed):
        await look(
            name,
            lambda live: live["metadata"]["ownerReferences"][0]["uid"] == second["metadata"]["uid"],
        )
    await nodes.serve(name)
    await cluster.reported(name, "Serving")


@pytest.mark.parametrize(
    ("resource", "kind", "spec"),
    [
        pytest.param(DEPLOYMENTS, "Deployment", THEIR_DEPLOYMENT, id="Deployment"),
        pytest.param(SERVICES, "Service", THEIR_SERVICE, id="Service"),
    ],
)
async def test_a_foreign_object_of_our_name_is_left_alone_until_it_goes(
    operator: OperatorProcess,
    cluster: Cluster,
    nodes: FakeNodes,
    name: str,
    resource: Resource,
    kind: str,
    spec: dict[str, Any],
) -> None:
    metadata = {"name": name, "namespace": cluster.namespace, "labels": {"app": "theirs"}}
    body = {"apiVersion": resource.api_version, "kind": kind, "metadata": metadata, "spec": spec}
    theirs = await cluster.create(resource, body)
    await cluster.create_workspace(name)
    blocked = await cluster.reported(name, "NameConflict")
    message = condition(blocked)["message"]
    assert f'{kind} "{name}"' in message
    assert "rename or delete it" in message
    await operator.looked_again()
    live = await cluster.get(resource, cluster.namespace, name)
    assert live is not None
    assert _without_status(live) == _without_status(theirs)
    assert [line for line in operator.proxy.writes() if f"{resource.plural}/{name}" in line] == []

    await cluster.delete(resource, name)
    await nodes.serve(name)
    await cluster.reported(name, "Serving")


async def test_an_object_that_only_bears_our_label_is_not_ours(
    operator: OperatorProcess, cluster: Cluster, name: str
) -> None:
    labels = {"kaito.sh/workspace": name}
    metadata = {"name": name, "namespace": cluster.namespace, "labels": labels}
    body = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": THEIR_SERVICE}
    await cluster.create(SERVICES, body)
    await cluster.create_workspace(name)
    await cluster.reported(name, "NameConflict")
    assert [line for line in operator.proxy.writes() if f"services/{name}" in line] == []


def _without_status(live: Object) -> Object:
    """An object less what its own controllers write."""
    meta = live["metadata"]
    kept = {field: meta.get(field) for field in ("uid", "labels", "ownerReferences", "generation")}
    return {"metadata": kept, "spec": live["spec"]}
