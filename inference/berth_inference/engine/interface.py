"""What the routes know of an engine, and all they know of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NotRequired, Protocol, TypedDict

from berth_inference.engine.grammar import Grammar
from berth_inference.engine.request import GenerationRequest
from berth_inference.engine.stream import EventStream
from berth_inference.engine.tool_calls import ToolFormat


class ChatMessage(TypedDict):
    """One turn of a conversation.

    `content` is empty where the assistant only calls tools. The rest is for models that know tools,
    in the OpenAI API's form, which whoever makes a message has checked: `tool_calls` of the
    assistant (`id`, `type`, and `function` with `name` and `arguments`, JSON text), and of the role
    `tool`, which brings a result, the call's id and the tool's name.
    """

    role: str
    content: str
    tool_calls: NotRequired[list[dict[str, Any]]]
    tool_call_id: NotRequired[str]
    name: NotRequired[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What is served. Lengths are in tokens; the context holds the prompt and the answer together."""

    names: tuple[str, ...]
    context_length: int
    vocabulary: int
    stop_token_ids: tuple[int, ...]
    pad_token_id: int | None
    has_chat_template: bool
    dtype: str
    device: str
    defaults: dict[str, Any]
    """The generation arguments that the model's publisher set, by their transformers name."""
    tool_format: ToolFormat | None = None
    """How the model writes calls of tools; None if its chat template knows none that can be read."""
    check: Callable[[GenerationRequest], None] | None = None
    """Raises an INVALID `BerthError` for what the engine cannot do; None where it can do everything."""

    @property
    def has_tools(self) -> bool:
        """Whether a conversation can offer tools."""
        return self.tool_format is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupancy:
    """How busy an engine is: requests, and the share (0 to 1) of its memory for keys and values in use.

    Since it started, `prefix_queries` tokens of prompts were looked up among those that had been read
    before, and `prefix_hits` of them did not have to be read again; `draft_tokens` were drafted from the text so
    far, and `accepted_tokens` of them were what the model then chose.
    """

    running: int = 0
    waiting: int = 0
    kv_usage: float = 0.0
    prefix_queries: int = 0
    prefix_hits: int = 0
    draft_tokens: int = 0
    accepted_tokens: int = 0


class Codec(Protocol):
    """Text to tokens and back. Safe to call from several threads; may take milliseconds."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a prompt, with the special tokens that the tokenizer adds by itself."""
        ...

    def encode_chat(self, messages: Sequence[ChatMessage], tools: Sequence[dict[str, Any]] = ()) -> list[int]:
        """Token ids of a conversation through the model's chat template, ready for the answer.

        A conversation that ends with an assistant turn is continued within that turn. `tools` are
        offered to the model, in the OpenAI API's form. Raises `BerthError` where the template cannot
        render it, of `tools` or `messages`.
        """
        ...

    def decode(self, token_ids: Sequence[int], *, clean_up: bool = False) -> str:
        """Text of generated tokens, special tokens left out."""
        ...

    def token_text(self, token_id: int, before: int | None) -> str:
        """Text of one token after another one, special tokens by their names.

        A token that is part of a character is U+FFFD.
        """
        ...


class Engine(Protocol):
    """A model that answers requests. Thread-safe."""

    @property
    def info(self) -> ModelInfo:
        """What is served."""
        ...

    @property
    def codec(self) -> Codec:
        """The model's tokenizer."""
        ...

    @property
    def occupancy(self) -> Occupancy:
        """How busy it is at this moment, to the precision of a glance. Never waits."""
        ...

    def prepare(self, grammar: Grammar) -> None:
        """Find out whether a grammar can be enforced, before a request with it is submitted.

        Raises `BerthError`: INVALID, of `response_format`, with the reason. Blocks for a millisecond,
        and for seconds the first time: call it in a thread, as the codec. `submit` does not repeat
        it, so that an error that it would have told comes through the stream instead.
        """
        ...

    def submit(self, request: GenerationRequest) -> EventStream:
        """Queue a request; call on the event loop that will read the stream.

        Raises `BerthError`: OVERLOADED when the queue is full, UNAVAILABLE after `drain` began,
        INVALID where arguments cannot go together.
        """
        ...

    async def drain(self, seconds: float) -> None:
        """Admit nothing more and wait for what was admitted; after `seconds` end the rest with an error."""
        ...

    def close(self) -> None:
        """End the engine's threads. Idempotent."""
        ...
