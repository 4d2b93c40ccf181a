"""The three APIs give the text that `model.generate` gives for the equivalent arguments, in float32."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from transformers import LogitsProcessor

from server.random_model import END, END_OF_TEXT

pytestmark = pytest.mark.thorough

REQUESTS = 100

PROMPTS = (
    "What is the meaning of life?",
    "The quick brown fox",
    "Kubernetes runs containers",
    "0123456789 sheep",
    "Ünïcödé and 日本語",
)


@dataclass(frozen=True)
class Case:
    """A prompt, how many new tokens, and the arguments of `generate`; penalties are the APIs' own."""

    prompt: str
    new_tokens: int
    sampling: dict[str, Any]
    seed: int | None
    presence: float = 0.0
    frequency: float = 0.0


def random_case(source: random.Random) -> Case:
    def maybe(name: str, *values: Any) -> dict[str, Any]:
        return {name: source.choice(values)} if source.random() < 0.4 else {}

    sampling = maybe("repetition_penalty", 0.8, 1.2, 1.7)
    seed = None
    if source.random() < 0.6:
        seed = source.randrange(2**31)
        sampling |= maybe("temperature", 0.4, 0.9, 1.6) | maybe("top_k", 1, 5, 40)
        sampling |= maybe("top_p", 0.3, 0.8, 0.97) | maybe("min_p", 0.02, 0.2)
    penalised = source.random() < 0.3
    return Case(
        source.choice(PROMPTS),
        source.randint(1, 40),
        sampling,
        seed,
        presence=source.choice([0.0, 0.7]) if penalised else 0.0,
        frequency=source.choice([-0.4, 1.1]) if penalised else 0.0,
    )


class Penalties(LogitsProcessor):
    """Presence and frequency penalties as OpenAI's documentation words them, token by token."""

    def __init__(self, case: Case, prompt: int) -> None:
        self._case, self._prompt = case, prompt

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        changed = scores.clone()
        answer = input_ids[0, self._prompt :].tolist()
        for token in set(answer):
            changed[0, token] -= self._case.presence + self._case.frequency * answer.count(token)
        return changed


def expected(reference: Any, case: Case) -> str:
    ids = torch.tensor([reference.tokenizer(case.prompt)["input_ids"]])
    if case.seed is not None:
        torch.manual_seed(case.seed)
    output = reference.model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        eos_token_id=[END_OF_TEXT, END],
        pad_token_id=0,
        max_new_tokens=case.new_tokens,
        do_sample=case.seed is not None,
        logits_processor=[Penalties(case, ids.shape[1])],
        **({"top_k": 0} if case.seed is not None else {}) | case.sampling,
    )
    text: str = reference.tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)
    return text


def chat(client: Any, case: Case) -> str:
    kwargs = {
        "do_sample": case.seed is not None,
        "top_k": 0,
        **case.sampling,
        "max_new_tokens": case.new_tokens,
    }
    body = {"prompt": case.prompt, "return_full_text": False, "generate_kwargs": kwargs, "seed": case.seed}
    return str(_post(client, "/chat", body)["Result"])


def _vllm_names(case: Case) -> dict[str, Any]:
    return {
        "prompt": case.prompt,
        "max_tokens": case.new_tokens,
        "temperature": 0 if case.seed is None else 1,
        "presence_penalty": case.presence,
        "frequency_penalty": case.frequency,
        "seed": case.seed,
        **case.sampling,
    }


def generate(client: Any, case: Case) -> str:
    return str(_post(client, "/v1/generate", _vllm_names(case))["text"][0])


def completions(client: Any, case: Case) -> str:
    return str(_post(client, "/v1/completions", _vllm_names(case))["choices"][0]["text"])


def chat_completions(client: Any, case: Case) -> str:
    """A conversation's prompt is its template, so this one is held to /v1/completions of that."""
    messages = [{"role": "user", "content": case.prompt}]
    prompt = _post(client, "/tokenize", {"messages": messages})["tokens"]
    body = {**_vllm_names(case), "prompt": prompt}
    text = _post(client, "/v1/completions", body)["choices"][0]["text"]
    del body["prompt"]
    answer = _post(client, "/v1/chat/completions", {**body, "messages": messages})
    assert answer["choices"][0]["message"]["content"] == text
    return str(text)


def _post(client: Any, path: str, body: dict[str, Any]) -> dict[str, Any]:
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


@pytest.mark.parametrize("number", range(REQUESTS))
def test_random_arguments_give_the_text_of_generate(client: Any, reference: Any, number: int) -> None:
    case = random_case(random.Random(number))
    text = expected(reference, case)
    assert generate(client, case) == text
    assert completions(client, case) == text
    if not case.presence and not case.frequency:  # which /chat does not have
        assert chat(client, case) == text
    if number % 4 == 0:
        chat_completions(client, case)
