"""Requests have ids and leave one line in the log, which holds no word of what people wrote unless asked to."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient

from berth_inference.app import create_app
from berth_inference.engine import Engine
from berth_inference.errors import LoadError
from berth_inference.logs import JsonFormatter, TextFormatter
from berth_inference.metrics import Metrics
from berth_inference.progress import LoadProgress
from berth_inference.request_log import RequestLog
from berth_inference.request_record import RequestRecord, current_record, request_id
from berth_inference.settings import Settings
from server.conftest import RunningServer, ServerFactory, wait_until_ready

NEW = re.compile(r"[0-9a-f]{32}")


# --- ids


@pytest.mark.parametrize(
    "given",
    ["a", "0af7651916cd43dd8448eb211c80319c", "x" * 128, "job 7: {try=2}"],
    ids=["short", "trace", "longest", "punctuation"],
)
def test_the_clients_id_is_kept(given: str) -> None:
    assert request_id(given) == given


@pytest.mark.parametrize(
    "given",
    [None, "", "x" * 129, "a\nb", "a\x00", "\x7f", "é", "a\tb"],
    ids=["none", "empty", "too long", "line end", "null", "delete", "not ASCII", "tab"],
)
def test_an_id_that_is_unfit_is_replaced(given: str | None) -> None:
    assert NEW.fullmatch(request_id(given))
    assert request_id(given) != request_id(given)


def never(_: Settings, __: LoadProgress) -> Engine:
    raise LoadError("there is no model")


@pytest.fixture
def app_client() -> Iterator[TestClient]:
    app = create_app(Settings(model="m", max_body_bytes=100), never)

    @app.get("/break")
    async def broken() -> None:
        raise RuntimeError("a secret path")

    @app.get("/mine")
    async def mine() -> dict[str, str]:
        record = current_record.get()
        assert record is not None
        return {"id": record.id}

    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/health", 503),
        ("GET", "/metrics", 200),
        ("GET", "/nowhere", 404),
        ("GET", "/chat", 405),
        ("POST", "/chat", 422),
        ("GET", "/break", 500),
    ],
)
def test_every_answer_bears_the_id(app_client: TestClient, method: str, path: str, status: int) -> None:
    named = app_client.request(method, path, headers={"X-Request-Id": "mine-7"})
    assert (named.status_code, named.headers.get_list("x-request-id")) == (status, ["mine-7"])
    assert NEW.fullmatch(app_client.request(method, path).headers["x-request-id"])


def test_a_body_that_is_too_large_is_refused_with_the_id(app_client: TestClient) -> None:
    answer = app_client.post("/chat", content=b"x" * 101, headers={"X-Request-Id": "mine-7"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (413, "mine-7")


def test_routes_find_the_id_of_their_request(app_client: TestClient) -> None:
    assert app_client.get("/mine", headers={"X-Request-Id": "mine-7"}).json() == {"id": "mine-7"}


# --- lines


def record(message: str = "request", **fields: Any) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "n", "levelno": 20, "levelname": "INFO", "msg": message})
    if fields:
        made.fields = fields
    return made


def test_fields_follow_the_message_in_text_and_nothing_can_pose_as_one() -> None:
    line = TextFormatter().format(
        record(route="/v1/models/{id}", seconds=1.23456, error=None, body='a b=c\n"d" é')
    )
    assert line.endswith(
        ' INFO n: request route=/v1/models/{id} seconds=1.235 body="a b=c\\n\\"d\\" \\u00e9"'
    )


def test_a_json_line_holds_the_same_fields() -> None:
    line = json.loads(JsonFormatter().format(record(route="/chat", seconds=1.5, error=None)))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", line.pop("time"))
    assert line == {"level": "info", "logger": "n", "message": "request", "route": "/chat", "seconds": 1.5}


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()], ids=["text", "json"])
def test_any_line_that_is_written_for_a_request_bears_its_id(formatter: logging.Formatter) -> None:
    token = current_record.set(RequestRecord("mine-7"))
    try:
        line = formatter.format(record("the generation failed"))
    finally:
        current_record.reset(token)
    assert "mine-7" in line
    assert "request_id" not in formatter.format(record("the model is ready"))


def test_a_traceback_stays_in_one_json_line() -> None:
    try:
        raise ValueError("x")
    except ValueError:
        made = logging.makeLogRecord({"msg": "failed", "exc_info": sys.exc_info()})
    text = JsonFormatter().format(made)
    assert "\n" not in text
    assert json.loads(text)["exception"].endswith("ValueError: x")


def requests_in(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [one.fields for one in caplog.records if hasattr(one, "fields")]


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def test_a_failure_is_logged_with_its_id(app_client: TestClient, logged: pytest.LogCaptureFixture) -> None:
    app_client.get("/break", headers={"X-Request-Id": "mine-7"})
    (line,) = requests_in(logged)
    assert line.pop("seconds") >= 0
    assert line == {
        "method": "GET",
        "route": "/break",
        "status": 500,
        "request_id": "mine-7",
        "error": "internal_error",
    }


@pytest.mark.parametrize("path", ["/health", "/healthz", "/livez", "/metrics"])
def test_probes_and_scrapes_are_not_logged(
    app_client: TestClient, logged: pytest.LogCaptureFixture, path: str
) -> None:
    app_client.get(path)
    assert requests_in(logged) == []


@pytest.mark.parametrize(
    ("complete", "status"), [(False, 499), (True, 200)], ids=["before its end", "after it"]
)
async def test_a_client_that_leaves_a_stream_counts_by_when_it_left(
    logged: pytest.LogCaptureFixture, complete: bool, status: int
) -> None:
    async def streaming(_: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": not complete})
        await receive()

    async def left() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def sent(_: Any) -> None:
        pass

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    await RequestLog(streaming, Metrics("m"), log_prompts=False)(scope, left, sent)
    (line,) = requests_in(logged)
    assert line["status"] == status


# --- the process


def started(start_server: ServerFactory, folder: Path, *arguments: str) -> RunningServer:
    server = start_server(
        "--model", str(folder), "--dtype", "float32", "--device", "cpu", "--log-format", "json", *arguments
    )
    with httpx2.Client(base_url=server.url) as http:
        wait_until_ready(http)
    return server


@pytest.fixture(scope="module")
def server(start_server: ServerFactory, patient_folder: Path) -> RunningServer:
    return started(start_server, patient_folder)


def ask(server: RunningServer, identity: str, timeout: float = 30, **arguments: Any) -> httpx2.Response:
    return httpx2.post(
        f"{server.url}/chat",
        json={"prompt": "hello CANARY", "generate_kwargs": {"max_new_tokens": 5, **arguments}},
        headers={"X-Request-Id": identity},
        timeout=timeout,
    )


def line_of(server: RunningServer, identity: str) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        lines = [json.loads(line) for line in server.lines]
        return next((line for line in lines if line.get("request_id") == identity), None)

    return _until(found)


def test_an_answer_leaves_a_line_with_what_it_cost(server: RunningServer) -> None:
    answer = ask(server, "whole", return_dict_in_generate=True)
    assert answer.headers["x-request-id"] == "whole"
    details, line = answer.json()["details"], line_of(server, "whole")
    assert (line["method"], line["route"], line["status"]) == ("POST", "/chat", 200)
    assert (line["prompt_tokens"], line["output_tokens"]) == (
        details["prompt_tokens"],
        details["output_tokens"],
    )
    assert line["finish_reason"] == details["sequences"][0]["finish_reason"]
    assert 0 < line["first_token_seconds"] <= line["seconds"]
    assert "error" not in line


def test_a_refusal_leaves_a_line_with_its_kind(server: RunningServer) -> None:
    assert ask(server, "refused", top_p=2).status_code == 400
    line = line_of(server, "refused")
    assert (line["status"], line["error"]) == (400, "invalid_request")
    assert "prompt_tokens" not in line


def test_a_client_that_leaves_is_a_499(server: RunningServer) -> None:
    with pytest.raises(httpx2.TimeoutException):
        ask(server, "gone", timeout=0.3, max_new_tokens=4096, min_new_tokens=4096)
    line = line_of(server, "gone")
    assert (line["status"], line["finish_reason"]) == (499, "abort")
    assert line["prompt_tokens"] > 0


def test_what_people_write_is_not_logged(server: RunningServer) -> None:
    ask(server, "quiet")
    ask(server, "quiet-refused", top_p=2)
    line_of(server, "quiet-refused")
    assert line_of(server, "quiet")["status"] == 200
    assert "CANARY" not in server.log


def test_what_people_write_is_logged_when_asked_for(start_server: ServerFactory, model_folder: Path) -> None:
    server = started(start_server, model_folder, "--log-prompts", "true")
    ask(server, "loud")
    body = json.loads(line_of(server, "loud")["body"])
    assert body["prompt"] == "hello CANARY"


def _until(look: Callable[[], dict[str, Any] | None]) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while (found := look()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found
