"""Every argument of /v1/generate does what its documentation says, or is refused by name."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from server.random_model import ASSISTANT, CONTEXT, END, USER

PROMPT = "What is the meaning of life?"
GREEDY: dict[str, Any] = {"prompt": PROMPT, "max_tokens": 24, "temperature": 0}
SAMPLED: dict[str, Any] = {"prompt": PROMPT, "max_tokens": 24, "seed": 11}
BEAMS: dict[str, Any] = {**GREEDY, "use_beam_search": True, "best_of": 3}


def _post(client: Any, body: dict[str, Any]) -> Any:
    return client.post("/v1/generate", json=body)


def _answer(client: Any, body: dict[str, Any]) -> dict[str, Any]:
    response = _post(client, body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "presence_penalty": (GREEDY, {"presence_penalty": 2.0}),
    "frequency_penalty": (GREEDY, {"frequency_penalty": 2.0}),
    "repetition_penalty": (GREEDY, {"repetition_penalty": 1.8}),
    "temperature": (SAMPLED, {"temperature": 0.2}),
    "top_p": (SAMPLED, {"top_p": 0.1}),
    "top_k": (SAMPLED, {"top_k": 2}),
    "min_p": (SAMPLED, {"min_p": 0.9}),
    "seed": (SAMPLED, {"seed": 12}),
    "use_beam_search": (GREEDY, {"use_beam_search": True, "best_of": 3}),
    "best_of as beams": (BEAMS, {"best_of": 6}),
    "max_tokens": (GREEDY, {"max_tokens": 5}),
}


@pytest.mark.parametrize(("base", "change"), CHANGES.values(), ids=CHANGES.keys())
def test_an_argument_changes_the_output(client: Any, base: dict[str, Any], change: dict[str, Any]) -> None:
    assert _answer(client, base | change)["text"] != _answer(client, base)["text"]


NEUTRAL: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "penalties at rest": (
        GREEDY,
        {"presence_penalty": 0, "frequency_penalty": 0.0, "repetition_penalty": 1},
    ),
    "sampling arguments at rest": (SAMPLED, {"top_p": 1, "top_k": -1, "min_p": 0, "temperature": 1}),
    "beam arguments at rest": (
        SAMPLED,
        {"use_beam_search": False, "length_penalty": 1, "early_stopping": False},
    ),
    "one output, the best of one": (SAMPLED, {"n": 1, "best_of": 1}),
    "nulls": (GREEDY, dict.fromkeys(("n", "best_of", "top_p", "top_k", "min_p", "stream", "messages"))),
    "one candidate is the likeliest": (GREEDY, {"temperature": 1, "top_k": 1}),
    "the other name of the prompt": (GREEDY, {"prompt": None, "formatted_prompt": PROMPT}),
}


@pytest.mark.parametrize(("base", "change"), NEUTRAL.values(), ids=NEUTRAL.keys())
def test_neutral_values_change_nothing(client: Any, base: dict[str, Any], change: dict[str, Any]) -> None:
    assert _answer(client, base | change) == _answer(client, base)


def test_without_a_limit_an_output_ends_at_256_tokens_or_where_the_context_does(client: Any) -> None:
    answer = _answer(client, {"prompt": PROMPT, "seed": 3, "presence_penalty": 0.1})
    assert answer["token_counts"]["output"] <= CONTEXT - answer["token_counts"]["input"]


def test_beams_are_those_of_generate(client: Any, reference: Any) -> None:
    import torch

    for more, equivalent in (
        ({}, {}),
        ({"length_penalty": 3.0}, {"length_penalty": 3.0}),
        ({"early_stopping": True}, {"early_stopping": True}),
        (
            {"early_stopping": "never", "length_penalty": -2},
            {"early_stopping": "never", "length_penalty": -2.0},
        ),
    ):
        ids = torch.tensor([reference.tokenizer(PROMPT)["input_ids"]])
        output = reference.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            eos_token_id=[0, END],
            pad_token_id=0,
            max_new_tokens=24,
            num_beams=4,
            num_return_sequences=2,
            do_sample=False,
            **equivalent,
        )
        expected = [
            reference.tokenizer.decode(row[ids.shape[1] :], skip_special_tokens=True) for row in output
        ]
        assert _answer(client, {**BEAMS, "best_of": 4, "n": 2, **more})["text"] == expected


def test_the_best_outputs_are_those_with_the_highest_sum_of_log_probabilities(client: Any) -> None:
    body = {**SAMPLED, "max_tokens": 8}
    made = client.post("/v1/completions", json={**body, "n": 6, "logprobs": 0}).json()["choices"]
    ranked = sorted(made, key=lambda choice: -sum(choice["logprobs"]["token_logprobs"]))
    best = _answer(client, {**body, "n": 2, "best_of": 6})
    assert best["text"] == [choice["text"] for choice in ranked[:2]]
    assert len({choice["text"] for choice in made}) > 2


def test_messages_are_rendered_by_the_chat_template(client: Any, reference: Any) -> None:
    answer = _answer(client, {**GREEDY, "prompt": None, "messages": [{"role": "user", "content": PROMPT}]})
    rendered = f"<|user|>\n{PROMPT}<|end|>\n<|assistant|>\n"
    assert {USER, ASSISTANT, END} <= set(reference.tokenizer(rendered)["input_ids"])
    assert answer == _answer(client, {**GREEDY, "prompt": rendered})


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(GREEDY, id="greedy"),
        pytest.param({**SAMPLED, "n": 3}, id="several outputs"),
        pytest.param({**SAMPLED, "n": 2, "best_of": 4}, id="the best of several"),
        pytest.param({**BEAMS, "n": 2}, id="beams"),
    ],
)
def test_a_stream_holds_the_text_so_far_and_ends_with_all_of_it(client: Any, body: dict[str, Any]) -> None:
    response = _post(client, {**body, "stream": True})
    assert response.content.endswith(b"\0")
    texts = [json.loads(part)["text"] for part in response.content.split(b"\0")[:-1]]
    assert texts[-1] == _answer(client, body)["text"]
    for before, after in pairwise(texts):
        assert all(new.startswith(old) for old, new in zip(before, after, strict=True))


REFUSED: dict[str, tuple[dict[str, Any], str | None, str]] = {
    "nothing to continue": ({"prompt": None}, None, "Send a prompt"),
    "two things to continue": ({"formatted_prompt": "x"}, "formatted_prompt", "exclude each other"),
    "a variable without a place": ({"input_variables": {"a": "b"}}, "input_variables.a", "no {a} in prompt"),
    "a variable that is no text": ({"input_variables": {"a": 1}}, "input_variables.a", "valid string"),
    "variables that are no question": (
        {"prompt": None, "input_variables": {"prompt": "x", "style": "y"}},
        "input_variables.style",
        "are prompt and system",
    ),
    "fewer made than returned": ({"n": 3, "best_of": 2}, "best_of", "at least n"),
    "several greedy outputs": ({"n": 2}, "n", "must be 1 with temperature 0"),
    "the best of several greedy ones": ({"best_of": 2}, "best_of", "must be 1 with temperature 0"),
    "too many outputs": ({"n": 17, "temperature": 1}, "n", "at most 16"),
    "too many made": ({"n": 1, "best_of": 17, "temperature": 1}, "best_of", "at most 16"),
    "too many beams": ({"use_beam_search": True, "best_of": 17}, "best_of", "at most 16"),
    "one beam": ({"use_beam_search": True}, "best_of", "at least 2"),
    "beams with a temperature": (
        {"use_beam_search": True, "best_of": 2, "temperature": 1},
        "temperature",
        "must be 0",
    ),
    "beams with top_p": ({"use_beam_search": True, "best_of": 2, "top_p": 0.9}, "top_p", "has no effect"),
    "beams with top_k": ({"use_beam_search": True, "best_of": 2, "top_k": 4}, "top_k", "has no effect"),
    "beams with min_p": ({"use_beam_search": True, "best_of": 2, "min_p": 0.1}, "min_p", "has no effect"),
    "early stopping without beams": ({"early_stopping": True}, "early_stopping", "use_beam_search true only"),
    "length penalty without beams": ({"length_penalty": 2}, "length_penalty", "use_beam_search true only"),
    "top_p above 1": ({"top_p": 1.1}, "top_p", "less than or equal to 1"),
    "top_k below -1": ({"top_k": -2}, "top_k", "greater than or equal to -1"),
    "a tiny temperature": ({"temperature": 1e-9}, "temperature", "at least 0.001"),
    "a penalty that is too high": ({"presence_penalty": 3}, "presence_penalty", "less than or equal to 2"),
    "no tokens": ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
    "more tokens than there is room": ({"max_tokens": 250}, "max_tokens", "at most 230"),
    "a prompt that is too long": ({"prompt": "sheep " * 300}, "prompt", "Shorten it"),
    "an unknown argument": ({"temprature": 1}, "temprature", "did you mean temperature?"),
    "an argument that runs code": (
        {"trust_remote_code": True},
        "trust_remote_code",
        "the server's own business",
    ),
    "a role that there is not": (
        {"prompt": None, "messages": [{"role": "tool", "content": "x"}]},
        "messages.0.role",
        "'system', 'user' or 'assistant'",
    ),
    "half a surrogate pair": ({"prompt": "\ud800"}, "prompt", "half of a surrogate pair"),
}


@pytest.mark.parametrize(("change", "param", "words"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_what_cannot_be_served_is_refused_by_name(
    client: Any, change: dict[str, Any], param: str | None, words: str, stream: bool
) -> None:
    body = json.dumps({**GREEDY, **change, "stream": stream})
    response = client.post("/v1/generate", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400, response.text
    assert response.json()["param"] == param
    assert words in response.json()["detail"]


def test_another_model_is_not_found(client: Any) -> None:
    response = _post(client, {**GREEDY, "model": "gpt-5"})
    assert response.status_code == 404
    assert response.json()["param"] == "model"
    assert "served: model" in response.json()["detail"]
