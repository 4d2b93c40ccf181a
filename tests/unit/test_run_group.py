"""The first processes of a group's containers: vLLM starts on all nodes or on none, and ends everywhere with one.

Every pod is a process here, and all of them have one loopback.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path

import pytest

from berth_operator.plan.diagnosis.ending import server_report
from berth_operator.plan.reasons import Reason

DATA = resources.files("berth_operator") / "data"
SECONDS = 20
SLEEPS = "trap 'echo told; exit 0' TERM; echo starts $*; while :; do sleep 0.05; done"

Process = subprocess.Popen[str]
Start = Callable[..., Process]


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def start(tmp_path: Path, port: int) -> Iterator[Start]:
    """Starts the first process of one pod of a group, with a vLLM that does what is given as a shell script."""
    started: list[Process] = []

    def start(rank: int, does: str = SLEEPS, size: int = 2) -> Process:
        code = (DATA / "run_group.py").read_text(encoding="utf-8")
        code = code.replace("/dev/termination-log", str(message_of(tmp_path, rank)))
        command = [sys.executable, "-I", "-S", "-c", code, str(size), "localhost", str(port)]
        process = subprocess.Popen(
            [*command, "/bin/sh", "-c", does, "vllm", "--flag"],
            env={"PATH": "/usr/bin:/bin", "BERTH_NODE_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
            # So that the vLLM of one that is killed ends with it, as a container's processes do.
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        kill(process)
        process.communicate(timeout=SECONDS)


def kill(process: Process) -> None:
    """End all processes of a container at once, as the end of its node does."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def message_of(folder: Path, rank: int) -> Path:
    return folder / f"termination-log-{rank}"


def until(process: Process, words: str) -> None:
    """Read what a process prints until it prints this."""
    assert process.stdout is not None
    for line in process.stdout:
        if words in line:
            return
    pytest.fail(f'it ended without saying "{words}"')


def test_vllm_starts_once_all_are_there_and_serves_in_the_first_alone(start: Start) -> None:
    first = start(0, size=3)
    second = start(1, size=3)
    until(first, "node 1 is there")
    third = start(2, size=3)
    until(first, "starts --flag\n")
    for other in (second, third):
        until(other, "starts --flag --headless\n")


def test_those_who_come_before_the_first_wait_for_it(start: Start) -> None:
    second = start(1)
    until(second, "node 1 waits for localhost")
    first = start(0)
    until(first, "starts")
    until(second, "starts")


def test_one_that_is_started_again_before_all_are_there_is_counted_once(start: Start) -> None:
    first = start(0, size=3)
    lost = start(1, size=3)
    until(first, "node 1 is there")
    kill(lost)
    again = start(1, size=3)
    until(first, "node 1 is there")
    third = start(2, size=3)
    for one in (first, again, third):
        until(one, "starts")


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_when_one_is_gone_vllm_ends_everywhere_and_says_why(start: Start, tmp_path: Path, gone: int) -> None:
    group = [start(rank, size=3) for rank in range(3)]
    for one in group:
        until(one, "starts")
    kill(group[gone])
    for rank, one in enumerate(group):
        if rank == gone:
            continue
        until(one, "told")
        assert one.wait(SECONDS) == 1
        reason, said = server_report(message_of(tmp_path, rank).read_text())
        assert reason is Reason.PEER_LOST
        assert ("node 0" if rank else f"node {gone}") in said or gone == 0
    assert not message_of(tmp_path, gone).exists()


def test_a_failure_is_told_by_the_node_that_it_came_from(start: Start, tmp_path: Path) -> None:
    first, second = start(0), start(1, "echo starts; sleep 0.2; exit 3")
    until(first, "starts")
    assert second.wait(SECONDS) == 3
    assert first.wait(SECONDS) == 1
    assert "node 1" in json.loads(message_of(tmp_path, 0).read_text())["message"]
    assert not message_of(tmp_path, 1).exists()


def test_a_node_without_a_server_whose_vllm_just_ends_has_failed(start: Start) -> None:
    first, second = start(0), start(1, "exit 0")
    assert second.wait(SECONDS) == 1
    assert first.wait(SECONDS) == 1


def test_when_all_are_told_to_end_each_lets_vllm_finish(start: Start, tmp_path: Path) -> None:
    slow = (
        "trap 'echo told; sleep 0.5; echo finished; exit 0' TERM; echo starts; while :; do sleep 0.05; done"
    )
    first, second = start(0, slow), start(1)
    until(first, "starts")
    until(second, "starts")
    first.send_signal(signal.SIGTERM)
    until(first, "told")
    second.send_signal(signal.SIGTERM)
    assert second.wait(SECONDS) == 0
    until(first, "finished")
    assert first.wait(SECONDS) == 0
    assert not message_of(tmp_path, 0).exists()


@pytest.mark.parametrize("attempt", range(5))
def test_a_signal_at_the_moment_at_which_vllm_starts_reaches_it_too(start: Start, attempt: int) -> None:
    first = start(0, SLEEPS.replace("echo starts $*", "kill -TERM $PPID"))
    start(1)
    until(first, "told")
    assert first.wait(SECONDS) == 0


@pytest.mark.parametrize("rank", [0, 1])
def test_one_that_still_waits_for_the_others_ends_when_it_is_told_to(start: Start, rank: int) -> None:
    process = start(rank, size=3)
    if rank == 0:
        start(1, size=3)
    until(process, "waits for" if rank else "node 1 is there")
    process.send_signal(signal.SIGTERM)
    assert process.wait(SECONDS) == 0


def test_a_stranger_is_not_taken_for_a_node(start: Start, port: int) -> None:
    first = start(0, size=3)
    second = start(1, size=3)
    until(first, "node 1 is there")
    for words in (b"GET / HT", b"7\n", b"0\n", b""):
        with socket.create_connection(("localhost", port)) as stranger:
            stranger.sendall(words)
            stranger.shutdown(socket.SHUT_WR)
            assert stranger.recv(8) == b""
    third = start(2, size=3)
    for one in (first, second, third):
        until(one, "starts")


def front(rank: int, port: int, seconds: float) -> Process:
    code = (DATA / "run_group_front.py").read_text(encoding="utf-8")
    command = [sys.executable, "-I", "-S", "-c", code, "localhost", str(port), str(seconds)]
    return subprocess.Popen(
        [*command, "/bin/echo", "front", "--port", "5000"],
        env={"PATH": "/usr/bin:/bin", "BERTH_NODE_RANK": str(rank)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_the_first_pod_becomes_the_front(port: int) -> None:
    assert front(0, port, 5).communicate(timeout=SECONDS)[0] == "front --port 5000\n"


def test_another_pod_ends_once_the_front_has_drained(port: int) -> None:
    with socket.create_server(("localhost", port)) as drains:
        process = front(1, port, 60)
        until(process, "localhost answers for the whole group")
        process.send_signal(signal.SIGTERM)
        for _ in range(2):  # it looks again and again
            drains.accept()[0].close()
        assert process.poll() is None
    assert process.wait(SECONDS) == 0
    process.communicate()


def test_another_pod_ends_when_the_time_for_draining_is_over(port: int) -> None:
    with socket.create_server(("localhost", port)):
        process = front(1, port, 0.2)
        until(process, "localhost answers")
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
        process.communicate()
