"""Fixtures of the server ring: a tiny random model on disk, and servers that serve it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient

from berth_inference.app import create_app
from berth_inference.settings import Settings

CONTEXT = 256

# Phi-3's own template in short: it knows user and assistant, and drops any other role.
TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{ raise_exception('no system role') }}"
    "{% else %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)

TEXT = """Kubernetes runs containers on many machines. A Workspace names a preset, and the operator
makes a Deployment and a Service from it. How to explain Internet for a medieval knight? What is the
meaning of life? YOUR_PROMPT_HERE. The quick brown fox jumps over the lazy dog, and 0123456789 sheep.
"""


def _save_tokenizer(folder: Path, template: str | None) -> int:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=special[1:],
        chat_template=template,
        model_max_length=CONTEXT,
    )
    fast.save_pretrained(folder)
    return len(fast)


def save_model(folder: Path, *, template: str | None = TEMPLATE, generation: dict[str, Any] | None = None) -> Path:
    """A Phi-3 of two layers with random weights, large enough that tokens differ from step to step."""
    import torch
    from transformers import Phi3Config, Phi3ForCausalLM

    vocabulary = _save_tokenizer(folder, template)
    torch.manual_seed(7)
    config = Phi3Config(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        original_max_position_embeddings=CONTEXT,
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=0,
        initializer_range=0.3,
    )
    model = Phi3ForCausalLM(config).eval()
    model.save_pretrained(folder, safe_serialization=True)
    published = {"eos_token_id": [0, 3], "pad_token_id": 0, **(generation or {})}
    (folder / "generation_config.json").write_text(json.dumps(published))
    return folder


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

    settings = Settings(model=str(model_folder), dtype="float32", device="cpu")
    with TestClient(create_app(settings, load_engine)) as client:
        wait_until_ready(client)
        yield client


def wait_until_ready(client: Any, seconds: float = 60) -> None:
    """Polls /health as Kubernetes does."""
    deadline = time.monotonic() + seconds
    while client.get("/health").status_code != 200:
        assert time.monotonic() < deadline, client.get("/health").text
        time.sleep(0.02)


@dataclass
class RunningServer:
    """A server process and what it has logged."""

    process: subprocess.Popen[str]
    url: str
    log: list[str]

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(30)


ServerFactory = Callable[..., RunningServer]


@pytest.fixture(scope="session")
def start_server() -> Iterator[ServerFactory]:
    """Starts `python -m berth_inference serve` on a free loopback port; returns once it listens."""
    running: list[RunningServer] = []

    def start(*arguments: str, environment: dict[str, str] | None = None) -> RunningServer:
        process = subprocess.Popen(
            [sys.executable, "-m", "berth_inference", "serve", *arguments],
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("BERTH_")},
                "BERTH_HOST": "127.0.0.1",
                "BERTH_PORT": "0",
                **(environment or {}),
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        log: list[str] = []
        listening = threading.Event()

        def read() -> None:
            assert process.stderr is not None
            for line in process.stderr:
                log.append(line)
                if "listening on " in line:
                    listening.set()
            listening.set()

        threading.Thread(target=read, daemon=True).start()
        assert listening.wait(30), "the server said nothing"
        found = re.search(r"listening on (http://\S+)", "".join(log))
        assert found, "".join(log)
        running.append(RunningServer(process, found[1], log))
        return running[-1]

    yield start
    for server in running:
        if server.process.poll() is None:
            server.process.kill()
        server.process.wait(10)
        assert server.process.stderr is not None
        server.process.stderr.close()


@pytest.fixture(scope="session")
def server(start_server: ServerFactory, model_folder: Path) -> RunningServer:
    """One real server over HTTP, ready, shared by tests that leave it as it is."""
    started = start_server("--model", str(model_folder), "--dtype", "float32", "--device", "cpu")
    with httpx2.Client(base_url=started.url) as http:
        wait_until_ready(http)
    return started
