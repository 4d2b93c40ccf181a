"""Where a Workspace's weights go, what fetches them, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from berth_inference.settings import parse_command
from berth_operator.api.weights import WeightsVolume
from berth_operator.api.workspace import parse_workspace
from berth_operator.plan.progress import ServerReport
from berth_operator.plan.questions import asks_for_health
from berth_operator.plan.reasons import Finding, Reason
from berth_operator.plan.status import progress
from berth_operator.plan.workload import Workload, plan_workload
from berth_operator.presets import load_presets
from berth_operator.settings import Settings
from chart.pod_security import restricted_violations
from unit.cluster_objects import STARTED, observed, pod, waits

CATALOGUE = load_presets()
MODEL = "mistral-7b-instruct"
MIRROR = Settings(
    hub_endpoint="https://hub.example.com",
    http_proxy="http://proxy.example.com:1",
    https_proxy="http://proxy.example.com:2",
    no_proxy="hub.example.com",
)
MIRROR_VARIABLES = {
    "HF_ENDPOINT": "https://hub.example.com",
    "HTTP_PROXY": "http://proxy.example.com:1",
    "HTTPS_PROXY": "http://proxy.example.com:2",
    "NO_PROXY": "hub.example.com",
    "HF_HUB_DISABLE_XET": "1",
}


def planned(
    preset: str = MODEL, settings: Settings | None = None, options: Any = None, **annotations: str
) -> Workload | Finding:
    """What is planned; the annotations' names are written without their prefix, with _ for -."""
    prefixes = {"use_local_weights": "kaito.sh"}
    given = {
        f"{prefixes.get(name, 'berth.dev')}/{name.replace('_', '-')}": value
        for name, value in annotations.items()
    }
    body = {
        "metadata": {"name": "ws", "namespace": "team", "uid": "u", "annotations": given},
        "resource": {"labelSelector": {}},
        "inference": {"preset": {"name": preset, **(options or {})}},
    }
    return plan_workload(parse_workspace(body), CATALOGUE, settings or Settings())


def spec(preset: str = MODEL, settings: Settings | None = None, **more: Any) -> dict[str, Any]:
    workload = planned(preset, settings, **more)
    assert isinstance(workload, Workload), workload
    found: dict[str, Any] = workload.deployment["spec"]["template"]["spec"]
    return found


def weights(pod_spec: dict[str, Any]) -> dict[str, Any]:
    (volume,) = [one for one in pod_spec["volumes"] if one["name"] == "weights"]
    return {name: value for name, value in volume.items() if name != "name"}


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in container["env"]}


def claim_of(storage: str, **more: str) -> dict[str, Any]:
    asked = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": storage}}}
    return {"ephemeral": {"volumeClaimTemplate": {"spec": {**asked, **more}}}}


DISK = CATALOGUE[MODEL].resources.disk
ON_NODE = {"hostPath": {"path": f"/opt/kaito/models/{MODEL}", "type": "Directory"}}


@pytest.mark.parametrize(
    ("annotations", "settings", "volume"),
    [
        pytest.param({}, Settings(), {"emptyDir": {}}, id="with the pod unless told otherwise"),
        pytest.param({"weights": "pod"}, Settings(), {"emptyDir": {}}, id="with the pod when told so"),
        pytest.param(
            {"weights": "claim/models"},
            Settings(),
            {"persistentVolumeClaim": {"claimName": "models"}},
            id="on a claim that exists",
        ),
        pytest.param(
            {"weights": "storage-class/fast"},
            Settings(),
            claim_of(DISK, storageClassName="fast"),
            id="on a volume of a storage class",
        ),
        pytest.param(
            {"weights": "storage-class"}, Settings(), claim_of(DISK), id="on a volume of the default class"
        ),
        pytest.param({"weights": "node"}, Settings(), ON_NODE, id="on the node"),
        pytest.param({"use_local_weights": "true"}, Settings(), ON_NODE, id="on the node, as KAITO says it"),
        pytest.param({"use_local_weights": "true", "weights": "node"}, Settings(), ON_NODE, id="said twice"),
        pytest.param(
            {"use_local_weights": "false"}, Settings(), {"emptyDir": {}}, id="not on the node when declined"
        ),
        pytest.param(
            {"use_local_weights": "true"},
            Settings(weights_volume=WeightsVolume("claim", "shared")),
            ON_NODE,
            id="KAITO's annotation wins over the setting",
        ),
        pytest.param(
            {},
            Settings(weights_volume=WeightsVolume("claim", "shared")),
            {"persistentVolumeClaim": {"claimName": "shared"}},
            id="where the setting says",
        ),
        pytest.param(
            {"weights": "pod"},
            Settings(weights_volume=WeightsVolume("claim", "shared")),
            {"emptyDir": {}},
            id="the annotation wins over the setting",
        ),
        pytest.param(
            {"weights": "node"},
            Settings(weights_node_path="/mnt/models"),
            {"hostPath": {"path": f"/mnt/models/{MODEL}", "type": "Directory"}},
            id="on the node, in a folder of the setting",
        ),
    ],
)
def test_weights_go_where_they_are_told(
    annotations: dict[str, str], settings: Settings, volume: dict[str, Any]
) -> None:
    assert weights(spec(settings=settings, **annotations)) == volume


