"""Texts become the token ids that transformers makes of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from berth_inference.engine.codec import TokenizerCodec
from berth_inference.models import built_in_models

TOKENIZER = AutoTokenizer.from_pretrained(built_in_models()["tiny-chat"])
texts = st.lists(
    st.one_of(st.text(max_size=20), st.sampled_from(TOKENIZER.all_special_tokens)), max_size=6
).map("".join)


class _Differs:
    """A core whose ids are not those of its tokenizer."""

    def encode_batch_fast(self, texts: list[str], **_: Any) -> list[Any]:
        return [type("Encoding", (), {"ids": [1]}) for _ in texts]


class _Tokenizer:
    """tiny-chat's, with another core."""

    def __init__(self, core: Any) -> None:
        self.backend_tokenizer = core

    def __getattr__(self, name: str) -> Any:
        return getattr(TOKENIZER, name)

    def __call__(self, *args: Any, **options: Any) -> Any:
        return TOKENIZER(*args, **options)


@pytest.fixture(
    params=[
        pytest.param(TOKENIZER, id="by the tokenizer's core"),
        pytest.param(_Tokenizer(_Differs()), id="whose core differs"),
        pytest.param(_Tokenizer(None), id="without a core"),
    ],
    scope="module",
)
def codec(request: Any) -> TokenizerCodec:
    return TokenizerCodec(request.param)


@settings(max_examples=300, deadline=None)
@given(text=texts)
def test_a_text_has_the_ids_of_transformers(codec: TokenizerCodec, text: str) -> None:
    assert codec.encode(text) == TOKENIZER(text)["input_ids"]


@settings(max_examples=100, deadline=None)
@given(text=texts, continued=st.booleans())
def test_a_conversation_has_the_ids_of_transformers(
    codec: TokenizerCodec, text: str, continued: bool
) -> None:
    messages = [{"role": "user", "content": text}]
    if continued:
        messages.append({"role": "assistant", "content": "It is"})
    expected = TOKENIZER.apply_chat_template(
        messages,
        add_generation_prompt=not continued,
        continue_final_message=continued,
        return_dict=True,
    )["input_ids"]
    assert codec.encode_chat(messages) == expected  # type: ignore[arg-type]


def test_the_core_is_used_where_it_gives_the_same_ids() -> None:
    assert TokenizerCodec(TOKENIZER)._backend is not None
    assert TokenizerCodec(_Tokenizer(_Differs()))._backend is None
