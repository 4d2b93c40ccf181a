"""From a Workspace to its objects, or to the words that say why there are none."""

import copy
from typing import Any

import pytest

from berth_inference.settings import parse_settings
from berth_operator.api.spec import PresetRef
from berth_operator.api.workspace import parse_workspace
from berth_operator.plan.container import image
from berth_operator.plan.metadata import ANNOTATION_RENDERED
from berth_operator.plan.reasons import Finding, Reason
from berth_operator.plan.workload import Workload, plan_workload
from berth_operator.presets import load_presets
from berth_operator.settings import Settings

CATALOGUE = load_presets()


def workspace(
    preset: str = "tiny-chat",
    resource: dict[str, Any] | None = None,
    annotations: dict[str, str] | None = None,
    **inference: Any,
) -> dict[str, Any]:
    body: dict[str, Any] = inference if "template" in inference else {"preset": {"name": preset}, **inference}
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": "ws", "namespace": "team", "uid": "uid-1", "annotations": annotations or {}},
        "resource": {"labelSelector": {}, **(resource or {})},
        "inference": body,
    }


def planned(obj: dict[str, Any], settings: Settings | None = None) -> Workload:
    result = plan_workload(parse_workspace(obj), CATALOGUE, settings or Settings())
    assert isinstance(result, Workload), result
    return result


def refused(obj: dict[str, Any]) -> Finding:
    result = plan_workload(parse_workspace(obj), CATALOGUE, Settings())
    assert isinstance(result, Finding), "was planned"
    return result


def pod_spec(obj: dict[str, Any], settings: Settings | None = None) -> dict[str, Any]:
    spec: dict[str, Any] = planned(obj, settings).deployment["spec"]["template"]["spec"]
    return spec


def container(obj: dict[str, Any], settings: Settings | None = None) -> dict[str, Any]:
    (only,) = pod_spec(obj, settings)["containers"]
    assert isinstance(only, dict)
    return only


