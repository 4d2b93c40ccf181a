"""A server that allows little, so that its answers are quick and its bounds near."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from berth_inference.app import create_app
from berth_inference.loading import load_engine
from berth_inference.service import Service
from berth_inference.settings import Settings
from server.random_model import save_model

# Of every role and with tools, in the form that Hermes and Qwen write calls.
_TEMPLATE = (
    "{% if tools %}{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}<|end|>{% endif %}"
    "{% for m in messages %}<|user|>{{ m.role }}\n{{ m.content }}{% for call in m.tool_calls %}\n<tool_call>\n"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}\n</tool_call>'
    "{% endfor %}<|end|>{% endfor %}{% if add_generation_prompt %}<|user|>assistant\n{% endif %}"
)
_CONTEXT = 1024

NAME = "my-model"
MOST_TOKENS = 3
MOST_SEQUENCES = 3
LAST_TOKEN = 431  # of the vocabulary that the random model has

_QUESTION = {"prompt": "What is the meaning of life?", "generate_kwargs": {"do_sample": False}}


@dataclass(frozen=True)
class LimitedServer:
    """The application in process, and what it answered to the first question."""

    client: TestClient
    folder: Path
    answer: Any

    def check(self) -> None:
        """Nothing is left of what it was sent, and it answers as it did at first."""
        service: Service = self.client.app.state.service  # type: ignore[attr-defined]
        deadline = time.monotonic() + 20
        while (left := service.occupancy).running or left.waiting or left.kv_usage:
            assert time.monotonic() < deadline, left
            time.sleep(0.01)
        assert self.client.get("/health").status_code == 200
        assert self.client.get("/livez").status_code == 200
        assert ask(self.client) == self.answer


def ask(client: TestClient) -> Any:
    """What it answers to a plain question, without sampling."""
    response = client.post("/chat", json=_QUESTION)
    assert response.status_code == 200, response.text
    return response.json()


@contextmanager
def limited_server(folder: Path, wait_until_ready: Any) -> Iterator[LimitedServer]:
    """Serves a model that it saves there. A failure of the server's own is an answer here, as over HTTP."""
    save_model(folder, template=_TEMPLATE, context=_CONTEXT)
    settings = Settings(
        model=str(folder),
        served_model_name=(NAME,),
        dtype="float32",
        device="cpu",
        max_body_bytes=2**18,
        max_output_tokens=MOST_TOKENS,
        max_sequences=MOST_SEQUENCES,
        max_beams=MOST_SEQUENCES,
        max_queued=8,
        request_seconds=30,
    )
    with TestClient(create_app(settings, load_engine), raise_server_exceptions=False) as client:
        wait_until_ready(client)
        info = client.app.state.service.engine.info  # type: ignore[attr-defined]
        assert (info.has_tools, info.vocabulary) == (True, LAST_TOKEN + 1)
        yield LimitedServer(client, folder, ask(client))
