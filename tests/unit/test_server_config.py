"""The ConfigMap of inference.config: settings that the server takes, or the key that it does not."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from berth_inference.settings import parse_settings
from berth_operator.api.workspace import parse_workspace
from berth_operator.plan.reasons import Finding, Reason
from berth_operator.plan.server_config import ConfigMapData, ServerConfig, read_config
from berth_operator.plan.setting_rules import server_settings
from berth_operator.plan.workload import Workload, plan_workload
from berth_operator.presets import load_presets
from berth_operator.settings import Settings

CATALOGUE = load_presets()
SCHEMA = Path(__file__).parents[2] / "operator" / "berth_operator" / "data" / "server_settings.json"


def config(text: str) -> ConfigMapData:
    return ConfigMapData("cm", {"inference_config.yaml": text})


def accepted(text: str) -> ServerConfig:
    found = read_config(config(text))
    assert isinstance(found, ServerConfig), found
    return found


def planned(data: ConfigMapData, **inference: Any) -> Workload | Finding:
    body = inference or {"preset": {"name": "tiny-chat"}}
    raw = {"metadata": {"name": "ws"}, "inference": {**body, "config": "cm"}}
    return plan_workload(parse_workspace(raw), CATALOGUE, Settings(), data)


def test_what_the_server_published_of_its_settings_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["settings_schema", "--check", str(SCHEMA)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("berth_inference.settings_schema", run_name="__main__")
    assert ended.value.code == 0, "run `make generate`"


def test_settings_become_flags_that_the_server_takes() -> None:
    found = accepted(
        "transformers:\n  max_output_tokens: 512\n  dtype: float32\n  served_model_name: [a, b]\n"
    )
    parsed = parse_settings(["serve", "--model", "m", "--dtype", "bfloat16", *found.arguments], {})
    assert (parsed.max_output_tokens, parsed.dtype, parsed.served_model_name) == (512, "float32", ("a", "b"))


@pytest.mark.parametrize("written", ["true", '"True"'], ids=["plain", "in quotes"])
def test_a_truth_becomes_a_flag_that_the_server_takes(written: str) -> None:
    found = accepted(f"transformers:\n  log_prompts: {written}\n")
    assert parse_settings(["serve", "--model", "m", *found.arguments], {}).log_prompts is True


def test_values_in_quotes_and_names_with_dashes_are_taken_as_kaito_files_write_them() -> None:
    assert accepted('transformers:\n  max-output-tokens: "512"\n').settings == {"max_output_tokens": 512}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(
            "transformers:\n  max_output_token: 1\n", "did you mean max_output_tokens?", id="a slip"
        ),
        pytest.param(
            "transformers:\n  zzz: 1\n", "transformers.zzz: the server has no such", id="no such setting"
        ),
        pytest.param(
            "transformers:\n  max_beams: many\n", 'max_beams: "many" is not a whole number', id="no number"
        ),
        pytest.param("transformers:\n  max_beams: 0\n", "is not between 1", id="out of bounds"),
        pytest.param(
            "transformers:\n  max_beams: true\n", "true is not a whole number", id="a truth for a number"
        ),
        pytest.param("transformers:\n  max_beams: .nan\n", "is not a whole number", id="not a number"),
        pytest.param(
            "transformers:\n  dtype: int8\n", "is not one of auto, float32", id="not one of the choices"
        ),
        pytest.param(
            "transformers:\n  port: 80\n", "port: is Berth's to set", id="a setting that Berth makes"
        ),
        pytest.param(
            "transformers:\n  log_prompts: maybe\n",
            '"maybe" is not true or false',
            id="neither true nor false",
        ),
        pytest.param(
            "transformers:\n  api_key_file: /x\n",
            "berth.dev/api-key-secret",
            id="keys outside of the annotation",
        ),
        pytest.param("transformers: [1]\n", "must hold settings", id="a section that is a list"),
        pytest.param("transformer:\n  a: 1\n", "did you mean transformers?", id="a slip in the section"),
        pytest.param("- 1\n", "must hold sections", id="a list"),
        pytest.param("a: [\n", "is not YAML", id="no YAML"),
    ],
)
def test_what_the_server_would_not_take_is_refused_with_the_keys_name(text: str, words: str) -> None:
    found = planned(config(text))
    assert isinstance(found, Finding)
    assert found.reason is Reason.INVALID_CONFIG
    assert words in found.message
    assert 'ConfigMap "cm"' in found.message
    assert "\n" not in found.message


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(ConfigMapData("cm"), "does not exist", id="there is none"),
        pytest.param(ConfigMapData("cm", {}), "has no key inference_config.yaml", id="it lacks the key"),
        pytest.param(ConfigMapData("cm", refused="forbidden"), "may not be read", id="it may not be read"),
    ],
)
def test_a_config_map_that_cannot_be_had_is_told(data: ConfigMapData, words: str) -> None:
    found = planned(data)
    assert isinstance(found, Finding)
    assert found.reason is Reason.CONFIG_MAP_MISSING
    assert words in found.message


def deployment(found: Workload | Finding) -> dict[str, Any]:
    assert isinstance(found, Workload), found
    return found.deployment


def test_a_change_of_meaning_rolls_the_pods_and_one_of_words_does_not() -> None:
    first = deployment(planned(config("transformers:\n  max_beams: 4\n")))
    reworded = deployment(
        planned(config("# fewer beams\ntransformers: {max_beams: '4'}\nvllm: {max-model-len: 1}\n"))
    )
    changed = deployment(planned(config("transformers:\n  max_beams: 2\n")))
    assert first == reworded
    assert first["spec"]["template"] != changed["spec"]["template"]
    assert deployment(planned(config("transformers:\n  max_beams: 4\n"))) == first


def test_an_empty_section_is_as_good_as_no_config() -> None:
    plain = plan_workload(
        parse_workspace({"metadata": {"name": "ws"}, "inference": {"preset": {"name": "tiny-chat"}}}),
        CATALOGUE,
        Settings(),
    )
    assert deployment(planned(config("transformers:\n"))) == deployment(plain)


def test_a_longer_drain_gives_the_pod_longer_to_end() -> None:
    spec = deployment(planned(config("transformers:\n  drain_seconds: 120\n")))["spec"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] > 120


def test_a_templates_pods_roll_with_any_change_of_the_config_map() -> None:
    template = {"spec": {"containers": [{"name": "c", "image": "i"}]}}
    one = deployment(planned(ConfigMapData("cm", {"any": "1"}), template=template))
    two = deployment(planned(ConfigMapData("cm", {"any": "2"}), template=template))
    assert one["spec"]["template"] != two["spec"]["template"]
    assert one["spec"]["template"]["spec"] == two["spec"]["template"]["spec"]


def test_the_schema_says_of_every_setting_what_it_is_for() -> None:
    assert json.loads(SCHEMA.read_text()) == server_settings()
    assert all(rule["description"] and rule["type"] for rule in server_settings().values())
