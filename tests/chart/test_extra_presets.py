"""extraPresets: judged at install as the operator's own model judges them, and delivered as it reads them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from berth_operator.presets import Preset, load_presets
from chart.conftest import CHART

RenderOne = Callable[..., dict[str, Any]]

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
MODEL: dict[str, Any] = {
    "id": "example-org/example-8b",
    # All digits: it must arrive as a text, not as a number.
    "revision": "1234567890" * 4,
    "license": "apache-2.0",
    "architecture": "LlamaForCausalLM",
    # More than a 32-bit number holds.
    "parameters": 8030261248,
    "dtype": "bfloat16",
    "contextLength": 8192,
    "layers": 32,
    "kvHeads": 8,
    "headSize": 128,
}
PRESET: dict[str, Any] = {
    "description": "Ours: with a colon, <angles> and an é",
    "model": MODEL,
    "image": "berth-inference",
    "resources": {"gpu": 1, "gpuMemory": "24Gi", "cpu": "4", "memory": "24Gi", "disk": "40Gi"},
    "server": {"args": ["--dtype", "bfloat16"]},
    "readinessTimeout": "30m",
}
MISSING = object()


def change(path: str, value: Any) -> dict[str, Any]:
    """A copy of the preset with the value at a dotted path set, or left out."""
    preset = copy.deepcopy(PRESET)
    target = preset
    *parents, last = path.split(".")
    for parent in parents:
        target = target[parent]
    if value is MISSING:
        del target[last]
    else:
        target[last] = value
    return preset


GOOD = [
    ("as it is", PRESET),
    ("on CPU", change("resources", {"gpu": 0, "cpu": "500m", "memory": "1.5Gi", "disk": "1Gi"})),
    (
        "not pinned, with the reason",
        change("model", MODEL | {"revision": None, "revisionNote": "moves daily"}),
    ),
    ("for vllm", change("vllm", {"args": ["--quantization", "fp8"], "maxModelLen": 4096})),
    ("a longer time", change("readinessTimeout", "1h30m")),
]
BAD = [
    ("description", MISSING),
    ("model.parameters", MISSING),
    ("model.parameters", "8B"),
    ("model.parameters", 0),
    ("model.revision", "main"),
    ("model.revision", None),
    ("model.dtype", "int4"),
    ("model.trustRemoteCode", True),
    ("resources.gpu", -1),
    ("resources.gpuMemory", MISSING),
    ("resources.gpuMemory", "lots"),
    ("resources.gpu", 0),
    ("resources.memory", 24),
    ("server.args", "--dtype bfloat16"),
    ("vllm", True),
    ("vllm", {"maxModelLen": 0}),
    ("vllm", {"trustRemoteCode": True}),
    ("readinessTimeout", "soon"),
    ("readinessTimeout", ""),
    ("replicas", 2),
    ("name", "other"),
]


@pytest.mark.parametrize("preset", [preset for _, preset in GOOD], ids=[name for name, _ in GOOD])
def test_the_operator_reads_what_was_asked_for(
    render_one: RenderOne, preset: dict[str, Any], tmp_path: Path
) -> None:
    data = render_one("ConfigMap", {"extraPresets": {"example-8b": preset}})["data"]
    assert yaml.safe_load(data["example-8b.yaml"]) == {"name": "example-8b", **preset}
    for name, text in data.items():
        (tmp_path / name).write_text(text)
    built_in = load_presets(CHART / "presets")
    found = load_presets(tmp_path)
    assert set(found) == {*built_in, "example-8b"}
    assert found["example-8b"] == Preset.model_validate({"name": "example-8b", **preset})


@pytest.mark.parametrize(
    ("path", "value"),
    BAD,
    ids=[f"{path} {'missing' if value is MISSING else json.dumps(value)}" for path, value in BAD],
)
def test_what_the_operator_would_refuse_is_refused_at_install(helm_chart: Any, path: str, value: Any) -> None:
    from helm_python.errors import HelmError

    preset = change(path, value)
    if path != "name":
        # The name is the key; in a preset's own file it belongs inside.
        with pytest.raises(ValidationError):
            Preset.model_validate({"name": "example-8b", **preset})
    with pytest.raises(HelmError) as refusal:
        helm_chart.render({"extraPresets": {"example-8b": preset}}, name="berth", namespace="berth-system")
    assert "example-8b" in str(refusal.value)


def test_a_name_that_cannot_be_a_file_s_is_refused(helm_chart: Any) -> None:
    from helm_python.errors import HelmError

    with pytest.raises(HelmError, match="Escape"):
        helm_chart.render({"extraPresets": {"../Escape": PRESET}}, name="berth", namespace="berth-system")


def test_a_name_that_berth_has_is_refused_with_the_way_out(helm_chart: Any) -> None:
    from helm_python.errors import HelmError

    with pytest.raises(HelmError, match=r"extraPresets\.tiny-chat: .* choose another"):
        helm_chart.render({"extraPresets": {"tiny-chat": PRESET}}, name="berth", namespace="berth-system")


def test_a_further_preset_starts_the_operator_anew(render_one: RenderOne) -> None:
    def checksum(values: dict[str, Any]) -> str:
        template = render_one("Deployment", values)["spec"]["template"]
        return template["metadata"]["annotations"]["checksum/presets"]

    assert checksum({}) != checksum({"extraPresets": {"example-8b": PRESET}})


def plain(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without what only documents it, its references as the chart's schema writes them."""
    kept: dict[str, Any] = {}
    for key, value in schema.items():
        if key in {"title", "description", "default", "allOf"}:
            continue
        if key == "properties":
            kept[key] = {name: plain(child) for name, child in value.items()}
        elif key == "anyOf":
            kept[key] = [plain(child) for child in value]
        elif key == "items":
            kept[key] = plain(value)
        elif key == "$ref":
            kept[key] = value.replace("#/$defs/", "#/definitions/")
        else:
            kept[key] = value
    return kept


def test_the_chart_s_schema_of_a_preset_is_that_of_the_operator_s_model() -> None:
    model = Preset.model_json_schema()
    definitions = model.pop("$defs")
    name = model["properties"].pop("name")
    model["required"].remove("name")
    assert plain(SCHEMA["definitions"]["Preset"]) == plain(model)
    assert SCHEMA["properties"]["extraPresets"]["propertyNames"] == {"pattern": name["pattern"]}
    for part, schema in definitions.items():
        # The chart adds, in `allOf`, what the model's validators check beyond types.
        assert plain(SCHEMA["definitions"][part]) == plain(schema), part
