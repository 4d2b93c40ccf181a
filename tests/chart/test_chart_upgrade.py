"""An upgrade from an older chart changes no pod of a Workspace: both render the same Deployment for every preset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from berth_operator.api.workspace import parse_workspace
from berth_operator.plan.workload import Workload, plan_workload
from berth_operator.presets import load_presets
from berth_operator.settings import settings_from
from chart.conftest import CHART, REPOSITORY

OLDER = REPOSITORY / "tests" / "data" / "berth-older-chart.tgz"
VALUES: dict[str, Any] = {
    "imageRegistry": "registry.example.com/mirror",
    "inference": {"imagePullSecrets": ["models-pull"]},
}

Planner = Callable[[str], Workload]


@pytest.fixture(scope="module", params=[{}, VALUES], ids=["defaults", "a mirror with credentials"])
def planners(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Planner]:
    """What the operator plans for a preset under each chart's settings and presets, the older one first."""
    from helm_python import Chart

    made = []
    for source in (OLDER, CHART):
        with Chart.load(source) as chart:
            texts = chart.render(request.param, name="berth", namespace="berth-system")
        manifests = [
            one
            for path, text in texts.items()
            if path.endswith(".yaml")
            for one in yaml.load_all(text, Loader=yaml.CSafeLoader)
            if one
        ]
        made.append(_planner(manifests, tmp_path_factory.mktemp("presets")))
    return made


def _planner(manifests: list[dict[str, Any]], folder: Path) -> Planner:
    [deployment] = [one for one in manifests if one["kind"] == "Deployment"]
    [presets] = [one for one in manifests if one["kind"] == "ConfigMap"]
    for name, text in presets["data"].items():
        (folder / name).write_text(text)
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    environment = {variable["name"]: variable["value"] for variable in container["env"]}
    settings = settings_from(environment | {"BERTH_PRESETS_DIR": str(folder)})
    catalogue = load_presets(folder)

    def plan(preset: str) -> Workload:
        options = {"modelAccessSecret": "hub"}
        workspace = parse_workspace(
            {
                "metadata": {"name": "w", "namespace": "n", "uid": "u", "generation": 1},
                "resource": {"labelSelector": {"matchLabels": {"a": "b"}}},
                "inference": {"preset": {"name": preset, "presetOptions": options}},
            }
        )
        planned = plan_workload(workspace, catalogue, settings)
        assert isinstance(planned, Workload)
        return planned

    return plan


@pytest.mark.parametrize("preset", sorted(load_presets(CHART / "presets")))
def test_the_older_and_the_newer_chart_make_the_same_pods(planners: list[Planner], preset: str) -> None:
    older, newer = (planner(preset) for planner in planners)
    assert newer.deployment == older.deployment
    assert newer.service == older.service
