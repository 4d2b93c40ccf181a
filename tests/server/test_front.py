"""A front before a vLLM that replays recorded answers: every API whole and streamed, and what goes wrong with vLLM."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from fastapi.testclient import TestClient

from berth_inference.app import create_app
from berth_inference.errors import LoadError
from berth_inference.fronting import load_front
from berth_inference.progress import LoadProgress
from berth_inference.settings import Settings, parse_command
from server.conftest import ServerFactory, wait_until_ready
from server.fake_vllm import SERVED, FakeVLLM, fake_vllm

QUESTION = [{"role": "user", "content": "What is a pod?"}]
PROMPT = [2, 311, 282, 261, 340, 35, 4, 3]
SENTENCE = "A pod is the smallest"


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[FakeVLLM, TestClient]]:
    with ExitStack() as stack:
        vllm = stack.enter_context(fake_vllm())
        settings = Settings(
            model=SERVED,
            upstream=vllm.url,
            served_model_name=("workspace",),
            max_queued=2,
            request_seconds=20,
        )
        client = stack.enter_context(TestClient(create_app(settings, load_front)))
        wait_until_ready(client)
        yield vllm, client


@pytest.fixture
def vllm(running: tuple[FakeVLLM, TestClient]) -> FakeVLLM:
    running[0].become()
    running[0].bodies.clear()
    return running[0]


@pytest.fixture
def client(running: tuple[FakeVLLM, TestClient], vllm: FakeVLLM) -> TestClient:
    return running[1]


def events(text: str) -> list[Any]:
    """The events of a stream, without `[DONE]`, which has to be the last."""
    datas = [line.removeprefix("data: ") for line in text.splitlines() if line]
    assert datas.pop() == "[DONE]"
    return [json.loads(data) for data in datas]


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


# Path, body, and where the text is in the answer.
WHOLE: dict[str, tuple[str, dict[str, Any], Callable[[Any], Any]]] = {
    "chat": ("/chat", {"messages": QUESTION}, lambda answer: answer["Result"]),
    "chat with a prompt": (
        "/chat",
        {"prompt": "Say.", "return_full_text": False},
        lambda answer: answer["Result"],
    ),
    "generate": ("/v1/generate", {"messages": QUESTION}, lambda answer: answer["text"][0]),
    "chat completions": (
        "/v1/chat/completions",
        {"model": "workspace", "messages": QUESTION},
        lambda answer: answer["choices"][0]["message"]["content"],
    ),
    "completions": (
        "/v1/completions",
        {"model": "workspace", "prompt": "Say."},
        lambda answer: answer["choices"][0]["text"],
    ),
}


@pytest.mark.parametrize(("path", "body", "text"), WHOLE.values(), ids=WHOLE)
def test_every_api_gives_vllms_answer_whole(
    client: TestClient, vllm: FakeVLLM, path: str, body: dict[str, Any], text: Callable[[Any], Any]
) -> None:
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    assert text(response.json()) == SENTENCE
    [sent] = vllm.bodies
    assert (sent["model"], sent["stream"], sent["return_token_ids"]) == (SERVED, True, True)
    assert (sent["ignore_eos"], sent["stop_token_ids"]) == (True, [4, 0])
    if "messages" in body:
        assert sent["prompt"] == PROMPT


def test_chat_streams_vllms_tokens(client: TestClient) -> None:
    response = client.post("/chat", json={"messages": QUESTION, "stream": True})
    deltas = [{"delta": text} for text in ("A", " pod", " is", " the", " smallest")]
    assert events(response.text) == [*deltas, {"Result": SENTENCE}]


def test_generate_streams_vllms_tokens(client: TestClient) -> None:
    response = client.post("/v1/generate", json={"messages": QUESTION, "stream": True})
    texts = [json.loads(part)["text"] for part in response.content.split(b"\0")[:-1]]
    assert (texts[0], texts[1], texts[-1]) == (["A"], ["A pod"], [SENTENCE])


def test_chat_completions_stream_vllms_tokens(client: TestClient) -> None:
    body = {"model": "workspace", "messages": QUESTION, "stream": True}
    chunks = events(client.post("/v1/chat/completions", json=body).text)
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == SENTENCE
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_completions_stream_vllms_tokens(client: TestClient) -> None:
    body = {"model": "workspace", "prompt": "Say.", "stream": True}
    chunks = events(client.post("/v1/completions", json=body).text)
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == SENTENCE


def test_several_answers_come_apart(client: TestClient, vllm: FakeVLLM) -> None:
    vllm.answer = "two.sse"
    body = {"model": "workspace", "messages": QUESTION, "n": 2, "temperature": 1}
    choices = client.post("/v1/chat/completions", json=body).json()["choices"]
    assert [(choice["message"]["content"], choice["finish_reason"]) for choice in choices] == [
        ("A pod", "stop"),
        ("A node runs pods", "length"),
    ]
    assert vllm.bodies[0]["n"] == 2


def test_several_tokens_may_come_at_once(client: TestClient, vllm: FakeVLLM) -> None:
    vllm.answer = "several_tokens.sse"
    arguments = {"return_dict_in_generate": True}
    details = client.post("/chat", json={"messages": QUESTION, "generate_kwargs": arguments}).json()[
        "details"
    ]
    assert details["output_tokens"] == 5
    assert details["sequences"][0]["finish_reason"] == "length"


def test_log_probabilities_are_those_of_vllm_and_the_likeliest_stand_first(
    client: TestClient, vllm: FakeVLLM
) -> None:
    vllm.answer = "logprobs.sse"
    body = {"model": "workspace", "messages": QUESTION, "logprobs": True, "top_logprobs": 2}
    content = client.post("/v1/chat/completions", json=body).json()["choices"][0]["logprobs"]["content"]
    assert [(entry["token"], entry["logprob"]) for entry in content][:2] == [("A", -0.25), (" node", -3.5)]
    # The token that was chosen is not among the two likeliest here.
    assert [(top["token"], top["logprob"]) for top in content[1]["top_logprobs"]] == [
        (" pod", -0.125),
        (" pods", -2.75),
    ]
    assert (vllm.bodies[0]["logprobs"], vllm.bodies[0]["return_tokens_as_token_ids"]) == (2, True)


def test_the_best_of_several_is_chosen_by_vllms_log_probabilities(client: TestClient, vllm: FakeVLLM) -> None:
    vllm.answer = "two_scored.sse"
    body = {"messages": QUESTION, "n": 1, "best_of": 2, "temperature": 1}
    assert client.post("/v1/generate", json=body).json()["text"] == ["A node"]


def test_beams_come_best_first_and_end_at_the_models_stop_tokens(client: TestClient, vllm: FakeVLLM) -> None:
    vllm.answer = "beams.json"
    arguments = {"num_beams": 3, "num_return_sequences": 2, "return_dict_in_generate": True}
    answer = client.post("/chat", json={"messages": QUESTION, "generate_kwargs": arguments}).json()
    assert [one["token_ids"] for one in answer["details"]["sequences"]] == [[37, 340, 4], [37, 509, 0]]
    sent = vllm.bodies[0]
    assert (sent["use_beam_search"], sent["n"], sent["temperature"]) == (True, 3, 0.0)
    assert "stream" not in sent


BEAM_SEARCH = {"messages": QUESTION, "use_beam_search": True, "best_of": 3, "n": 2, "temperature": 0}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_generate_has_vllm_search_beams(client: TestClient, vllm: FakeVLLM, stream: bool) -> None:
    vllm.answer = "beams.json"
    response = client.post("/v1/generate", json={**BEAM_SEARCH, "stream": stream})
    [answer] = [json.loads(part) for part in response.content.split(b"\0") if part]
    assert answer["text"] == ["A pod", "A node"]


def test_a_time_limit_ends_the_answer_where_it_is_and_closes_the_connection(
    client: TestClient, vllm: FakeVLLM
) -> None:
    vllm.held = threading.Event()
    arguments = {"max_time": 1e-9, "return_dict_in_generate": True}
    answer = client.post("/chat", json={"messages": QUESTION, "generate_kwargs": arguments}).json()
    [sequence] = answer["details"]["sequences"]
    assert (sequence["text"], sequence["finish_reason"]) == ("A", "length")
    assert vllm.left.wait(10)


def test_a_schema_goes_to_vllm_as_it_is(client: TestClient, vllm: FakeVLLM) -> None:
    schema = {"type": "object", "properties": {"b": {"type": "string"}, "a": {"type": "integer"}}}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    body = {"model": "workspace", "messages": QUESTION, "response_format": form}
    assert client.post("/v1/chat/completions", json=body).status_code == 200
    sent = vllm.bodies[0]
    assert sent["response_format"]["json_schema"]["schema"] == schema
    assert list(sent["response_format"]["json_schema"]["schema"]["properties"]) == ["b", "a"]
    assert sent["ignore_eos"] is False


@pytest.mark.parametrize(
    ("answer", "status", "headers", "seen", "code", "said"),
    [
        ("bad_request.json", 400, {}, 400, "invalid_request", "temperature must be in [0, 2], got 3.0."),
        ("bad_request.json", 422, {}, 400, "invalid_request", "temperature must be in [0, 2], got 3.0."),
        ("bad_request.json", 429, {"Retry-After": "7"}, 429, "overloaded", "too many requests"),
        ("bad_request.json", 503, {}, 503, "unavailable", "takes no requests now"),
        ("internal.json", 500, {}, 500, "internal_error", "its log"),
        ("unknown_model.json", 404, {}, 500, "internal_error", "its log"),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_vllms_errors_are_told_in_the_apis_form(
    client: TestClient,
    vllm: FakeVLLM,
    answer: str,
    status: int,
    headers: dict[str, str],
    seen: int,
    code: str,
    said: str,
    stream: bool,
) -> None:
    vllm.become(answer=answer, status=status, headers=headers)
    response = client.post("/chat", json={"messages": QUESTION, "stream": stream})
    assert (response.status_code, response.json()["code"]) == (seen, code)
    assert said in response.json()["detail"]
    assert response.headers.get("Retry-After") == (
        headers.get("Retry-After", "1") if seen in (429, 503) else None
    )


@pytest.mark.parametrize(
    ("behaviour", "status", "said"),
    [
        ({"parts": 0}, 503, "broke before the answer was complete"),
        ({"parts": 2}, 503, "broke before the answer was complete"),
        ({"answer": "error_at_first.sse"}, 503, "takes no requests now"),
        ({"answer": "error_within.sse"}, 500, "vLLM failed"),
        ({"answer": "aborted.sse"}, 503, "broke before the answer was complete"),
        ({"answer": "without_token_ids.sse"}, 500, "The generation failed"),
    ],
    ids=lambda value: next(iter(value.values())) if isinstance(value, dict) else "",
)
def test_a_stream_that_fails_is_an_error(
    client: TestClient, vllm: FakeVLLM, behaviour: dict[str, Any], status: int, said: str
) -> None:
    vllm.become(**behaviour)
    response = client.post("/chat", json={"messages": QUESTION})
    assert response.status_code == status, response.text
    assert said in response.json()["detail"]


def test_a_stream_that_is_cut_in_the_middle_ends_with_an_error_in_the_stream(
    client: TestClient, vllm: FakeVLLM
) -> None:
    vllm.parts = 2
    body = {"model": "workspace", "messages": QUESTION, "stream": True}
    response = client.post("/v1/chat/completions", json=body)
    assert response.status_code == 200
    assert events(response.text)[-1]["error"]["code"] == "unavailable"


def test_requests_that_wait_for_their_first_token_are_bounded_and_others_are_not(
    client: TestClient, vllm: FakeVLLM
) -> None:
    service = client.app.state.service  # type: ignore[attr-defined]
    statuses: list[int] = []

    def ask() -> threading.Thread:
        def post() -> None:
            statuses.append(client.post("/chat", json={"messages": QUESTION}).status_code)

        thread = threading.Thread(target=post)
        thread.start()
        return thread

    vllm.become(held=threading.Event(), free=1)
    threads = []
    while len(threads) < 3:  # these get a token, and are not bounded
        threads.append(ask())
        until(lambda: service.occupancy.running == len(threads))
    vllm.free = 0
    threads += [ask(), ask()]  # as many as may wait
    until(lambda: service.occupancy.waiting == 2)
    refused = client.post("/chat", json={"messages": QUESTION})
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert vllm.held is not None
    vllm.held.set()
    for thread in threads:
        thread.join(10)
    assert statuses == [200] * 5
    until(lambda: service.occupancy.running + service.occupancy.waiting == 0)


def test_a_request_past_its_deadline_is_ended_and_its_connection_closed() -> None:
    with fake_vllm() as vllm:
        settings = Settings(model=SERVED, upstream=vllm.url, request_seconds=0.5)
        with TestClient(create_app(settings, load_front)) as client:
            wait_until_ready(client)
            vllm.become(held=threading.Event())
            response = client.post("/chat", json={"messages": QUESTION})
            assert (response.status_code, response.json()["code"]) == (504, "deadline_exceeded")
            assert vllm.left.wait(10)


def test_a_vllm_that_is_gone_is_told_until_it_is_back() -> None:
    with ExitStack() as stack:
        with fake_vllm() as vllm:
            port = int(vllm.url.rpartition(":")[2])
            settings = Settings(model=SERVED, upstream=vllm.url)
            client = stack.enter_context(TestClient(create_app(settings, load_front)))
            wait_until_ready(client)
        response = client.post("/chat", json={"messages": QUESTION})
        assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
        until(lambda: client.get("/health").status_code == 503)
        assert client.get("/health").json()["message"] == "vLLM does not answer (ConnectError)"
        with fake_vllm(port):
            wait_until_ready(client)
            assert client.post("/chat", json={"messages": QUESTION}).json()["Result"] == SENTENCE


def test_the_metrics_hold_what_vllm_says_of_its_memory(client: TestClient) -> None:
    until(lambda: "vllm:kv_cache_usage_perc" in client.get("/metrics").text)
    page = client.get("/metrics").text
    values = dict(line.rsplit(" ", 1) for line in page.splitlines() if line.startswith("vllm:"))
    of_model = '{model_name="workspace"}'
    assert float(values[f"vllm:kv_cache_usage_perc{of_model}"]) == 0.5
    assert float(values[f"vllm:prefix_cache_queries_total{of_model}"]) == 120
    assert float(values[f"vllm:prefix_cache_hits_total{of_model}"]) == 64


def test_readiness_follows_vllms_health(client: TestClient, vllm: FakeVLLM) -> None:
    vllm.healthy = False
    until(lambda: client.get("/health").status_code == 503)
    health = client.get("/health").json()
    assert (health["status"], health["phase"]) == ("loading", "starting")
    assert health["message"] == "vLLM is not healthy (503)"
    refused = client.post("/chat", json={"messages": QUESTION})
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert client.get("/livez").status_code == 200  # a restart of the front would help nobody
    vllm.healthy = True
    until(lambda: client.get("/health").status_code == 200)


def test_the_models_are_listed_with_the_context_that_vllm_has(client: TestClient) -> None:
    cards = client.get("/v1/models").json()["data"]
    assert [(card["id"], card["max_model_len"]) for card in cards] == [("workspace", 512), (SERVED, 512)]
    too_long = client.post("/chat", json={"prompt": "pod " * 600})
    assert (too_long.status_code, "context of 512" in too_long.json()["detail"]) == (400, True)


def test_tokens_are_made_without_vllm(client: TestClient, vllm: FakeVLLM) -> None:
    tokens = client.post("/tokenize", json={"model": "workspace", "messages": QUESTION}).json()["tokens"]
    assert tokens == PROMPT
    assert vllm.bodies == []


REFUSED = {
    "generate_kwargs.typical_p": {"typical_p": 0.5},
    "generate_kwargs.no_repeat_ngram_size": {"no_repeat_ngram_size": 2},
    "generate_kwargs.encoder_no_repeat_ngram_size": {"encoder_no_repeat_ngram_size": 2},
    "generate_kwargs.bad_words_ids": {"bad_words_ids": [[5]]},
    "generate_kwargs.forced_bos_token_id": {"forced_bos_token_id": 5},
    "generate_kwargs.forced_eos_token_id": {"forced_eos_token_id": 5},
    "generate_kwargs.remove_invalid_values": {"remove_invalid_values": True},
    "generate_kwargs.num_beam_groups": {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.0},
    "generate_kwargs.temperature": {"temperature": 0.005},
    "generate_kwargs.top_p": {"top_p": 0},
    "generate_kwargs.num_beams": {"num_beams": 2, "do_sample": True},
    "generate_kwargs.early_stopping": {"num_beams": 2, "early_stopping": True},
    "generate_kwargs.repetition_penalty": {"num_beams": 2, "repetition_penalty": 2},
    "generate_kwargs.stop_strings": {"num_beams": 2, "stop_strings": ["x"]},
    "generate_kwargs.max_time": {"num_beams": 2, "max_time": 1},
    "generate_kwargs.output_scores": {"num_beams": 2, "output_scores": True},
    "generate_kwargs.min_new_tokens": {"num_beams": 2, "min_new_tokens": 2},
    "generate_kwargs.eos_token_id": {"num_beams": 2, "eos_token_id": 5},
}


@pytest.mark.parametrize(("param", "arguments"), REFUSED.items(), ids=REFUSED)
def test_what_vllm_cannot_do_is_refused_by_name(
    client: TestClient, vllm: FakeVLLM, param: str, arguments: dict[str, Any]
) -> None:
    response = client.post("/chat", json={"prompt": "Say.", "generate_kwargs": arguments})
    assert (response.status_code, response.json()["param"]) == (400, param)
    assert "vLLM" in response.json()["detail"]
    assert vllm.bodies == []


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/generate", {**BEAM_SEARCH, "early_stopping": True}, "early_stopping"),
        ("/v1/generate", {**BEAM_SEARCH, "presence_penalty": 1}, "presence_penalty"),
        ("/v1/generate", {"messages": QUESTION, "temperature": 0.005}, "temperature"),
        ("/v1/chat/completions", {"messages": QUESTION, "temperature": 0.005}, "temperature"),
        ("/v1/completions", {"prompt": "Say.", "temperature": 0.005}, "temperature"),
    ],
)
def test_each_api_refuses_under_its_own_names(
    client: TestClient, vllm: FakeVLLM, path: str, body: dict[str, Any], param: str
) -> None:
    response = client.post(path, json={"model": "workspace", **body})
    content = response.json()
    assert (response.status_code, content.get("error", content)["param"]) == (400, param)
    assert vllm.bodies == []


def test_a_grammar_without_the_models_end_is_refused(client: TestClient) -> None:
    body = {"model": "workspace", "messages": QUESTION, "ignore_eos": True}
    response = client.post("/v1/chat/completions", json={**body, "response_format": {"type": "json_object"}})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "response_format")


def test_while_vllm_loads_the_front_says_so_and_is_ready_after_it() -> None:
    with fake_vllm() as vllm:
        vllm.healthy = False
        settings = Settings(model=SERVED, upstream=vllm.url)
        with TestClient(create_app(settings, load_front)) as client:
            until(lambda: client.get("/health").json().get("phase") == "starting")
            assert client.get("/health").json()["message"] == "waiting for vLLM, which loads the model"
            assert client.post("/chat", json={"prompt": "Say."}).status_code == 503
            vllm.healthy = True
            wait_until_ready(client)


@pytest.mark.parametrize(
    ("settings", "behaviour", "said"),
    [
        ({"model": "other"}, {}, "serves my-model, but not other"),
        ({"tokenizer": "/nowhere"}, {}, "the folder /nowhere does not exist"),
        ({}, {"answer": "without_token_ids.sse"}, "does not answer as it should"),
        ({}, {"answer": "internal.json", "status": 500}, "does not answer as it should"),
    ],
    ids=["another model", "no tokenizer", "an old vLLM", "a broken vLLM"],
)
def test_a_vllm_that_cannot_be_used_is_told_at_the_start(
    settings: dict[str, Any], behaviour: dict[str, Any], said: str
) -> None:
    with fake_vllm() as vllm:
        vllm.become(**behaviour)
        given = Settings(**{"model": SERVED, "upstream": vllm.url, **settings})
        with pytest.raises(LoadError, match=said):
            load_front(given, LoadProgress())


def test_the_front_needs_no_torch() -> None:
    with fake_vllm() as vllm:
        code = f"""
