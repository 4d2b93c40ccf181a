"""Whatever others change of a Workspace's objects is put right, and what they add beside ours is left alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from berth_operator.api.names import LABEL_WORKSPACE
from berth_operator.cluster_cache import DEPLOYMENTS, SERVICES
from berth_operator.kube import Object, Resource
from control_plane.cluster import Cluster

pytestmark = pytest.mark.usefixtures("operator")


def pod(deployment: Object) -> Object:
    spec: Object = deployment["spec"]["template"]["spec"]
    return spec


def server(deployment: Object) -> Object:
    container: Object = pod(deployment)["containers"][0]
    return container


def remove_variable(deployment: Object) -> None:
    server(deployment)["env"] = [item for item in server(deployment)["env"] if item["name"] != "HF_HOME"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda live: live["spec"].update(replicas=5), id="the number of replicas"),
        pytest.param(lambda live: server(live).update(image="example.com/other:1"), id="the image"),
        pytest.param(lambda live: server(live).update(args=["--model", "other"]), id="the arguments"),
        pytest.param(remove_variable, id="an environment variable removed"),
        pytest.param(lambda live: live["metadata"]["labels"].pop(LABEL_WORKSPACE), id="our label removed"),
        pytest.param(lambda live: pod(live).pop("tolerations"), id="the tolerations removed"),
        pytest.param(lambda live: server(live).pop("readinessProbe"), id="the readiness probe removed"),
        pytest.param(
            lambda live: pod(live)["affinity"]["nodeAffinity"].clear(), id="the node affinity removed"
        ),
        pytest.param(lambda live: live["metadata"].pop("annotations"), id="the annotations removed"),
    ],
)
async def test_a_changed_deployment_is_put_right(
    cluster: Cluster, name: str, change: Callable[[Object], Any]
) -> None:
    await cluster.create_workspace(name)
    meant = await cluster.deployed(name)
    await cluster.exposed(name)
    live = await cluster.changed(DEPLOYMENTS, name, change)
    await cluster.deployed(
        name,
        lambda seen: (
            seen["metadata"]["resourceVersion"] != live["metadata"]["resourceVersion"]
            and seen["spec"] == meant["spec"]
            and meant["metadata"]["labels"].items() <= seen["metadata"]["labels"].items()
        ),
    )


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda live: live["spec"]["ports"][0].update(targetPort=8080), id="the target port"),
        pytest.param(lambda live: live["spec"].update(selector={"app": "other"}), id="the selector"),
        pytest.param(
            lambda live: live["spec"]["selector"].update(extra="x"), id="a label more in the selector"
        ),
        pytest.param(lambda live: live["spec"].update(type="NodePort"), id="the type"),
        pytest.param(lambda live: live["metadata"]["labels"].pop(LABEL_WORKSPACE), id="our label removed"),
    ],
)
async def test_a_changed_service_is_put_right(
    cluster: Cluster, name: str, change: Callable[[Object], Any]
) -> None:
    await cluster.create_workspace(name)
    meant = await cluster.exposed(name)
    await cluster.changed(SERVICES, name, change)

    def is_right(seen: Object) -> bool:
        fields = ("type", "selector", "ports", "clusterIP")
        return all(seen["spec"].get(field) == meant["spec"].get(field) for field in fields) and (
            seen["metadata"]["labels"] == meant["metadata"]["labels"]
        )

    await cluster.exposed(name, is_right)


@pytest.mark.parametrize(
    ("resource", "look"),
    [
        pytest.param(DEPLOYMENTS, Cluster.deployed, id="Deployment"),
        pytest.param(SERVICES, Cluster.exposed, id="Service"),
    ],
)
async def test_a_deleted_child_comes_back(
    cluster: Cluster, name: str, resource: Resource, look: Callable[..., Awaitable[Object]]
) -> None:
    workspace = await cluster.create_workspace(name)
    first = await look(cluster, name)
    await cluster.exposed(name)
    await cluster.delete(resource, name)
    second = await look(cluster, name, lambda seen: seen["metadata"]["uid"] != first["metadata"]["uid"])
    assert second["metadata"]["ownerReferences"][0]["uid"] == workspace["metadata"]["uid"]


async def test_what_others_add_beside_ours_survives(cluster: Cluster, name: str) -> None:
    await cluster.create_workspace(name)
    await cluster.deployed(name)
    await cluster.exposed(name)
    theirs = {"labels": {"team": "search"}, "annotations": {"example.com/note": "kept"}}
    sidecar = {"name": "LOG_LEVEL", "value": "debug"}

    def add(live: Object) -> None:
        live["metadata"]["labels"].update(theirs["labels"])
        live["metadata"].setdefault("annotations", {}).update(theirs["annotations"])

    def add_variable(live: Object) -> None:
        add(live)
        server(live)["env"].append(sidecar)

    await cluster.changed(DEPLOYMENTS, name, add_variable)
    await cluster.changed(SERVICES, name, add)
    # Something of ours, too, so that the operator does write to both.
    await cluster.edit(DEPLOYMENTS, name, {"spec": {"replicas": 3}})
    await cluster.edit(SERVICES, name, {"spec": {"selector": {LABEL_WORKSPACE: "other"}}})
    deployment = await cluster.deployed(name, lambda live: live["spec"]["replicas"] == 1)
    service = await cluster.exposed(name, lambda live: live["spec"]["selector"][LABEL_WORKSPACE] == name)
    for child in (deployment, service):
        assert theirs["labels"].items() <= child["metadata"]["labels"].items()
        assert theirs["annotations"].items() <= child["metadata"]["annotations"].items()
    assert sidecar in server(deployment)["env"]