def expressions(obj: dict[str, Any]) -> list[dict[str, Any]]:
    affinity = pod_spec(obj)["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (term,) = affinity["nodeSelectorTerms"]
    found: list[dict[str, Any]] = term["matchExpressions"]
    return found


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_every_preset_yields_a_deployment_and_a_service_of_the_workspaces_name(name: str) -> None:
    preset = {"name": name, "presetOptions": {"modelAccessSecret": "hub"}}
    workload = planned(workspace() | {"inference": {"preset": preset}})
    for child in (workload.deployment, workload.service):
        assert child["metadata"]["name"] == "ws"
        assert child["metadata"]["namespace"] == "team"
        (owner,) = child["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("Workspace", "uid-1", True)


def test_planning_twice_gives_the_same_objects_and_changes_neither_input() -> None:
    obj = workspace(template={"spec": {"containers": [{"name": "mine", "image": "x"}]}})
    before = copy.deepcopy(obj)
    assert planned(obj) == planned(obj)
    assert obj == before


def test_a_gpu_preset_asks_for_its_gpus_and_tolerates_their_taint() -> None:
    obj = workspace("phi-3-mini-4k-instruct")
    resources = container(obj)["resources"]
    assert resources["requests"]["nvidia.com/gpu"] == resources["limits"]["nvidia.com/gpu"] == "1"
    assert {"cpu", "memory", "ephemeral-storage"} <= set(resources["requests"])
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in pod_spec(obj)[
        "tolerations"
    ]


def test_a_cpu_preset_asks_for_no_gpu_and_limits_its_memory() -> None:
    obj = workspace("tiny-chat")
    resources = container(obj)["resources"]
    assert "nvidia.com/gpu" not in {**resources["requests"], **resources["limits"]}
    assert resources["limits"]["memory"] == resources["requests"]["memory"]
    assert "tolerations" not in pod_spec(obj)
    assert container(obj)["image"].endswith("-cpu")


def test_a_gpu_preset_on_cpu_holds_its_weights_in_main_memory() -> None:
    obj = workspace("phi-3-mini-4k-instruct", annotations={"berth.dev/accelerator": "cpu"})
    assert "--device" in container(obj)["args"]
    assert container(obj)["image"].endswith("-cpu")
    assert "nvidia.com/gpu" not in container(obj)["resources"]["limits"]
    needed = CATALOGUE["phi-3-mini-4k-instruct"].memory_need().total
    limit = container(obj)["resources"]["limits"]["memory"]
    assert int(limit.removesuffix("Gi")) * 2**30 >= needed


def test_instance_type_and_labels_are_required_of_nodes() -> None:
    obj = workspace(
        resource={
            "instanceType": "Standard_NC24ads_A100_v4",
            "labelSelector": {
                "matchLabels": {"apps": "llm", "zone": "a"},
                "matchExpressions": [
                    {"key": "spot", "operator": "DoesNotExist"},
                    {"key": "disk", "operator": "In", "values": ["ssd", "nvme"]},
                ],
            },
        }
    )
    assert expressions(obj) == [
        {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["Standard_NC24ads_A100_v4"]},
        {"key": "apps", "operator": "In", "values": ["llm"]},
        {"key": "zone", "operator": "In", "values": ["a"]},
        {"key": "spot", "operator": "DoesNotExist"},
        {"key": "disk", "operator": "In", "values": ["ssd", "nvme"]},
    ]


def test_without_any_wish_there_is_no_affinity() -> None:
    assert "affinity" not in pod_spec(workspace())


def test_preferred_nodes_are_preferred_only() -> None:
    affinity = pod_spec(workspace(resource={"preferredNodes": ["n1"]}))["affinity"]["nodeAffinity"]
    assert list(affinity) == ["preferredDuringSchedulingIgnoredDuringExecution"]


def test_the_hub_token_comes_by_reference_only_and_to_what_downloads_alone() -> None:
    obj = workspace() | {
        "inference": {
            "preset": {"name": "llama-3.1-8b-instruct", "presetOptions": {"modelAccessSecret": "hub-token"}}
        }
    }
    (fetch,) = pod_spec(obj)["initContainers"]
    env = {item["name"]: item for item in fetch["env"]}
    assert env["HF_TOKEN"] == {
        "name": "HF_TOKEN",
        "valueFrom": {"secretKeyRef": {"name": "hub-token", "key": "HF_TOKEN"}},
    }
    assert "hub-token" not in str(fetch["args"])
    assert "hub-token" not in str(container(obj))


def test_a_private_image_runs_with_the_users_pull_secrets() -> None:
    preset = {
        "name": "tiny-chat",
        "accessMode": "private",
        "presetOptions": {"image": "registry.example/mine:1", "imagePullSecrets": ["mine"]},
    }
    obj = workspace() | {"inference": {"preset": preset}}
    assert container(obj)["image"] == "registry.example/mine:1"
    assert pod_spec(obj)["imagePullSecrets"] == [{"name": "mine"}]


def test_the_operators_registry_and_pull_secrets_reach_the_pod() -> None:
    settings = Settings(image_registry="mirror.example/ai", image_tag="1.2", image_pull_secrets=("mirror",))
    assert container(workspace(), settings)["image"] == "mirror.example/ai/berth-inference:1.2-cpu"
    assert pod_spec(workspace(), settings)["imagePullSecrets"] == [{"name": "mirror"}]


def test_a_digest_is_of_the_server_s_own_image_alone() -> None:
    settings = Settings(image_tag="1.2", image_digest_cpu="sha256:1")
    assert container(workspace(), settings)["image"] == "ghcr.io/berth-dev/berth-inference@sha256:1"
    other = CATALOGUE["tiny-chat"].model_copy(update={"image": "berth-baked"})
    assert (
        image(other, PresetRef(name="tiny-chat"), settings, on_gpu=False)
        == "ghcr.io/berth-dev/berth-baked:1.2-cpu"
    )


def test_the_server_writes_only_to_its_cache_and_scratch_folders() -> None:
    only = container(workspace())
    assert only["securityContext"]["readOnlyRootFilesystem"] is True
    mounts = {mount["mountPath"]: mount["name"] for mount in only["volumeMounts"]}
    assert set(mounts) == {"/var/cache/berth", "/tmp", "/dev/shm"}
    assert {volume["name"] for volume in pod_spec(workspace())["volumes"]} == set(mounts.values())
    assert {"name": "HF_HOME", "value": "/var/cache/berth"} in only["env"]


def test_the_pod_is_restricted_and_has_no_token() -> None:
    spec = pod_spec(workspace())
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    context = container(workspace())["securityContext"]
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}


def test_the_secret_of_api_keys_is_mounted_and_named_to_the_server() -> None:
    plain, locked = workspace(), workspace(annotations={"berth.dev/api-key-secret": "keys"})
    (volume,) = [one for one in pod_spec(locked)["volumes"] if one not in pod_spec(plain)["volumes"]]
    assert volume["secret"] == {"secretName": "keys"}
    (mount,) = [one for one in container(locked)["volumeMounts"] if one["name"] == volume["name"]]
    assert mount["readOnly"] is True
    settings = parse_settings(["serve", *container(locked)["args"]], {})
    assert settings.api_key_file == mount["mountPath"]
    assert container(locked)["env"] == container(plain)["env"]
    assert parse_settings(["serve", *container(plain)["args"]], {}).api_key_file is None


def test_the_startup_probe_allows_the_presets_readiness_timeout() -> None:
    probe = container(workspace("mistral-7b"))["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= CATALOGUE["mistral-7b"].readiness_seconds


def test_the_pod_may_drain_before_it_is_killed() -> None:
    drain = next(
        item["value"] for item in container(workspace())["env"] if item["name"] == "BERTH_DRAIN_SECONDS"
    )
    assert pod_spec(workspace())["terminationGracePeriodSeconds"] > int(drain)


def test_one_replica_runs_for_each_count() -> None:
    assert planned(workspace(resource={"count": 3})).deployment["spec"]["replicas"] == 3


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        pytest.param({}, "ClusterIP", id="inside the cluster unless asked"),
        pytest.param({"kaito.sh/enablelb": "True"}, "LoadBalancer", id="a load balancer when asked"),
        pytest.param({"kaito.sh/enablelb": "False"}, "ClusterIP", id="not when declined"),
    ],
)
def test_the_service_type_follows_its_annotation(annotations: dict[str, str], expected: str) -> None:
    spec = planned(workspace(annotations=annotations)).service["spec"]
    assert spec["type"] == expected
    assert spec["ports"] == [{"name": "http", "port": 80, "targetPort": 5000, "protocol": "TCP"}]


