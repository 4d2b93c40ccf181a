"""What a user changes of a Workspace is carried out, what they take away as well."""

from __future__ import annotations

import pytest

from berth_operator.api.names import ANNOTATION_ENABLE_LB, LABEL_WORKSPACE
from berth_operator.cluster_cache import WORKSPACES
from berth_operator.kube import Object
from control_plane.cluster import Cluster, condition, is_ready
from control_plane.fake_nodes import FakeNodes

pytestmark = pytest.mark.usefixtures("operator")


def template() -> Object:
    container = {
        "name": "server",
        "image": "example.com/server:1",
        "env": [{"name": "ONE", "value": "1"}, {"name": "TWO", "value": "2"}],
        "ports": [{"containerPort": 5000}],
    }
    return {
        "metadata": {"labels": {"team": "search"}, "annotations": {"example.com/a": "1"}},
        "spec": {"containers": [container], "priorityClassName": "system-node-critical"},
    }


def pod(deployment: Object) -> Object:
    seen: Object = deployment["spec"]["template"]
    return seen


def variables(deployment: Object) -> dict[str, str]:
    return {item["name"]: item.get("value", "") for item in pod(deployment)["spec"]["containers"][0]["env"]}


async def test_count_changes_the_replicas_and_the_status(
    cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    await cluster.create_workspace(name)
    await nodes.serve(name)
    await cluster.reported(name, "Serving")
    await cluster.edit(WORKSPACES, name, {"resource": {"count": 3}})
    await cluster.deployed(name, lambda live: live["spec"]["replicas"] == 3)
    await nodes.serve(name)
    assert (await cluster.reported(name, "Serving"))["status"]["targetNodeCount"] == 3
    await cluster.edit(WORKSPACES, name, {"resource": {"count": 0}})
    await cluster.deployed(name, lambda live: live["spec"]["replicas"] == 0)
    await nodes.serve(name)
    stopped = await cluster.reported(name, "Stopped")
    assert not is_ready(stopped)
    assert "resource.count" in condition(stopped)["message"]


async def test_the_load_balancer_comes_and_goes_with_its_annotation(cluster: Cluster, name: str) -> None:
    await cluster.create_workspace(name)
    before = await cluster.exposed(name)
    await cluster.edit(WORKSPACES, name, {"metadata": {"annotations": {ANNOTATION_ENABLE_LB: "True"}}})
    balanced = await cluster.exposed(name, lambda live: live["spec"]["type"] == "LoadBalancer")
    assert balanced["spec"]["clusterIP"] == before["spec"]["clusterIP"]
    await cluster.edit(WORKSPACES, name, {"metadata": {"annotations": {ANNOTATION_ENABLE_LB: None}}})
    after = await cluster.exposed(name, lambda live: live["spec"]["type"] == "ClusterIP")
    assert after["spec"]["ports"] == before["spec"]["ports"]
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


async def test_a_balancer_address_is_the_endpoint(cluster: Cluster, nodes: FakeNodes, name: str) -> None:
    await cluster.create_workspace(name)
    await nodes.serve(name)
    await cluster.reported(name, "Serving")
    await cluster.edit(WORKSPACES, name, {"metadata": {"annotations": {ANNOTATION_ENABLE_LB: "True"}}})
    await cluster.exposed(name, lambda live: live["spec"]["type"] == "LoadBalancer")
    await cluster.give_address(name, "203.0.113.7")
    await cluster.seen(
        lambda: cluster.workspace(name),
        lambda seen: seen["status"]["endpoint"] == "http://203.0.113.7",
        "the endpoint",
    )


async def test_a_template_is_followed_edit_by_edit(cluster: Cluster, nodes: FakeNodes, name: str) -> None:
    await cluster.create_workspace(name, template=template())
    first = await cluster.deployed(name)
    assert variables(first) == {"ONE": "1", "TWO": "2"}
    assert pod(first)["metadata"]["labels"] == {**pod(first)["metadata"]["labels"], "team": "search"}
    assert pod(first)["metadata"]["labels"][LABEL_WORKSPACE] == name
    await nodes.serve(name)
    await cluster.reported(name, "Serving")

    def other(workspace: Object) -> None:
        wanted = workspace["inference"]["template"]
        wanted["spec"]["containers"][0].update(
            image="example.com/server:2", env=[{"name": "TWO", "value": "two"}]
        )

    await cluster.changed(WORKSPACES, name, other)
    second = await cluster.deployed(name, lambda live: variables(live) == {"TWO": "two"})
    assert pod(second)["spec"]["containers"][0]["image"] == "example.com/server:2"
    await nodes.serve(name)
    await cluster.reported(name, "Serving")


async def test_what_a_template_no_longer_says_is_taken_away(cluster: Cluster, name: str) -> None:
    await cluster.create_workspace(name, template=template())
    first = await cluster.deployed(name)
    assert pod(first)["spec"]["priorityClassName"] == "system-node-critical"
    assert pod(first)["metadata"]["annotations"] == {"example.com/a": "1"}

    def less(workspace: Object) -> None:
        wanted = workspace["inference"]["template"]
        del wanted["spec"]["priorityClassName"], wanted["metadata"]

    await cluster.changed(WORKSPACES, name, less)
    second = await cluster.deployed(name, lambda live: "priorityClassName" not in pod(live)["spec"])
    assert "team" not in pod(second)["metadata"]["labels"]
    assert not pod(second)["metadata"].get("annotations")
