"""What a running vLLM has answered to what a front asked of it: recorded once, replayed in tests.

To record anew, from the root of the repository, with a vLLM that serves the built-in model:

    vllm serve inference/berth_inference/models/tiny-chat --served-model-name my-model --dtype float32
    PYTHONPATH=tests python -m server.recorded_vllm http://127.0.0.1:8000
"""

from __future__ import annotations

import json
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from fastapi.testclient import TestClient

from berth_inference.app import create_app
from berth_inference.fronting import load_front
from berth_inference.settings import Settings
from server.conftest import wait_until_ready
from server.fake_vllm import ANSWERS, SERVED

RECORDING = ANSWERS / "recorded.json"
QUESTION = [{"role": "user", "content": "What is a pod?"}]
GREEDY = {"temperature": 0, "max_tokens": 20}

# Whatever two engines have to answer alike: nothing that is drawn.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/chat", {"messages": QUESTION, "generate_kwargs": {"do_sample": False, "max_new_tokens": 40}}),
    "chat with a prompt": ("/chat", {"prompt": "What is a pod?", "generate_kwargs": {"do_sample": False}}),
    "chat with beams": (
        "/chat",
        {"messages": QUESTION, "generate_kwargs": {"do_sample": False, "num_beams": 3, "max_new_tokens": 12}},
    ),
    "generate": ("/v1/generate", {"prompt": "What is a pod?", **GREEDY}),
    "a completion": ("/v1/completions", {"prompt": "What is a pod?", **GREEDY}),
    "a completion in parts": ("/v1/completions", {"prompt": "What is a pod?", **GREEDY, "stream": True}),
    "two prompts": ("/v1/completions", {"prompt": ["A Service", "A pod"], **GREEDY}),
    "a completion with a stop string": (
        "/v1/completions",
        {"prompt": "What is a pod?", **GREEDY, "stop": ["Kubernetes"]},
    ),
    "a completion without its end": (
        "/v1/completions",
        {"prompt": "Hello", **GREEDY, "max_tokens": 60, "ignore_eos": True},
    ),
    "a completion with penalties": (
        "/v1/completions",
        {"prompt": "A pod", **GREEDY, "frequency_penalty": 1.5, "presence_penalty": 0.5},
    ),
    "a completion with a bias": ("/v1/completions", {"prompt": "A", **GREEDY, "logit_bias": {"340": -100}}),
    "a completion with log-probabilities": (
        "/v1/completions",
        {"prompt": "What is a pod?", **GREEDY, "logprobs": 3},
    ),
    "a chat completion": ("/v1/chat/completions", {"messages": QUESTION, **GREEDY, "max_tokens": 40}),
    "a chat completion in parts": (
        "/v1/chat/completions",
        {"messages": QUESTION, **GREEDY, "stream": True, "stream_options": {"include_usage": True}},
    ),
    "a chat completion with log-probabilities": (
        "/v1/chat/completions",
        {"messages": QUESTION, **GREEDY, "logprobs": True, "top_logprobs": 2},
    ),
}


@dataclass(frozen=True, slots=True)
class Exchange:
    """One question, and what came back."""

    method: str
    path: str
    body: dict[str, Any] | None
    status: int
    content_type: str
    answer: str


Answers = Callable[[str, str, dict[str, Any] | None], Exchange]


@contextmanager
def answering(answers: Answers) -> Iterator[str]:
    """A server on a free loopback port that asks `answers` for everything; its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None: ...

        def do_GET(self) -> None:
            self._send(answers("GET", self.path, None))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._send(answers("POST", self.path, body))

        def _send(self, exchange: Exchange) -> None:
            data = exchange.answer.encode()
            self.send_response(exchange.status)
            self.send_header("Content-Type", exchange.content_type)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(5)


def replayed() -> Answers:
    """Answers as vLLM did; with 501 to what it was not asked, and without metrics."""
    exchanges = [Exchange(**one) for one in json.loads(RECORDING.read_text(encoding="utf-8"))]

    def answers(method: str, path: str, body: dict[str, Any] | None) -> Exchange:
        for one in exchanges:
            if (one.method, one.path, one.body) == (method, path, body):
                return one
        return Exchange(method, path, body, 501, "text/plain", "not recorded")

    return answers


@contextmanager
def fronted(url: str) -> Iterator[TestClient]:
    """A front before a vLLM, ready."""
    with TestClient(
        create_app(Settings(model=SERVED, upstream=url, tokenizer="tiny-chat"), load_front)
    ) as client:
        wait_until_ready(client)
        yield client


def record(url: str) -> list[Exchange]:
    """Ask every case of a front before the vLLM there; return what the two said to each other."""
    exchanges: list[Exchange] = []

    def answers(method: str, path: str, body: dict[str, Any] | None) -> Exchange:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            url + path, data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request) as answer:
                status, said, kind = answer.status, answer.read().decode(), answer.headers["Content-Type"]
        except urllib.error.HTTPError as error:
            status, said, kind = error.code, error.read().decode(), error.headers["Content-Type"]
        found = Exchange(method, path, body, status, kind or "text/plain", said)
        if path != "/metrics" and (method, path, body) not in [(e.method, e.path, e.body) for e in exchanges]:
            exchanges.append(found)
        return found

    with answering(answers) as address, fronted(address) as client:
        for path, body in CASES.values():
            answer = client.post(path, json=body)
            assert answer.status_code == 200, (path, body, answer.text)
    return exchanges


if __name__ == "__main__":
    found = [asdict(one) for one in record(sys.argv[1])]
    RECORDING.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
