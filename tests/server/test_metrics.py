"""What is measured: equal to what was asked, in a format that Prometheus reads, and never lost."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from berth_inference.app import create_app
from berth_inference.engine import (
    Engine,
    Event,
    EventStream,
    Finished,
    FinishReason,
    GenerationRequest,
    SequenceFinished,
    TokenEvent,
)
from berth_inference.engine.interface import Occupancy
from berth_inference.errors import BerthError, ErrorKind, LoadError
from berth_inference.metrics import Metrics
from berth_inference.observed_engine import ObservedEngine
from berth_inference.progress import LoadProgress
from berth_inference.settings import Settings
from server.conftest import RunningServer, ServerFactory, wait_until_ready

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
PAGE = Path(__file__).parents[2] / "docs" / "observability.md"


def parsed(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def total(samples: Samples, name: str, **labels: str) -> float:
    """All samples of a name that bear these labels, added up."""
    return sum(
        value
        for (found, has), value in samples.items()
        if found == name and labels.items() <= dict(has).items()
    )


@pytest.fixture(scope="module")
def server(start_server: ServerFactory, patient_folder: Path) -> RunningServer:
    started = start_server(
        "--model", str(patient_folder), "--served-model-name", "m", "--dtype", "float32", "--device", "cpu"
    )
    with httpx2.Client(base_url=started.url) as http:
        wait_until_ready(http)
    return started


@pytest.fixture
def scrape(server: RunningServer) -> Callable[[], Samples]:
    def get() -> Samples:
        answer = httpx2.get(f"{server.url}/metrics", timeout=5)
        assert answer.status_code == 200
        return parsed(answer.text)

    return get


def ask(server: RunningServer, **kwargs: Any) -> httpx2.Response:
    arguments = {"max_new_tokens": 5, "do_sample": False, "return_dict_in_generate": True, **kwargs}
    return httpx2.post(
        f"{server.url}/chat", json={"prompt": "hello there", "generate_kwargs": arguments}, timeout=60
    )


def test_counts_are_those_of_the_answers(server: RunningServer, scrape: Callable[[], Samples]) -> None:
    before = scrape()
    answers = [
        ask(server),
        ask(server, max_new_tokens=9, min_new_tokens=9),
        ask(server, num_return_sequences=3, do_sample=True),
        ask(server, num_beams=2),
    ]
    details = [answer.json()["details"] for answer in answers]
    after = scrape()

    def rise(name: str, **labels: str) -> float:
        return total(after, name, model_name="m", **labels) - total(before, name, model_name="m", **labels)

    prompts = [one["prompt_tokens"] for one in details]
    tokens = [[len(sequence["token_ids"]) for sequence in one["sequences"]] for one in details]
    assert rise("vllm:prompt_tokens_total") == sum(prompts)
    assert rise("vllm:generation_tokens_total") == sum(map(sum, tokens))
    assert rise("vllm:request_success_total") == len(answers)
    assert rise("vllm:request_success_total", finished_reason="length") == sum(
        any(sequence["finish_reason"] == "length" for sequence in one["sequences"]) for one in details
    )
    for name in (
        "time_to_first_token_seconds",
        "e2e_request_latency_seconds",
        "request_queue_time_seconds",
        "request_prompt_tokens",
        "request_generation_tokens",
        "request_params_n",
        "request_params_max_tokens",
    ):
        assert rise(f"vllm:{name}_count") == len(answers), name
    # Beam search tells its tokens at once, at the end.
    streamed = tokens[:-1]
    assert rise("vllm:inter_token_latency_seconds_count") == sum(
        length - 1 for one in streamed for length in one
    )
    assert rise("vllm:request_prompt_tokens_sum") == sum(prompts)
    assert rise("vllm:request_generation_tokens_sum") == sum(map(sum, tokens))
    assert rise("vllm:request_params_n_sum") == 1 + 1 + 3 + 1
    assert rise("vllm:request_params_max_tokens_sum") == 5 + 9 + 5 + 5
    http = ("berth_http_requests_total", {"path": "/chat", "code": "200"})
    assert total(after, http[0], **http[1]) - total(before, http[0], **http[1]) == len(answers)


REFUSALS: dict[str, tuple[Callable[[str], httpx2.Response], str, str, str]] = {
    "argument": (
        lambda url: httpx2.post(f"{url}/chat", json={"prompt": "a", "generate_kwargs": {"top_p": 2}}),
        "invalid_request",
        "/chat",
        "400",
    ),
    "no JSON": (lambda url: httpx2.post(f"{url}/chat", content=b"{"), "malformed_request", "/chat", "422"),
    "no such path": (lambda url: httpx2.get(f"{url}/sk-CANARY"), "not_found", "other", "404"),
}


@pytest.mark.parametrize(("send", "kind", "path", "code"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_refusal_is_counted_by_its_kind_and_never_by_what_the_client_made_up(
    server: RunningServer,
    scrape: Callable[[], Samples],
    send: Callable[[str], httpx2.Response],
    kind: str,
    path: str,
    code: str,
) -> None:
    before = scrape()
    assert str(send(server.url).status_code) == code
    after = scrape()
    for name, labels in (
        ("berth_requests_refused_total", {"kind": kind}),
        ("berth_http_requests_total", {"path": path, "code": code}),
    ):
        assert total(after, name, **labels) - total(before, name, **labels) == 1
    assert total(after, "berth_requests_refused_total") - total(before, "berth_requests_refused_total") == 1
    assert total(after, "vllm:request_success_total") == total(before, "vllm:request_success_total")
    assert "CANARY" not in str(after)


def test_a_client_that_leaves_is_an_abort_and_the_gauges_follow(
    server: RunningServer, scrape: Callable[[], Samples]
) -> None:
    before = scrape()

    def leave() -> None:
        with pytest.raises(httpx2.TimeoutException):
            httpx2.post(
                f"{server.url}/chat",
                json={"prompt": "a", "generate_kwargs": {"max_new_tokens": 4096, "min_new_tokens": 4096}},
                timeout=1.5,
            )

    leaving = threading.Thread(target=leave)
    leaving.start()
    during = _until(scrape, lambda now: total(now, "vllm:num_requests_running") == 1)
    assert total(during, "vllm:num_requests_waiting") == 0
    assert 0 < total(during, "vllm:kv_cache_usage_perc") <= 1
    leaving.join()

    def aborted(now: Samples) -> bool:
        name = "vllm:request_success_total"
        return total(now, name, finished_reason="abort") == total(before, name, finished_reason="abort") + 1

    after = _until(scrape, aborted)
    assert total(after, "vllm:num_requests_running") == total(after, "vllm:kv_cache_usage_perc") == 0
    name = "vllm:e2e_request_latency_seconds_count"
    assert total(after, name) == total(before, name)
    gone = {"path": "/chat", "code": "499"}
    name = "berth_http_requests_total"
    assert total(after, name, **gone) == total(before, name, **gone) + 1


def test_no_counter_ever_falls(server: RunningServer, scrape: Callable[[], Samples]) -> None:
    seen = scrape()
    for send in (lambda: ask(server), lambda: ask(server, top_p=2), lambda: ask(server, num_beams=3)):
        send()
        now = scrape()
        for key, value in seen.items():
            if key[0].endswith(("_total", "_count", "_bucket", "_sum")):
                assert now[key] >= value, key
        seen = now


def test_names_keep_their_colons_whatever_a_scraper_would_rather_read(server: RunningServer) -> None:
    accept = "application/openmetrics-text;version=1.0.0;escaping=underscores,text/plain;version=0.0.4;q=0.5"
    answer = httpx2.get(f"{server.url}/metrics", headers={"Accept": accept})
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert total(parsed(answer.text), "vllm:prompt_tokens_total") > 0


# --- before there is a model


def never(_: Settings, __: LoadProgress) -> Engine:
    raise LoadError("there is no model")


@pytest.fixture
def loading() -> Iterator[TestClient]:
    go_on = threading.Event()

    def load(settings: Settings, progress: LoadProgress) -> Engine:
        assert go_on.wait(30)
        return never(settings, progress)

    with TestClient(create_app(Settings(model="m"), load)) as client:
        yield client
        go_on.set()


def test_metrics_are_answered_while_the_model_loads(loading: TestClient) -> None:
    answer = loading.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples = parsed(answer.text)
    assert total(samples, "berth_model_ready", model_name="m") == 0
    assert total(samples, "vllm:num_requests_running", model_name="m") == 0
    assert total(samples, "berth_build_info", model="m") == 1


def test_two_applications_in_one_process_do_not_share_a_count(loading: TestClient) -> None:
    with TestClient(create_app(Settings(model="m"), never)) as other:
        other.get("/nowhere")
        assert total(parsed(other.get("/metrics").text), "berth_requests_refused_total") == 1
    assert total(parsed(loading.get("/metrics").text), "berth_requests_refused_total") == 0


# --- one generation, event by event


class Scripted:
    """An engine that says what the test wants."""

    occupancy = Occupancy()

    def submit(self, _: GenerationRequest) -> EventStream:
        self.stream = EventStream(asyncio.get_running_loop())
        return self.stream


OUTCOMES: dict[str, tuple[list[Event | BerthError], str, int, int]] = {
    "stop": (
        [TokenEvent(0, (1,)), TokenEvent(0, (2,)), SequenceFinished(0, FinishReason.STOP), Finished(3, 2)],
        "stop",
        2,
        1,
    ),
    "one of two sequences at its limit": (
        [
            TokenEvent(0, (1,)),
            TokenEvent(1, (1,)),
            SequenceFinished(0, FinishReason.STOP),
            SequenceFinished(1, FinishReason.LENGTH),
            Finished(3, 2),
        ],
        "length",
        2,
        1,
    ),
    "cancelled": (
        [TokenEvent(0, (1,)), SequenceFinished(0, FinishReason.CANCELLED), Finished(3, 1)],
        "abort",
        1,
        0,
    ),
    "failed before a token": ([BerthError(ErrorKind.DEADLINE, "late")], "error", 0, 0),
    "failed, and ended by the engine later": (
        [
            TokenEvent(0, (1,)),
            BerthError(ErrorKind.DEADLINE, "late"),
            SequenceFinished(0, FinishReason.CANCELLED),
            Finished(3, 1),
        ],
        "error",
        1,
        0,
    ),
}


@pytest.mark.parametrize(("events", "reason", "tokens", "whole"), OUTCOMES.values(), ids=OUTCOMES.keys())
async def test_a_generation_is_counted_once_however_it_ends(
    events: list[Event | BerthError], reason: str, tokens: int, whole: int
) -> None:
    metrics, scripted = Metrics("m"), Scripted()
    engine = ObservedEngine(scripted, metrics)  # type: ignore[arg-type]
    stream = engine.submit(GenerationRequest(prompt=(1, 2, 3), max_new_tokens=4))
    scripted.stream.started_at = time.monotonic()
    for event in events:
        stream.publish(event)
    await asyncio.sleep(0)  # the loop delivers them
    samples = parsed(metrics.page().decode())
    assert total(samples, "vllm:request_success_total") == 1
    assert total(samples, "vllm:request_success_total", finished_reason=reason) == 1
    assert total(samples, "vllm:generation_tokens_total") == tokens
    assert total(samples, "vllm:prompt_tokens_total") == (3 if tokens else 0)
    assert total(samples, "vllm:e2e_request_latency_seconds_count") == whole
    assert total(samples, "vllm:request_queue_time_seconds_count") == (1 if tokens else 0)


# --- the page


def test_the_page_names_every_metric_with_its_labels_and_no_other() -> None:
    metrics = Metrics("m")
    metrics.watch(Occupancy, lambda: True)
    metrics.answered("/chat", 200, None)
    reported = {}
    for family in metrics.registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        reported[name] = (family.type, ", ".join(sorted(labels)))
    rows = re.findall(
        r"^\| `([\w:]+)` \| (\w+) \| ([\w, ]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert {name: (kind, labels) for name, kind, labels in rows} == reported


def _until(look: Callable[[], Samples], condition: Callable[[Samples], bool]) -> Samples:
    deadline = time.monotonic() + 20
    while not condition(now := look()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return now
