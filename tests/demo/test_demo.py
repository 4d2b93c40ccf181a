"""`make demo` and `berth local` as a newcomer runs them: whole processes, the shipped model, nothing left behind."""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BERTH = [sys.executable, "-m", "berth_operator.cli"]

START_SECONDS = 60.0
MODEL_SECONDS = 180.0
"""Importing torch on a loaded two-core machine takes the most of it."""


def mentioning(folder: str) -> set[int]:
    """The processes whose command line, environment or working directory lies in a folder."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            said = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            if folder.encode() in said or str((process / "cwd").readlink()).startswith(folder):
                found.add(int(process.name))
    return found - {os.getpid()}


def until_gone(folder: str, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while left := mentioning(folder):
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.05)


@pytest.fixture
def temporary(tmp_path: Path) -> dict[str, str]:
    """An environment whose temporary folder is the test's own, so that what is left in it can be seen."""
    return {**os.environ, "TMPDIR": str(tmp_path)}


@pytest.mark.timeout(MODEL_SECONDS + 60)
def test_the_demo_ends_with_an_answer_and_leaves_nothing(tmp_path: Path, temporary: dict[str, str]) -> None:
    done = subprocess.run(
        [*BERTH, "demo", "--timeout", str(MODEL_SECONDS)],
        capture_output=True,
        text=True,
        env=temporary,
        cwd=ROOT,
        check=False,
        timeout=MODEL_SECONDS + 60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answer = re.search(r"^Answer:\s+(.+)$", done.stdout, re.MULTILINE)
    assert answer is not None
    assert "kubernetes" in answer[1].lower()
    assert "workspace-tiny-chat" in done.stdout
    assert "NAME" in done.stdout
    assert done.stderr == ""
    until_gone(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_demo_that_does_not_get_ready_says_why(temporary: dict[str, str]) -> None:
    done = subprocess.run(
        [*BERTH, "demo", "--timeout", "3"],
        capture_output=True,
        text=True,
        env=temporary | {"BERTH_PRESETS_DIR": str(ROOT / "docs")},
        cwd=ROOT,
        check=False,
        timeout=START_SECONDS,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "berth demo: Workspace workspace-tiny-chat was not ready within 3 s"
    )
    assert "Operator log" in done.stderr
    assert "Traceback" not in done.stderr


@contextlib.contextmanager
def berth_local(*arguments: str, env: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `berth local` and give its process and the first line that it printed."""
    with subprocess.Popen(
        [*BERTH, "local", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=env,
        cwd=ROOT,
    ) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def server_of(kubeconfig: str) -> str:
    return str(yaml.safe_load(Path(kubeconfig).read_text())["clusters"][0]["cluster"]["server"])


def pods(url: str) -> list[dict[str, object]]:
    with urllib.request.urlopen(f"{url}/api/v1/namespaces/default/pods") as response:
        found: list[dict[str, object]] = json.load(response)["items"]
        return found


def until_running(url: str) -> None:
    """Wait until the example's container has a process."""
    deadline = time.monotonic() + START_SECONDS
    while '"running"' not in json.dumps(pods(url)):
        assert time.monotonic() < deadline, pods(url)
        time.sleep(0.1)


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=["SIGINT", "SIGTERM", "SIGKILL"]
)
def test_however_berth_local_ends_nothing_of_it_is_left(
    tmp_path: Path, temporary: dict[str, str], number: signal.Signals
) -> None:
    if not Path("/proc/self/environ").exists():
        pytest.skip("what is left is found by /proc")
    with berth_local("--apply", "examples/workspace-tiny-chat.yaml", env=temporary) as (process, kubeconfig):
        assert Path(kubeconfig).is_file()
        until_running(server_of(kubeconfig))
        assert len(mentioning(str(tmp_path))) >= 3  # berth local itself, the operator, the server
        process.send_signal(number)
        code = process.wait(START_SECONDS)
        assert code == (0 if number != signal.SIGKILL else -signal.SIGKILL)
    until_gone(str(tmp_path))
    deadline = time.monotonic() + START_SECONDS
    while left := list(tmp_path.iterdir()):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def test_a_state_folder_is_kept_and_used_by_one_at_a_time(tmp_path: Path, temporary: dict[str, str]) -> None:
    state = tmp_path / "state"
    manifest = tmp_path / "secret.yaml"
    manifest.write_text("apiVersion: v1\nkind: Secret\nmetadata: {name: kept}\n")
    with berth_local("--state", str(state), "--apply", str(manifest), env=temporary) as (process, kubeconfig):
        assert kubeconfig == str(state / "kubeconfig")
        second = subprocess.run(
            [*BERTH, "local", "--state", str(state)],
            capture_output=True,
            text=True,
            env=temporary,
            check=False,
        )
        assert second.returncode == 1
        assert second.stderr == (
            f"berth local: {state} is in use by another berth local; stop it, or name another folder\n"
        )
        url = server_of(kubeconfig)
        deadline = time.monotonic() + START_SECONDS
        while process.stdout is not None and "Ctrl-C" not in process.stdout.readline():
            assert time.monotonic() < deadline
        process.send_signal(signal.SIGINT)
        assert process.wait(START_SECONDS) == 0
    with berth_local("--state", str(state), env=temporary) as (process, kubeconfig):
        url = server_of(kubeconfig)
        with urllib.request.urlopen(f"{url}/api/v1/namespaces/default/secrets/kept") as response:
            assert json.load(response)["metadata"]["name"] == "kept"
        process.send_signal(signal.SIGTERM)
        assert process.wait(START_SECONDS) == 0


async def test_an_operator_that_dies_is_started_again(tmp_path: Path) -> None:
    from berth_local.agent.plan.backoff import Backoff
    from berth_local.agent.processes import Processes
    from berth_local.operator_process import OperatorProcess

    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text("not a kubeconfig")
    processes = Processes()
    operator = OperatorProcess(processes, kubeconfig, tmp_path / "operator.log", Backoff(0.1, 0.2))
    running = asyncio.create_task(operator.run())
    try:
        async with asyncio.timeout(START_SECONDS):
            while operator.restarts < 1:
                if (pid := operator.pid) is not None:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                await asyncio.sleep(0.05)
    finally:
        await operator.stop()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        processes.close()
    assert (tmp_path / "operator.log").exists()
