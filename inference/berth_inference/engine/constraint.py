"""Keeps answers within a grammar: compiles it against the model's tokenizer, masks logits with it.

llguidance does both. It keeps an automaton for each grammar that grows while text is matched, up to a
limit past which it fails for good, and copies of a matcher share it. So each request compiles its
own, which takes a millisecond: no answer can use up another's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any

import torch
from llguidance import LLMatcher, LLParserLimits, LLTokenizer
from llguidance.hf import from_tokenizer
from transformers import LogitsProcessor

from berth_inference.engine.grammar import Grammar
from berth_inference.engine.interface import ModelInfo
from berth_inference.engine.penalties import every_token_forbidden
from berth_inference.engine.request import GenerationRequest
from berth_inference.errors import BerthError, invalid

# The worst schemas of this many characters take 0.2 s to compile (hundreds of optional properties),
# for which the next token of all who run waits; twice as many take four times as long.
_LONGEST_SCHEMA = 32_768
# Verdicts on schemas that are remembered. Applications use a handful.
_REMEMBERED = 128
# At most 100 MB for one request, where llguidance's own limit allows 500.
_LIMITS = LLParserLimits(max_lexer_states=50_000, verbose_errors=False)
# All that a schema's own "x-guidance" could set is set here: it could ask to ignore keywords. White space is a
# space, or a line feed and eight levels of indentation, because models that lose their way write it without end.
_OPTIONS: Any = {
    "item_separator": ",",
    "key_separator": ":",
    "whitespace_flexible": True,
    "whitespace_pattern": r"\x20|\x0A[\x20\x09]{0,16}",
    "coerce_one_of": False,
    "lenient": False,
    "json_allowed_escapes": 'nrbtf\\"u',
    "json_allow_general_unicode_escapes": False,
}


def check_combination(request: GenerationRequest) -> None:
    """Raises `BerthError` where a request asks for a grammar and for what cannot go with one."""
    if request.grammar is None:
        return
    if request.sampling.num_beams > 1:
        raise invalid("response_format", "cannot be combined with beam search: ask for one beam.")
    if not request.stop_token_ids:
        raise invalid("response_format", "needs a token that ends the answer, but this request has none.")


class GrammarCompiler:
    """Compiles grammars against one model's tokenizer. Thread-safe."""

    def __init__(self, tokenizer: Any, info: ModelInfo) -> None:
        self._tokenizer = tokenizer
        self._info = info
        self._verdict = lru_cache(_REMEMBERED)(self._judge)

    def check(self, grammar: Grammar) -> None:
        """Raises `BerthError` if a grammar cannot be enforced. Takes seconds the first time, for large tokenizers."""
        error = self._verdict(grammar)
        if error is not None:
            raise BerthError(error.kind, error.reason, param=error.param)

    def followers(self, grammar: Grammar, stops: Sequence[int], rows: int) -> list[Follower]:
        """One for each sequence of a request that is ended by one of the tokens `stops`. Raises as `check` does."""
        matcher = self._compile(grammar)
        return [Follower(matcher.deep_copy(), self._vocabulary.eos_tokens, stops) for _ in range(rows)]

    def _judge(self, grammar: Grammar) -> BerthError | None:
        try:
            matcher = self._compile(grammar)
            matcher.compute_logit_bias()  # finds schemas that nothing satisfies, and some that are too complex
            if matcher.is_error():
                raise _unenforceable(matcher.get_error())
        except BerthError as error:
            return error
        return None

    def _compile(self, grammar: Grammar) -> LLMatcher:
        if len(grammar.schema) > _LONGEST_SCHEMA:
            raise invalid(
                "response_format",
                f"has a schema of {len(grammar.schema)} characters; at most {_LONGEST_SCHEMA} are served.",
            )
        try:
            text = LLMatcher.grammar_from_json_schema(grammar.schema, overrides=_OPTIONS)
        except ValueError as error:
            raise _unenforceable(str(error)) from None
        matcher = LLMatcher(self._vocabulary, text, log_level=0, limits=_LIMITS)
        if matcher.is_error():
            raise _unenforceable(matcher.get_error())
        return matcher

    @cached_property
    def _vocabulary(self) -> LLTokenizer:
        # Models have rows for tokens that the tokenizer lacks, and now and then the other way round.
        size = max(self._info.vocabulary, len(self._tokenizer))
        try:
            return from_tokenizer(self._tokenizer, size, list(self._info.stop_token_ids) or None)
        except Exception as error:  # whatever the library makes of tokenizers that it does not know
            raise invalid(
                "response_format", f"cannot be enforced on this model's tokenizer: {_one_line(str(error))}"
            ) from None


class GrammarProcessor(LogitsProcessor):  # type: ignore[misc, unused-ignore]  # transformers is untyped
    """Forbids every token that would leave the grammar, in the rows of one generation.

    Called after each token with one follower for each row, in their order. `prompt` is its length.
    """

    def __init__(self, prompt: int, followers: Sequence[Follower]) -> None:
        self._prompt = prompt
        self._followers = followers

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores with -inf for what is forbidden, (rows, vocabulary). Raises `BerthError`."""
        newest = input_ids[:, -1].tolist() if input_ids.shape[1] > self._prompt else []
        for follower, token in zip(self._followers, newest, strict=bool(newest)):
            follower.add(token)
        allowed = [follower.allowed(scores.shape[-1]) for follower in self._followers]
        scores = scores.masked_fill(~torch.stack(allowed).to(scores.device), -torch.inf)
        if bool((scores.amax(dim=-1) == -torch.inf).any()):
            raise every_token_forbidden()
        return scores


class Follower:
    """One sequence's place in the grammar.

    Where the grammar may end, the stop tokens are allowed; once it is complete, nothing else is.
    """

    def __init__(self, matcher: LLMatcher, ends: Sequence[int], stops: Sequence[int]) -> None:
        self._matcher = matcher
        self._ends, self._stops = list(ends), list(stops)
        self._allowed = torch.empty(0, dtype=torch.bool)
        self._ended = False

    def allowed(self, width: int) -> torch.Tensor:
        """Which tokens may come next, (width); all of them after the end. Raises `BerthError`."""
        if self._ended:
            return torch.ones(width, dtype=torch.bool)
        found = torch.frombuffer(bytearray(self._matcher.compute_logit_bias()), dtype=torch.uint8).bool()
        self._raise_error()
        # llguidance ends with the tokens that the model's publisher named; requests can name others.
        may_end = bool(found[self._ends].any())
        found[self._ends] = False
        self._allowed = found[:width]
        if may_end:
            self._allowed[self._stops] = True
        return self._allowed

    def add(self, token: int) -> None:
        """Go on by a token. Raises `BerthError`."""
        # What was not allowed is what `generate` fills up those rows with that a stop string has ended.
        if self._ended or token in self._stops or not self._allowed[token]:
            self._ended = True
            return
        self._matcher.consume_token(token)
        self._raise_error()

    def _raise_error(self) -> None:
        if self._matcher.is_error():
            raise invalid(
                "response_format",
                f"is too complex to enforce on this answer: {_one_line(self._matcher.get_error())}",
            )


def _unenforceable(reason: str) -> BerthError:
    # llguidance goes on with an option that is its caller's, and not the client's, to set.
    reason = reason.partition(" Enable '")[0]
    return invalid("response_format", f"has a schema that cannot be enforced: {_one_line(reason)}")


def _one_line(reason: str) -> str:
    """What the library says, kept short: it may quote the schema."""
    return " ".join(reason.removesuffix("<non-verbose/>").split())[:300]
