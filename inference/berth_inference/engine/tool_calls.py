"""Finds calls of tools in generated text. Pure."""

from __future__ import annotations

import json
import re
import secrets
import string
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn

_OPEN = "<tool_call>"
_CLOSE = re.compile(r"\s*(?:</tool_call>|\Z)")
_BETWEEN = re.compile(r"[\s;]*")
_PYTHON_TAG = "<|python_tag|>"
_MARK = "[TOOL_CALLS]"


class ToolFormat(StrEnum):
    """How a model writes a call, by the family of models that began it."""

    HERMES = "hermes"
    """`<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, anywhere. Qwen 2.5 and 3 too."""
    MISTRAL = "mistral"
    """`[TOOL_CALLS] [{"name": ..., "arguments": {...}}]` at the end."""
    LLAMA = "llama"
    """`{"name": ..., "parameters": {...}}` and nothing else; several are separated by `;`. Llama 3.1."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that a model wrote. `arguments` is the JSON text of an object."""

    name: str
    arguments: str


def parse_tool_calls(
    text: str, form: ToolFormat, offered: Collection[str]
) -> tuple[str, tuple[ToolCall, ...]]:
    """What was said beside the calls, and the calls of tools named in `offered`, in order.

    `text` is what the codec decodes: markers that are special tokens may be missing from it. What
    only resembles a call, or calls a tool that was not offered, is text.
    """
    match form:
        case ToolFormat.HERMES:
            return _hermes(text, offered)
        case ToolFormat.MISTRAL:
            return _mistral(text, offered)
        case ToolFormat.LLAMA:
            return _llama(text, offered)


def new_call_id() -> str:
    """A name for a call: nine letters and digits, because Mistral's templates refuse any other."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(9))


def _hermes(text: str, offered: Collection[str]) -> tuple[str, tuple[ToolCall, ...]]:
    said, calls, position = "", [], 0
    while (start := text.find(_OPEN, position)) >= 0:
        after = start + len(_OPEN)
        value, end = _json_at(text, after)
        call = _call(value, "arguments", offered)
        closed = _CLOSE.match(text, end)
        if call is not None and closed is not None:
            said += text[position:start]
            calls.append(call)
            position = closed.end()
        else:
            said += text[position:after]
            position = after
    said += text[position:]
    return (said.strip() if calls else text), tuple(calls)


def _mistral(text: str, offered: Collection[str]) -> tuple[str, tuple[ToolCall, ...]]:
    said, mark, listed = text.partition(_MARK)
    if not mark:
        said, listed = "", text
    values, end = _json_at(listed, 0)
    if not isinstance(values, list) or listed[end:].strip():
        return text, ()
    calls = [_call(value, "arguments", offered) for value in values]
    found = tuple(call for call in calls if call is not None)
    return (said.strip(), found) if 0 < len(found) == len(values) else (text, ())


def _llama(text: str, offered: Collection[str]) -> tuple[str, tuple[ToolCall, ...]]:
    written = text.strip().removeprefix(_PYTHON_TAG)
    calls, position = [], 0
    while position < len(written):
        value, end = _json_at(written, position)
        call = _call(value, "parameters", offered)
        if call is None:
            return text, ()
        calls.append(call)
        position = _end_of(_BETWEEN, written, end)
    return ("" if calls else text), tuple(calls)


def _call(value: Any, arguments: str, offered: Collection[str]) -> ToolCall | None:
    if not isinstance(value, dict) or not isinstance(value.get(arguments), dict):
        return None
    name = value.get("name")
    if not isinstance(name, str) or name not in offered:
        return None
    return ToolCall(name, json.dumps(value[arguments], ensure_ascii=False))


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# Models write line feeds into strings as they are.
_DECODER = json.JSONDecoder(strict=False, parse_constant=_no_constant)
_SPACE = re.compile(r"\s*")


def _json_at(text: str, start: int) -> tuple[Any, int]:
    """The JSON value that begins at `start` and its end; None if there is none."""
    try:
        return _DECODER.raw_decode(text, _end_of(_SPACE, text, start))
    except (ValueError, RecursionError):
        return None, start


def _end_of(pattern: re.Pattern[str], text: str, start: int) -> int:
    """Where a pattern that matches nothing as well ends."""
    found = pattern.match(text, start)
    return start if found is None else found.end()
