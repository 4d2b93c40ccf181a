"""Every mutable field and annotation reaches the workload, and what was before comes back with the change back."""

from __future__ import annotations

from typing import Any

import pytest

from berth_operator.cluster_cache import CONFIG_MAPS, DEPLOYMENTS, REPLICA_SETS, WORKSPACES
from berth_operator.kube import Object
from berth_operator.plan.metadata import ANNOTATION_RENDERED
from control_plane.cluster import Cluster, condition, eventually
from control_plane.fake_nodes import FakeNodes
from control_plane.planes import ControlPlane

pytestmark = pytest.mark.usefixtures("operator")

CONFIG_PATIENCE = 45.0
"""A ConfigMap is looked at every 20 s."""

PRESET = {"name": "phi-3-mini-4k-instruct"}


def pod(deployment: Object) -> Object:
    spec: Object = deployment["spec"]["template"]["spec"]
    return spec


def arguments(deployment: Object) -> list[str]:
    found: list[str] = pod(deployment)["containers"][0]["args"]
    return found


def annotated(**values: str | None) -> Object:
    return {"metadata": {"annotations": {f"berth.dev/{name}": value for name, value in values.items()}}}


def config_map(name: str, text: str) -> Object:
    meta = {"name": name, "namespace": ""}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": meta,
        "data": {"inference_config.yaml": text},
    }


def options(**values: Any) -> Object:
    return {"inference": {"preset": {"presetOptions": values}}}


def adapter(name: str, strength: str = "1.0", **source: Any) -> Object:
    return {"source": {"name": name, **source}, "strength": strength}


@pytest.mark.parametrize(
    ("edit", "back", "shows"),
    [
        pytest.param(
            {"resource": {"instanceType": "Standard_NC24ads_A100_v4"}},
            {"resource": {"instanceType": None}},
            "Standard_NC24ads_A100_v4",
            id="resource.instanceType",
        ),
        pytest.param(
            {"resource": {"labelSelector": {"matchLabels": {"pool": "gpu-7"}}}},
            {"resource": {"labelSelector": {"matchLabels": {"pool": None}}}},
            "gpu-7",
            id="resource.labelSelector",
        ),
        pytest.param(
            {"resource": {"preferredNodes": ["node-7"]}},
            {"resource": {"preferredNodes": None}},
            "node-7",
            id="resource.preferredNodes",
        ),
        pytest.param(
            options(modelAccessSecret="hub-7"),
            options(modelAccessSecret=None),
            "hub-7",
            id="modelAccessSecret",
        ),
        pytest.param(
            options(imagePullSecrets=["pull-7"]),
            options(imagePullSecrets=None),
            "pull-7",
            id="imagePullSecrets",
        ),
        pytest.param(
            {
                "inference": {
                    "preset": {"accessMode": "private", "presetOptions": {"image": "example.com/own:7"}}
                }
            },
            {"inference": {"preset": {"accessMode": None, "presetOptions": {"image": None}}}},
            "example.com/own:7",
            id="accessMode and image",
        ),
        pytest.param(
            {"inference": {"adapters": [adapter("seven", image="example.com/seven:1")]}},
            {"inference": {"adapters": None}},
            "seven",
            id="adapters",
        ),
        pytest.param(annotated(accelerator="cpu"), annotated(accelerator=None), "--device", id="accelerator"),
        pytest.param(annotated(rollout="recreate"), annotated(rollout=None), "Recreate", id="rollout"),
        pytest.param(
            annotated(weights="claim/shared-7"), annotated(weights=None), "shared-7", id="weights on a claim"
        ),
        pytest.param(
            annotated(weights="storage-class/fast-7"),
            annotated(weights=None),
            "fast-7",
            id="weights on a volume of a storage class",
        ),
        pytest.param(
            {"metadata": {"annotations": {"kaito.sh/use-local-weights": "true"}}},
            {"metadata": {"annotations": {"kaito.sh/use-local-weights": None}}},
            "/opt/kaito/models",
            id="use-local-weights",
        ),
        pytest.param(
            {"metadata": {"annotations": {"berth.dev/api-key-secret": "keys-7"}}},
            {"metadata": {"annotations": {"berth.dev/api-key-secret": None}}},
            "keys-7",
            id="api-key-secret",
        ),
    ],
)
async def test_an_edit_reaches_the_deployment_and_a_change_back_undoes_it(
    cluster: Cluster, name: str, edit: Object, back: Object, shows: str
) -> None:
    await cluster.create_workspace(name, preset=PRESET)
    before = await cluster.deployed(name)
    assert shows not in str(before["spec"])
    await cluster.edit(WORKSPACES, name, edit)
    await cluster.deployed(name, lambda live: shows in str(live["spec"]))
    await cluster.edit(WORKSPACES, name, back)
    after = await cluster.deployed(name, lambda live: shows not in str(live["spec"]))
    assert after["spec"] == before["spec"]