@pytest.mark.parametrize(
    ("annotations", "said"),
    [
        ({"weights": "disk"}, "use pod, node, claim/NAME"),
        ({"weights": "claim"}, "use pod, node, claim/NAME"),
        ({"weights": "claim/"}, "use pod, node, claim/NAME"),
        ({"weights": "claim/Not_A_Name"}, "use pod, node, claim/NAME"),
        ({"weights": "claim/" + "n" * 254}, "use pod, node, claim/NAME"),
        ({"weights": "node/etc"}, "use pod, node, claim/NAME"),
        ({"weights": "storage-class/../x"}, "use pod, node, claim/NAME"),
        ({"use_local_weights": "yes"}, "is not true or false"),
        ({"use_local_weights": "true", "weights": "claim/models"}, "remove one"),
    ],
)
def test_a_place_that_means_nothing_is_refused(annotations: dict[str, str], said: str) -> None:
    finding = planned(**annotations)
    assert isinstance(finding, Finding)
    assert finding.reason is Reason.NOT_SUPPORTED
    assert finding.terminal
    assert said in finding.message
    assert len(finding.message) < 1024


def test_a_folder_on_the_node_is_named_as_kaito_names_it() -> None:
    found = weights(spec("microsoft/Phi-3-mini-4k-instruct", weights="node"))
    assert found["hostPath"]["path"] == "/opt/kaito/models/microsoft-phi-3-mini-4k-instruct"


@pytest.mark.parametrize("on", ["cpu", "nvidia"])
def test_what_fetches_asks_for_no_gpu_and_for_nothing_beyond_what_the_pod_has(on: str) -> None:
    found = spec(accelerator=on)
    (fetch,), (server,) = found["initContainers"], found["containers"]
    assert "nvidia.com/gpu" not in str(fetch["resources"])
    for kind, amounts in fetch["resources"].items():
        assert amounts.items() <= server["resources"][kind].items()
    assert {"cpu", "memory", "ephemeral-storage"} <= set(fetch["resources"]["requests"])


def test_what_fetches_is_the_servers_image_and_fetches_the_servers_model() -> None:
    found = spec()
    (fetch,), (server,) = found["initContainers"], found["containers"]
    assert fetch["image"] == server["image"]
    assert fetch["command"] == ["python", "-m", "berth_inference", "fetch"]
    command, settings = parse_command(["fetch", *fetch["args"]], {})
    _, served = parse_command(["serve", *server["args"]], {})
    assert command == "fetch"
    assert (settings.model, settings.revision) == (served.model, served.revision)
    assert settings.port == fetch["ports"][0]["containerPort"] == server["ports"][0]["containerPort"]


