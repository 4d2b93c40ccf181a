"""Calls of tools in generated text: what is one, what only looks like one, and what is said beside it."""

from __future__ import annotations

import json
import re

import pytest

from berth_inference.engine import ToolCall, ToolFormat, new_call_id, parse_tool_calls

OFFERED = {"weather", "time"}
PARIS = ToolCall("weather", '{"city": "Paris"}')
NOW = ToolCall("time", "{}")
HERMES, MISTRAL, LLAMA = ToolFormat.HERMES, ToolFormat.MISTRAL, ToolFormat.LLAMA

CALLS: dict[str, tuple[ToolFormat, str, str, tuple[ToolCall, ...]]] = {
    "hermes": (
        HERMES,
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>',
        "",
        (PARIS,),
    ),
    "hermes, arguments first": (
        HERMES,
        '\n<tool_call>{ "arguments": {"city": "Paris"}, "name": "weather"}</tool_call> ',
        "",
        (PARIS,),
    ),
    "hermes, two and words": (
        HERMES,
        'Let me see.\n<tool_call>{"name": "weather", "arguments": {"city": "Paris"}}</tool_call>\n'
        '<tool_call>{"name": "time", "arguments": {}}</tool_call>',
        "Let me see.",
        (PARIS, NOW),
    ),
    "hermes, not closed at the end": (
        HERMES,
        '<tool_call>{"name": "time", "arguments": {}}\n',
        "",
        (NOW,),
    ),
    "hermes, the mark inside of an argument": (
        HERMES,
        '<tool_call>{"name": "weather", "arguments": {"city": "</tool_call>"}}</tool_call>',
        "",
        (ToolCall("weather", '{"city": "</tool_call>"}'),),
    ),
    "hermes, one good and one bad": (
        HERMES,
        '<tool_call>{"name": "time"</tool_call><tool_call>{"name": "time", "arguments": {}}</tool_call>',
        '<tool_call>{"name": "time"</tool_call>',
        (NOW,),
    ),
    "a line feed in a string": (
        HERMES,
        '<tool_call>{"name": "weather", "arguments": {"city": "a\nb"}}</tool_call>',
        "",
        (ToolCall("weather", '{"city": "a\\nb"}'),),
    ),
    "letters beyond ASCII": (
        MISTRAL,
        '[TOOL_CALLS] [{"name": "weather", "arguments": {"city": "Orléans"}}]',
        "",
        (ToolCall("weather", '{"city": "Orléans"}'),),
    ),
    "mistral": (
        MISTRAL,
        '[TOOL_CALLS] [{"name": "weather", "arguments": {"city": "Paris"}, "id": "abc123def"}]',
        "",
        (PARIS,),
    ),
    "mistral, two and words": (
        MISTRAL,
        'I look. [TOOL_CALLS][{"name": "weather", "arguments": {"city": "Paris"}}, '
        '{"name": "time", "arguments": {}}]\n',
        "I look.",
        (PARIS, NOW),
    ),
    "mistral, whose mark is a special token": (
        MISTRAL,
        ' [{"name": "time", "arguments": {}}]',
        "",
        (NOW,),
    ),
    "llama": (LLAMA, '{"name": "weather", "parameters": {"city": "Paris"}}', "", (PARIS,)),
    "llama, with its tag and type": (
        LLAMA,
        '<|python_tag|>{"type": "function", "name": "time", "parameters": {}}',
        "",
        (NOW,),
    ),
    "llama, two": (
        LLAMA,
        '{"name": "weather", "parameters": {"city": "Paris"}}; {"name": "time", "parameters": {}}',
        "",
        (PARIS, NOW),
    ),
}

WORDS: dict[str, tuple[ToolFormat, str]] = {
    "hermes, plain": (HERMES, "It is 12 degrees in Paris.\n"),
    "hermes, broken JSON": (HERMES, '<tool_call>{"name": "time", "arguments": {</tool_call>'),
    "hermes, a tool that was not offered": (HERMES, '<tool_call>{"name": "rm", "arguments": {}}</tool_call>'),
    "hermes, more than the call": (HERMES, '<tool_call>{"name": "time", "arguments": {}} x</tool_call>'),
    "hermes, no arguments": (HERMES, '<tool_call>{"name": "time"}</tool_call>'),
    "hermes, arguments that are a list": (HERMES, '<tool_call>{"name": "time", "arguments": []}</tool_call>'),
    "hermes, a number that JSON lacks": (
        HERMES,
        '<tool_call>{"name": "time", "arguments": {"a": NaN}}</tool_call>',
    ),
    "hermes, nested without end": (HERMES, "<tool_call>" + "[" * 100_000),
    "hermes, a name that is none": (HERMES, '<tool_call>{"name": ["time"], "arguments": {}}</tool_call>'),
    "mistral, plain": (MISTRAL, "[1, 2] is a list."),
    "mistral, an empty list": (MISTRAL, "[TOOL_CALLS] []"),
    "mistral, one of two not offered": (
        MISTRAL,
        '[TOOL_CALLS] [{"name": "time", "arguments": {}}, {"name": "rm", "arguments": {}}]',
    ),
    "mistral, words after": (MISTRAL, '[{"name": "time", "arguments": {}}] is how one asks.'),
    "llama, plain": (LLAMA, "It is 12 degrees in Paris."),
    "llama, empty": (LLAMA, " "),
    "llama, JSON that is an answer": (LLAMA, '{"name": "Paris", "population": 2100000}'),
    "llama, a tool that was not offered": (LLAMA, '{"name": "rm", "parameters": {}}'),
    "llama, words after": (LLAMA, '{"name": "time", "parameters": {}} tells the time.'),
    "llama, code": (LLAMA, '<|python_tag|>brave_search.call(query="Paris")'),
    "llama, cut short": (LLAMA, '{"name": "weather", "parameters": {"ci'),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls_are_found_and_what_is_said_beside_them(name: str) -> None:
    form, text, said, calls = CALLS[name]
    assert parse_tool_calls(text, form, OFFERED) == (said, calls)
    assert all(isinstance(json.loads(call.arguments), dict) for call in calls)


@pytest.mark.parametrize("name", WORDS)
def test_what_is_no_call_is_kept_as_it_was_written(name: str) -> None:
    form, text = WORDS[name]
    assert parse_tool_calls(text, form, OFFERED) == (text, ())


def test_calls_have_names_that_mistral_takes() -> None:
    names = {new_call_id() for _ in range(100)}
    assert len(names) == 100
    assert all(re.fullmatch("[A-Za-z0-9]{9}", name) for name in names)
