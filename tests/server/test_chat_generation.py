"""What the arguments of /chat do, against transformers' own pipeline and `generate` in float32."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from server.random_model import ASSISTANT, END, END_OF_TEXT, USER

PROMPT = "What is the meaning of life?"


def _chat(client: Any, body: dict[str, Any] | None = None, **kwargs: Any) -> dict[str, Any]:
    response = client.post("/chat", json={"prompt": PROMPT, "generate_kwargs": kwargs, **(body or {})})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def _tokens(client: Any, body: dict[str, Any] | None = None, **kwargs: Any) -> list[list[int]]:
    details = _chat(client, body, return_dict_in_generate=True, **kwargs)["details"]
    return [sequence["token_ids"] for sequence in details["sequences"]]


def _expected(reference: Any, prompt: str = PROMPT, **kwargs: Any) -> list[list[int]]:
    ids = torch.tensor([reference.tokenizer(prompt)["input_ids"]])
    rows = reference.model.generate(
        ids, attention_mask=torch.ones_like(ids), eos_token_id=[END_OF_TEXT, END], pad_token_id=0, **kwargs
    )
    return [_unpadded(row) for row in rows[:, ids.shape[1] :].tolist()]


def _unpadded(row: list[int]) -> list[int]:
    for position, token in enumerate(row):
        if token in (END_OF_TEXT, END):
            return row[: position + 1]
    return row


DETERMINISTIC: dict[str, dict[str, Any]] = {
    "greedy": {},
    "repetition penalty": {"repetition_penalty": 1.8},
    "no repeated pairs": {"no_repeat_ngram_size": 2},
    "nothing of the prompt repeated": {"encoder_no_repeat_ngram_size": 1},
    "bad words": {"bad_words_ids": [[5], [6, 7]]},
    "at least 20 tokens": {"min_new_tokens": 20},
    "forced end": {"forced_eos_token_id": 9},
    "four beams": {"num_beams": 4},
    "four beams, two results": {"num_beams": 4, "num_return_sequences": 2},
    "beams that stop early": {"num_beams": 3, "early_stopping": True},
    "beams that never stop early": {"num_beams": 3, "early_stopping": "never"},
    "beams that like short texts": {"num_beams": 3, "length_penalty": -3.0},
    "beams that repeat nothing": {"num_beams": 3, "no_repeat_ngram_size": 2},
    "invalid values removed": {"remove_invalid_values": True},
}


@pytest.mark.parametrize("kwargs", DETERMINISTIC.values(), ids=DETERMINISTIC.keys())
def test_tokens_equal_those_of_generate(client: Any, reference: Any, kwargs: dict[str, Any]) -> None:
    asked = {"max_new_tokens": 40, "do_sample": False, **kwargs}
    assert _tokens(client, **asked) == _expected(reference, **asked)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"top_k": 5},
        {"top_k": 0, "top_p": 0.7, "temperature": 1.3},
        {"typical_p": 0.6},
        {"min_p": 0.1},
        {"num_return_sequences": 3, "top_k": 20},
        {"num_beams": 3},
    ],
    ids=["top_k", "top_p and temperature", "typical_p", "min_p", "three sequences", "beams"],
)
def test_seeded_sampling_equals_generate_with_that_seed(
    client: Any, reference: Any, kwargs: dict[str, Any]
) -> None:
    asked = {"max_new_tokens": 30, "do_sample": True, "top_k": 10, **kwargs}
    first = _tokens(client, {"seed": 11}, **asked)
    torch.manual_seed(11)
    assert first == _expected(reference, **asked)
    assert first == _tokens(client, {"seed": 11}, **asked)


def test_another_seed_gives_another_text(client: Any) -> None:
    assert (
        _chat(client, {"seed": 1}, do_sample=True)["Result"]
        != _chat(client, {"seed": 2}, do_sample=True)["Result"]
    )


def test_without_a_seed_a_request_after_a_seeded_one_is_not_repeatable(client: Any) -> None:
    texts = set()
    for _ in range(2):
        _chat(client, {"seed": 1}, do_sample=True, max_new_tokens=1)
        texts.add(_chat(client, do_sample=True, min_new_tokens=30)["Result"])
    assert len(texts) == 2


def test_the_text_equals_the_pipelines(client: Any, reference: Any) -> None:
    expected = reference(PROMPT, max_new_tokens=30, do_sample=False)[0]["generated_text"]
    assert _chat(client, max_new_tokens=30, do_sample=False)["Result"] == expected


def test_a_request_never_changes_the_next(client: Any) -> None:
    before = _tokens(client, do_sample=False, max_new_tokens=30)
    _chat(
        client,
        do_sample=True,
        temperature=5.0,
        top_p=0.1,
        repetition_penalty=3.0,
        num_beams=2,
        eos_token_id=9,
    )
    assert _tokens(client, do_sample=False, max_new_tokens=30) == before


GROUPS = {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 2.0, "num_return_sequences": 4}


class TestGroupsOfBeams:
    def test_with_a_penalty_the_texts_are_not_those_of_plain_beams(self, client: Any) -> None:
        plain = _chat(client, num_beams=4, num_return_sequences=4, max_new_tokens=30)["Results"]
        grouped = _chat(client, **GROUPS, max_new_tokens=30)["Results"]
        assert len(grouped) == 4
        assert set(grouped) != set(plain)

    def test_groups_begin_differently_where_plain_beams_begin_alike(self, client: Any) -> None:
        asked = {"max_new_tokens": 30, "min_new_tokens": 30}
        plain = _tokens(client, num_beams=4, num_return_sequences=4, **asked)
        grouped = _tokens(client, **{**GROUPS, "num_beam_groups": 4, "diversity_penalty": 50.0}, **asked)
        assert len({tuple(row[:2]) for row in plain}) < 4
        assert len({row[0] for row in grouped}) == 4

    def test_a_larger_penalty_gives_other_texts(self, client: Any) -> None:
        asked = {**GROUPS, "max_new_tokens": 30}
        assert _tokens(client, **{**asked, "diversity_penalty": 0.01}) != _tokens(client, **asked)

    def test_more_groups_give_other_texts(self, client: Any) -> None:
        asked = {**GROUPS, "max_new_tokens": 30}
        assert _tokens(client, **{**asked, "num_beam_groups": 4}) != _tokens(client, **asked)

    def test_a_stop_string_ends_each_text(self, client: Any) -> None:
        body = {"return_full_text": False}
        plain = _chat(client, body, **GROUPS, min_new_tokens=20)["Results"][0]
        stop = plain[len(plain) // 2 :][:2]
        stopped = _chat(client, body, **GROUPS, min_new_tokens=20, stop_strings=[stop])["Results"]
        assert any(stop in text for text in stopped)
        assert all(stop not in text[: -len(stop) - 4] for text in stopped)

    def test_one_group_without_a_penalty_is_plain_beam_search(self, client: Any) -> None:
        asked = {"num_beams": 4, "max_new_tokens": 20}
        neutral = {"num_beam_groups": 1, "diversity_penalty": 0.0}
        assert _tokens(client, **asked, **neutral) == _tokens(client, **asked)


class TestLengths:
    def test_without_a_limit_200_new_tokens_are_allowed_whatever_the_prompt(self, client: Any) -> None:
        assert len(_tokens(client, min_new_tokens=200)[0]) == 200

    def test_max_length_counts_the_prompt(self, client: Any, reference: Any) -> None:
        prompt = len(reference.tokenizer(PROMPT)["input_ids"])
        assert len(_tokens(client, max_length=prompt + 7, min_length=prompt + 7)[0]) == 7

    def test_min_length_counts_the_prompt(self, client: Any, reference: Any) -> None:
        prompt = len(reference.tokenizer(PROMPT)["input_ids"])
        asked = {"do_sample": False, "max_new_tokens": 30}
        end = _tokens(client, **asked)[0][0]
        assert len(_tokens(client, eos_token_id=end, **asked)[0]) == 1
        assert len(_tokens(client, eos_token_id=end, min_length=prompt + 5, **asked)[0]) > 5

    def test_max_new_tokens_wins_over_max_length(self, client: Any) -> None:
        assert len(_tokens(client, max_new_tokens=9, min_new_tokens=9, max_length=12)[0]) == 9

    def test_a_limit_beyond_the_context_ends_at_the_context(self, client: Any, reference: Any) -> None:
        prompt = "sheep " * 60
        length = len(reference.tokenizer(prompt)["input_ids"])
        answer = _chat(
            client, {"prompt": prompt}, max_length=256 + 50, min_new_tokens=1, return_dict_in_generate=True
        )
        assert answer["details"]["prompt_tokens"] == length
        assert answer["details"]["output_tokens"] <= 256 - length

    def test_the_prefix_is_not_counted(self, client: Any, reference: Any) -> None:
        prompt = len(reference.tokenizer(PROMPT)["input_ids"])
        asked = {"max_length": prompt + 7, "min_new_tokens": 7}
        assert len(_tokens(client, {"prefix": "Once upon a time. "}, **asked)[0]) == 7

    def test_time_ends_a_text(self, client: Any) -> None:
        assert len(_tokens(client, max_time=0.000001, min_new_tokens=50)[0]) == 1

    def test_hole_drops_the_beginning_of_a_prompt_that_is_too_long(self, client: Any, reference: Any) -> None:
        prompt = "".join(f"{n} sheep, " for n in range(200))
        ids = reference.tokenizer(prompt)["input_ids"]
        assert len(ids) > 256
        body = {"prompt": prompt, "handle_long_generation": "hole"}
        answer = _chat(client, body, max_new_tokens=20, do_sample=False, return_dict_in_generate=True)
        kept = torch.tensor([ids[-(256 - 20) :]])
        expected = reference.model.generate(
            kept, attention_mask=torch.ones_like(kept), max_new_tokens=20, do_sample=False
        )[0, 236:].tolist()
        assert answer["details"]["prompt_tokens"] == 236
        assert answer["details"]["sequences"][0]["token_ids"] == _unpadded(expected)
        assert answer["Result"].startswith(prompt)

    def test_hole_leaves_a_prompt_that_fits_as_it_is(self, client: Any) -> None:
        body = {"handle_long_generation": "hole"}
        asked = {"max_new_tokens": 20, "do_sample": False}
        assert _tokens(client, body, **asked) == _tokens(client, **asked)

    @pytest.mark.parametrize("name", ["no_repeat_ngram_size", "encoder_no_repeat_ngram_size"])
    def test_a_run_longer_than_any_text_costs_nothing(self, client: Any, name: str) -> None:
        asked = {"do_sample": False, "max_new_tokens": 5}
        assert _tokens(client, **asked, **{name: 2**62}) == _tokens(client, **asked)


class TestText:
    def test_the_result_begins_with_the_prompt_unless_told_otherwise(self, client: Any) -> None:
        asked = {"do_sample": False, "max_new_tokens": 10}
        full = _chat(client, **asked)["Result"]
        generated = _chat(client, {"return_full_text": False}, **asked)["Result"]
        assert full == PROMPT + generated
        assert generated

    def test_the_prefix_steers_the_text_and_is_not_returned(self, client: Any, reference: Any) -> None:
        asked = {"do_sample": False, "max_new_tokens": 20}
        answer = _chat(client, {"prefix": "Once upon a time. "}, **asked)["Result"]
        assert answer == reference(PROMPT, prefix="Once upon a time. ", **asked)[0]["generated_text"]

    def test_spaces_before_punctuation_are_cleaned_up_when_asked(self, client: Any) -> None:
        engine = client.app.state.service.engine
        assert (
            engine.codec.decode(engine.codec.encode("Yes , it does n't ."), clean_up=True)
            == "Yes, it doesn't."
        )
        dirty = {"seed": 3, "return_full_text": False}
        raw = _chat(client, dirty, do_sample=True, top_k=0, min_new_tokens=200)["Result"]
        clean = _chat(
            client,
            {**dirty, "clean_up_tokenization_spaces": True},
            do_sample=True,
            top_k=0,
            min_new_tokens=200,
        )["Result"]
        assert clean == engine.codec._tokenizer.clean_up_tokenization(raw)

    @pytest.mark.parametrize(
        "text",
        ["Grüße, Jürgen! 你好,世界", "👩‍🚀🚀 \U0001f469", 'a\x00b\n\t\\n"', "عربى עברית"],
        ids=["letters", "emoji", "control", "rtl"],
    )
    def test_any_text_comes_back_as_it_was_sent(self, client: Any, text: str) -> None:
        assert _chat(client, {"prompt": text}, max_new_tokens=5)["Result"].startswith(text)

    def test_a_stop_string_ends_the_text(self, client: Any) -> None:
        text = _chat(client, {"return_full_text": False}, do_sample=False, min_new_tokens=40)["Result"]
        stop = text[len(text) // 2 :][:2]
        answer = _chat(
            client,
            {"return_full_text": False},
            do_sample=False,
            min_new_tokens=40,
            stop_strings=[stop],
            return_dict_in_generate=True,
        )
        cut = answer["Result"]
        assert text.startswith(cut)
        assert stop in cut
        assert stop not in cut[: -len(stop) - 4]
        assert answer["details"]["sequences"][0]["finish_reason"] == "stop"

    def test_a_stop_token_of_the_request_ends_the_text(self, client: Any) -> None:
        tokens = _tokens(client, do_sample=False, max_new_tokens=30)[0]
        end = tokens[10]
        assert (
            _tokens(client, do_sample=False, max_new_tokens=30, eos_token_id=end)[0]
            == tokens[: tokens.index(end) + 1]
        )


class TestSeveralSequences:
    def test_result_holds_them_one_after_the_other_and_results_each(self, client: Any) -> None:
        answer = _chat(client, {"return_full_text": False, "seed": 5}, do_sample=True, num_return_sequences=3)
        assert len(answer["Results"]) == 3
        assert len(set(answer["Results"])) == 3
        assert answer["Result"] == "".join(answer["Results"])

    def test_each_begins_with_the_prompt_by_default(self, client: Any) -> None:
        answer = _chat(client, num_beams=2, num_return_sequences=2, max_new_tokens=4)
        assert all(text.startswith(PROMPT) for text in answer["Results"])


class TestDetails:
    @pytest.mark.parametrize(
        "beams",
        [{}, {"num_beams": 3}, {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.0}],
        ids=["greedy", "beams", "groups of beams"],
    )
    def test_scores_are_the_models_log_probabilities(
        self, client: Any, reference: Any, beams: dict[str, Any]
    ) -> None:
        details = _chat(client, output_scores=True, do_sample=False, max_new_tokens=90, **beams)["details"]
        sequence = details["sequences"][0]
        prompt = reference.tokenizer(PROMPT)["input_ids"]
        ids = torch.tensor([prompt + sequence["token_ids"]])
        with torch.inference_mode():
            logprobs = torch.log_softmax(reference.model(ids).logits[0], dim=-1)
        expected = [
            logprobs[len(prompt) - 1 + position, token].item()
            for position, token in enumerate(sequence["token_ids"])
        ]
        assert sequence["scores"] == pytest.approx(expected, abs=1e-4)

    def test_counts_and_finish_reasons_are_exact(self, client: Any, reference: Any) -> None:
        details = _chat(client, return_dict_in_generate=True, max_new_tokens=6, min_new_tokens=6)["details"]
        assert details["prompt_tokens"] == len(reference.tokenizer(PROMPT)["input_ids"])
        assert details["output_tokens"] == 6
        assert details["sequences"][0]["finish_reason"] == "length"
        assert "scores" not in details["sequences"][0]


CONVERSATION = [
    {"role": "user", "content": "What is Kubernetes?"},
    {"role": "assistant", "content": "It runs containers."},
    {"role": "user", "content": "Who needs it?"},
]


class TestMessages:
    def _ask(self, client: Any, messages: list[dict[str, str]], **body: Any) -> dict[str, Any]:
        asked = {"messages": messages, "generate_kwargs": {"do_sample": False, "max_new_tokens": 15}, **body}
        response = client.post("/chat", json=asked)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def test_result_is_the_assistants_text_over_several_turns(self, client: Any, reference: Any) -> None:
        expected = reference(CONVERSATION, do_sample=False, max_new_tokens=15)[0]["generated_text"][-1]
        assert self._ask(client, CONVERSATION) == {"Result": expected["content"]}

    def test_an_explicit_return_full_text_adds_the_conversation(self, client: Any) -> None:
        answer = self._ask(client, CONVERSATION, return_full_text=True)
        assert answer["messages"] == [*CONVERSATION, {"role": "assistant", "content": answer["Result"]}]

    def test_a_system_message_works_for_a_template_that_knows_none(self, client: Any) -> None:
        merged = [{"role": "user", "content": "Be brief.\n\nHello"}]
        separate = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
        assert self._ask(client, separate) == self._ask(client, merged)

    def test_a_conversation_that_ends_with_the_assistant_is_continued(
        self, client: Any, reference: Any
    ) -> None:
        messages = [{"role": "user", "content": "Count."}, {"role": "assistant", "content": "One, two"}]
        expected = reference(messages, do_sample=False, max_new_tokens=15)[0]["generated_text"][-1]["content"]
        assert self._ask(client, messages)["Result"] == expected
        assert "One, two" + self._ask(client, messages, return_full_text=False)["Result"] == expected

    def test_the_template_is_applied_token_by_token(self, client: Any, reference: Any) -> None:
        codec = client.app.state.service.engine.codec
        newline = reference.tokenizer("\n")["input_ids"]
        hi = reference.tokenizer("hi")["input_ids"]
        expected = [USER, *newline, *hi, END, *newline, ASSISTANT, *newline]
        assert codec.encode_chat([{"role": "user", "content": "hi"}]) == expected
