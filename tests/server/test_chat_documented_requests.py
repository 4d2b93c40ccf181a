"""The two curl commands of the API's documentation, for each documented prompt, over real HTTP."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

HEADERS = {"accept": "application/json", "Content-Type": "application/json"}

PLAIN_BASIC = r"""{"prompt":"YOUR_PROMPT_HERE"}"""

PHI_BASIC = r"""{"prompt":"<|user|> How to explain Internet for a medieval knight?<|end|><|assistant|>"}"""

FULL = r"""{
        "prompt":"%s",
        "return_full_text": false,
        "clean_up_tokenization_spaces": false, 
        "prefix": null,
        "handle_long_generation": null,
        "generate_kwargs": {
                "max_length":200,
                "min_length":0,
                "do_sample":true,
                "early_stopping":false,
                "num_beams":1,
                "num_beam_groups":1,
                "diversity_penalty":0.0,
                "temperature":1.0,
                "top_k":10,
                "top_p":1,
                "typical_p":1,
                "repetition_penalty":1,
                "length_penalty":1,
                "no_repeat_ngram_size":0,
                "encoder_no_repeat_ngram_size":0,
                "bad_words_ids":null,
                "num_return_sequences":1,
                "output_scores":false,
                "return_dict_in_generate":false,
                "forced_bos_token_id":null,
                "forced_eos_token_id":null,
                "remove_invalid_values":null
            }
        }"""  # noqa: W291  verbatim, with the trailing space of the documentation

PLAIN_FULL = FULL % "YOUR_PROMPT_HERE"
PHI_FULL = FULL % "<|user|> What is the meaning of life?<|end|><|assistant|>"

BODIES = {
    "plain basic": PLAIN_BASIC,
    "plain with full configurable parameters": PLAIN_FULL,
    "phi-3 basic": PHI_BASIC,
    "phi-3 with full configurable parameters": PHI_FULL,
}


def _post(url: str, body: str) -> httpx2.Response:
    return httpx2.post(f"{url}/chat", content=body.encode(), headers=HEADERS, timeout=60)


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_documented_request_is_answered_with_a_result(server: Any, body: str) -> None:
    response = _post(server.url, body)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert list(answer) == ["Result"]
    assert isinstance(answer["Result"], str)


@pytest.mark.parametrize("body", [PLAIN_BASIC, PHI_BASIC], ids=["plain", "phi-3"])
def test_the_basic_request_returns_the_full_text(server: Any, body: str) -> None:
    answer = _post(server.url, body).json()["Result"]
    assert answer.startswith(json.loads(body)["prompt"])


@pytest.mark.parametrize("body", [PLAIN_FULL, PHI_FULL], ids=["plain", "phi-3"])
def test_the_full_request_returns_generated_text_only(server: Any, body: str) -> None:
    answer = _post(server.url, body).json()["Result"]
    assert not answer.startswith(json.loads(body)["prompt"])


def test_a_prompt_with_the_documented_escapes_is_understood(server: Any) -> None:
    prompt = r"<|user|>\nQuestion<|end|>\n<|assistant|>"
    answer = _post(server.url, f'{{"prompt":"{prompt}"}}').json()["Result"]
    assert answer.startswith("<|user|>\nQuestion<|end|>\n<|assistant|>")
