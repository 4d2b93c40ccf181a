"""What is generated from the chart is current: its README, the page of rights, the golden renderings."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from berth_operator.versions import NEWEST_KUBERNETES, OLDEST_KUBERNETES
from chart.conftest import CHART, REPOSITORY
from chart.variants import GOLDEN_VARIANTS


@pytest.fixture(scope="module")
def chart_docs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("chart_docs", REPOSITORY / "tools" / "chart_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by name.
    import sys

    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_there_are_the_defaults_and_twelve_variants() -> None:
    assert len(GOLDEN_VARIANTS) == 13
    assert GOLDEN_VARIANTS["defaults"] == {}


def test_every_generated_file_is_current(chart_docs: ModuleType) -> None:
    assert chart_docs.stale(chart_docs.everything()) == [], "run `make generate` and review what it changes"


def test_a_golden_rendering_of_a_variant_that_is_no_more_is_noticed(
    chart_docs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone.yaml").write_text("")
    monkeypatch.setattr(chart_docs, "GOLDEN", tmp_path)
    assert chart_docs.stale({}) == [tmp_path / "gone.yaml"]


def test_golden_renderings_are_manifests_that_a_reviewer_can_read() -> None:
    for path in sorted((REPOSITORY / "tests" / "chart" / "golden").glob("*.yaml")):
        manifests = list(yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader))
        assert {"Deployment", "Pod"} <= {m["kind"] for m in manifests}
        assert len(path.read_text().splitlines()) < 1100


def test_the_readme_lists_every_value(chart_docs: ModuleType) -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    explained = {value.path for value in chart_docs.values((CHART / "values.yaml").read_text())}

    def leaves(tree: dict[str, object], at: str = "") -> set[str]:
        found = set()
        for key, value in tree.items():
            path = f"{at}.{key}".lstrip(".")
            named = isinstance(value, dict) and value and path not in explained
            found |= leaves(value, path) if named else {path}  # type: ignore[arg-type]
        return found

    assert leaves(values) - explained == {"image.pullPolicy"}


def test_five_commands_lead_from_nothing_to_an_answer_and_none_needs_a_gpu(chart_docs: ModuleType) -> None:
    assert [command.split()[0] for command in chart_docs.KIND] == [
        "kind",
        "helm",
        "kubectl",
        "kubectl",
        "echo",
    ]
    [_, _, apply, wait, ask] = chart_docs.KIND
    example = yaml.safe_load((REPOSITORY / apply.split()[-1]).read_text())
    name = example["metadata"]["name"]
    assert wait.endswith(f"workspace/{name}")
    assert f"/services/{name}:http/proxy/chat" in ask
    preset = yaml.safe_load(
        (REPOSITORY / "presets" / f"{example['inference']['preset']['name']}.yaml").read_text()
    )
    assert preset["resources"]["gpu"] == 0


def test_the_readme_s_way_to_an_answer_is_the_chart_s(chart_docs: ModuleType) -> None:
    readme = (REPOSITORY / "README.md").read_text()
    assert "\n".join(["```", *chart_docs.KIND, "```"]) in readme
    # Both say how to bring the images along that this checkout's chart names.
    for image in ("berth-operator:0.1.0", "berth-inference:0.1.0-cpu"):
        for text in (readme, (CHART / "README.md").read_text()):
            assert re.search(rf"docker build -f \S+ -t ghcr.io/berth-dev/{image} \.", text)
            assert re.search(rf"kind load docker-image .*ghcr.io/berth-dev/{image}", text)


PAGES = [REPOSITORY / "README.md", CHART / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def test_a_value_that_a_page_sets_is_one_of_the_chart_s() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    named = [path for page in PAGES for path in re.findall(r"--set[ =]([\w.]+)=", page.read_text())]
    assert len(named) >= 2
    for path in named:
        known = values
        for key in path.split("."):
            assert key in known, path
            known = known[key]


def test_the_supported_versions_are_the_same_everywhere() -> None:
    readme = (CHART / "README.md").read_text()
    assert f"Kubernetes {OLDEST_KUBERNETES} or newer; tested up to {NEWEST_KUBERNETES}" in readme
    workflow = (REPOSITORY / ".github" / "workflows" / "e2e.yml").read_text()
    nodes = yaml.safe_load(workflow)["jobs"]["kind"]["strategy"]["matrix"]["node"]
    for version, node in zip((OLDEST_KUBERNETES, NEWEST_KUBERNETES), nodes, strict=True):
        assert re.fullmatch(rf"kindest/node:v{version}\.\d+@sha256:[0-9a-f]{{64}}", node)