def test_a_template_is_kept_and_gains_our_labels_and_affinity() -> None:
    template = {
        "metadata": {"name": "dropped", "labels": {"mine": "yes"}, "annotations": {"a": "b"}},
        "spec": {
            "containers": [{"name": "mine", "image": "x", "resources": {"requests": {"cpu": "0.5"}}}],
            "affinity": {
                "podAntiAffinity": {"kept": True},
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [
                            {"matchExpressions": [{"key": "own", "operator": "Exists"}]},
                            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]},
                        ]
                    }
                },
            },
        },
    }
    obj = workspace(resource={"labelSelector": {"matchLabels": {"apps": "x"}}}, template=template)
    pod = planned(obj).deployment["spec"]["template"]
    ours = {"key": "apps", "operator": "In", "values": ["x"]}
    assert pod["metadata"]["labels"]["mine"] == "yes"
    assert pod["metadata"]["labels"]["kaito.sh/workspace"] == "ws"
    assert pod["metadata"]["annotations"] == {"a": "b"}
    assert "name" not in pod["metadata"]
    assert pod["spec"]["containers"] == template["spec"]["containers"]
    assert pod["spec"]["affinity"]["podAntiAffinity"] == {"kept": True}
    terms = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert terms["nodeSelectorTerms"] == [
        {"matchExpressions": [{"key": "own", "operator": "Exists"}, ours]},
        {
            "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}],
            "matchExpressions": [ours],
        },
    ]


def test_a_users_label_cannot_take_the_pod_away_from_its_service() -> None:
    template = {
        "metadata": {"labels": {"kaito.sh/workspace": "another"}},
        "spec": {"containers": [{"name": "c", "image": "x"}]},
    }
    deployment = planned(workspace(template=template)).deployment["spec"]
    assert (
        deployment["selector"]["matchLabels"].items() <= deployment["template"]["metadata"]["labels"].items()
    )


