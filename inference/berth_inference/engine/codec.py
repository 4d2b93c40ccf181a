"""A Hugging Face tokenizer as the engine's codec."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from jinja2.exceptions import TemplateError

from berth_inference.engine.interface import ChatMessage
from berth_inference.engine.tool_template import for_template, tool_format
from berth_inference.errors import invalid

# A template is a program that is given what the client sent: a tool without the description that it adds
# to a text, say, is a TypeError.
_TEMPLATE_ERRORS = (TemplateError, TypeError, ValueError, LookupError, AttributeError)


class TokenizerCodec:
    """Tokenises as `TextGenerationPipeline` does, without its trap.

    The pipeline hands `max_length` to the tokenizer as well as to `generate`, which cuts a long
    prompt short and then refuses it; so the text is tokenised here, whole. A lock serialises the
    calls, because fast tokenizers refuse to be entered twice while they set up truncation.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._backend = _backend(tokenizer)
        self.tool_format = tool_format(tokenizer)
        self._lock = threading.Lock()

    def encode(self, text: str) -> list[int]:
        """Token ids with the special tokens that the tokenizer adds by itself."""
        with self._lock:
            return self._ids(text, special=True)

    def _ids(self, text: str, *, special: bool) -> list[int]:
        ids: list[int] = (
            self._tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"]
            if self._backend is None
            else self._backend.encode_batch_fast([text], add_special_tokens=special)[0].ids
        )
        return ids

    def encode_chat(self, messages: Sequence[ChatMessage], tools: Sequence[dict[str, Any]] = ()) -> list[int]:
        """Token ids of a conversation, ready for the assistant's turn or within its last one."""
        if self._tokenizer.chat_template is None:
            raise invalid(
                "messages",
                "cannot be used: this model has no chat template. Send the whole text as prompt instead",
            )
        self._check_tools(messages, tools)
        try:
            return self._render(messages, tools)
        except _TEMPLATE_ERRORS as error:
            # Some models' templates know no system role. What it says then opens the first user turn.
            merged = _system_into_user(messages)
            if merged is None:
                raise invalid(
                    "messages", f"cannot be rendered by this model's chat template: {error}"
                ) from None
        try:
            return self._render(merged, tools)
        except _TEMPLATE_ERRORS as error:
            raise invalid("messages", f"cannot be rendered by this model's chat template: {error}") from None

    def _check_tools(self, messages: Sequence[ChatMessage], tools: Sequence[dict[str, Any]]) -> None:
        """Templates that know no tools leave them out in silence."""
        if self.tool_format is None:
            if tools:
                raise invalid(
                    "tools",
                    "cannot be used: this model's chat template has no tools, or none that can be read.",
                )
            if any(message.get("tool_calls") for message in messages):
                raise invalid(
                    "messages", "hold calls of tools, which this model's chat template does not know."
                )
        if messages[-1].get("tool_calls"):
            raise invalid("messages", "end with a call of tools: add a message of role tool with its result.")

    def _render(self, messages: Sequence[ChatMessage], tools: Sequence[dict[str, Any]]) -> list[int]:
        continued = messages[-1]["role"] == "assistant"
        with self._lock:
            rendered = self._tokenizer.apply_chat_template(
                for_template(messages),
                tools=list(tools) or None,
                add_generation_prompt=not continued,
                continue_final_message=continued,
                tokenize=False,
            )
            # The template has written the special tokens.
            return self._ids(rendered, special=False)

    def decode(self, token_ids: Sequence[int], *, clean_up: bool = False) -> str:
        """Text of generated tokens, special tokens left out.

        `clean_up` takes away the spaces that some tokenizers leave before punctuation. It is done
        here because transformers 5 ignores that argument for byte-pair tokenizers.
        """
        with self._lock:
            text: str = self._tokenizer.decode(
                list(token_ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        return self._tokenizer.clean_up_tokenization(text) if clean_up else text

    def token_text(self, token_id: int, before: int | None) -> str:
        """Text of one token after another one, special tokens by their names.

        A token that is part of a character is U+FFFD.
        """
        if before is not None:
            # Some tokenizers take the space off a text's first token.
            alone, both = self._plain([before]), self._plain([before, token_id])
            if both.startswith(alone) and len(both) > len(alone):
                return both[len(alone) :]
        return self._plain([token_id])

    def _plain(self, token_ids: list[int]) -> str:
        with self._lock:
            text: str = self._tokenizer.decode(
                token_ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
            )
        return text


# Characters of one and of several bytes, spaces in a row, and what looks like a special token.
_PROBE = "  A probe: na\u00efve \u6771\u4eac \U0001f642\n\n<s> </s> <|im_end|>\t1234"


def _backend(tokenizer: Any) -> Any:
    """The tokenizer's own core, which spares a quarter of the time; None where it has none, or one that differs.

    It is asked for ids alone, not for each token's place in the text.
    """
    core: Any = getattr(tokenizer, "backend_tokenizer", None)
    if not hasattr(core, "encode_batch_fast"):
        return None
    text = _PROBE + "".join(tokenizer.all_special_tokens)
    for special in (True, False):
        usual = tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"]
        if core.encode_batch_fast([text], add_special_tokens=special)[0].ids != usual:
            return None
    return core


def _system_into_user(messages: Sequence[ChatMessage]) -> list[ChatMessage] | None:
    """The conversation with its opening system turn moved into the first user turn, if it has both."""
    if len(messages) < 2 or messages[0]["role"] != "system" or messages[1]["role"] != "user":
        return None
    opening = f"{messages[0]['content']}\n\n{messages[1]['content']}"
    return [{"role": "user", "content": opening}, *messages[2:]]
