"""The pages on GitOps and verification: their YAML holds together, and Argo CD's check judges as it says."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from lupa.lua51 import LuaRuntime

from chart.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "gitops.md").read_text()
BLOCKS = [list(yaml.safe_load_all(block)) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
VALUES = yaml.safe_load((REPOSITORY / "charts" / "berth" / "values.yaml").read_text())


def lua(value: Any) -> str:
    """A value as a Lua expression."""
    if isinstance(value, dict):
        return "{" + ", ".join(f'["{key}"] = {lua(child)}' for key, child in value.items()) + "}"
    if isinstance(value, list):
        return "{" + ", ".join(map(lua, value)) + "}"
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


def ready(status: str, generation: int = 2) -> dict[str, Any]:
    return {"type": "Ready", "status": status, "observedGeneration": generation, "message": "because"}


@pytest.mark.parametrize(
    ("conditions", "count", "health"),
    [
        pytest.param(None, 1, "Progressing", id="no status at all"),
        pytest.param([], 1, "Progressing", id="no conditions"),
        pytest.param([ready("True", 1)], 1, "Progressing", id="ready, but for the generation before"),
        pytest.param([ready("True")], 1, "Healthy", id="ready"),
        pytest.param([ready("True")], 0, "Suspended", id="ready with no pods asked for"),
        pytest.param([ready("False")], 1, "Progressing", id="not ready yet"),
        pytest.param([ready("False"), {"type": "Stalled", "status": "True"}], 1, "Degraded", id="stalled"),
        pytest.param(
            [ready("True"), {"type": "Stalled", "status": "False"}], 1, "Healthy", id="no longer stalled"
        ),
    ],
)
def test_argo_cd_s_check_waits_for_the_model_and_tells_what_is_wrong(
    conditions: list[dict[str, Any]] | None, count: int, health: str
) -> None:
    [[config_map]] = [block for block in BLOCKS if block[0]["kind"] == "ConfigMap"]
    check = config_map["data"]["resource.customizations.health.kaito.sh_Workspace"]
    workspace = {"metadata": {"generation": 2}, "resource": {"count": count}}
    if conditions is not None:
        workspace["status"] = {"conditions": conditions}
    # 5.1, as in Argo CD's own interpreter.
    judged = LuaRuntime().execute(f"obj = {lua(workspace)}\n{check}")
    assert judged.status == health


def test_flux_s_sample_sets_values_that_the_chart_has() -> None:
    [release] = [one for block in BLOCKS for one in block if one["kind"] == "HelmRelease"]
    assert release["spec"]["values"].keys() <= VALUES.keys()
    [models] = [one for block in BLOCKS for one in block if one["kind"] == "Kustomization"]
    [check] = models["spec"]["healthChecks"]
    assert (check["apiVersion"], check["kind"]) == ("kaito.sh/v1beta1", "Workspace")


def test_what_is_verified_is_what_the_release_signs() -> None:
    page = (REPOSITORY / "docs" / "verify.md").read_text()
    workflow = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "release.yml").read_text())
    made = {
        f"berth-{one['image']}:0.1.0{one['suffix']}"
        for one in workflow["jobs"]["images"]["strategy"]["matrix"]["include"]
    }
    [verified] = re.findall(r"for image in (.*); do", page)
    assert set(verified.split()) == {*made, "charts/berth:0.1.0"}
    assert VALUES["imageRegistry"] in page


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / ".github" / "workflows").glob("*.yml")), ids=lambda p: p.name
)
def test_workflows_pin_what_they_use_and_start_with_no_rights(path: Any) -> None:
    text = path.read_text()
    for use in re.findall(r"uses: (.*)", text):
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v[\d.]+", use), use
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 60
    assert "pull_request_target" not in text
    assert text.count("persist-credentials: false") == text.count("actions/checkout@")
