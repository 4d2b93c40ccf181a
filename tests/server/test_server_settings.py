"""Flags win over the environment, which wins over the defaults; what cannot be used is told in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from berth_inference import processor
from berth_inference.processor import threads_within_quota
from berth_inference.settings import Settings, SettingsError, parse_settings


def _parse(*arguments: str, **environment: str) -> Settings:
    return parse_settings(["serve", *arguments], environment)


def test_the_defaults_are_those_that_the_container_relies_on() -> None:
    settings = _parse("--model", "tiny-chat")
    assert (settings.host, settings.port) == ("0.0.0.0", 5000)
    assert (settings.dtype, settings.device, settings.drain_seconds) == ("auto", "auto", 25.0)
    assert settings.names == ("tiny-chat",)


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("BERTH_MODEL", "owner/name", "model", "owner/name"),
        ("BERTH_REVISION", "abc123", "revision", "abc123"),
        ("BERTH_HOST", "127.0.0.9", "host", "127.0.0.9"),
        ("BERTH_PORT", "8080", "port", 8080),
        ("BERTH_SERVED_MODEL_NAME", "a, b", "served_model_name", ("a", "b")),
        ("BERTH_DTYPE", "bfloat16", "dtype", "bfloat16"),
        ("BERTH_DEVICE", "cpu", "device", "cpu"),
        ("BERTH_DRAIN_SECONDS", "2.5", "drain_seconds", 2.5),
        ("BERTH_MAX_BODY_BYTES", "1000", "max_body_bytes", 1000),
        ("BERTH_MAX_BEAMS", "2", "max_beams", 2),
        ("BERTH_API_KEY_FILE", "/keys", "api_key_file", "/keys"),
        ("BERTH_LOG_FORMAT", "json", "log_format", "json"),
        ("BERTH_LOG_PROMPTS", "True", "log_prompts", True),
    ],
)
def test_every_setting_is_read_from_the_environment(
    name: str, value: str, field: str, expected: object
) -> None:
    assert getattr(_parse(**{"BERTH_MODEL": "m", name: value}), field) == expected


def test_a_flag_wins_over_the_environment() -> None:
    settings = _parse(
        "--port",
        "1",
        "--served-model-name",
        "x",
        BERTH_MODEL="m",
        BERTH_PORT="2",
        BERTH_SERVED_MODEL_NAME="y",
    )
    assert (settings.port, settings.served_model_name) == (1, ("x",))


def test_the_model_answers_to_every_name_it_was_given_and_to_its_own() -> None:
    names = _parse("--model", "m", "--served-model-name", "a", "--served-model-name", "b").names
    assert names == ("a", "b", "m")
    assert _parse("--model", "a", "--served-model-name", "a").names == ("a",)


def test_a_folder_s_path_is_no_name() -> None:
    assert _parse("--model", "/models/secret", "--served-model-name", "a").names == ("a",)
    assert _parse("--model", "/models/secret").names == ("model",)


def test_an_empty_environment_variable_counts_as_not_set() -> None:
    assert _parse("--model", "m", BERTH_PORT="", BERTH_REVISION=" ").port == 5000


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        ([], {}, "give --model or set BERTH_MODEL"),
        (["--model", "m", "--port", "x"], {}, "--port: 'x' is not a number"),
        (["--model", "m", "--port", "70000"], {}, "not between 0 and 65535"),
        (["--model", "m", "--dtype", "int4"], {}, "'int4' is not one of auto, float32, bfloat16, float16"),
        (["--model", "m", "--drain-seconds", "nan"], {}, "not between"),
        (["--model", "m", "--prot", "1"], {}, "unrecognized arguments: --prot 1"),
        (["--model", "m", "--max-beams", "0"], {}, "not between 1"),
        (["--model", "m", "--log-prompts", "1"], {}, "--log-prompts: '1' is not true or false"),
        (["--model", "m"], {"BERTH_DEVICE": "tpu"}, "environment variable BERTH_DEVICE: 'tpu'"),
    ],
    ids=[
        "no model",
        "port text",
        "port range",
        "dtype",
        "nan",
        "unknown flag",
        "zero beams",
        "truth",
        "environment",
    ],
)
def test_a_wrong_setting_is_named(arguments: list[str], environment: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        _parse(*arguments, **environment)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_wrong_usage_of_the_command_is_one_line_and_exit_code_2() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "berth_inference", "serve", "--port", "none"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "berth_inference: error: argument --port: 'none' is not a number\n"


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys, berth_inference.app, berth_inference.server; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("text", "threads"),
    [("max 100000", None), ("150000 100000", 2), ("50000 100000", 1), ("nonsense", None)],
    ids=["no limit", "one and a half cores", "half a core", "unreadable"],
)
def test_threads_follow_the_cpu_limit(tmp_path: Path, text: str, threads: int | None) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert threads_within_quota(tmp_path / "cpu.max") == threads


@pytest.mark.parametrize(
    ("processors", "limit", "spins"),
    [(2, None, True), (2, 1, True), (64, 4, True), (200, None, True), (200, 4, False)],
    ids=["a laptop", "one of two", "a few of many", "all of many", "a few of very many"],
)
def test_threads_spin_unless_it_would_take_many_idle_ones_to_stop_them(
    monkeypatch: pytest.MonkeyPatch, processors: int, limit: int | None, spins: bool
) -> None:
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(processor, "allowed_processors", lambda: processors)
    monkeypatch.setattr(processor, "threads_within_quota", lambda: limit)
    processor.share_the_cores()
    assert ("GOMP_SPINCOUNT" in os.environ) == spins
    assert os.environ["OMP_WAIT_POLICY"] == "passive"
