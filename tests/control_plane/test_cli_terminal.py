"""berth chat as people use it: typed at a terminal, through a port that kubectl forwards, ended as terminals end."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from control_plane.cluster import Cluster
from control_plane.model_server import report, server
from control_plane.planes import ControlPlane

PATIENCE_SECONDS = 30.0
NOWHERE = "http://127.0.0.1:9"
"""An endpoint at which nobody answers: the discard port."""

BERTH = ("-m", "berth_operator.cli")
FORWARDING = """#!{python}
import pathlib, sys, time
pathlib.Path({seen!r}).write_text(" ".join(sys.argv[1:]))
print("Forwarding from 127.0.0.1:{port} -> 5000", flush=True)
time.sleep(600)
"""
FAILING = """#!{python}
import sys
sys.exit("error: unable to forward port because pod is not running. Current status=Pending")
"""


INTERRUPTED_BEFORE_IT_WAITS = """
import ctypes, functools, os, readline, signal
from berth_operator.cli import chat

# readline calls the hook between the prompt and the wait. Without Python code in it, no handler runs within it.
readline.set_pre_input_hook(functools.partial(ctypes.CDLL(None).kill, os.getpid(), signal.SIGINT))
try:
    chat._typed()
except KeyboardInterrupt:
    print("interrupted")
"""


class Terminal:
    """Python with these arguments, at a terminal of its own."""

    def __init__(self, *arguments: str, path: str) -> None:
        ours, its = pty.openpty()
        self._fd = ours
        self.shown = ""
        # A terminal without abilities shows the words alone.
        environment = {**os.environ, "PATH": path, "TERM": "dumb"}
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=its,
            stdout=its,
            stderr=its,
            env=environment,
            start_new_session=True,
        )
        os.close(its)

    async def shows(self, words: str) -> None:
        """Return once these words have been shown."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while words not in self.shown:
                self.shown += (await asyncio.to_thread(os.read, self._fd, 4096)).decode()

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    async def ends(self) -> int:
        return await asyncio.to_thread(self.process.wait, PATIENCE_SECONDS)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._fd)


@contextmanager
def terminal(*arguments: str, path: str = os.environ["PATH"]) -> Iterator[Terminal]:
    opened = Terminal(*arguments, path=path)
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture
def options(control_plane: ControlPlane, namespace: str) -> list[str]:
    return ["-n", namespace, "--kubeconfig", str(control_plane.kubeconfig)]


def kubectl(folder: Path, script: str, **values: object) -> str:
    """A kubectl that does this; return a PATH on which it is the first."""
    program = folder / "kubectl"
    program.write_text(script.format(python=sys.executable, **values))
    program.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


async def test_a_conversation_at_a_terminal_goes_on_until_ctrl_d(
    cluster: Cluster, name: str, options: list[str]
) -> None:
    async with server(openai=True) as (address, asked):
        await report(cluster, name, ready=True, message="", endpoint=address)
        with terminal(*BERTH, "chat", name, *options) as chat:
            await chat.shows("> ")
            chat.type("Hi\n")
            await chat.shows("> Hi\r\nHello there.\r\n> ")
            chat.type("And now?\n")
            await chat.shows("> And now?\r\nHello there.\r\n> ")
            chat.type("\x04")
            assert await chat.ends() == 0
    assert [turn["content"] for turn in asked[1]["messages"]] == ["Hi", "Hello there.", "And now?"]


async def test_ctrl_c_at_the_prompt_ends_at_once(cluster: Cluster, name: str, options: list[str]) -> None:
    async with server(openai=True) as (address, _):
        await report(cluster, name, ready=True, message="", endpoint=address)
        with terminal(*BERTH, "chat", name, *options) as chat:
            await chat.shows("> ")
            chat.process.send_signal(signal.SIGINT)
            assert await chat.ends() == 130
            assert "Traceback" not in chat.shown


async def test_ctrl_c_between_the_prompt_and_the_wait_for_keys_is_not_held_back() -> None:
    with terminal("-c", INTERRUPTED_BEFORE_IT_WAITS) as chat:
        await chat.shows("interrupted")
        assert await chat.ends() == 0


async def test_where_the_endpoint_cannot_be_reached_kubectl_forwards_a_port(
    cluster: Cluster, name: str, namespace: str, options: list[str], tmp_path: Path
) -> None:
    async with server(openai=True) as (address, _):
        await report(cluster, name, ready=True, message="", endpoint=NOWHERE)
        seen = tmp_path / "seen"
        path = kubectl(tmp_path, FORWARDING, seen=str(seen), port=address.rpartition(":")[2])
        with terminal(*BERTH, "chat", name, "-m", "Hi", *options, path=path) as chat:
            await chat.shows("Hello there.\r\n")
            assert await chat.ends() == 0
    asked_for = seen.read_text()
    assert f"port-forward --address 127.0.0.1 -n {namespace}" in asked_for
    assert f"service/{name} :80" in asked_for


async def test_a_port_that_cannot_be_forwarded_is_told_in_kubectl_s_words(
    cluster: Cluster, name: str, options: list[str], tmp_path: Path
) -> None:
    await report(cluster, name, ready=True, message="", endpoint=NOWHERE)
    with terminal(*BERTH, "chat", name, "-m", "Hi", *options, path=kubectl(tmp_path, FAILING)) as chat:
        await chat.shows("kubectl port-forward: error: unable to forward port because pod is not running")
        assert await chat.ends() == 1
    assert "Traceback" not in chat.shown
