"""Whose word counts for each argument: the request's, then the model's publisher's, then the API's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from berth_inference.dialects.chat import to_request
from berth_inference.engine import GenerationRequest, ModelInfo
from berth_inference.engine.admission import Limits
from berth_inference.errors import BerthError
from berth_inference.schemas.chat import ChatRequest

INFO = ModelInfo(
    names=("m",),
    context_length=1000,
    vocabulary=100,
    stop_token_ids=(2,),
    pad_token_id=0,
    has_chat_template=True,
    dtype="float32",
    device="cpu",
    defaults={},
)
# What a publisher may set.
GROUPED = {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5}
LIMITS = Limits(max_prompt_tokens=None, max_output_tokens=500, max_beams=8, max_sequences=8)


def _translate(
    kwargs: dict[str, Any] | None = None,
    published: dict[str, Any] | None = None,
    prompt: int = 10,
    prefix: int = 0,
) -> GenerationRequest:
    body = ChatRequest.model_validate({"prompt": "p", "generate_kwargs": kwargs})
    return to_request(body, [5] * prompt, prefix, replace(INFO, defaults=published or {}), LIMITS)


@pytest.mark.parametrize(
    ("kwargs", "published", "expected"),
    [
        ({}, {}, {"do_sample": True, "top_k": 10, "temperature": 1.0}),
        ({}, {"do_sample": False}, {"do_sample": False}),
        ({}, {"do_sample": True, "temperature": 0.6}, {"do_sample": True, "temperature": 0.6, "top_k": 50}),
        ({}, {"temperature": 0.6, "top_k": 3}, {"do_sample": True, "temperature": 0.6, "top_k": 3}),
        ({"temperature": 0.9}, {"do_sample": False}, {"do_sample": True, "temperature": 0.9}),
        ({"top_p": 0.9}, {"do_sample": False}, {"do_sample": True, "top_p": 0.9}),
        ({"temperature": 1.0, "top_p": 1}, {"do_sample": False}, {"do_sample": False}),
        ({"do_sample": False, "temperature": 0.9}, {}, {"do_sample": False}),
        ({"do_sample": False}, {"do_sample": True}, {"do_sample": False}),
        ({"num_beams": 4}, {}, {"do_sample": False, "num_beams": 4}),
        ({"num_beams": 4, "temperature": 0.5}, {}, {"do_sample": True, "num_beams": 4}),
        (
            {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1},
            {},
            {"do_sample": False, "num_beam_groups": 2, "diversity_penalty": 1.0},
        ),
        ({"num_beam_groups": 0}, {}, {"num_beam_groups": 1}),
        ({}, GROUPED, {"do_sample": False, **GROUPED}),
        ({"num_beams": 3}, GROUPED, {"num_beams": 3, "num_beam_groups": 1, "diversity_penalty": 0.0}),
        ({"diversity_penalty": 0}, GROUPED, {"num_beam_groups": 1, "diversity_penalty": 0.0}),
        ({"do_sample": True}, GROUPED, {"do_sample": True, "num_beam_groups": 1, "diversity_penalty": 0.0}),
        ({}, {"diversity_penalty": 0.5}, {"num_beam_groups": 1, "diversity_penalty": 0.0}),
        ({}, {"repetition_penalty": 1.2}, {"do_sample": True, "top_k": 10, "repetition_penalty": 1.2}),
        ({"repetition_penalty": 1}, {"repetition_penalty": 1.2}, {"repetition_penalty": 1.0}),
        ({}, {"bad_words_ids": [[1], [2, 3]]}, {"bad_words_ids": ((1,), (2, 3))}),
        ({}, {"forced_eos_token_id": 7}, {"forced_eos_token_id": (7,)}),
        ({"forced_eos_token_id": [7, 8]}, {}, {"forced_eos_token_id": (7, 8)}),
    ],
    ids=[
        "nothing said anywhere: the API's defaults",
        "a greedy model stays greedy",
        "a publisher who sets sampling counts on the library's top_k",
        "a publisher's sampling arguments mean sampling",
        "a temperature asks a greedy model to sample",
        "a top_p asks a greedy model to sample",
        "neutral values ask for nothing",
        "an explicit false is obeyed",
        "an explicit false beats the publisher",
        "beams alone mean beam search",
        "beams with a temperature mean sampling beams",
        "groups of beams are searched",
        "no groups are one",
        "a publisher's groups apply",
        "a publisher's groups are not for other beams",
        "a request can switch a publisher's groups off",
        "a publisher's groups are not for sampling",
        "a publisher's penalty between no groups has no effect",
        "a publisher's penalty does not touch sampling",
        "a request can switch a publisher's penalty off",
        "a publisher's bad words apply",
        "a publisher's forced end applies",
        "a request's forced ends apply",
    ],
)
def test_sampling_arguments_are_merged(
    kwargs: dict[str, Any], published: dict[str, Any], expected: dict[str, Any]
) -> None:
    sampling = _translate(kwargs, published).sampling
    assert {name: getattr(sampling, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("kwargs", "prompt", "prefix", "expected"),
    [
        ({}, 10, 0, (200, 0)),
        ({}, 900, 0, (100, 0)),
        ({"max_length": 50}, 10, 0, (40, 0)),
        ({"max_length": 50}, 20, 10, (40, 0)),
        ({"max_length": 9999}, 900, 0, (100, 0)),
        ({"max_new_tokens": 7, "max_length": 50}, 10, 0, (7, 0)),
        ({"max_new_tokens": 300}, 900, 0, (100, 0)),
        ({"min_length": 30}, 10, 0, (200, 20)),
        ({"min_length": 30}, 20, 10, (200, 20)),
        ({"min_length": 5}, 10, 0, (200, 0)),
        ({"min_length": 30, "min_new_tokens": 4}, 10, 0, (200, 4)),
    ],
    ids=[
        "no limit: 200",
        "no limit: at most what the context holds",
        "max_length counts the prompt",
        "max_length does not count the prefix",
        "max_length ends at the context",
        "max_new_tokens wins",
        "max_new_tokens ends at the context",
        "min_length counts the prompt",
        "min_length does not count the prefix",
        "min_length below the prompt asks for nothing",
        "min_new_tokens wins",
    ],
)
def test_lengths_are_translated(
    kwargs: dict[str, Any], prompt: int, prefix: int, expected: tuple[int, int]
) -> None:
    request = _translate(kwargs, prompt=prompt, prefix=prefix)
    assert (request.max_new_tokens, request.min_new_tokens) == expected


def test_stop_and_pad_tokens_are_the_models_unless_given() -> None:
    plain, given = _translate(), _translate({"eos_token_id": 7, "pad_token_id": 8})
    assert (plain.stop_token_ids, plain.pad_token_id) == ((2,), 0)
    assert (given.stop_token_ids, given.pad_token_id) == ((7,), 8)


@pytest.mark.parametrize(
    ("kwargs", "prompt", "param"),
    [
        ({"max_new_tokens": 501}, 10, "generate_kwargs.max_new_tokens"),
        ({"max_length": 900}, 10, "generate_kwargs.max_length"),
        ({}, 1000, "prompt"),
        ({}, 0, "prompt"),
    ],
    ids=[
        "new tokens over the limit",
        "length over the limit",
        "prompt fills the context",
        "prompt without tokens",
    ],
)
def test_what_is_refused_is_named_as_the_client_knows_it(
    kwargs: dict[str, Any], prompt: int, param: str
) -> None:
    with pytest.raises(BerthError) as raised:
        _translate(kwargs, prompt=prompt)
    assert raised.value.param == param
