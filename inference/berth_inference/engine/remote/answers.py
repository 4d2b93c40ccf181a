"""From what vLLM answers to the engine's events. Pure.

What it sends is that of vLLM's POST /v1/completions with `return_token_ids` and `return_tokens_as_token_ids`: each
choice holds new tokens of one sequence, and tokens stand as `token_id:123` where others have their text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from berth_inference.engine.events import (
    Event,
    Finished,
    FinishReason,
    SequenceFinished,
    TokenEvent,
    TopLogprobs,
)
from berth_inference.engine.remote.failures import cut_off
from berth_inference.engine.request import GenerationRequest

_REASONS = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    # vLLM can be set to end answers that go round in circles.
    "repetition": FinishReason.STOP,
}

_TOKEN = "token_id:"  # noqa: S105  not a secret


class UnreadableAnswer(Exception):
    """vLLM answers, but not what it is documented to answer; one line."""


class Answer:
    """One request's answer, from its parts in the order in which they come."""

    def __init__(self, request: GenerationRequest) -> None:
        self._request = request
        self._running = set(range(request.n))
        self._tokens = 0

    @property
    def begun(self) -> bool:
        """Whether there is a token."""
        return self._tokens > 0

    @property
    def complete(self) -> bool:
        """Whether every sequence has ended."""
        return not self._running

    def events(self, part: dict[str, Any]) -> Iterator[Event]:
        """What a part of the answer tells. Raises `UnreadableAnswer`, and `BerthError` where vLLM gave up."""
        try:
            for choice in part["choices"]:
                # Beam search returns all beams, the best first.
                if choice["index"] < self._request.n:
                    yield from self._choice(choice)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise UnreadableAnswer(f"{type(error).__name__}: {error}") from error

    def _choice(self, choice: dict[str, Any]) -> Iterator[Event]:
        index, tokens, reason = choice["index"], choice.get("token_ids"), choice.get("finish_reason")
        if tokens is None:
            raise UnreadableAnswer("there are no token_ids: vLLM 0.10.2 or later is needed")
        if self._request.sampling.num_beams > 1:
            tokens, reason = _cut(tokens, reason, self._request.stop_token_ids)
        if tokens:
            self._tokens += len(tokens)
            yield TokenEvent(index, tuple(tokens), *self._scores(choice, len(tokens)))
        if reason is not None:
            if reason == "abort":  # nobody asked for that: vLLM is going down
                raise cut_off()
            if reason not in _REASONS:
                raise UnreadableAnswer(f"a sequence ended with {reason}")
            self._running.discard(index)
            yield SequenceFinished(index, _REASONS[reason])

    def _scores(
        self, choice: dict[str, Any], count: int
    ) -> tuple[tuple[float, ...] | None, tuple[TopLogprobs, ...] | None]:
        if not self._request.logprobs:
            return None, None
        found = choice["logprobs"]
        scores = tuple(map(float, found["token_logprobs"]))
        if len(scores) != count:
            raise UnreadableAnswer(f"there are {len(scores)} log-probabilities of {count} tokens")
        if not self._request.top_logprobs:
            return scores, None
        return scores, tuple(_likeliest(each, self._request.top_logprobs) for each in found["top_logprobs"])

    def end(self, reason: FinishReason) -> Iterator[Event]:
        """The last events: sequences that have not ended by themselves end for this reason."""
        for index in sorted(self._running):
            yield SequenceFinished(index, reason)
        self._running.clear()
        yield Finished(len(self._request.prompt), self._tokens)


def _cut(tokens: list[int], reason: str | None, stops: Sequence[int]) -> tuple[list[int], str | None]:
    """A beam up to its first stop token: vLLM's search knows but one of them."""
    end = next((at + 1 for at, token in enumerate(tokens) if token in stops), None)
    return (tokens, reason) if end is None else (tokens[:end], "stop")


def _likeliest(position: dict[str, float], count: int) -> TopLogprobs:
    """The likeliest tokens. vLLM adds the one that was chosen, likely or not."""
    pairs = [(int(token.removeprefix(_TOKEN)), float(value)) for token, value in position.items()]
    return tuple(sorted(pairs, key=lambda pair: -pair[1])[:count])
