"""Every argument of a request reaches vLLM under its name there, or is refused; what vLLM answers becomes events."""

from __future__ import annotations

import json
import logging
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from berth_inference.engine import FinishReason, GenerationRequest, Grammar, SamplingParams
from berth_inference.engine.codec import TokenizerCodec
from berth_inference.engine.interface import Occupancy
from berth_inference.engine.remote.answers import Answer, UnreadableAnswer
from berth_inference.engine.remote.arguments import MAPPED, REFUSED, check, completion
from berth_inference.engine.remote.failures import refused
from berth_inference.engine.remote.gauges import memory
from berth_inference.engine.remote.model import model_info
from berth_inference.errors import BerthError, ErrorKind
from berth_inference.models import built_in_models
from server.fake_vllm import ANSWERS

END, OTHER_END = 4, 0
OF_SAMPLING = {item.name for item in fields(SamplingParams)}
OF_REQUEST = {item.name for item in fields(GenerationRequest)} - {"sampling"}


def asked(**arguments: Any) -> GenerationRequest:
    """A plain request with these arguments, of its own and of its sampling."""
    sampling = {name: value for name, value in arguments.items() if name in OF_SAMPLING}
    own = {name: value for name, value in arguments.items() if name in OF_REQUEST}
    plain: dict[str, Any] = {"prompt": (1, 2), "max_new_tokens": 5, "stop_token_ids": (END, OTHER_END)}
    return GenerationRequest(**(plain | own), sampling=SamplingParams(**sampling))


def body(**arguments: Any) -> dict[str, Any]:
    request = asked(**arguments)
    check(request, stops=(END, OTHER_END), end=END)
    return completion(request, "m")


PLAIN = {
    "model": "m",
    "prompt": [1, 2],
    "max_tokens": 5,
    "min_tokens": 0,
    "n": 1,
    "stream": True,
    "return_token_ids": True,
    "temperature": 0.0,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "stop": [],
    "stop_token_ids": [4, 0],
    "ignore_eos": True,
}

# Argument -> (what is asked, what vLLM is sent beyond the plain body, what it is sent no more).
SENT: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "prompt": ({"prompt": (7,)}, {"prompt": [7]}),
    "max_new_tokens": ({"max_new_tokens": 9}, {"max_tokens": 9}),
    "min_new_tokens": ({"min_new_tokens": 3}, {"min_tokens": 3}),
    "n": ({"n": 2, "do_sample": True}, {"n": 2, "temperature": 1.0}),
    "stop": ({"stop": ("x", "y")}, {"stop": ["x", "y"]}),
    "stop_token_ids": ({"stop_token_ids": ()}, {"stop_token_ids": []}),
    "pad_token_id": ({"pad_token_id": 3}, {}),
    "seed": ({"seed": 3}, {"seed": 3}),
    "max_seconds": ({"max_seconds": 3.0}, {}),
    "logprobs": ({"logprobs": True}, {"logprobs": 0, "return_tokens_as_token_ids": True}),
    "top_logprobs": (
        {"logprobs": True, "top_logprobs": 5},
        {"logprobs": 5, "return_tokens_as_token_ids": True},
    ),
    "grammar": (
        {"grammar": Grammar.json_object()},
        {"response_format": {"type": "json_object"}, "ignore_eos": False},
    ),
    "do_sample": ({"do_sample": True}, {"temperature": 1.0}),
    "temperature": ({"do_sample": True, "temperature": 0.7}, {"temperature": 0.7}),
    "top_k": ({"do_sample": True, "top_k": 7}, {"temperature": 1.0, "top_k": 7}),
    "top_p": ({"do_sample": True, "top_p": 0.5}, {"temperature": 1.0, "top_p": 0.5}),
    "min_p": ({"do_sample": True, "min_p": 0.5}, {"temperature": 1.0, "min_p": 0.5}),
    "repetition_penalty": ({"repetition_penalty": 1.5}, {"repetition_penalty": 1.5}),
    "presence_penalty": ({"presence_penalty": 0.5}, {"presence_penalty": 0.5}),
    "frequency_penalty": ({"frequency_penalty": 0.5}, {"frequency_penalty": 0.5}),
    "logit_bias": ({"logit_bias": ((7, -100.0),)}, {"logit_bias": {"7": -100.0}}),
}

BEAMS = {
    "model": "m",
    "prompt": [1, 2],
    "max_tokens": 5,
    "return_token_ids": True,
    "use_beam_search": True,
    "n": 4,
    "temperature": 0.0,
    "length_penalty": 1.0,
    "ignore_eos": False,
    "include_stop_str_in_output": True,
}
WITH_BEAMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "num_beams": ({}, {}),
    "length_penalty": ({"length_penalty": 0.5}, {"length_penalty": 0.5}),
    "early_stopping": ({"early_stopping": "never"}, {}),
}

