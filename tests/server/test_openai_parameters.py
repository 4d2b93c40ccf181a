"""Every argument of OpenAI's two endpoints does what its documentation says, or is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from server.limited_server import MOST_TOKENS, LimitedServer
from server.random_model import END, END_OF_TEXT

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "What is the meaning of life?"}]}
TEXT: dict[str, Any] = {"prompt": "What is the meaning of life?"}
SEEDED: dict[str, Any] = {"max_tokens": 24, "seed": 11, "temperature": 1}
GREEDY: dict[str, Any] = {"max_tokens": 24, "temperature": 0}

PATHS = {"/v1/chat/completions": CHAT, "/v1/completions": TEXT}


def _answer(client: Any, path: str, **arguments: Any) -> dict[str, Any]:
    response = client.post(path, json={**PATHS[path], **arguments})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    model: Any = ChatCompletion if "chat" in path else Completion
    model.model_validate(answer)
    return answer


def _texts(answer: dict[str, Any]) -> list[str]:
    return [
        choice["message"]["content"] if "message" in choice else choice["text"]
        for choice in answer["choices"]
    ]


def _events(response: Any) -> list[dict[str, Any]]:
    *events, last = response.text.removesuffix("\n\n").split("\n\n")
    assert last == "data: [DONE]"
    return [json.loads(event.removeprefix("data: ")) for event in events]


CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "temperature": (SEEDED, {"temperature": 0.2}),
    "top_p": (SEEDED, {"top_p": 0.1}),
    "top_k": (SEEDED, {"top_k": 2}),
    "min_p": (SEEDED, {"min_p": 0.9}),
    "seed": (SEEDED, {"seed": -12}),
    "presence_penalty": (GREEDY, {"presence_penalty": 2}),
    "frequency_penalty": (GREEDY, {"frequency_penalty": 2}),
    "repetition_penalty": (GREEDY, {"repetition_penalty": 1.8}),
    "max_tokens": (GREEDY, {"max_tokens": 3}),
}


@pytest.mark.parametrize(("base", "change"), CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize("path", PATHS)
def test_an_argument_changes_the_answer(
    client: Any, path: str, base: dict[str, Any], change: dict[str, Any]
) -> None:
    assert _texts(_answer(client, path, **base | change)) != _texts(_answer(client, path, **base))


@pytest.mark.parametrize("path", PATHS)
def test_a_bias_of_100_decides_every_token(client: Any, reference: Any, path: str) -> None:
    token = reference.tokenizer("sheep")["input_ids"][0]
    [text] = _texts(_answer(client, path, **GREEDY | {"max_tokens": 4}, logit_bias={str(token): 100}))
    assert text == reference.tokenizer.decode([token]) * 4


@pytest.mark.parametrize("path", PATHS)
def test_a_bias_of_minus_100_rules_a_token_out(client: Any, reference: Any, path: str) -> None:
    [text] = _texts(_answer(client, path, **GREEDY))
    first = reference.tokenizer(text)["input_ids"][0]
    [other] = _texts(_answer(client, path, **GREEDY, logit_bias={str(first): -100}))
    assert reference.tokenizer(other)["input_ids"][0] != first


@pytest.mark.parametrize("path", PATHS)
def test_a_token_that_ends_an_answer_can_be_added_and_the_model_s_own_ignored(client: Any, path: str) -> None:
    bias = {str(END): 100}
    ended = _answer(client, path, **GREEDY, logit_bias=bias)
    assert (ended["usage"]["completion_tokens"], ended["choices"][0]["finish_reason"]) == (1, "stop")
    ignored = _answer(client, path, **GREEDY, logit_bias=bias, ignore_eos=True)
    assert (ignored["usage"]["completion_tokens"], ignored["choices"][0]["finish_reason"]) == (24, "length")
    least = _answer(client, path, **GREEDY, logit_bias=bias, min_tokens=5)
    assert least["usage"]["completion_tokens"] == 6
    other = _answer(client, path, **GREEDY, logit_bias={"77": 100}, stop_token_ids=[77], ignore_eos=True)
    assert other["usage"]["completion_tokens"] == 1


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stops", [1, 2], ids=["one", "two"])
def test_an_answer_ends_before_the_first_stop_string(client: Any, path: str, stops: int) -> None:
    [whole] = _texts(_answer(client, path, **GREEDY, ignore_eos=True))
    strings = [whole[9:12], whole[5:7]][:stops]
    cut = min(whole.index(string) for string in strings)
    answer = _answer(client, path, **GREEDY, stop=strings)
    assert _texts(answer) == [whole[:cut]]
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] < 24
    streamed = client.post(path, json={**PATHS[path], **GREEDY, "stop": strings, "stream": True})
    pieces = [
        choice["delta"].get("content", "") if "delta" in choice else choice["text"]
        for event in _events(streamed)
        for choice in event["choices"]
    ]
    assert "".join(pieces) == whole[:cut]


@pytest.mark.parametrize("path", PATHS)
def test_without_a_temperature_answers_are_sampled(client: Any, path: str) -> None:
    texts = {_texts(_answer(client, path, max_tokens=24, seed=seed))[0] for seed in range(4)}
    assert len(texts) > 1


def test_a_chat_without_a_limit_goes_as_far_as_the_server_lets_it(client: Any) -> None:
    answer = _answer(client, "/v1/chat/completions", temperature=0, ignore_eos=True)
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 230
    assert answer["usage"]["total_tokens"] <= 256


def test_a_completion_without_a_limit_has_16_tokens(client: Any) -> None:
    answer = _answer(client, "/v1/completions", temperature=0, ignore_eos=True)
    assert answer["usage"]["completion_tokens"] == 16


def test_a_completion_without_a_limit_is_served_where_fewer_than_16_tokens_are_allowed(
    limited: LimitedServer,
) -> None:
    answer = _answer(limited.client, "/v1/completions", temperature=0, ignore_eos=True)
    assert answer["usage"]["completion_tokens"] == MOST_TOKENS


def test_tokens_of_a_prompt_may_be_written_as_floats(client: Any) -> None:
    path = "/v1/completions"
    for prompt in ([77, 78], [[77, 78], "What is"]):
        answer = _answer(client, path, **GREEDY | {"prompt": prompt})
        floats = json.loads(json.dumps(prompt).replace("77", "77.0"))
        assert _texts(answer) == _texts(_answer(client, path, **GREEDY | {"prompt": floats}))


def test_the_older_name_of_the_limit_means_the_same(client: Any) -> None:
    path = "/v1/chat/completions"
    newer = _answer(client, path, temperature=0, max_completion_tokens=5)
    assert _texts(newer) == _texts(_answer(client, path, temperature=0, max_tokens=5))


def test_parts_of_text_are_one_text(client: Any) -> None:
    parts = [{"type": "text", "text": "What is the "}, {"type": "text", "text": "meaning of life?"}]
    split = _answer(client, "/v1/chat/completions", **GREEDY, messages=[{"role": "user", "content": parts}])
    assert _texts(split) == _texts(_answer(client, "/v1/chat/completions", **GREEDY))


@pytest.mark.parametrize("path", PATHS)
def test_what_says_nothing_of_the_answer_changes_nothing(client: Any, path: str) -> None:
    said = {
        "model": "model",
        "user": "me",
        "metadata": {"a": "b"},
        "safety_identifier": "x",
        "prompt_cache_key": "y",
        "store": False,
        "service_tier": "auto",
        "n": 1,
        "stream": False,
        "stop": None,
        "logit_bias": {},
        "top_k": -1,
    }
    assert _texts(_answer(client, path, **GREEDY, **said)) == _texts(_answer(client, path, **GREEDY))


def test_log_probabilities_are_those_of_the_bare_model(client: Any, reference: Any) -> None:
    import torch

    prompt = reference.tokenizer(TEXT["prompt"])["input_ids"]
    with torch.inference_mode():
        expected = reference.model(torch.tensor([prompt])).logits[0, -1].log_softmax(-1)
    texts = [reference.tokenizer.decode([token]) for token in range(512)]
    likeliest = {texts[token] for token in expected.topk(2).indices.tolist()}
    for seed in range(8):
        answer = _answer(client, "/v1/completions", max_tokens=1, seed=seed, temperature=5, logprobs=2)
        logprobs = answer["choices"][0]["logprobs"]
        [text], [value] = logprobs["tokens"], logprobs["token_logprobs"]
        # Parts of characters all read the same.
        alike = [float(expected[token]) for token in range(512) if texts[token] == text]
        assert any(value == pytest.approx(one, abs=1e-4) for one in alike)
        assert set(logprobs["top_logprobs"][0]) == {*likeliest, text}
        assert logprobs["text_offset"] == [0]


@pytest.mark.parametrize("path", PATHS)
def test_a_stream_adds_up_to_the_answer_with_its_counts(client: Any, path: str) -> None:
    arguments = {**SEEDED, "n": 3, "logprobs": True if "chat" in path else 1}
    whole = _answer(client, path, **arguments)
    options = {"stream": True, "stream_options": {"include_usage": True}}
    *events, last = _events(client.post(path, json={**PATHS[path], **arguments, **options}))
    texts, tokens, finish = ["", "", ""], [0, 0, 0], ["", "", ""]
    for event in events:
        model: Any = ChatCompletionChunk if "chat" in path else dict
        if "chat" in path:
            model.model_validate(event)
        assert event["usage"] is None
        [choice] = event["choices"]
        text = choice["delta"].get("content", "") if "chat" in path else choice["text"]
        texts[choice["index"]] += text
        if choice["logprobs"]:
            tokens[choice["index"]] += len(choice["logprobs"].get("content") or choice["logprobs"]["tokens"])
        finish[choice["index"]] = choice["finish_reason"] or ""
    assert texts == _texts(whole)
    assert finish == [choice["finish_reason"] for choice in whole["choices"]]
    assert (last["choices"], last["usage"]) == ([], whole["usage"])
    assert sum(tokens) == whole["usage"]["completion_tokens"]


BOTH: dict[str, tuple[dict[str, Any], str | None, str]] = {
    "several greedy answers": ({"n": 2, "temperature": 0}, "n", "must be 1 with temperature 0"),
    "too many answers": ({"n": 17}, "n", "at most 16"),
    "a tiny temperature": ({"temperature": 1e-9}, "temperature", "at least 0.001"),
    "a penalty that is too high": (
        {"frequency_penalty": 2.5},
        "frequency_penalty",
        "less than or equal to 2",
    ),
    "a bias for a word": ({"logit_bias": {"word": 1}}, "logit_bias", "token ids for keys"),
    "a bias that is too high": ({"logit_bias": {"5": 101}}, "logit_bias", "from -100 to 100"),
    "a bias for no token": ({"logit_bias": {"99999": 1}}, "logit_bias", "tokens end at"),
    "an end that is no token": ({"stop_token_ids": [99999]}, "stop_token_ids", "tokens end at"),
    "an empty stop string": ({"stop": [""]}, "stop.0", "at least 1 character"),
    "too many stop strings": ({"stop": ["a"] * 17}, "stop", "at most 16"),
    "options of a stream that is none": ({"stream_options": {}}, "stream_options", "stream true only"),
    "an answer to be kept": ({"store": True}, "store", "answers are not kept"),
    "a tier that there is not": ({"service_tier": "flex"}, "service_tier", "'auto' or 'default'"),
    "more at least than at most": ({"min_tokens": 9, "max_tokens": 5}, "min_tokens", "room for 5"),
    "no tokens": ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
    "more tokens than the server makes": ({"max_tokens": 250}, "max_tokens", "at most 230"),
    "an unknown argument": ({"temprature": 1}, "temprature", "did you mean temperature?"),
    "an argument that runs code": ({"custom_generate": "x"}, "custom_generate", "the server's own business"),
    "a number as text": ({"temperature": "1"}, "temperature", "valid number"),
    "true as a number": ({"n": True}, "n", "valid integer"),
}

CHAT_ONLY: dict[str, tuple[dict[str, Any], str | None, str]] = {
    "no messages": ({"messages": []}, "messages", "at least 1 item"),
    "a picture": (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        "messages.0.content",
        "reads text only",
    ),
    "a name": (
        {"messages": [{"role": "user", "content": "x", "name": "me"}]},
        "messages.0.name",
        "no place for it",
    ),
    "two limits": ({"max_tokens": 4, "max_completion_tokens": 5}, "max_tokens", "send one"),
    "likeliest tokens without log-probabilities": (
        {"top_logprobs": 2},
        "top_logprobs",
        "needs logprobs true",
    ),
    "effort": ({"reasoning_effort": "low"}, "reasoning_effort", "no such setting"),
    "sound": ({"modalities": ["audio"]}, "modalities", "answers with text"),
    "functions": ({"functions": [{"name": "f"}]}, "functions", "use tools"),
    "a conversation that is too long": (
        {"messages": [{"role": "user", "content": "sheep " * 300}]},
        "messages",
        "Shorten it",
    ),
}

TEXT_ONLY: dict[str, tuple[dict[str, Any], str | None, str]] = {
    "no prompt": ({"prompt": None}, "prompt", "a text, a list of token ids"),
    "an empty list": ({"prompt": []}, "prompt", "must not be empty"),
    "a token that there is not": ({"prompt": [5, 99999]}, "prompt", "tokens end at"),
    "a mixture": ({"prompt": ["a", 5]}, "prompt", "a list of either"),
    "too many prompts": ({"prompt": ["a"] * 17}, "prompt", "at most 16"),
    "a suffix": ({"suffix": "x"}, "suffix", "only continues texts"),
    "fewer made than returned": ({"n": 3, "best_of": 2}, "best_of", "at least n"),
    "a stream of the best": ({"best_of": 2, "stream": True}, "best_of", "cannot be streamed"),
    "a prompt that is scored": ({"echo": True, "logprobs": 1}, "logprobs", "not scored"),
    "a prompt that is too long": ({"prompt": "sheep " * 300}, "prompt", "Shorten it"),
}


def _table() -> list[Any]:
    rows = [(path, name, row) for path in PATHS for name, row in BOTH.items()]
    rows += [("/v1/chat/completions", name, row) for name, row in CHAT_ONLY.items()]
    rows += [("/v1/completions", name, row) for name, row in TEXT_ONLY.items()]
    return [pytest.param(path, *row, id=f"{path} {name}") for path, name, row in rows]


@pytest.mark.parametrize(("path", "change", "param", "words"), _table())
def test_what_cannot_be_served_is_refused_by_name(
    client: Any, path: str, change: dict[str, Any], param: str | None, words: str
) -> None:
    response = client.post(path, json={**PATHS[path], **change})
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert (error["param"], error["type"]) == (param, "invalid_request_error")
    assert words in error["message"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("body", [b"{", b"[]", b"", b'"x"', b"\xff"])
def test_a_body_that_is_no_request_is_refused(client: Any, path: str, body: bytes) -> None:
    response = client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_tokens_and_text_are_turned_into_each_other(client: Any, reference: Any) -> None:
    text = "The quick brown fox: ünï 日本"
    answer = client.post("/tokenize", json={"prompt": text, "return_token_strs": True}).json()
    tokens = reference.tokenizer(text)["input_ids"]
    assert (answer["tokens"], answer["count"], answer["max_model_len"]) == (tokens, len(tokens), 256)
    assert client.post("/detokenize", json={"tokens": tokens}).json() == {"prompt": text}
    assert len(answer["token_strs"]) == len(tokens)
    for body in ({}, {"prompt": "x", "messages": CHAT["messages"]}):
        assert client.post("/tokenize", json=body).status_code == 400
    unknown = client.post("/detokenize", json={"tokens": [99999]})
    assert (unknown.status_code, unknown.json()["error"]["param"]) == (400, "tokens")


def test_tokens_of_a_conversation_are_those_of_its_template(client: Any, reference: Any) -> None:
    answer = client.post("/tokenize", json=CHAT).json()
    rendered = reference.tokenizer.apply_chat_template(CHAT["messages"], add_generation_prompt=True)
    assert answer["tokens"] == list(rendered["input_ids"])
    assert END_OF_TEXT not in answer["tokens"]
