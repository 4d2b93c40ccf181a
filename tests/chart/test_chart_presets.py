"""Presets travel in the chart unchanged, and packaging the chart keeps them."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chart.conftest import CHART, REPOSITORY

PRESETS = REPOSITORY / "presets"
# etcd's limit on a request is 1.5 MiB, the API server's on a ConfigMap's data is 1 MiB.
CONFIG_MAP_LIMIT_BYTES = 1024 * 1024


def preset_bytes() -> dict[str, bytes]:
    files = {path.name: path.read_bytes() for path in PRESETS.glob("*.yaml")}
    assert files, "the repository has presets"
    return files


def test_the_config_map_holds_every_preset_byte_for_byte(render_one: Callable[..., dict[str, Any]]) -> None:
    data = render_one("ConfigMap")["data"]
    assert {name: text.encode() for name, text in data.items()} == preset_bytes()
    assert sum(len(text.encode()) for text in data.values()) < CONFIG_MAP_LIMIT_BYTES


def test_presets_end_in_yaml_so_that_the_chart_and_the_operator_read_the_same_files() -> None:
    assert {path.suffix for path in PRESETS.iterdir()} == {".yaml"}


def test_the_chart_s_presets_are_the_repository_s_and_not_a_copy() -> None:
    assert (CHART / "presets").resolve() == PRESETS


def test_the_packaged_chart_holds_presets_and_crd_and_needs_no_repository(tmp_path: Path) -> None:
    from helm_python import Chart, chart

    archive = chart.package(CHART, destination=tmp_path)
    with tarfile.open(archive) as tar:
        packed = {
            member.name.removeprefix("berth/"): tar.extractfile(member).read()  # type: ignore[union-attr]
            for member in tar.getmembers()
            if member.isfile()
        }
    assert {name.removeprefix("presets/") for name in packed if name.startswith("presets/")} == set(
        preset_bytes()
    )
    assert packed["crd/workspaces.kaito.sh.yaml"] == (CHART / "crd" / "workspaces.kaito.sh.yaml").read_bytes()
    with Chart.load(archive) as packaged, Chart.load(CHART) as folder:
        release = {"name": "berth", "namespace": "berth-system"}
        assert packaged.render(**release) == folder.render(**release)
