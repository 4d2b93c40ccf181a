"""Whether a model's chat template knows tools, and messages in the form that such templates expect."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from berth_inference.engine.interface import ChatMessage
from berth_inference.engine.tool_calls import ToolFormat, parse_tool_calls
from berth_inference.errors import invalid

_NAME, _ARGUMENTS, _RESULT = "berth_probe", {"berth_word": "tern"}, "4711 terns"
_CALL_ID = "probe0001"  # nine letters and digits: Mistral's templates refuse any other
_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": _NAME,
        "description": "Counts words.",
        "parameters": {
            "type": "object",
            "properties": {"berth_word": {"type": "string", "description": "The word."}},
            "required": ["berth_word"],
        },
    },
}
_QUESTION = {"role": "user", "content": "How many?"}
_CALLING = {
    "role": "assistant",
    "content": "",
    "tool_calls": [
        {"id": _CALL_ID, "type": "function", "function": {"name": _NAME, "arguments": _ARGUMENTS}}
    ],
}
_ANSWER = {"role": "tool", "tool_call_id": _CALL_ID, "name": _NAME, "content": _RESULT}


def tool_format(tokenizer: Any) -> ToolFormat | None:
    """How calls of tools are written, tried out on the template; None if it knows none, or in no known way.

    A template qualifies if it names the tools, writes the assistant's call in a form that is read
    back to the same call, and shows the call's result.
    """
    if tokenizer.chat_template is None:
        return None
    try:
        asked = _rendered(tokenizer, [_QUESTION])
        awaiting = _rendered(tokenizer, [_QUESTION], add_generation_prompt=True)
        called = _rendered(tokenizer, [_QUESTION, _CALLING])
        answered = _rendered(tokenizer, [_QUESTION, _CALLING, _ANSWER])
    except Exception:  # a template is a program, and may fail in any way on what it does not know
        return None
    if _NAME not in asked or _RESULT not in answered:
        return None
    # Some templates open a thought for the model, which turns of the past do not have.
    for prompt in (awaiting, asked):
        form = _read_back(tokenizer, _beyond(prompt, called))
        if form is not None:
            return form
    return None


def _read_back(tokenizer: Any, written: str) -> ToolFormat | None:
    # Through the tokens, because special ones do not come back.
    ids = tokenizer(written, add_special_tokens=False)["input_ids"]
    text = tokenizer.decode(ids, skip_special_tokens=True)
    for form in ToolFormat:
        _, calls = parse_tool_calls(text, form, {_NAME})
        if [json.loads(call.arguments) for call in calls] == [_ARGUMENTS]:
            return form
    return None


def _beyond(prompt: str, text: str) -> str:
    """What `text` has beyond what it begins with like `prompt`."""
    return text[len(os.path.commonprefix([prompt, text])) :]  # noqa: RUF071  these are no paths


def for_template(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """Messages as templates expect them, from the OpenAI API's form.

    Templates take a call's arguments as an object, which the API has as JSON text; and some the name
    of the tool with a result, which the API has only in the call. Raises `BerthError`.
    """
    turns: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    for message in messages:
        turn: dict[str, Any] = {**message}
        calls = turn.pop("tool_calls", None)
        if calls:  # an empty list is no call, though some templates take it for one
            turn["tool_calls"] = [_with_object(call) for call in calls]
            names |= {call["id"]: call["function"]["name"] for call in calls}
        called = message.get("tool_call_id")
        if called in names:
            turn.setdefault("name", names[called])
        turns.append(turn)
    return turns


def _with_object(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    try:
        arguments = json.loads(function["arguments"])
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise invalid(
            "messages",
            f"hold a call of {function['name']} whose arguments are not the text of a JSON object.",
        )
    return {**call, "function": {**function, "arguments": arguments}}


def _rendered(tokenizer: Any, messages: list[dict[str, Any]], **options: Any) -> str:
    text: str = tokenizer.apply_chat_template(messages, tools=[_TOOL], tokenize=False, **options)
    return text