NOT: dict[str, dict[str, Any]] = {
    "typical_p": {"typical_p": 0.5},
    "no_repeat_ngram_size": {"no_repeat_ngram_size": 2},
    "encoder_no_repeat_ngram_size": {"encoder_no_repeat_ngram_size": 2},
    "bad_words_ids": {"bad_words_ids": ((5,),)},
    "forced_bos_token_id": {"forced_bos_token_id": 5},
    "forced_eos_token_id": {"forced_eos_token_id": (5,)},
    "remove_invalid_values": {"remove_invalid_values": True},
    "num_beam_groups": {"num_beam_groups": 2},
    "diversity_penalty": {"diversity_penalty": 1.0},
}


def test_every_argument_of_a_request_is_mapped_or_refused_and_tried_here() -> None:
    assert MAPPED.keys() | REFUSED.keys() == OF_REQUEST | OF_SAMPLING
    assert not MAPPED.keys() & REFUSED.keys()
    assert SENT.keys() | WITH_BEAMS.keys() == MAPPED.keys()
    assert NOT.keys() == REFUSED.keys()


@pytest.mark.parametrize(("arguments", "changes"), SENT.values(), ids=SENT)
def test_an_argument_is_sent_to_vllm(arguments: dict[str, Any], changes: dict[str, Any]) -> None:
    assert body(**arguments) == PLAIN | changes


@pytest.mark.parametrize(("arguments", "changes"), WITH_BEAMS.values(), ids=WITH_BEAMS)
def test_an_argument_of_beam_search_is_sent_to_vllm(
    arguments: dict[str, Any], changes: dict[str, Any]
) -> None:
    assert body(num_beams=4, n=2, **arguments) == BEAMS | changes


def test_beams_without_stop_tokens_go_on_past_the_end() -> None:
    assert body(num_beams=4, stop_token_ids=()) == BEAMS | {"ignore_eos": True}


@pytest.mark.parametrize(("name", "arguments"), NOT.items(), ids=NOT)
def test_an_argument_that_vllm_has_not_is_refused(name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(BerthError) as raised:
        body(**arguments)
    assert (raised.value.kind, raised.value.param) == (ErrorKind.INVALID, name)
    assert REFUSED[name] in raised.value.message


@pytest.mark.parametrize(
    "grammar_needs",
    [{"stop_token_ids": ()}, {"stop_token_ids": (END,)}, {"num_beams": 2}],
    ids=["no end", "half of the ends", "beams"],
)
def test_a_grammar_is_refused_where_vllm_could_not_end_it(grammar_needs: dict[str, Any]) -> None:
    with pytest.raises(BerthError) as raised:
        body(grammar=Grammar.json_object(), **grammar_needs)
    assert raised.value.param == "response_format"


@pytest.mark.parametrize("text", ["{}", "{", "[]", '{"error": null}', '{"error": "no"}', "plain"])
def test_an_error_in_another_form_is_told_too(text: str) -> None:
    assert refused(400, text.encode()).kind is ErrorKind.INVALID


def _part(**choice: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "token_ids": [5], "finish_reason": None, **choice}]}


@pytest.mark.parametrize(
    "part",
    [
        {},
        {"choices": 3},
        _part(token_ids=None),
        _part(finish_reason="whim"),
        _part(logprobs=None),
        _part(logprobs={"token_logprobs": [None], "top_logprobs": [{}]}),
        _part(logprobs={"token_logprobs": [0.0, 0.0], "top_logprobs": [{}]}),
        _part(logprobs={"token_logprobs": [0.0], "top_logprobs": [{"pod": 0.0}]}),
    ],
)
def test_an_answer_that_cannot_be_read_is_told_as_such(part: dict[str, Any]) -> None:
    with pytest.raises(UnreadableAnswer):
        list(Answer(asked(logprobs=True, top_logprobs=1)).events(part))


def test_sequences_that_have_not_ended_are_ended_once() -> None:
    answer = Answer(asked(n=2))
    list(answer.events(_part(finish_reason="stop")))
    assert [event.reason for event in list(answer.end(FinishReason.LENGTH))[:-1]] == [FinishReason.LENGTH]  # type: ignore[union-attr]
    assert len(list(answer.end(FinishReason.CANCELLED))) == 1


def test_memory_is_read_over_all_engines() -> None:
    page = (ANSWERS / "metrics.txt").read_text()
    assert memory(page) == Occupancy(kv_usage=0.5, prefix_queries=120, prefix_hits=64)
    assert memory("") == Occupancy()


def test_what_the_publisher_asks_for_and_vllm_cannot_do_is_left_out_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import transformers

    folder = built_in_models()["tiny-chat"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    (tmp_path / "config.json").write_text(json.dumps({"text_config": {"vocab_size": 3000}}))
    published = {"eos_token_id": 4, "temperature": 0.6, "no_repeat_ngram_size": 3, "typical_p": 1.0}
    (tmp_path / "generation_config.json").write_text(json.dumps(published))
    with caplog.at_level(logging.WARNING):
        info = model_info(
            tmp_path, tokenizer, TokenizerCodec(tokenizer), names=("m",), context=512, address="http://x"
        )
    assert (info.vocabulary, info.stop_token_ids, info.context_length) == (3000, (4,), 512)
    assert info.defaults == {"eos_token_id": 4, "temperature": 0.6}
    assert "no_repeat_ngram_size" in caplog.text
    assert "typical_p" not in caplog.text