async def test_recreate_lets_the_old_pod_end_first_and_surge_lets_the_new_one_start(
    cluster: Cluster, name: str
) -> None:
    await cluster.create_workspace(name)
    live = await cluster.deployed(name)
    assert live["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }
    await cluster.edit(WORKSPACES, name, annotated(rollout="recreate"))
    live = await cluster.deployed(name, lambda seen: seen["spec"]["strategy"]["type"] == "Recreate")
    assert live["spec"]["strategy"] == {"type": "Recreate"}


async def test_an_annotation_with_a_slip_is_refused_by_name_and_nothing_changes(
    cluster: Cluster, name: str
) -> None:
    await cluster.create_workspace(name)
    before = await cluster.deployed(name)
    await cluster.edit(WORKSPACES, name, {"metadata": {"annotations": {"berth.dev/roll-out": "recreate"}}})
    refused = await cluster.reported(name, "NotSupported")
    assert "did you mean berth.dev/rollout" in condition(refused)["message"]
    after = await cluster.deployment(name)
    assert after is not None
    assert after["spec"] == before["spec"]


async def test_replicas_that_an_autoscaler_sets_survive_every_edit(cluster: Cluster, name: str) -> None:
    await cluster.create_workspace(name)
    await cluster.deployed(name)
    await cluster.edit(WORKSPACES, name, annotated(replicas="external"))
    stamp = await cluster.deployed(name, lambda live: live["spec"]["replicas"] == 1)
    await cluster.edit(DEPLOYMENTS, name, {"spec": {"replicas": 4}}, "scale")
    # An edit makes the operator write; what it writes must keep the four.
    await cluster.edit(WORKSPACES, name, options(modelAccessSecret="hub"))
    live = await cluster.deployed(name, lambda seen: "HF_TOKEN" in str(seen["spec"]))
    assert live["spec"]["replicas"] == 4
    assert live["metadata"]["uid"] == stamp["metadata"]["uid"]
    await cluster.edit(DEPLOYMENTS, name, {"spec": {"replicas": 2}}, "scale")
    seen = await eventually(
        lambda: cluster.workspace(name),
        lambda item: item["status"].get("targetNodeCount") == 2,
        "the report follows the autoscaler",
    )
    assert (
        "of 2 pods"
        in condition(seen, "InferenceReady")["message"] + condition(seen, "ResourceReady")["message"]
    )
    await cluster.edit(WORKSPACES, name, annotated(replicas=None))
    await cluster.deployed(name, lambda seen: seen["spec"]["replicas"] == 1)


async def test_a_config_map_reaches_the_server_and_its_changes_follow(cluster: Cluster, name: str) -> None:
    await cluster.send(CONFIG_MAPS, config_map(f"{name}-cm", "transformers:\n  max_beams: 3\n"))
    await cluster.create_workspace(name, preset=PRESET, config=f"{name}-cm")
    first = await cluster.deployed(name)
    assert arguments(first)[-2:] == ["--max-beams", "3"]
    text = {"data": {"inference_config.yaml": "transformers:\n  max_beams: 2\n"}}
    await cluster.edit(CONFIG_MAPS, f"{name}-cm", text)
    await eventually(
        lambda: cluster.deployment(name),
        lambda live: arguments(live)[-2:] == ["--max-beams", "2"],
        "the changed setting",
        CONFIG_PATIENCE,
    )


async def test_a_config_that_the_server_would_not_take_is_refused_before_anything_rolls(
    cluster: Cluster, name: str
) -> None:
    await cluster.create_workspace(name, preset=PRESET)
    before = await cluster.deployed(name)
    await cluster.edit(WORKSPACES, name, {"inference": {"config": f"{name}-cm"}})
    missing = await cluster.reported(name, "ConfigMapMissing")
    assert f'ConfigMap "{name}-cm"' in condition(missing)["message"]
    await cluster.send(CONFIG_MAPS, config_map(f"{name}-cm", "transformers:\n  max_beam: 3\n"))
    refused = await eventually(
        lambda: cluster.workspace(name),
        lambda seen: condition(seen).get("reason") == "InvalidConfig",
        "the refusal",
        CONFIG_PATIENCE,
    )
    assert "transformers.max_beam" in condition(refused)["message"]
    assert "did you mean max_beams" in condition(refused)["message"]
    live = await cluster.deployment(name)
    assert live is not None
    assert live["spec"] == before["spec"]
    await cluster.edit(WORKSPACES, name, {"inference": {"config": None}})
    seen = await eventually(
        lambda: cluster.workspace(name),
        lambda seen: condition(seen).get("reason") not in ("InvalidConfig", "ConfigMapMissing"),
        "recovery",
    )
    assert condition(seen)["reason"]


async def test_an_operator_that_renders_the_same_restarts_no_pod(
    control_plane: ControlPlane, cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    await cluster.create_workspace(name)
    await nodes.serve(name)
    await cluster.reported(name, "Serving")
    before = await cluster.deployed(name)
    # Another release digests the same rendering differently.
    await cluster.edit(
        DEPLOYMENTS, name, {"metadata": {"annotations": {ANNOTATION_RENDERED: "of-another-release"}}}
    )
    after = await cluster.deployed(
        name,
        lambda live: (
            live["metadata"]["annotations"][ANNOTATION_RENDERED]
            == before["metadata"]["annotations"][ANNOTATION_RENDERED]
        ),
    )
    # Kubernetes counts a change of a Deployment's annotations as a generation; what makes pods is the spec.
    assert after["spec"] == before["spec"]
    if control_plane.has_controllers:
        sets = await cluster.list_all(REPLICA_SETS, cluster.namespace, f"kaito.sh/workspace={name}")
        assert len(sets) == 1


async def test_adapters_that_are_added_removed_or_weighed_anew_reach_the_pods(
    cluster: Cluster, name: str
) -> None:
    claim = {"persistentVolumeClaim": {"claimName": "tone"}}
    sql, tone = adapter("sql", image="example.com/sql:1"), adapter("tone", volumeSource=claim)

    async def with_adapters(*wanted: Object) -> Object:
        flags = [f"/mnt/adapter/{one['source']['name']}" for one in wanted]
        strengths = [one["strength"] for one in wanted if one["strength"] != "1.0"]

        def arrived(live: Object) -> bool:
            given = [text for text in arguments(live) if "=/mnt/adapter/" in text]
            said = [text.rpartition("=")[2] for text in given]
            return said == flags and all(any(f":{one}=" in text for text in given) for one in strengths)

        await cluster.edit(WORKSPACES, name, {"inference": {"adapters": list(wanted)}})
        return await cluster.deployed(name, arrived)

    await cluster.create_workspace(name, preset={"name": "tiny-chat"}, adapters=[sql])
    first = pod(await cluster.deployed(name))
    assert [one["name"] for one in first["initContainers"]] == ["adapter-sql"]

    both = pod(await with_adapters(sql, tone))
    assert {"adapters", "adapter-tone"} <= {one["name"] for one in both["volumes"]}

    weighed = pod(await with_adapters(sql, {**tone, "strength": "0.5"}))
    assert "--adapter=tone:0.5=/mnt/adapter/tone" in weighed["containers"][0]["args"]

    one = pod(await with_adapters({**tone, "strength": "0.5"}))
    assert not one.get("initContainers")
    assert "adapters" not in {volume["name"] for volume in one["volumes"]}
