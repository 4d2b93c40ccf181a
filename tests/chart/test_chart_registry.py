"""One value moves every image: the chart's own, and what the operator runs for a Workspace of any preset."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from berth_operator.api.workspace import parse_workspace
from berth_operator.plan.workload import Workload, plan_workload
from berth_operator.presets import load_presets
from berth_operator.settings import settings_from
from chart.conftest import CHART
from chart.variants import DIGEST

Render = Callable[..., list[dict[str, Any]]]

PRESETS = load_presets(CHART / "presets")


def images(pod: dict[str, Any]) -> Iterator[str]:
    yield from (container["image"] for container in [*pod.get("initContainers", []), *pod["containers"]])


def run(manifests: list[dict[str, Any]], preset: str, annotations: dict[str, str], folder: Path) -> set[str]:
    """The images of a Workspace's pods under the settings that the chart gives the operator."""
    [deployment] = [one for one in manifests if one["kind"] == "Deployment"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    environment = {variable["name"]: variable["value"] for variable in container["env"]}
    settings = settings_from(environment | {"BERTH_PRESETS_DIR": str(folder)})
    workspace = parse_workspace(
        {
            "metadata": {
                "name": "w",
                "namespace": "n",
                "uid": "u",
                "generation": 1,
                "annotations": annotations,
            },
            "resource": {"labelSelector": {"matchLabels": {"a": "b"}}},
            "inference": {"preset": {"name": preset, "presetOptions": {"modelAccessSecret": "hub"}}},
        }
    )
    planned = plan_workload(workspace, PRESETS, settings)
    assert isinstance(planned, Workload), planned
    return set(images(planned.deployment["spec"]["template"]["spec"]))


@pytest.mark.parametrize("runtime", ["transformers", "vllm"])
def test_one_value_moves_every_image(render: Render, tmp_path: Path, runtime: str) -> None:
    manifests = render({"imageRegistry": "registry.example.com/mirror"})
    found = {
        image
        for one in manifests
        if one["kind"] in {"Deployment", "Pod"}
        for image in images(one["spec"].get("template", one)["spec"])
    }
    for preset in PRESETS:
        if runtime == "transformers" or PRESETS[preset].needs_gpu:
            found |= run(manifests, preset, {"kaito.sh/runtime": runtime}, tmp_path)
    assert {image.removeprefix("registry.example.com/mirror/").split(":")[0] for image in found} == {
        "berth-operator",
        "berth-inference",
        *(["vllm/vllm-openai"] if runtime == "vllm" else []),
    }


@pytest.mark.parametrize("accelerator", ["cpu", "cuda"])
def test_a_digest_names_the_server_s_image_of_its_variant(
    render: Render, tmp_path: Path, accelerator: str
) -> None:
    manifests = render({"inference": {"digests": {accelerator: DIGEST}}})
    by_digest, by_tag = (
        f"ghcr.io/berth-dev/berth-inference@{DIGEST}",
        "ghcr.io/berth-dev/berth-inference:0.1.0",
    )
    cpu = run(manifests, "tiny-chat", {}, tmp_path)
    cuda = run(manifests, "phi-3-mini-4k-instruct", {}, tmp_path)
    assert cpu == {by_digest if accelerator == "cpu" else f"{by_tag}-cpu"}
    assert cuda == {by_digest if accelerator == "cuda" else f"{by_tag}-cuda"}