@pytest.mark.parametrize(
    ("obj", "reason", "words"),
    [
        pytest.param(
            workspace("phi-3-mini-4k"),
            Reason.UNKNOWN_PRESET,
            "did you mean phi-3-mini-4k-instruct",
            id="a preset's name that is nearly right",
        ),
        pytest.param(
            workspace("zzz"),
            Reason.UNKNOWN_PRESET,
            "Presets: gemma-2-9b-it",
            id="a preset's name like no other",
        ),
        pytest.param(
            workspace("llama-3.1-8b-instruct"),
            Reason.ACCESS_SECRET_REQUIRED,
            "inference.preset.presetOptions.modelAccessSecret",
            id="a gated model without a token",
        ),
        pytest.param(
            workspace(annotations={"berth.dev/accelerator": "tpu"}),
            Reason.NOT_SUPPORTED,
            "use cpu",
            id="an accelerator there is not",
        ),
        pytest.param(
            workspace(annotations={"berth.dev/accelerator": "nvidia"}),
            Reason.NOT_SUPPORTED,
            "needs no GPU",
            id="a GPU for a preset that needs none",
        ),
        pytest.param(
            workspace(annotations={"berth.dev/api-key-secret": "Not A Name"}),
            Reason.NOT_SUPPORTED,
            'berth.dev/api-key-secret: "Not A Name" is not the name of a Secret',
            id="API keys in a Secret of an impossible name",
        ),
        pytest.param(
            workspace(annotations={"berth.dev/api-key-secret": ""}),
            Reason.NOT_SUPPORTED,
            "or remove the annotation",
            id="API keys in a Secret without a name",
        ),
        pytest.param(
            workspace(
                annotations={"berth.dev/api-key-secret": "keys"},
                template={"spec": {"containers": [{"name": "mine", "image": "x"}]}},
            ),
            Reason.NOT_SUPPORTED,
            "give the template's own server its keys",
            id="API keys for a server that is not ours",
        ),
        pytest.param(
            workspace(annotations={"kaito.sh/runtime": "vllm"}),
            Reason.NOT_SUPPORTED,
            "kaito.sh/runtime",
            id="a runtime this version does not render",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_remedy(
    obj: dict[str, Any], reason: Reason, words: str
) -> None:
    finding = refused(obj)
    assert finding.reason is reason
    assert words in finding.message
    assert finding.terminal


@pytest.mark.parametrize(
    "annotation", ["berth.dev/accelerator", "berth.dev/api-key-secret", "kaito.sh/runtime"]
)
def test_a_value_of_any_length_leaves_room_for_the_remedy(annotation: str) -> None:
    finding = refused(workspace(annotations={annotation: "x" * 100_000}))
    assert len(finding.message) < 500
    assert "use " in finding.message


@pytest.mark.parametrize(
    ("inference", "rendered"),
    [
        pytest.param(
            {"preset": {"name": "tiny-chat"}}, "e4a777ae61c1c1ef", id="a model that is part of the image"
        ),
        pytest.param(
            {"preset": {"name": "tiny-chat", "presetOptions": {"modelAccessSecret": "hub"}}},
            "4bf32a2b2f4362e4",
            id="one with a Secret",
        ),
        pytest.param({"preset": {"name": "mistral-7b"}}, "706017136ebbc9c2", id="a model that is downloaded"),
        pytest.param(
            {
                "preset": {
                    "name": "mistral-7b",
                    "accessMode": "private",
                    "presetOptions": {"image": "registry.example/mine:1"},
                }
            },
            "47e6c28f4763e647",
            id="a private image",
        ),
        pytest.param(
            {"template": {"spec": {"containers": [{"name": "mine", "image": "x"}]}}},
            "84639163857f6d89",
            id="a template",
        ),
    ],
)
def test_a_new_release_means_the_same_pods_or_says_in_its_changelog_that_it_replaces_them(
    inference: dict[str, Any], rendered: str
) -> None:
    deployment = planned(workspace() | {"inference": inference}, Settings(image_tag="1")).deployment
    assert deployment["metadata"]["annotations"][ANNOTATION_RENDERED] == rendered
