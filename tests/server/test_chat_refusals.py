"""What /chat refuses: with which status, naming which argument, and saying what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from server.random_model import CONTEXT

LONG = "sheep " * CONTEXT


def _ask(client: Any, **kwargs: Any) -> Any:
    return client.post("/chat", json={"prompt": "hello", "generate_kwargs": kwargs})


WRONG_VALUES: dict[str, tuple[dict[str, Any], str, str]] = {
    "temperature of zero": ({"temperature": 0.0}, "temperature", "send do_sample false"),
    "negative temperature": ({"temperature": -1}, "temperature", "greater than"),
    "temperature that overflows": ({"temperature": 1e-300}, "temperature", "greater than"),
    "top_k of -1": ({"top_k": -1}, "top_k", "0 switches it off"),
    "top_p above 1": ({"top_p": 1.5}, "top_p", "less than or equal to 1"),
    "typical_p of zero": ({"typical_p": 0}, "typical_p", "greater than 0"),
    "min_p above 1": ({"min_p": 2}, "min_p", "less than or equal to 1"),
    "repetition_penalty of zero": ({"repetition_penalty": 0}, "repetition_penalty", "1 switches it off"),
    "length_penalty that overflows": ({"length_penalty": 1e6}, "length_penalty", "less than or equal to 10"),
    "max_length of zero": ({"max_length": 0}, "max_length", "greater than or equal to 1"),
    "max_length the prompt has used up": ({"max_length": 1}, "max_length", "counts the prompt"),
    "max_new_tokens of zero": ({"max_new_tokens": 0}, "max_new_tokens", "greater than"),
    "more new tokens than the server allows": ({"max_new_tokens": 240}, "max_new_tokens", "at most 230"),
    "longer text than the server allows": ({"max_length": 10**30}, "max_length", "at most 230"),
    "min_length above max_length": ({"min_length": 90, "max_length": 50}, "min_length", "at most"),
    "min_new_tokens above max_new_tokens": (
        {"min_new_tokens": 5, "max_new_tokens": 4},
        "min_new_tokens",
        "room for 4 at most",
    ),
    "too many beams": ({"num_beams": 17}, "num_beams", "at most 16"),
    "too many sequences": (
        {"num_return_sequences": 17, "do_sample": True},
        "num_return_sequences",
        "at most 16",
    ),
    "several greedy sequences": (
        {"num_return_sequences": 2, "do_sample": False},
        "num_return_sequences",
        "greedy decoding has one result",
    ),
    "more sequences than beams": (
        {"num_return_sequences": 3, "num_beams": 2},
        "num_return_sequences",
        "2 beams",
    ),
    "groups without a penalty": (
        {"num_beam_groups": 2, "num_beams": 4},
        "num_beam_groups",
        "diversity_penalty",
    ),
    "groups of unequal size": (
        {"num_beam_groups": 2, "num_beams": 3, "diversity_penalty": 0.5},
        "num_beam_groups",
        "num_beams a multiple of 2",
    ),
    "more groups than beams": (
        {"num_beam_groups": 4, "num_beams": 2, "diversity_penalty": 0.5},
        "num_beam_groups",
        "num_beams is 2",
    ),
    "groups without beams": (
        {"num_beam_groups": 2, "diversity_penalty": 0.5},
        "num_beam_groups",
        "num_beams is 1",
    ),
    "groups that sample": (
        {"num_beam_groups": 2, "num_beams": 4, "diversity_penalty": 0.5, "do_sample": True},
        "num_beam_groups",
        "do_sample false",
    ),
    "groups at a temperature": (
        {"num_beam_groups": 2, "num_beams": 4, "diversity_penalty": 0.5, "temperature": 0.5},
        "num_beam_groups",
        "do_sample false",
    ),
    "negative number of groups": ({"num_beam_groups": -1}, "num_beam_groups", "greater than or equal to 0"),
    "negative diversity penalty": (
        {"num_beam_groups": 2, "num_beams": 4, "diversity_penalty": -1},
        "diversity_penalty",
        "greater than or equal to 0",
    ),
    "a diversity penalty without groups": (
        {"diversity_penalty": 0.5},
        "diversity_penalty",
        "num_beam_groups",
    ),
    "a diversity penalty with one group": (
        {"diversity_penalty": 0.5, "num_beam_groups": 1, "num_beams": 4},
        "diversity_penalty",
        "num_beam_groups",
    ),
    "contrastive search": ({"penalty_alpha": 0.6}, "penalty_alpha", "use repetition_penalty"),
    "constrained beams": ({"force_words_ids": [[5]]}, "force_words_ids", "constrained beam search"),
    "low memory": ({"low_memory": True}, "low_memory", "not supported"),
    "early stopping in words": ({"early_stopping": "soon"}, "early_stopping", "'never'"),
    "empty bad word": ({"bad_words_ids": [[]]}, "bad_words_ids", "empty sequence"),
    "bad word outside the vocabulary": ({"bad_words_ids": [[99999]]}, "bad_words_ids", "token 99999"),
    "negative token": ({"eos_token_id": -1}, "eos_token_id", "greater than or equal to 0"),
    "stop token outside the vocabulary": ({"eos_token_id": [1, 99999]}, "eos_token_id", "token 99999"),
    "pad token outside the vocabulary": ({"pad_token_id": 99999}, "pad_token_id", "token 99999"),
    "forced end outside the vocabulary": ({"forced_eos_token_id": 99999}, "forced_eos_token_id", "99999"),
    "empty stop string": ({"stop_strings": [""]}, "stop_strings", "at least 1"),
    "argument with a typing error": ({"temprature": 1}, "temprature", "did you mean temperature?"),
    "unknown argument": ({"zzz": None}, "zzz", "is not an argument"),
}


@pytest.mark.parametrize(("kwargs", "name", "said"), WRONG_VALUES.values(), ids=WRONG_VALUES.keys())
def test_a_value_that_cannot_be_served_is_a_400_that_names_it(
    client: Any, kwargs: dict[str, Any], name: str, said: str
) -> None:
    response = _ask(client, **kwargs)
    assert response.status_code == 400, response.text
    answer = response.json()
    assert answer["code"] == "invalid_request"
    assert answer["param"].startswith(f"generate_kwargs.{name}")
    assert answer["detail"].startswith(answer["param"])
    assert said in answer["detail"]


NEUTRAL: dict[str, dict[str, Any]] = {
    "no beam groups": {"num_beam_groups": 1, "diversity_penalty": 0.0},
    "no beam groups, said as nothing": {"num_beam_groups": 0, "diversity_penalty": 0},
    "no beam groups, said as null": {"num_beam_groups": None, "diversity_penalty": None, "num_beams": 3},
    "beam groups": {"num_beam_groups": 2, "num_beams": 4, "diversity_penalty": 1},
    "integers where floats are meant": {
        "temperature": 2,
        "top_p": 1,
        "repetition_penalty": 2,
        "do_sample": True,
    },
    "floats where integers are meant": {"max_new_tokens": 3.0, "top_k": 5.0},
    "nulls": {"bad_words_ids": None, "forced_bos_token_id": None, "num_beams": None, "temperature": None},
    "retired arguments at rest": {
        "penalty_alpha": 0,
        "constraints": None,
        "force_words_ids": [],
        "low_memory": False,
    },
    "no bad words": {"bad_words_ids": []},
    "sampling arguments without sampling": {"do_sample": False, "temperature": 0.7, "top_k": 10},
    "early stopping without beams": {"early_stopping": True},
}


@pytest.mark.parametrize("kwargs", NEUTRAL.values(), ids=NEUTRAL.keys())
def test_a_value_that_asks_for_nothing_unusual_is_served(client: Any, kwargs: dict[str, Any]) -> None:
    response = _ask(client, **{"max_new_tokens": 3, **kwargs})
    assert response.status_code == 200, response.text


WRONG_TYPES: dict[str, tuple[dict[str, Any], str]] = {
    "prompt as a number": ({"prompt": 5}, "prompt"),
    "prompt as a list": ({"prompt": ["a"]}, "prompt"),
    "return_full_text as text": ({"prompt": "a", "return_full_text": "no"}, "return_full_text"),
    "generate_kwargs as a list": ({"prompt": "a", "generate_kwargs": []}, "generate_kwargs"),
    "max_length as text": (
        {"prompt": "a", "generate_kwargs": {"max_length": "5"}},
        "generate_kwargs.max_length",
    ),
    "max_length with a fraction": (
        {"prompt": "a", "generate_kwargs": {"max_length": 5.5}},
        "generate_kwargs.max_length",
    ),
    "top_k as true": ({"prompt": "a", "generate_kwargs": {"top_k": True}}, "generate_kwargs.top_k"),
    "temperature as text": (
        {"prompt": "a", "generate_kwargs": {"temperature": "hot"}},
        "generate_kwargs.temperature",
    ),
    "bad words as a number": (
        {"prompt": "a", "generate_kwargs": {"bad_words_ids": 5}},
        "generate_kwargs.bad_words_ids",
    ),
    "messages as text": ({"messages": "hi"}, "messages"),
    "a message without content": ({"messages": [{"role": "user"}]}, "messages.0.content"),
    "a message whose content is null": (
        {"messages": [{"role": "user", "content": None}]},
        "messages.0.content",
    ),
}


@pytest.mark.parametrize(("body", "name"), WRONG_TYPES.values(), ids=WRONG_TYPES.keys())
def test_a_value_of_a_wrong_type_is_a_422_that_names_it(client: Any, body: dict[str, Any], name: str) -> None:
    response = client.post("/chat", json=body)
    assert response.status_code == 422, response.text
    assert response.json()["code"] == "malformed_request"
    assert response.json()["param"] == name


WRONG_BODIES: dict[str, tuple[dict[str, Any], str]] = {
    "neither prompt nor messages": ({}, "Send a prompt"),
    "empty prompt": ({"prompt": ""}, "Send a prompt"),
    "both prompt and messages": (
        {"prompt": "a", "messages": [{"role": "user", "content": "b"}]},
        "exclude each other",
    ),
    "no messages": ({"messages": []}, "messages"),
    "unknown role": ({"messages": [{"role": "tool", "content": "b"}]}, "messages.0.role"),
    "prefix with messages": (
        {"messages": [{"role": "user", "content": "b"}], "prefix": "p"},
        "system message",
    ),
    "unknown strategy for long prompts": ({"prompt": "a", "handle_long_generation": "cut"}, "hole"),
    "prompt beyond the context": ({"prompt": LONG}, f"a context of {CONTEXT}"),
    "conversation beyond the context": ({"messages": [{"role": "user", "content": LONG}]}, "messages is"),
    "hole without room for the prompt": (
        {"prompt": LONG, "handle_long_generation": "hole", "generate_kwargs": {"max_new_tokens": CONTEXT}},
        "leaves no room",
    ),
    "hole with a length that counts the prompt": (
        {"prompt": LONG, "handle_long_generation": "hole", "generate_kwargs": {"max_length": 100}},
        "max_new_tokens",
    ),
    "unknown top-level argument": ({"prompt": "a", "temperature": 0.5}, "temperature is not an argument"),
    "half a surrogate pair": ({"prompt": "\ud800"}, "surrogate"),
    "negative seed": ({"prompt": "a", "seed": -1}, "seed"),
    "a system message amid a template that knows none": (
        {"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]},
        "chat template",
    ),
}


@pytest.mark.parametrize(("body", "said"), WRONG_BODIES.values(), ids=WRONG_BODIES.keys())
def test_a_request_that_cannot_be_served_is_a_400_that_says_why(
    client: Any, body: dict[str, Any], said: str
) -> None:
    response = client.post("/chat", content=json.dumps(body), headers={"content-type": "application/json"})
    assert response.status_code == 400, response.text
    assert said in response.json()["detail"]


RAW = {
    "truncated JSON": (b'{"prompt": "a', "application/json", "not valid JSON"),
    "nothing": (b"", "application/json", "JSON object"),
    "a JSON list": (b"[]", "application/json", "JSON object"),
    "a JSON string": (b'"a"', "application/json", "JSON object"),
    "JSON as a form": (
        b'{"prompt": "a"}',
        "application/x-www-form-urlencoded",
        "Content-Type: application/json",
    ),
    "bytes that are no text": (b'{"prompt": "\xff"}', "application/json", ""),
    "deep nesting": (b"[" * 100_000, "application/json", ""),
    "a number of 5000 digits": (b'{"seed": ' + b"9" * 5000 + b"}", "application/json", ""),
    "a name with half a surrogate pair": (b'{"prompt": 1, "\\ud800": 2}', "application/json", ""),
}


@pytest.mark.parametrize(("content", "content_type", "said"), RAW.values(), ids=RAW.keys())
def test_a_malformed_body_is_a_422(client: Any, content: bytes, content_type: str, said: str) -> None:
    response = client.post("/chat", content=content, headers={"content-type": content_type})
    assert response.status_code == 422, response.text
    assert said in response.json()["detail"]


def test_a_body_that_does_not_say_its_type_is_taken_for_json(client: Any) -> None:
    # What `kubectl create --raw` sends, with which the README asks its first question.
    body = b'{"prompt": "a", "generate_kwargs": {"max_new_tokens": 1}}'
    request = client.build_request("POST", "/chat", content=body)
    assert "content-type" not in request.headers
    assert client.send(request).status_code == 200


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e400"])
@pytest.mark.parametrize("name", ["temperature", "top_p", "length_penalty", "max_time"])
def test_numbers_that_are_none_are_refused(client: Any, name: str, text: str) -> None:
    body = f'{{"prompt": "a", "generate_kwargs": {{"{name}": {text}}}}}'
    response = client.post("/chat", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert response.json()["param"] == f"generate_kwargs.{name}"


@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "chunked"])
def test_a_body_over_the_limit_is_a_413(client: Any, chunked: bool) -> None:
    body = json.dumps({"prompt": "a" * (4 * 2**20)}).encode()
    content = iter([body]) if chunked else body
    response = client.post("/chat", content=content, headers={"content-type": "application/json"})
    assert response.status_code == 413
    assert response.json()["code"] == "request_too_large"
    assert "4194304 bytes" in response.json()["detail"]


@pytest.mark.parametrize(
    "name",
    [
        "custom_generate",
        "trust_remote_code",
        "generation_config",
        "cache_implementation",
        "streamer",
        "assistant_model",
    ],
)
def test_arguments_that_can_run_code_are_refused_by_name(client: Any, name: str) -> None:
    response = _ask(client, **{name: "owner/name"})
    assert response.status_code == 400
    assert response.json()["param"] == f"generate_kwargs.{name}"
    assert "run code" in response.json()["detail"]


def test_a_client_cannot_make_the_server_run_code_from_a_folder(client: Any, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    (tmp_path / "custom_generate").mkdir()
    (tmp_path / "custom_generate" / "generate.py").write_text(
        f"def generate(*args, **kwargs):\n    open({str(proof)!r}, 'w').close()\n"
    )
    response = _ask(client, custom_generate=str(tmp_path), trust_remote_code=True)
    assert response.status_code == 400
    assert not proof.exists()


def test_arguments_that_together_forbid_every_token_are_a_400(client: Any) -> None:
    everything = [[token] for token in range(client.app.state.service.engine.info.vocabulary)]
    response = _ask(client, bad_words_ids=everything, do_sample=True, min_new_tokens=2)
    assert response.status_code == 400
    assert "forbid every token" in response.json()["detail"]


def test_the_server_still_answers_after_all_this(client: Any) -> None:
    assert _ask(client, max_new_tokens=1).status_code == 200
