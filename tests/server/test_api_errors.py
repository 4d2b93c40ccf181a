"""What each API answers when the engine refuses, and when it fails in the middle of an answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from berth_inference.errors import BerthError, ErrorKind
from server.stub_engine import StubEngine, serving, tokenizer_of

BODIES: dict[str, dict[str, Any]] = {
    "/chat": {"prompt": "hello"},
    "/v1/generate": {"prompt": "hello"},
    "/v1/completions": {"prompt": "hello"},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hello"}]},
}

REFUSALS = [
    pytest.param(ErrorKind.OVERLOADED, 429, "rate_limit_error", id="too many wait"),
    pytest.param(ErrorKind.UNAVAILABLE, 503, "server_error", id="the server is going down"),
    pytest.param(ErrorKind.DEADLINE, 504, "server_error", id="it took too long"),
    pytest.param(ErrorKind.INTERNAL, 500, "server_error", id="the model failed"),
]


@pytest.mark.parametrize(("kind", "status", "name"), REFUSALS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("path", BODIES)
def test_a_refusal_has_its_status_and_the_form_of_its_api(
    model_folder: Path, path: str, stream: bool, kind: ErrorKind, status: int, name: str
) -> None:
    refused = BerthError(kind, "Not now.", retry_after=7)
    with serving(StubEngine(tokenizer_of(model_folder), refuses=refused)) as client:
        response = client.post(path, json={**BODIES[path], "stream": stream})
    assert response.status_code == status
    assert response.headers["retry-after"] == "7"
    if path in ("/chat", "/v1/generate"):
        assert response.json() == {"detail": "Not now.", "code": kind.value, "param": None}
    else:
        assert response.json()["error"] == {
            "message": "Not now.", "type": name, "param": None, "code": kind.value
        }  # fmt: skip


@pytest.mark.parametrize(("kind", "status", "name"), REFUSALS)
@pytest.mark.parametrize("path", BODIES)
def test_a_failure_in_the_middle_of_a_whole_answer_has_its_status(
    model_folder: Path, path: str, kind: ErrorKind, status: int, name: str
) -> None:
    engine = StubEngine(tokenizer_of(model_folder), "the quick brown fox", breaks=BerthError(kind, "Broken."))
    with serving(engine) as client:
        assert client.post(path, json=BODIES[path]).status_code == status


@pytest.mark.parametrize("path", BODIES)
def test_a_stream_that_fails_says_so_and_ends(model_folder: Path, path: str) -> None:
    broken = BerthError(ErrorKind.DEADLINE, 'It took "too"\nlong.')
    engine = StubEngine(tokenizer_of(model_folder), "the quick brown fox", breaks=broken)
    with serving(engine) as client:
        response = client.post(path, json={**BODIES[path], "stream": True})
    assert response.status_code == 200
    if path == "/v1/generate":
        *parts, nothing = response.content.split(b"\0")
        assert nothing == b""
        events = [json.loads(part) for part in parts]
        assert "the quick".startswith(events[0]["text"][0])
    else:
        *lines, last = response.text.removesuffix("\n\n").split("\n\n")
        assert last == "data: [DONE]"
        events = [json.loads(line.removeprefix("data: ")) for line in lines]
        assert len(events) > 1
    error = events[-1].get("error", events[-1])
    assert (error.get("message") or error["detail"]) == 'It took "too"\nlong.'
    assert error["code"] == "deadline_exceeded"


@pytest.mark.parametrize("path", BODIES)
def test_an_answer_without_a_word_is_an_answer(model_folder: Path, path: str) -> None:
    with serving(StubEngine(tokenizer_of(model_folder), "")) as client:
        assert client.post(path, json=BODIES[path]).status_code == 200
        streamed = client.post(path, json={**BODIES[path], "stream": True})
    assert streamed.status_code == 200
    assert streamed.content.endswith(b"\0" if path == "/v1/generate" else b"[DONE]\n\n")
