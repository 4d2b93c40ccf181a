"""Each argument that the documentation of /chat lists does to tiny-chat's answers what it says.

That the tokens are those of `generate` is shown elsewhere, on another model. Where an argument cannot change an answer,
its entry shows precisely that.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
import torch

from berth_inference.schemas.chat import ChatRequest, GenerateKwargs
from server.test_chat_documented_requests import PHI_FULL

# The list under "Parameters", in its order.
DOCUMENTED = (
    *("prompt", "return_full_text", "clean_up_tokenization_spaces", "prefix", "handle_long_generation"),
    *("max_length", "min_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups"),
    *(
        "diversity_penalty",
        "temperature",
        "top_k",
        "top_p",
        "typical_p",
        "repetition_penalty",
        "length_penalty",
    ),
    *("no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences"),
    *("output_scores", "return_dict_in_generate", "pad_token_id", "eos_token_id", "forced_bos_token_id"),
    *("forced_eos_token_id", "remove_invalid_values"),
)

QUESTION = "What is a pod?"
QUESTION_TOKENS = 5
CONTEXT = 2048
END = 4  # <|end|>, which ends tiny-chat's answers, as 0, <|endoftext|>, does
BEGINNING = "Kubernetes is"
GREETING = "Hello"  # one token, to which a beam search knows short answers and long ones
HOT = {"do_sample": True, "temperature": 5.0, "top_k": 0, "max_new_tokens": 20}
GROUPS = {"num_beams": 4, "num_beam_groups": 2, "num_return_sequences": 4, "max_new_tokens": 12}


@dataclass(frozen=True)
class Chat:
    """Asks tiny-chat, in process and in float32."""

    client: Any

    def post(self, body: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        asked = {"prompt": QUESTION, "return_full_text": False, **(body or {})}
        return self.client.post("/chat", json={**asked, "generate_kwargs": kwargs})

    def answer(self, body: dict[str, Any] | None = None, **kwargs: Any) -> dict[str, Any]:
        response = self.post(body, **kwargs)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def text(self, body: dict[str, Any] | None = None, **kwargs: Any) -> str:
        text: str = self.answer(body, **kwargs)["Result"]
        return text

    def rows(self, body: dict[str, Any] | None = None, **kwargs: Any) -> list[list[int]]:
        """The tokens of each sequence."""
        details = self.answer(body, return_dict_in_generate=True, **kwargs)["details"]
        return [sequence["token_ids"] for sequence in details["sequences"]]

    def row(self, body: dict[str, Any] | None = None, **kwargs: Any) -> list[int]:
        [row] = self.rows(body, **kwargs)
        return row

    def likelihood(self, body: dict[str, Any], **kwargs: Any) -> float:
        """The log-probability of an answer."""
        [sequence] = self.answer(body, output_scores=True, **kwargs)["details"]["sequences"]
        return sum(sequence["scores"])

    def drawn(self, **kwargs: Any) -> int:
        """How many different texts some seeds give."""
        return len({self.text({"seed": seed}, **kwargs) for seed in range(4)})

    def tokens(self, text: str) -> list[int]:
        tokens: list[int] = self.client.post("/tokenize", json={"prompt": text}).json()["tokens"]
        return tokens


@pytest.fixture(scope="module")
def chat(tiny_client: Any) -> Chat:
    asking = Chat(tiny_client)
    assert len(asking.tokens(QUESTION)) == QUESTION_TOKENS
    return asking


def prompt(chat: Chat) -> None:
    assert "pod" in chat.text({"prompt": "What is a pod?"})
    assert "node" in chat.text({"prompt": "What is a node?"})


def return_full_text(chat: Chat) -> None:
    generated = chat.text({"return_full_text": False})
    assert generated
    assert chat.text({"return_full_text": True}) == QUESTION + generated
    assert chat.text({"return_full_text": None}) == QUESTION + generated


def clean_up_tokenization_spaces(chat: Chat) -> None:
    space, stop = chat.tokens(" "), chat.tokens(".")
    forced = {"forced_bos_token_id": space[0], "forced_eos_token_id": stop[0], "max_new_tokens": 2}
    asked = {"prompt": GREETING}
    assert chat.row(asked, **forced) == [*space, *stop]
    assert chat.text({**asked, "clean_up_tokenization_spaces": False}, **forced) == " ."
    assert chat.text({**asked, "clean_up_tokenization_spaces": True}, **forced) == "."


def prefix(chat: Chat) -> None:
    counted = {"max_length": QUESTION_TOKENS + 6}
    plain = chat.answer(return_dict_in_generate=True, **counted)
    before = chat.answer({"prefix": "What is a node? "}, return_dict_in_generate=True, **counted)
    assert before["Result"] != plain["Result"]  # the model reads it,
    assert before["details"]["prompt_tokens"] > QUESTION_TOKENS
    assert before["details"]["output_tokens"] == 6  # max_length does not count it,
    asked = {"prefix": "What is a node? ", "return_full_text": True}
    assert chat.text(asked, **counted) == QUESTION + before["Result"]  # and it is not returned


def handle_long_generation(chat: Chat) -> None:
    kept = f"{'so ' * 20}{QUESTION}"
    long = f"{'and ' * CONTEXT}{kept}"
    refused = chat.post({"prompt": long}, max_new_tokens=8)
    assert (refused.status_code, refused.json()["param"]) == (400, "prompt")
    answer = chat.answer(
        {"prompt": long, "handle_long_generation": "hole"}, max_new_tokens=8, return_dict_in_generate=True
    )
    assert answer["details"]["prompt_tokens"] == CONTEXT - 8
    # Tokens count what is kept: the end of the prompt.
    end = chat.tokens(long)[-(CONTEXT - 8) :]
    same = chat.client.post("/v1/completions", json={"prompt": end, "max_tokens": 8, "temperature": 0})
    assert answer["Result"] == same.json()["choices"][0]["text"]


def max_length(chat: Chat) -> None:
    assert len(chat.row()) > 7
    assert len(chat.row(max_length=QUESTION_TOKENS + 7)) == 7
    refused = chat.post(max_length=QUESTION_TOKENS)
    assert (refused.status_code, refused.json()["param"]) == (400, "generate_kwargs.max_length")


def min_length(chat: Chat) -> None:
    plain = chat.row()
    assert plain[-1] in (0, END)
    longer = chat.row(min_length=QUESTION_TOKENS + len(plain) + 5)
    assert longer[: len(plain) - 1] == plain[:-1]
    assert len(longer) >= len(plain) + 5
    assert chat.row(min_length=QUESTION_TOKENS + len(plain) - 1) == plain


def do_sample(chat: Chat) -> None:
    assert chat.drawn(do_sample=False, max_new_tokens=20) == 1
    assert chat.drawn(**HOT) == 4


def early_stopping(chat: Chat) -> None:
    beams = {"num_beams": 4, "max_new_tokens": 40}
    first = chat.row({"prompt": GREETING}, early_stopping=True, **beams)
    best = chat.row({"prompt": GREETING}, early_stopping=False, **beams)
    assert len(first) < len(best)
    assert first[-1] in (0, END)


def num_beams(chat: Chat) -> None:
    asked = {"prompt": "Tell me about"}
    assert chat.text(asked, num_beams=1, max_new_tokens=40) != chat.text(
        asked, num_beams=4, max_new_tokens=40
    )
    greedy = chat.likelihood(asked, num_beams=1, max_new_tokens=40)
    assert chat.likelihood(asked, num_beams=4, max_new_tokens=40) > greedy + 1


def num_beam_groups(chat: Chat) -> None:
    asked = {**GROUPS, "diversity_penalty": 50.0}
    together = chat.rows({"prompt": BEGINNING}, **{**asked, "num_beam_groups": 1, "diversity_penalty": 0})
    apart = chat.rows({"prompt": BEGINNING}, **{**asked, "num_beam_groups": 4})
    assert len({row[0] for row in together}) == 1
    assert len({row[0] for row in apart}) == 4
    assert len({row[0] for row in chat.rows({"prompt": BEGINNING}, **asked)}) == 2


def diversity_penalty(chat: Chat) -> None:
    mild = chat.rows({"prompt": BEGINNING}, diversity_penalty=0.01, **GROUPS)
    hard = chat.rows({"prompt": BEGINNING}, diversity_penalty=50.0, **GROUPS)
    assert len({row[0] for row in mild}) == 1
    assert len({row[0] for row in hard}) == 2


def temperature(chat: Chat) -> None:
    assert chat.drawn(**{**HOT, "temperature": 0.001}) == 1
    assert chat.text(**{**HOT, "temperature": 0.001}) == chat.text(do_sample=False, max_new_tokens=20)
    assert chat.drawn(**HOT) == 4


def top_k(chat: Chat) -> None:
    assert chat.text(**{**HOT, "top_k": 1}) == chat.text(do_sample=False, max_new_tokens=20)
    assert chat.drawn(**{**HOT, "top_k": 2}) == 4
    seeded = {"seed": 1}
    assert chat.text(seeded, **{**HOT, "top_k": 2}) != chat.text(seeded, **HOT)


def top_p(chat: Chat) -> None:
    assert chat.text(**{**HOT, "top_p": 0.001}) == chat.text(do_sample=False, max_new_tokens=20)
    assert chat.drawn(**{**HOT, "top_p": 1}) == 4


def typical_p(chat: Chat) -> None:
    # What little of the probability is left belongs to one token at each step.
    assert chat.drawn(**{**HOT, "typical_p": 0.0001}) == 1
    assert chat.drawn(**{**HOT, "typical_p": 1}) == 4


def repetition_penalty(chat: Chat) -> None:
    plain, penalized = chat.row(), chat.row(repetition_penalty=10.0)
    assert len(set(plain)) < len(plain)
    assert len(set(penalized)) == len(penalized)


def length_penalty(chat: Chat) -> None:
    beams = {"num_beams": 4, "early_stopping": "never", "max_new_tokens": 40}
    short = chat.row({"prompt": GREETING}, length_penalty=-10, **beams)
    long = chat.row({"prompt": GREETING}, length_penalty=10, **beams)
    assert len(short) < 5 < len(long)


def no_repeat_ngram_size(chat: Chat) -> None:
    def repeats(**kwargs: Any) -> int:
        pairs = list(pairwise(chat.tokens(BEGINNING) + chat.row({"prompt": BEGINNING}, **kwargs)))
        return len(pairs) - len(set(pairs))

    assert repeats() > 0
    assert repeats(no_repeat_ngram_size=2) == 0


def encoder_no_repeat_ngram_size(chat: Chat) -> None:
    # A model without an encoder reads the prompt in its place.
    prompt = set(chat.tokens(QUESTION))
    assert prompt & set(chat.row())
    assert not prompt & set(chat.row(encoder_no_repeat_ngram_size=1))


def bad_words_ids(chat: Chat) -> None:
    plain = chat.row()
    alone, pair = [plain[3]], plain[6:8]
    row = chat.row(bad_words_ids=[alone, pair])
    assert row[:3] == plain[:3]
    assert alone[0] not in row
    assert all(list(two) != pair for two in pairwise(row))


def num_return_sequences(chat: Chat) -> None:
    assert "Results" not in chat.answer({"seed": 1}, **HOT)
    answer = chat.answer({"seed": 1}, num_return_sequences=3, **HOT)
    assert len(set(answer["Results"])) == 3
    assert answer["Result"] == "".join(answer["Results"])


def output_scores(chat: Chat) -> None:
    [without] = chat.answer(return_dict_in_generate=True)["details"]["sequences"]
    [scored] = chat.answer(output_scores=True)["details"]["sequences"]
    assert "scores" not in without
    assert len(scored["scores"]) == len(scored["token_ids"])
    assert all(score <= 0 for score in scored["scores"])


def return_dict_in_generate(chat: Chat) -> None:
    assert "details" not in chat.answer()
    answer = chat.answer(return_dict_in_generate=True, max_new_tokens=3)
    [sequence] = answer["details"]["sequences"]
    assert sequence["text"] == answer["Result"]
    assert (len(sequence["token_ids"]), sequence["finish_reason"]) == (3, "length")
    assert answer["details"]["prompt_tokens"] == QUESTION_TOKENS


def pad_token_id(chat: Chat) -> None:
    # Rows of different lengths are filled up, in a beam search as in sampling; the filling is never returned.
    for asked in ({"num_beams": 4, "max_new_tokens": 40}, {**HOT, "temperature": 1.5, "max_new_tokens": 40}):
        body = {"prompt": GREETING, "seed": 1}
        rows = chat.rows(body, num_return_sequences=4, **asked)
        assert len({len(row) for row in rows}) > 1
        assert chat.rows(body, num_return_sequences=4, pad_token_id=77, **asked) == rows
        assert all(77 not in row for row in rows)


def eos_token_id(chat: Chat) -> None:
    plain = chat.row()
    end = plain[5]
    assert end not in plain[:5]
    assert chat.row(eos_token_id=end) == plain[:6]
    assert chat.row(eos_token_id=[plain[9], end]) == plain[:6]


def forced_bos_token_id(chat: Chat) -> None:
    asked = {"prompt": GREETING}
    assert len(chat.tokens(GREETING)) == 1
    assert chat.row(asked)[0] != 300
    assert chat.row(asked, forced_bos_token_id=300)[0] == 300
    # After more than one token the beginning is past.
    assert chat.row(forced_bos_token_id=300) == chat.row()


def forced_eos_token_id(chat: Chat) -> None:
    plain = chat.row(max_length=QUESTION_TOKENS + 6)
    forced = chat.row(max_length=QUESTION_TOKENS + 6, forced_eos_token_id=300)
    assert plain[-1] != 300
    assert forced == [*plain[:-1], 300]
    # An answer that ends before has no need of it.
    assert chat.row(forced_eos_token_id=300) == chat.row()


def remove_invalid_values(chat: Chat) -> None:
    assert chat.row(remove_invalid_values=True) == chat.row()

    def broken(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
        output[..., 77] = float("nan")
        return output

    model = chat.client.app.state.service.engine._engine._model
    handle = model.lm_head.register_forward_hook(broken)
    try:
        failed = chat.post(max_new_tokens=5)
        removed = chat.row(max_new_tokens=5, remove_invalid_values=True)
    finally:
        handle.remove()
    assert failed.status_code == 500
    assert removed == chat.row(max_new_tokens=5)


EFFECTS: dict[str, Callable[[Chat], None]] = {
    effect.__name__: effect
    for effect in (
        *(prompt, return_full_text, clean_up_tokenization_spaces, prefix, handle_long_generation),
        *(max_length, min_length, do_sample, early_stopping, num_beams, num_beam_groups, diversity_penalty),
        *(temperature, top_k, top_p, typical_p, repetition_penalty, length_penalty, no_repeat_ngram_size),
        *(encoder_no_repeat_ngram_size, bad_words_ids, num_return_sequences, output_scores),
        *(return_dict_in_generate, pad_token_id, eos_token_id, forced_bos_token_id, forced_eos_token_id),
        *(remove_invalid_values,),
    )
}


def max_new_tokens(chat: Chat) -> None:
    assert len(chat.row(max_new_tokens=7)) == 7
    assert len(chat.row(max_new_tokens=7, max_length=6)) == 7


def min_new_tokens(chat: Chat) -> None:
    plain = chat.row()
    assert len(chat.row(min_new_tokens=len(plain) + 5)) >= len(plain) + 5


def min_p(chat: Chat) -> None:
    assert chat.text(**{**HOT, "min_p": 1}) == chat.text(do_sample=False, max_new_tokens=20)
    assert chat.drawn(**{**HOT, "min_p": 0}) == 4


def stop_strings(chat: Chat) -> None:
    text = chat.text()
    assert chat.text(stop_strings=["small"]) == text[: text.index("small") + len("smallest")]


def max_time(chat: Chat) -> None:
    assert len(chat.row(max_time=0.000001)) == 1


def messages(chat: Chat) -> None:
    body = {"prompt": None, "return_full_text": None, "messages": [{"role": "user", "content": QUESTION}]}
    rendered = {"prompt": f"<|user|>\n{QUESTION}<|end|>\n<|assistant|>\n"}
    assert chat.text(body) == chat.text(rendered)
    assert chat.answer({**body, "return_full_text": True})["messages"][-1]["role"] == "assistant"


def seed(chat: Chat) -> None:
    assert chat.text({"seed": 1}, **HOT) == chat.text({"seed": 1}, **HOT)
    assert chat.text({"seed": 1}, **HOT) != chat.text({"seed": 2}, **HOT)


def stream(chat: Chat) -> None:
    *events, last, end = chat.post({"stream": True}).text.strip().split("\n\n")
    pieces = [json.loads(event.removeprefix("data: "))["delta"] for event in events]
    assert len(pieces) > 10
    assert json.loads(last.removeprefix("data: ")) == chat.answer() == {"Result": "".join(pieces)}
    assert end == "data: [DONE]"


ADDITIONS: dict[str, Callable[[Chat], None]] = {
    effect.__name__: effect
    for effect in (max_new_tokens, min_new_tokens, min_p, stop_strings, max_time, messages, seed, stream)
}

# Values that ask for something.
REFUSED: dict[str, Any] = {
    "penalty_alpha": 0.6,
    "constraints": [{}],
    "force_words_ids": [[5]],
    "low_memory": True,
}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_documented_argument_has_its_effect(chat: Chat, name: str) -> None:
    EFFECTS[name](chat)


@pytest.mark.parametrize("name", ADDITIONS)
def test_an_added_argument_has_its_effect(chat: Chat, name: str) -> None:
    ADDITIONS[name](chat)


@pytest.mark.parametrize(("name", "value"), REFUSED.items())
def test_an_argument_without_an_effect_is_refused_by_name(chat: Chat, name: str, value: Any) -> None:
    response = chat.post(**{name: value})
    assert (response.status_code, response.json()["param"]) == (400, f"generate_kwargs.{name}")


def test_the_table_is_the_documented_list() -> None:
    assert tuple(EFFECTS) == DOCUMENTED
    example = json.loads(PHI_FULL)
    assert {*example, *example["generate_kwargs"]} - {"generate_kwargs"} <= set(DOCUMENTED)


def test_every_argument_that_the_server_reads_is_in_a_table() -> None:
    read = {*GenerateKwargs.model_fields, *ChatRequest.model_fields} - {"generate_kwargs"}
    assert read == {*EFFECTS, *ADDITIONS, *REFUSED}
