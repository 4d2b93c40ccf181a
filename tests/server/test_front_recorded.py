"""A front before the recorded answers of a running vLLM says what Berth's own engine says, in float32."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from server.recorded_vllm import CASES, answering, fronted, replayed

# Which request it was, and of which model.
_OWN = {"id", "created", "model", "system_fingerprint"}
# Of log-probabilities: two engines add float32 numbers up in different orders.
_ROUNDING = 1e-4


@pytest.fixture(scope="module")
def front() -> Iterator[TestClient]:
    with answering(replayed()) as url, fronted(url) as client:
        yield client


@pytest.mark.parametrize(("path", "body"), CASES.values(), ids=CASES)
def test_the_front_says_what_the_own_engine_says(
    front: TestClient, tiny_client: TestClient, path: str, body: dict[str, Any]
) -> None:
    fronted, own = (client.post(path, json=body) for client in (front, tiny_client))
    assert own.status_code == 200, own.text
    assert fronted.status_code == 200, fronted.text
    if body.get("stream"):
        assert _told(fronted.text) == _told(own.text)
    else:
        assert _comparable(fronted.json()) == _comparable(own.json())


def _told(stream: str) -> tuple[str, list[str], list[Any]]:
    """The text, reasons of ends and usage that a stream's events come to, in however many pieces."""
    lines = [line.removeprefix("data: ") for line in stream.splitlines() if line]
    assert lines.pop() == "[DONE]"
    events = [json.loads(line) for line in lines]
    choices = [choice for event in events for choice in event["choices"]]
    pieces = [choice.get("text", choice.get("delta", {}).get("content")) for choice in choices]
    return (
        "".join(piece or "" for piece in pieces),
        [choice["finish_reason"] for choice in choices if choice["finish_reason"]],
        [event["usage"] for event in events if event.get("usage")],
    )


def _comparable(value: Any) -> Any:
    """An answer without what tells one request from another; approximate where numbers were summed up."""
    if isinstance(value, dict):
        return {key: _comparable(one) for key, one in value.items() if key not in _OWN}
    if isinstance(value, list):
        return [_comparable(one) for one in value]
    return pytest.approx(value, abs=_ROUNDING) if isinstance(value, float) else value
