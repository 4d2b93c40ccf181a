"""The hook into transformers' generation loop: streams tokens out and lets cancellation in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import StoppingCriteria

from berth_inference.engine.events import FinishReason, SequenceFinished, TokenEvent
from berth_inference.engine.interface import Codec
from berth_inference.engine.request import GenerationRequest
from berth_inference.engine.stream import EventStream


class Cancelled(Exception):
    """Raised inside `generate` to leave it within one step, in every decoding mode."""


class StopStrings:
    """Tells whether generated tokens have just completed one of the strings.

    Only what was generated counts, never the prompt. transformers' own criterion is not used: it
    walks the whole vocabulary for each new set of strings, seconds for a large tokenizer.
    """

    def __init__(self, codec: Codec, strings: Sequence[str]) -> None:
        self._codec = codec
        self._strings = strings
        # A token holds at least one byte of text, and one before may begin in the middle of a character.
        self._reach = max((len(string.encode()) for string in strings), default=0) + 4

    def end(self, tokens: Sequence[int]) -> bool:
        """Whether the text of these tokens ends a sequence; asked anew after each token."""
        if not self._strings:
            return False
        tail = self._codec.decode(tokens[-self._reach :])
        return any(string in tail for string in self._strings)


def until_end(
    tokens: list[int], stop_token_ids: Sequence[int], stop: StopStrings
) -> tuple[list[int], FinishReason]:
    """A row of `generate`'s rectangle without its padding, and why it ended."""
    for end in range(1, len(tokens) + 1):
        if tokens[end - 1] in stop_token_ids or stop.end(tokens[:end]):
            return tokens[:end], FinishReason.STOP
    return tokens, FinishReason.LENGTH


class StepObserver(StoppingCriteria):  # type: ignore[misc, unused-ignore]  # transformers is untyped
    """Called by `generate` after each step with all rows, shape (rows, tokens so far).

    Greedy decoding and sampling append one token to every row a step, so tokens are published as
    they come. Beam search rewrites its rows until the end and asks here only whether to go on
    (`streaming=False`).
    """

    def __init__(
        self, request: GenerationRequest, stream: EventStream, stop: StopStrings, *, streaming: bool
    ) -> None:
        self._stream = stream
        self._streaming = streaming
        self._stop = stop
        self._checks_text = bool(request.stop)
        self._prompt = len(request.prompt)
        self._ends = frozenset(request.stop_token_ids)
        self._running = set(range(request.n))
        self.published = 0

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """Which rows a stop string has ended, shape (rows,). Raises `Cancelled`."""
        self.check()
        ended = [False] * input_ids.shape[0]
        if self._checks_text:
            ended = [self._stop.end(row) for row in input_ids[:, self._prompt :].tolist()]
        if self._streaming:
            self._publish(input_ids[:, -1].tolist(), ended)
        return torch.tensor(ended, dtype=torch.bool, device=input_ids.device)

    def check(self) -> None:
        """Raises `Cancelled` where nobody wants the rest."""
        if self._stream.cancelled:
            raise Cancelled

    def _publish(self, newest: list[int], ended: list[bool]) -> None:
        for row in sorted(self._running):
            self.published += 1
            self._stream.publish(TokenEvent(row, (newest[row],)))
            if newest[row] in self._ends or ended[row]:
                self.finish_row(row, FinishReason.STOP)

    def finish_row(self, row: int, reason: FinishReason) -> None:
        """Say that a row has ended."""
        self._running.discard(row)
        self._stream.publish(SequenceFinished(row, reason))

    def finish(self, reason: FinishReason) -> None:
        """Say that all rows which have not ended by themselves have now ended for this reason."""
        for row in sorted(self._running):
            self.finish_row(row, reason)
