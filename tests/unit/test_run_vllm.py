"""The first process of vLLM's container: it runs vLLM as it is told, and keeps the error that a failure began with."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest

from berth_operator.plan.diagnosis.ending import gist

SCRIPT = (resources.files("berth_operator") / "data" / "run_vllm.py").read_text(encoding="utf-8")
MODEL = "owner/name"

OUT_OF_MEMORY = """\
(EngineCore pid=99) ERROR 11-26 03:00:00 [core.py:708] EngineCore failed to start.
(EngineCore pid=99) ERROR 11-26 03:00:00 [core.py:708] Traceback (most recent call last):
(EngineCore pid=99) ERROR 11-26 03:00:00 [core.py:708] torch.OutOfMemoryError: CUDA out of memory. Tried 2 GiB
(APIServer pid=1) Traceback (most recent call last):
(APIServer pid=1)   File "vllm/v1/engine/utils.py", line 600, in wait_for_engine_startup
(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""
USAGE = "usage: vllm serve [model_tag] [options]\nvllm serve: error: unrecognized arguments: --swap-space\n"

UNTIL_TOLD = "trap 'echo draining; exit 0' TERM; echo ready; while :; do sleep 0.05; done"

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def message(tmp_path: Path) -> Path:
    """Where a container leaves its last words."""
    return tmp_path / "termination-log"


@pytest.fixture
def start(tmp_path: Path, message: Path) -> Start:
    """Starts the script with a `vllm` that does what is given as a shell script."""

    def start(does: str, *arguments: str) -> subprocess.Popen[str]:
        program = tmp_path / "bin" / "vllm"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{does}\n")
        program.chmod(0o755)
        script = SCRIPT.replace("/dev/termination-log", str(message))
        command = [
            sys.executable,
            "-I",
            "-S",
            "-c",
            script,
            str(tmp_path),
            "vllm",
            "serve",
            MODEL,
            *arguments,
        ]
        environment = {"PATH": f"{program.parent}:/usr/bin:/bin"}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    return start


def test_vllm_gets_its_arguments_and_its_words_go_to_the_log(start: Start, message: Path) -> None:
    process = start('printf "%s\\n" "$@"; echo later >&2', "--a", "b c")
    assert process.communicate()[0].splitlines() == ["serve", MODEL, "--a", "b c", "later"]
    assert not message.exists()


def test_plain_files_that_lie_in_the_folder_are_served_instead(start: Start, tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    process = start('printf "%s\\n" "$@"', "--revision", "r")
    assert process.communicate()[0].splitlines() == ["serve", str(tmp_path), "--revision", "r"]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        pytest.param(
            OUT_OF_MEMORY,
            "torch.OutOfMemoryError: CUDA out of memory. Tried 2 GiB",
            id="what began in the engine, and not what came of it",
        ),
        pytest.param("ValueError: first\nKeyError: 'last'\n", "KeyError: 'last'", id="the last of several"),
        pytest.param(USAGE, None, id="no error of Python's: the kubelet takes the log's end"),
    ],
)
def test_a_failure_is_told_by_the_error_that_it_began_with(
    said: str, kept: str | None, start: Start, message: Path, tmp_path: Path
) -> None:
    (tmp_path / "said").write_text(said)
    process = start(f"cat {tmp_path / 'said'}; exit 3")
    assert process.communicate()[0] == said
    assert process.returncode == 3
    assert (message.read_text() if message.exists() else None) == kept
    assert gist(kept or "") == (kept or "")


def test_an_error_that_vllm_survives_is_no_failure(start: Start, message: Path) -> None:
    process = start(f"echo 'ValueError: of one request'; {UNTIL_TOLD}")
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)][1] == "ready\n"
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 0
    assert not message.exists()


def test_a_server_that_ends_well_without_being_told_to_has_failed(start: Start, message: Path) -> None:
    process = start("echo 'torch.OutOfMemoryError: CUDA out of memory.'; exit 0")
    process.communicate()
    assert process.returncode == 1
    assert message.read_text() == "torch.OutOfMemoryError: CUDA out of memory."


def test_a_long_error_is_kept_within_what_a_kubelet_reads(start: Start, message: Path) -> None:
    start("echo \"ValueError: $(head -c 9000 /dev/zero | tr '\\0' x)\"; exit 1").communicate()
    assert len(message.read_bytes()) == 2000


def test_the_kubelet_s_signal_reaches_vllm_which_ends_as_it_likes(start: Start) -> None:
    process = start(UNTIL_TOLD)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate()[0] == "draining\n"
    assert process.returncode == 0


@pytest.mark.parametrize("attempt", range(5))
def test_a_signal_at_the_moment_at_which_vllm_starts_reaches_it_too(start: Start, attempt: int) -> None:
    process = start("trap 'echo draining; exit 0' TERM; kill -TERM $PPID; while :; do sleep 0.05; done")
    assert process.communicate(timeout=20)[0] == "draining\n"
    assert process.returncode == 0


def test_a_signal_that_kills_vllm_is_told_as_shells_do(start: Start) -> None:
    process = start("kill -KILL $$")
    process.communicate()
    assert process.returncode == 137


def test_what_vllm_leaves_behind_does_not_keep_the_container_up(start: Start, message: Path) -> None:
    process = start("echo 'RuntimeError: stuck'; sleep 60 & exit 1")
    assert process.wait(timeout=20) == 1
    assert message.read_text() == "RuntimeError: stuck"
    assert process.stdout is not None
    process.stdout.close()
