"""Fixtures of the server ring: a tiny random model on disk, and servers that serve it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient

from berth_inference.app import create_app
from berth_inference.settings import Settings
from server.limited_server import LimitedServer, limited_server
from server.random_model import save_model
from server.tiny_chat_server import NAME, TinyChat, greedy_answer


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The usual model: its publisher says nothing of sampling, so that answers are sampled by default."""
    return save_model(tmp_path_factory.mktemp("random-phi3"))


@pytest.fixture(scope="session")
def reference(model_folder: Path) -> Any:
    """transformers' own pipeline over the same files: the oracle."""
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(model_folder, dtype="float32")
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder)
    return transformers.pipeline("text-generation", model=model, tokenizer=tokenizer)


@pytest.fixture(scope="session")
def client(model_folder: Path) -> Iterator[TestClient]:
    """The application in process, ready."""
    from berth_inference.loading import load_engine

    settings = Settings(model=str(model_folder), dtype="float32", device="cpu", max_output_tokens=230)
    with TestClient(create_app(settings, load_engine)) as client:
        wait_until_ready(client)
        yield client


@pytest.fixture(scope="session")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LimitedServer]:
    """A server in process that allows little, for tests that send it much."""
    with limited_server(tmp_path_factory.mktemp("limited-phi3"), wait_until_ready) as server:
        yield server


def wait_until_ready(client: Any, seconds: float = 100) -> None:
    """Polls /health as Kubernetes does."""
    deadline = time.monotonic() + seconds
    while client.get("/health").status_code != 200:
        assert time.monotonic() < deadline, client.get("/health").text
        time.sleep(0.02)


@dataclass
class RunningServer:
    """A server process, where it listens, and what it has written to standard error."""

    process: subprocess.Popen[str]
    url: str = ""
    first_health: httpx2.Response | None = None
    lines: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def wait(self, seconds: float = 30) -> int:
        """The exit code, once all output has been read."""
        code = self.process.wait(seconds)
        assert self.ended.wait(5)
        return code


ServerFactory = Callable[..., RunningServer]


@pytest.fixture(scope="session")
def start_server() -> Iterator[ServerFactory]:
    """Starts `python -m berth_inference` on a free loopback port; returns once it listens or ends."""
    running: list[RunningServer] = []

    def start(*arguments: str, command: str = "serve", **environment: str) -> RunningServer:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("BERTH_")}
        process = subprocess.Popen(
            [sys.executable, "-m", "berth_inference", command, *arguments],
            env={**inherited, "BERTH_HOST": "127.0.0.1", "BERTH_PORT": "0", **environment},
            stderr=subprocess.PIPE,
            text=True,
        )
        server = RunningServer(process)
        running.append(server)
        spoke = threading.Event()

        def read() -> None:
            assert process.stderr is not None
            with process.stderr:
                for line in process.stderr:
                    server.lines.append(line)
                    if found := re.search(r"listening on (http://[^\s\"]+)", line):
                        server.url = found[1]
                        spoke.set()
            server.ended.set()
            spoke.set()

        threading.Thread(target=read, daemon=True).start()
        assert spoke.wait(30), "the server said nothing"
        return server

    yield start
    for server in running:
        if server.process.poll() is None:
            server.process.kill()
        server.wait(10)


@pytest.fixture(scope="session")
def patient_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with a context that holds answers of many seconds."""
    return save_model(tmp_path_factory.mktemp("patient-phi3"), context=8192)


@pytest.fixture(scope="session")
def server(start_server: ServerFactory, patient_folder: Path) -> RunningServer:
    """One real server over HTTP, ready, shared by tests that leave it as it is."""
    started = start_server("--model", str(patient_folder), "--dtype", "float32", "--device", "cpu")
    with httpx2.Client(base_url=started.url) as http:
        started.first_health = http.get("/health")
        wait_until_ready(http)
    return started


@pytest.fixture(scope="session")
def tiny_chat(start_server: ServerFactory) -> TinyChat:
    """The built-in model over HTTP, under the names that an operator would give it."""
    names = ("--served-model-name", "my-workspace", "--served-model-name", NAME)
    started = start_server("--model", "tiny-chat", "--dtype", "float32", "--device", "cpu", *names)
    with httpx2.Client(base_url=started.url) as http:
        wait_until_ready(http)
    return TinyChat(started.url, *greedy_answer())


@pytest.fixture(scope="module")
def tiny_client() -> Iterator[TestClient]:
    """The built-in model in process, ready."""
    import torch

    from berth_inference.loading import load_engine

    # More threads gain nothing on so small a model, and on a busy machine they wait for each other.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    settings = Settings(model="tiny-chat", dtype="float32", device="cpu")
    with TestClient(create_app(settings, load_engine)) as client:
        wait_until_ready(client)
        yield client
    torch.set_num_threads(before)
