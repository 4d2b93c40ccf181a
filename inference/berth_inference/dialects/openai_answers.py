"""OpenAI's answers: JSON as its clients read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from berth_inference.engine import Codec, FinishReason
from berth_inference.engine.events import TopLogprobs
from berth_inference.engine.tool_calls import ToolCall, new_call_id

_BROKEN = "\N{REPLACEMENT CHARACTER}"

FINISH = {FinishReason.STOP: "stop", FinishReason.LENGTH: "length", FinishReason.CANCELLED: "stop"}
"""How the API calls the ends of an answer. Nobody reads an answer that was cancelled."""


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """The token counts of a request."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def message(text: str, calls: Sequence[ToolCall] = ()) -> dict[str, Any]:
    """The assistant's turn of a text, and of calls of tools."""
    turn: dict[str, Any] = {"role": "assistant", "content": text or None if calls else text, "refusal": None}
    if calls:
        turn["tool_calls"] = tool_calls(calls)
    return turn


def tool_calls(calls: Sequence[ToolCall]) -> list[dict[str, Any]]:
    """Calls of tools, each with a name of its own."""
    return [
        {
            "id": new_call_id(),
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in calls
    ]


class Logprobs:
    """Renders the log-probabilities of one answer, token by token."""

    def __init__(self, codec: Codec, last_prompt_token: int) -> None:
        self._codec = codec
        self._before = last_prompt_token
        self._offset = 0

    def chat(
        self, tokens: Sequence[int], logprobs: Sequence[float], top: Sequence[TopLogprobs]
    ) -> list[dict[str, Any]]:
        """Entries of `choices[].logprobs.content` for the next tokens."""
        content = []
        for index, (token, logprob) in enumerate(zip(tokens, logprobs, strict=True)):
            likeliest = top[index] if top else ()
            content.append(
                {
                    **self._entry(token, logprob),
                    "top_logprobs": [self._entry(other, value) for other, value in likeliest],
                }
            )
            self._before = token
        return content

    def completion(
        self, tokens: Sequence[int], logprobs: Sequence[float], top: Sequence[TopLogprobs]
    ) -> dict[str, Any]:
        """`choices[].logprobs` for the next tokens, with offsets into the answer's text."""
        texts, offsets, tops = [], [], []
        for index, token in enumerate(tokens):
            text = self._codec.token_text(token, self._before)
            likeliest = top[index] if top else ()
            # The token that was chosen is always there, also where it is not among the likeliest.
            tops.append(
                {
                    **{self._codec.token_text(other, self._before): value for other, value in likeliest},
                    text: logprobs[index],
                }
            )
            texts.append(text)
            offsets.append(self._offset)
            self._offset += len(text)
            self._before = token
        return {
            "tokens": texts,
            "token_logprobs": list(logprobs),
            "top_logprobs": tops if top else None,
            "text_offset": offsets,
        }

    def _entry(self, token: int, logprob: float) -> dict[str, Any]:
        text = self._codec.token_text(token, self._before)
        return {
            "token": text,
            "logprob": logprob,
            "bytes": None if _BROKEN in text else list(text.encode()),
        }
