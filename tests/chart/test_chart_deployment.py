"""The operator's Deployment: what each value changes, and what no value does."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from berth_operator.settings import Settings, settings_from
from chart.conftest import CHART, REPOSITORY
from chart.variants import DIGEST, VARIANTS

VLLM = Settings().vllm_image.removeprefix("docker.io/")

RenderOne = Callable[..., dict[str, Any]]


def pod_of(deployment: dict[str, Any]) -> dict[str, Any]:
    return deployment["spec"]["template"]["spec"]


def settings_of(deployment: dict[str, Any]) -> dict[str, str]:
    [container] = pod_of(deployment)["containers"]
    return {variable["name"]: variable["value"] for variable in container["env"]}


def operator_of(render: Callable[..., list[dict[str, Any]]], values: dict[str, Any]) -> dict[str, Any]:
    [deployment] = [m for m in render(values) if m["kind"] == "Deployment"]
    return deployment


def test_one_replica_that_stops_before_its_successor_starts(render_one: RenderOne) -> None:
    spec = render_one("Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_the_selector_finds_the_pod_and_holds_nothing_that_an_upgrade_or_a_value_changes(
    render_one: RenderOne,
) -> None:
    for values in VARIANTS.values():
        spec = render_one("Deployment", values)["spec"]
        assert spec["selector"]["matchLabels"] == {
            "app.kubernetes.io/name": "berth",
            "app.kubernetes.io/instance": "berth",
            "app.kubernetes.io/component": "operator",
        }
        assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()


def test_it_runs_the_operator_by_module_name(render_one: RenderOne) -> None:
    [container] = pod_of(render_one("Deployment"))["containers"]
    assert container["command"] == ["python", "-m", "berth_operator", "run"]
    assert "args" not in container


def test_by_default_the_operator_watches_everything_with_the_chart_s_presets_and_images(
    render_one: RenderOne,
) -> None:
    assert settings_of(render_one("Deployment")) == {
        "BERTH_WATCH_NAMESPACES": "",
        "BERTH_PRESETS_DIR": "/etc/berth/presets",
        "BERTH_IMAGE_REGISTRY": "ghcr.io/berth-dev",
        "BERTH_IMAGE_TAG": "0.1.0",
        "BERTH_IMAGE_DIGEST_CPU": "",
        "BERTH_IMAGE_DIGEST_CUDA": "",
        "BERTH_IMAGE_PULL_SECRETS": "",
        "BERTH_VLLM_IMAGE": Settings().vllm_image,
        "BERTH_WEIGHTS_VOLUME": "pod",
        "BERTH_WEIGHTS_NODE_PATH": "/opt/kaito/models",
        "BERTH_WEIGHTS_FS_GROUP": "65532",
        "BERTH_HUB_ENDPOINT": "",
        "BERTH_HTTP_PROXY": "",
        "BERTH_HTTPS_PROXY": "",
        "BERTH_NO_PROXY": "",
        "BERTH_RESYNC_SECONDS": "300",
        "BERTH_WORKERS": "8",
        "BERTH_LOG_FORMAT": "json",
        "BERTH_LIVENESS_PORT": "8080",
    }


@pytest.mark.parametrize("variant", VARIANTS, ids=VARIANTS.keys())
def test_the_operator_accepts_its_settings_and_knows_each_of_them(
    render_one: RenderOne, variant: str, tmp_path: Path
) -> None:
    environment = settings_of(render_one("Deployment", VARIANTS[variant]))
    settings = settings_from(environment | {"BERTH_PRESETS_DIR": str(tmp_path)})
    known = {f"BERTH_{field.name.upper()}" for field in dataclasses.fields(settings)}
    if "replicas" not in VARIANTS[variant]:
        known.remove("BERTH_LEADER_ELECTION")
    assert known == environment.keys()


@pytest.mark.parametrize(
    ("variant", "lease"),
    [("a standby", ("berth-system", "berth")), ("a standby in one namespace", ("berth-system", "berth"))],
)
def test_a_standby_shares_a_lease_in_the_release_s_namespace_that_its_role_names(
    render: Callable[..., list[dict[str, Any]]], variant: str, lease: tuple[str, str], tmp_path: Path
) -> None:
    deployment = operator_of(render, VARIANTS[variant])
    assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]["type"]) == (2, "Recreate")
    environment = settings_of(deployment) | {"BERTH_PRESETS_DIR": str(tmp_path)}
    assert settings_from(environment).leader_election == lease
    [role] = [
        m
        for m in render(VARIANTS[variant])
        if m["metadata"]["name"] == "berth-leader" and m["kind"] == "Role"
    ]
    assert role["metadata"]["namespace"] == lease[0]
    assert [rule.get("resourceNames") for rule in role["rules"]] == [None, [lease[1]]]


def test_a_standby_prefers_another_node_and_may_go_one_at_a_time(
    render: Callable[..., list[dict[str, Any]]],
) -> None:
    deployment = operator_of(render, VARIANTS["a standby"])
    [term] = pod_of(deployment)["affinity"]["podAntiAffinity"][
        "preferredDuringSchedulingIgnoredDuringExecution"
    ]
    selector = deployment["spec"]["selector"]
    assert term["podAffinityTerm"]["labelSelector"] == selector
    [budget] = [m for m in render(VARIANTS["a standby"]) if m["kind"] == "PodDisruptionBudget"]
    assert budget["spec"] == {"maxUnavailable": 1, "selector": selector}


def test_one_replica_has_no_disruption_budget_which_would_only_block_drains(
    render: Callable[..., list[dict[str, Any]]],
) -> None:
    assert "PodDisruptionBudget" not in {m["kind"] for m in render()}


def test_the_chart_s_defaults_are_the_operator_s_own_but_for_presets_and_log_format(
    render_one: RenderOne, tmp_path: Path
) -> None:
    environment = settings_of(render_one("Deployment")) | {"BERTH_PRESETS_DIR": str(tmp_path)}
    assert settings_from(environment) == Settings(presets_dir=tmp_path, log_format="json")


@pytest.mark.parametrize(
    ("variant", "changed"),
    [
        ("one namespace", {"BERTH_WATCH_NAMESPACES": "berth-system"}),
        ("several namespaces", {"BERTH_WATCH_NAMESPACES": "team-a,team-b"}),
        (
            "registry of an air-gapped cluster",
            {
                "BERTH_IMAGE_REGISTRY": "registry.example.com:5000/mirror/berth",
                "BERTH_VLLM_IMAGE": f"registry.example.com:5000/mirror/berth/{VLLM}",
            },
        ),
        (
            "image by digest",
            {
                "BERTH_IMAGE_REGISTRY": "registry.example.com",
                "BERTH_IMAGE_DIGEST_CPU": DIGEST,
                "BERTH_IMAGE_DIGEST_CUDA": DIGEST,
                "BERTH_VLLM_IMAGE": f"registry.example.com/{VLLM}",
            },
        ),
        (
            "pull secrets",
            {"BERTH_IMAGE_PULL_SECRETS": "models-pull,other-pull", "BERTH_IMAGE_TAG": "0.1.0-rc.1"},
        ),
        (
            "weights through a mirror onto volumes",
            {
                "BERTH_WEIGHTS_VOLUME": "storage-class/fast",
                "BERTH_WEIGHTS_FS_GROUP": "none",
                "BERTH_HUB_ENDPOINT": "https://hub.example.com/mirror",
                "BERTH_HTTP_PROXY": "http://proxy.example.com:3128",
                "BERTH_HTTPS_PROXY": "http://proxy.example.com:3128",
                "BERTH_NO_PROXY": "hub.example.com,.cluster.local",
            },
        ),
        ("settings", {"BERTH_RESYNC_SECONDS": "60", "BERTH_WORKERS": "32", "BERTH_LOG_FORMAT": "text"}),
        ("placement", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_values_reach_the_operator_as_settings(
    render_one: RenderOne, variant: str, changed: dict[str, str]
) -> None:
    settings = settings_of(render_one("Deployment", VARIANTS[variant]))
    assert settings == settings_of(render_one("Deployment")) | changed


def test_large_numbers_are_not_written_as_floats(render_one: RenderOne) -> None:
    deployment = render_one("Deployment", {"runAsUser": 1000680000, "resyncSeconds": 86400})
    assert pod_of(deployment)["securityContext"]["runAsUser"] == 1000680000
    assert settings_of(deployment)["BERTH_RESYNC_SECONDS"] == "86400"


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ({}, "ghcr.io/berth-dev/berth-operator:0.1.0"),
        ({"image": {"tag": "0.1.0-rc.1"}}, "ghcr.io/berth-dev/berth-operator:0.1.0-rc.1"),
        ({"imageRegistry": "registry.example.com/berth"}, "registry.example.com/berth/berth-operator:0.1.0"),
        (
            {"imageRegistry": "registry.example.com", "image": {"repository": "mirror/op", "digest": DIGEST}},
            f"registry.example.com/mirror/op@{DIGEST}",
        ),
    ],
    ids=["chart's version", "a tag", "a registry", "a digest wins over the tag"],
)
def test_the_image_is_put_together_from_registry_repository_and_version(
    render_one: RenderOne, values: dict[str, Any], image: str
) -> None:
    [container] = pod_of(render_one("Deployment", values))["containers"]
    assert container["image"] == image


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ({"tag": "v9.9.9"}, "elsewhere.example.com/vllm/vllm-openai:v9.9.9"),
        ({"registry": "docker.io"}, Settings().vllm_image),
        (
            {"registry": "registry.example.com:5000/hub", "repository": "mirror/vllm", "digest": DIGEST},
            f"registry.example.com:5000/hub/mirror/vllm@{DIGEST}",
        ),
    ],
    ids=["a tag, in Berth's registry", "vLLM's own", "a mirror's, by a digest that wins over the tag"],
)
def test_vllm_s_image_is_put_together_as_berth_s_are_unless_its_registry_is_named(
    render_one: RenderOne, image: dict[str, Any], reference: str
) -> None:
    given = render_one("Deployment", {"imageRegistry": "elsewhere.example.com", "vllm": {"image": image}})
    assert settings_of(given)["BERTH_VLLM_IMAGE"] == reference


@pytest.mark.parametrize(
    ("variant", "path", "value"),
    [
        ("pull secrets", "imagePullSecrets", [{"name": "operator-pull"}]),
        ("placement", "nodeSelector", VARIANTS["placement"]["nodeSelector"] | {"kubernetes.io/os": "linux"}),
        ("placement", "tolerations", VARIANTS["placement"]["tolerations"]),
        ("placement", "affinity", VARIANTS["placement"]["affinity"]),
        ("placement", "priorityClassName", "system-cluster-critical"),
    ],
    ids=["pull secrets", "node selector", "tolerations", "affinity", "priority class"],
)
def test_values_reach_the_pod(render_one: RenderOne, variant: str, path: str, value: Any) -> None:
    assert pod_of(render_one("Deployment", VARIANTS[variant]))[path] == value
    assert pod_of(render_one("Deployment")).get(path) != value


def test_resources_reach_the_container(render_one: RenderOne) -> None:
    [container] = pod_of(render_one("Deployment", VARIANTS["resources"]))["containers"]
    assert container["resources"] == VARIANTS["resources"]["resources"]


def test_pod_labels_win_over_common_labels_and_the_chart_s_stay(render_one: RenderOne) -> None:
    metadata = render_one("Deployment", VARIANTS["labels and annotations"])["spec"]["template"]["metadata"]
    assert (metadata["labels"]["team"], metadata["labels"]["mesh"]) == ("ml-serving", "off")
    assert metadata["labels"]["app.kubernetes.io/name"] == "berth"
    assert metadata["annotations"].keys() == {"checksum/presets", "example.com/scrape"}


@pytest.mark.parametrize("variant", ["defaults", "user left to the cluster"])
def test_the_pod_runs_as_the_chart_s_user_unless_the_cluster_chooses(
    render_one: RenderOne, variant: str
) -> None:
    context = pod_of(render_one("Deployment", VARIANTS[variant]))["securityContext"]
    assert context.get("runAsUser") == (65532 if variant == "defaults" else None)
    assert context["runAsNonRoot"] is True


def test_the_chart_s_user_is_the_image_s(render_one: RenderOne) -> None:
    user = pod_of(render_one("Deployment"))["securityContext"]["runAsUser"]
    assert re.search(rf"^USER {user}(:\d+)?$", (REPOSITORY / "Dockerfile.operator").read_text(), re.MULTILINE)


def test_probes_ask_the_port_that_the_operator_is_told_to_answer_on(render_one: RenderOne) -> None:
    deployment = render_one("Deployment")
    [container] = pod_of(deployment)["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    asked = {
        probe: (ports[container[probe]["httpGet"]["port"]], container[probe]["httpGet"]["path"])
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    port = int(settings_of(deployment)["BERTH_LIVENESS_PORT"])
    assert asked == {
        "startupProbe": (port, "/healthz"),
        "livenessProbe": (port, "/healthz"),
        "readinessProbe": (port, "/readyz"),
    }


def test_presets_are_mounted_where_the_operator_looks_for_them(render_one: RenderOne) -> None:
    deployment = render_one("Deployment")
    [container] = pod_of(deployment)["containers"]
    [mount] = [m for m in container["volumeMounts"] if m["name"] == "presets"]
    [volume] = [v for v in pod_of(deployment)["volumes"] if v["name"] == "presets"]
    assert mount == {
        "name": "presets",
        "mountPath": settings_of(deployment)["BERTH_PRESETS_DIR"],
        "readOnly": True,
    }
    assert volume["configMap"]["name"] == render_one("ConfigMap")["metadata"]["name"]


def test_only_the_operator_s_own_pod_gets_the_account_s_token(render_one: RenderOne) -> None:
    assert render_one("ServiceAccount")["automountServiceAccountToken"] is False
    assert pod_of(render_one("Deployment"))["automountServiceAccountToken"] is True


@pytest.mark.parametrize(
    ("release", "values", "name"),
    [
        ("berth", {}, "berth"),
        ("prod", {}, "prod-berth"),
        ("prod", {"nameOverride": "llm"}, "prod-llm"),
        ("prod", {"fullnameOverride": "llm"}, "llm"),
        ("r" * 53, {}, "r" * 53),
    ],
    ids=["release named as the chart", "another release", "name", "full name", "the longest release name"],
)
def test_names_follow_the_release_and_never_pass_63_characters(
    render_one: RenderOne, release: str, values: dict[str, Any], name: str
) -> None:
    assert render_one("Deployment", values, name=release)["metadata"]["name"] == name
    assert len(render_one("ConfigMap", values, name=release)["metadata"]["name"]) <= 63


def test_a_change_of_the_presets_starts_the_operator_anew(tmp_path_factory: pytest.TempPathFactory) -> None:
    import shutil

    import yaml
    from helm_python import Chart

    def checksum(folder: Any) -> str:
        with Chart.load(folder) as chart:
            rendered = chart.render(name="berth", namespace="berth-system")
        manifest = yaml.safe_load(rendered["berth/templates/deployment.yaml"])
        return manifest["spec"]["template"]["metadata"]["annotations"]["checksum/presets"]

    copy = tmp_path_factory.mktemp("chart") / "berth"
    shutil.copytree(CHART, copy)
    before = checksum(copy)
    assert before == checksum(CHART)
    preset = next((copy / "presets").glob("*.yaml"))
    preset.write_text(preset.read_text() + "\n# changed\n")
    assert checksum(copy) != before