def test_the_server_reads_what_was_fetched_and_asks_nobody() -> None:
    found = spec()
    (fetch,), (server,) = found["initContainers"], found["containers"]
    mounts = [
        next(one for one in container["volumeMounts"] if one["name"] == "weights")
        for container in (fetch, server)
    ]
    assert mounts[0]["mountPath"] == mounts[1]["mountPath"] == environment(fetch)["HF_HOME"]
    assert environment(server)["HF_HOME"] == environment(fetch)["HF_HOME"]
    assert [one.get("readOnly", False) for one in mounts] == [False, True]
    assert environment(server)["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in environment(fetch)


@pytest.mark.parametrize("where", ["pod", "claim/models", "storage-class/fast"])
def test_the_pod_is_restricted(where: str) -> None:
    assert restricted_violations(spec(weights=where)) == []


def test_a_mirror_and_proxies_reach_what_downloads_and_nothing_else() -> None:
    found = spec(settings=MIRROR)
    (fetch,), (server,) = found["initContainers"], found["containers"]
    assert environment(fetch).items() >= MIRROR_VARIABLES.items()
    assert not environment(server).keys() & MIRROR_VARIABLES.keys()


def test_without_a_mirror_and_proxies_nothing_is_said_of_them() -> None:
    assert not environment(spec()["initContainers"][0]).keys() & MIRROR_VARIABLES.keys()


def test_a_claimed_volume_is_given_to_the_servers_group() -> None:
    assert spec(weights="claim/models")["securityContext"]["fsGroup"] == 65532
    assert "fsGroup" not in spec()["securityContext"]
    left = Settings(weights_fs_group=None)
    assert "fsGroup" not in spec(settings=left, weights="claim/models")["securityContext"]


def test_weights_on_a_volume_of_their_own_take_none_of_the_nodes_disk() -> None:
    def asked(where: str) -> str:
        (server,) = spec(weights=where)["containers"]
        found: str = server["resources"]["requests"]["ephemeral-storage"]
        return found

    assert (asked("pod"), asked("node")) == (DISK, DISK)
    assert asked("claim/models") == asked("storage-class/fast") == "1Gi"


def test_a_model_that_is_part_of_the_image_is_not_fetched_whatever_the_settings_are() -> None:
    told = replace(MIRROR, weights_volume=WeightsVolume("claim", "shared"), weights_node_path="/other")
    assert spec("tiny-chat", told) == spec("tiny-chat")
    assert "initContainers" not in spec("tiny-chat")


def test_the_server_of_a_private_image_sees_to_its_weights_itself() -> None:
    options = {
        "accessMode": "private",
        "presetOptions": {"image": "example.com/own:1", "modelAccessSecret": "hub"},
    }
    found = spec(settings=MIRROR, options=options, weights="claim/models")
    assert "initContainers" not in found
    (server,) = found["containers"]
    assert environment(server).items() >= MIRROR_VARIABLES.items()
    assert "HF_TOKEN" in environment(server)
    assert "HF_HUB_OFFLINE" not in environment(server)
    assert "readOnly" not in server["volumeMounts"][0]
    assert weights(found) == {"persistentVolumeClaim": {"claimName": "models"}}


@pytest.mark.parametrize("annotation", ["weights", "use_local_weights"])
def test_an_annotation_that_changes_nothing_is_told(annotation: str) -> None:
    value = {"weights": "claim/models", "use_local_weights": "true"}[annotation]
    workload = planned("tiny-chat", **{annotation: value})
    assert isinstance(workload, Workload)
    (warning,) = workload.warnings
    assert "has no effect here: tiny-chat is part of the image" in warning.message


def test_a_template_has_volumes_of_its_own() -> None:
    body = {
        "metadata": {
            "name": "ws",
            "namespace": "team",
            "uid": "u",
            "annotations": {"berth.dev/weights": "node"},
        },
        "resource": {"labelSelector": {}},
        "inference": {"template": {"spec": {"containers": [{"name": "mine", "image": "x"}]}}},
    }
    workload = plan_workload(parse_workspace(body), CATALOGUE, Settings())
    assert isinstance(workload, Workload)
    assert "a template has volumes of its own" in workload.warnings[0].message


FETCHES = {
    "name": "fetch-weights",
    "state": {"running": {"startedAt": STARTED}},
    "started": True,
    "ready": False,
}


def fetching() -> dict[str, Any]:
    return pod(
        spec={"initContainers": [{"name": "fetch-weights"}]},
        initContainerStatuses=[FETCHES],
        containerStatuses=[waits("PodInitializing")],
    )


def test_what_fetches_is_asked_how_far_it_is() -> None:
    assert asks_for_health(fetching())


def test_a_pod_that_fetches_is_downloading_in_the_status() -> None:
    report = ServerReport("verifying", "", 10, 40)
    assert progress(observed(fetching())) == {"phase": "Downloading"}
    told = progress(observed(fetching(), reports={"uid-ws-new-1": report}))
    assert told == {"phase": "Downloading", "percent": 25, "bytesDone": 10, "bytesTotal": 40}