import sys
sys.modules["torch"] = None  # as where it is not installed
from berth_inference.fronting import load_front
from berth_inference.progress import LoadProgress
from berth_inference.settings import Settings
engine = load_front(Settings(model={SERVED!r}, upstream={vllm.url!r}), LoadProgress())
print(engine.info.context_length)
engine.close()
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "512\n"), done.stderr


def test_the_process_serves_what_vllm_answers_and_drains(start_server: ServerFactory, vllm: FakeVLLM) -> None:
    import httpx2

    started = start_server("--model", SERVED, "--upstream", vllm.url, command="front")
    with httpx2.Client(base_url=started.url) as http:
        wait_until_ready(http)
        vllm.held = threading.Event()
        with http.stream("POST", "/chat", json={"messages": QUESTION, "stream": True}) as response:
            lines = response.iter_lines()
            assert next(lines) == 'data: {"delta":"A"}'
            started.process.terminate()
            until(lambda: http.get("/health").json()["status"] == "draining")
            assert http.post("/chat", json={"messages": QUESTION}).status_code == 503
            vllm.held.set()
            assert list(lines)[-2] == "data: [DONE]"
    assert started.wait() == 0


def test_a_client_that_goes_away_ends_vllms_work(start_server: ServerFactory, vllm: FakeVLLM) -> None:
    import httpx2

    started = start_server("--model", SERVED, "--upstream", vllm.url, command="front")
    with httpx2.Client(base_url=started.url) as http:
        wait_until_ready(http)
        vllm.held = threading.Event()
        with http.stream("POST", "/chat", json={"messages": QUESTION, "stream": True}) as response:
            assert next(response.iter_lines()) == 'data: {"delta":"A"}'
        assert vllm.left.wait(10)
        vllm.become()
        assert http.post("/chat", json={"messages": QUESTION}).json()["Result"] == SENTENCE


def test_the_commands_flags_are_those_of_the_server_that_make_sense_before_vllm() -> None:
    command, settings = parse_command(
        ["front", "--upstream", "http://127.0.0.1:8000/", "--model", "m", "--served-model-name", "w"], {}
    )
    assert (command, settings.upstream, settings.names) == ("front", "http://127.0.0.1:8000", ("w", "m"))
