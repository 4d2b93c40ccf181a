"""The CRD travels as a template, so that upgrades carry it, and outlives the release unless told not to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from berth_operator.api.workspace import parse_workspace
from berth_operator.plan.workload import Workload, plan_workload
from berth_operator.presets import load_presets
from berth_operator.settings import Settings
from chart.conftest import CHART

RenderOne = Callable[..., dict[str, Any]]
SOURCE = CHART / "crd" / "workspaces.kaito.sh.yaml"


@pytest.fixture(scope="module")
def generated() -> dict[str, Any]:
    return yaml.safe_load(SOURCE.read_text())


def test_the_rendered_crd_is_the_generated_one_but_for_its_labels_and_annotations(
    render_one: RenderOne, generated: dict[str, Any]
) -> None:
    rendered = render_one("CustomResourceDefinition")
    metadata = rendered.pop("metadata")
    original = dict(generated)
    assert metadata["name"] == original.pop("metadata")["name"] == "workspaces.kaito.sh"
    assert rendered == original


def test_labels_and_annotations_that_the_generated_crd_brings_are_kept(
    render_one: RenderOne, generated: dict[str, Any]
) -> None:
    metadata = render_one("CustomResourceDefinition")["metadata"]
    for field in ("labels", "annotations"):
        assert (generated["metadata"].get(field) or {}).items() <= metadata[field].items()


@pytest.mark.parametrize(
    ("values", "policy"),
    [({}, "keep"), ({"crds": {"keep": False}}, None)],
    ids=["uninstall keeps it", "uninstall removes it when told to"],
)
def test_the_resource_policy_says_what_uninstall_does(
    render_one: RenderOne, values: dict[str, Any], policy: str | None
) -> None:
    annotations = render_one("CustomResourceDefinition", values)["metadata"].get("annotations", {})
    assert annotations.get("helm.sh/resource-policy") == policy


def test_it_can_be_left_to_someone_else(render: Callable[..., list[dict[str, Any]]]) -> None:
    kinds = [manifest["kind"] for manifest in render({"crds": {"install": False}})]
    assert "CustomResourceDefinition" not in kinds


def test_helm_s_own_crds_folder_is_not_used(helm_chart: Any) -> None:
    assert helm_chart.crds == []


def test_artifact_hub_is_told_of_the_kind_that_the_chart_brings(generated: dict[str, Any]) -> None:
    annotations = yaml.safe_load((CHART / "Chart.yaml").read_text())["annotations"]
    [told] = yaml.safe_load(annotations["artifacthub.io/crds"])
    [stored] = [one["name"] for one in generated["spec"]["versions"] if one["storage"]]
    names = (generated["spec"]["names"]["kind"], stored, generated["metadata"]["name"])
    assert (told["kind"], told["version"], told["name"]) == names
    [example] = yaml.safe_load(annotations["artifacthub.io/crdsExamples"])
    metadata = {"name": "w", "namespace": "n", "uid": "u", "generation": 1}
    planned = plan_workload(parse_workspace(example | {"metadata": metadata}), load_presets(), Settings())
    assert isinstance(planned, Workload), planned
    assert example["apiVersion"] == f"kaito.sh/{stored}"
