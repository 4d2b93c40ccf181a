"""Pieces of a stream are whole characters, hold no stop string, and add up to the text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from berth_inference.engine.codec import TokenizerCodec
from berth_inference.text.sequence_text import SequenceText, text_of
from berth_inference.text.stop_strings import StopFilter, cut

texts = st.text(alphabet=st.sampled_from("ab \n🙂é日\u0301\u200d"), max_size=30)


# Of the tokenizer below.
_SPECIAL = (2,)
_LETTERS = (259, 260, 261)


@pytest.fixture(scope="module", params=["byte-level", "byte fallback"])
def codec(request: Any, model_folder: Path) -> TokenizerCodec:
    import transformers

    if request.param == "byte-level":
        return TokenizerCodec(transformers.AutoTokenizer.from_pretrained(model_folder))
    return TokenizerCodec(_sentencepiece_like())


def _sentencepiece_like() -> Any:
    """A tokenizer in the manner of Llama 2: a sign for spaces, and bytes for what it does not know."""
    from tokenizers import Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    letters = dict(zip("▁ab", _LETTERS, strict=True))
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2, **{f"<0x{byte:02X}>": 3 + byte for byte in range(256)}}
    tokenizer = Tokenizer(
        models.BPE(vocab={**vocabulary, **letters}, merges=[], unk_token="<unk>", byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1),
        ]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>")


@settings(max_examples=150, deadline=None)
@given(text=texts)
def test_characters_are_never_broken(codec: TokenizerCodec, text: str) -> None:
    stream = SequenceText(codec)
    tokens = codec.encode(text)
    pieces = [stream.add([token]) for token in tokens]
    assert codec.decode(tokens) == text
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)
    assert "".join([*pieces, stream.end()]) == text


@settings(max_examples=300, deadline=None)
@given(tokens=st.lists(st.integers(0, 250), max_size=30))
def test_pieces_add_up_whatever_the_tokens(codec: TokenizerCodec, tokens: list[int]) -> None:
    stream = SequenceText(codec)
    pieces = [stream.add([token]) for token in tokens]
    assert "".join([*pieces, stream.end()]) == text_of(codec, tokens)


@settings(max_examples=300, deadline=None)
@given(tokens=st.lists(st.sampled_from([*_SPECIAL, *_LETTERS]), max_size=12))
def test_special_tokens_in_between_take_no_space_away(tokens: list[int]) -> None:
    codec = TokenizerCodec(_sentencepiece_like())
    stream = SequenceText(codec)
    pieces = [stream.add([token]) for token in tokens]
    assert "".join([*pieces, stream.end()]) == codec.decode(tokens)


@settings(max_examples=300, deadline=None)
@given(
    pieces=st.lists(st.text("abc", max_size=4), max_size=12),
    stops=st.lists(st.text("abc", min_size=1, max_size=4), max_size=3),
)
def test_a_stop_string_never_shows_however_the_text_is_cut_up(pieces: list[str], stops: list[str]) -> None:
    passing = StopFilter(stops)
    told = [passing.add(piece) for piece in pieces]
    assert "".join([*told, passing.end()]) == cut("".join(pieces), stops)


def test_text_is_told_as_soon_as_no_stop_string_can_begin_in_it() -> None:
    passing = StopFilter(["stop", "</s>"])
    assert [passing.add(piece) for piece in ("go", " st", "ay", "<", "/b>")] == [
        "go",
        " ",
        "stay",
        "",
        "</b>",
    ]


@pytest.mark.parametrize(
    ("text", "stops", "left"),
    [
        pytest.param("caa", ["a", "caa"], "c", id="the one that is complete first ends the text"),
        pytest.param("xab", ["b", "ab"], "x", id="of two that are complete at once, the longer"),
        pytest.param("abc", ["z"], "abc", id="none"),
    ],
)
def test_which_stop_string_ends_a_text(text: str, stops: list[str], left: str) -> None:
    assert cut(text, stops) == left
    passing = StopFilter(stops)
    assert "".join([*map(passing.add, text), passing.end()]) == left
