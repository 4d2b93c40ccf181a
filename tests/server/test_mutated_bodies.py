"""Two thousand damaged bodies: each is answered, refusals in the route's own form, and nothing is left of them."""

from __future__ import annotations

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from server.limited_server import LimitedServer
from server.mutated_bodies import Mutant, mutants

pytestmark = pytest.mark.thorough

SEED = 20260
CHUNK = 200
AT_ONCE = 8
SECONDS = 30  # the server's own deadline for a request

REFUSALS = frozenset({400, 404, 413, 429, 503, 504})
SECRETS = ("Traceback", "site-packages", "berth_inference", 'File "', ".py")

seen: Counter[tuple[int, str]] = Counter()


@pytest.mark.parametrize("begin", range(0, 2_000, CHUNK))
@pytest.mark.timeout(600)
def test_a_damaged_body_is_answered_as_documented(limited: LimitedServer, begin: int) -> None:
    sent = list(mutants(SEED, range(begin, begin + CHUNK)))
    together, alone = sent[: CHUNK // 2], sent[CHUNK // 2 :]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for mutant, problem in zip(
            together, threads.map(lambda one: _problem(limited, one), together), strict=True
        ):
            assert problem is None, mutant
    for mutant in alone:
        assert _problem(limited, mutant) is None, mutant
    limited.check()


def test_some_were_served_and_some_refused_in_every_way_that_can_be_provoked() -> None:
    statuses: Counter[int] = Counter()
    forms: Counter[str] = Counter()
    for (status, form), count in seen.items():
        statuses[status] += count
        forms[form] += count * (status == 200)
    assert statuses.total() == 2_000
    assert {200, 400, 404, 413, 422} <= set(statuses)
    assert (
        min(forms[form] for form in ("application/json", "text/event-stream", "application/octet-stream"))
        > 20
    )


def _problem(server: LimitedServer, mutant: Mutant) -> str | None:
    """What is wrong with the answer to a damaged body."""
    headers = {} if mutant.content_type is None else {"Content-Type": mutant.content_type.encode()}
    began = time.monotonic()
    response = server.client.post(mutant.path, content=mutant.content, headers=headers)
    seconds = time.monotonic() - began
    status, text = response.status_code, response.text
    form = response.headers["content-type"].partition(";")[0]
    seen[status, form] += 1
    if seconds > SECONDS:
        return f"it took {seconds:.1f} s"
    if any(secret in text for secret in (*SECRETS, str(server.folder))):
        return f"it tells about the server: {text[:500]}"
    try:
        if status == 200:
            _check_answer(response.content, form)
        elif status in REFUSALS or (status, mutant.path) == (422, "/chat"):
            _check_refusal(_json(response.content), mutant.path)
        else:
            return f"it has the status {status}: {text[:500]}"
    except (ValueError, AssertionError, KeyError, TypeError) as error:
        return f"{type(error).__name__} {error}: {status} {text[:500]}"
    return None


def _check_answer(content: bytes, form: str) -> None:
    """Whole, or streamed to its proper end."""
    if form == "text/event-stream":
        *events, last, nothing = content.split(b"\n\n")
        assert (last, nothing) == (b"data: [DONE]", b"")
        assert events
        for event in events:
            assert event.startswith(b"data: ")
            _json(event.removeprefix(b"data: "))
    elif form == "application/octet-stream":
        *texts, nothing = content.split(b"\0")
        assert texts
        assert nothing == b""
        for text in texts:
            assert _json(text).keys() == {"text"}
    else:
        assert form == "application/json"
        assert _json(content)


def _check_refusal(answer: Any, path: str) -> None:
    """In the form that the route's clients read."""
    if path in ("/chat", "/v1/generate"):
        assert answer.keys() == {"detail", "code", "param"}
        message = answer["detail"]
    else:
        assert answer.keys() == {"error"}
        assert answer["error"].keys() == {"message", "type", "param", "code"}
        message = answer["error"]["message"]
    assert message
    assert len(message) < 1_000


def _json(content: bytes) -> Any:
    def refuse(literal: str) -> Any:
        raise ValueError(f"{literal} is no JSON")

    return json.loads(content.decode(), parse_constant=refuse)
