"""`tools` and `response_format` of /v1/chat/completions, by OpenAI's own client where it has a say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from jsonschema import validate

from server.stub_engine import StubEngine, serving, tokenizer_of
from server.test_tool_templates import TEMPLATES
from server.tiny_chat_server import NAME, QUESTION, TinyChat

ASKED: list[Any] = [{"role": "user", "content": QUESTION}]

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a place.",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
    },
}
CALL = '<tool_call>{"name": "weather", "arguments": {"place": "Oslo"}}</tool_call>'
BOTH = f"Let me see. {CALL}{CALL.replace('Oslo', 'Rome')}"


@pytest.fixture(scope="module")
def sdk(tiny_chat: TinyChat) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{tiny_chat.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def _with_tools(folder: Path, says: str) -> StubEngine:
    template, _ = TEMPLATES["hermes"]
    return StubEngine(tokenizer_of(folder, template), says)


def _ask(engine: StubEngine, **arguments: Any) -> Any:
    with serving(engine) as client:
        response = client.post("/v1/chat/completions", json={"messages": ASKED, **arguments})
    assert response.status_code == 200, response.text
    return response


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "a tool of another kind": (
        {"tools": [{"type": "web_search", "function": {"name": "x"}}]},
        "tools.0.type",
        "'function'",
    ),
    "a name with spaces": (
        {"tools": [{"type": "function", "function": {"name": "a b"}}]},
        "tools.0.function.name",
        "match pattern",
    ),
    "a call that must be made": (
        {"tools": [WEATHER], "tool_choice": "required"},
        "tool_choice",
        "only 'auto' and 'none'",
    ),
    "one call at a time": (
        {"tools": [WEATHER], "parallel_tool_calls": False},
        "parallel_tool_calls",
        "decides how many",
    ),
    "arguments held to a schema": (
        {"tools": [{"type": "function", "function": {"name": "f", "strict": True}}]},
        "tools.0.function.strict",
        "not held to their schema",
    ),
    "a user's call": (
        {"messages": [{"role": "user", "content": "x", "tool_calls": []}]},
        "messages.0.tool_calls",
        "assistant only",
    ),
    "a result of nothing": (
        {"messages": [{"role": "tool", "content": "x"}]},
        "messages.0.tool_call_id",
        "role tool",
    ),
    "a turn without content": ({"messages": [{"role": "user"}]}, "messages.0.content", "is required"),
}


class TestTools:
    def test_a_call_is_read_out_of_the_answer(self, model_folder: Path) -> None:
        engine = _with_tools(model_folder, CALL)
        [choice] = _ask(engine, tools=[WEATHER]).json()["choices"]
        assert choice["finish_reason"] == "tool_calls"
        assert choice["message"]["content"] is None
        [call] = choice["message"]["tool_calls"]
        assert call["type"] == "function"
        assert call["function"]["name"] == "weather"
        assert json.loads(call["function"]["arguments"]) == {"place": "Oslo"}
        prompt = engine.codec.decode(engine.requests[0].prompt)
        assert "The weather of a place." in prompt

    def test_several_calls_and_what_was_said_before_them(self, model_folder: Path) -> None:
        [choice] = _ask(_with_tools(model_folder, BOTH), tools=[WEATHER]).json()["choices"]
        assert choice["message"]["content"] == "Let me see."
        places = [
            json.loads(call["function"]["arguments"])["place"] for call in choice["message"]["tool_calls"]
        ]
        assert places == ["Oslo", "Rome"]
        assert len({call["id"] for call in choice["message"]["tool_calls"]}) == 2

    @pytest.mark.parametrize("says", [CALL, BOTH, "It rains."], ids=["a call", "two calls", "no call"])
    def test_a_stream_adds_up_to_the_answer(self, model_folder: Path, says: str) -> None:
        whole = _ask(_with_tools(model_folder, says), tools=[WEATHER]).json()["choices"][0]
        streamed = _ask(_with_tools(model_folder, says), tools=[WEATHER], stream=True)
        text, calls, finish = "", [], None
        for event in streamed.text.removesuffix("data: [DONE]\n\n").split("\n\n")[:-1]:
            [choice] = json.loads(event.removeprefix("data: "))["choices"]
            text += choice["delta"].get("content") or ""
            calls += choice["delta"].get("tool_calls") or []
            finish = choice["finish_reason"]
        assert text == (whole["message"]["content"] or "")
        assert finish == whole["finish_reason"]
        assert [call["index"] for call in calls] == list(range(len(calls)))
        assert [call["function"] for call in calls] == [
            call["function"] for call in whole["message"].get("tool_calls") or []
        ]

    def test_what_looks_like_a_call_is_text_where_no_tool_was_offered(self, model_folder: Path) -> None:
        for arguments in ({}, {"tools": []}, {"tools": [WEATHER], "tool_choice": "none"}):
            [choice] = _ask(_with_tools(model_folder, CALL), **arguments).json()["choices"]
            assert choice["message"]["content"] == CALL
            assert "tool_calls" not in choice["message"]
            assert choice["finish_reason"] == "stop"

    def test_a_result_goes_back_to_the_model(self, model_folder: Path) -> None:
        engine = _with_tools(model_folder, "It rains.")
        function = {"name": "weather", "arguments": '{"place": "Oslo"}'}
        messages = [
            *ASKED,
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "abcdefghi", "type": "function", "function": function}],
            },
            {"role": "tool", "tool_call_id": "abcdefghi", "content": "4711 mm of rain"},
        ]
        [choice] = _ask(engine, tools=[WEATHER], messages=messages).json()["choices"]
        assert choice["message"]["content"] == "It rains."
        prompt = engine.codec.decode(engine.requests[0].prompt)
        assert "4711 mm of rain" in prompt
        assert '"place": "Oslo"' in prompt

    @pytest.mark.parametrize(("change", "param", "words"), REFUSED.values(), ids=REFUSED.keys())
    def test_what_cannot_be_served_is_refused_by_name(
        self, model_folder: Path, change: dict[str, Any], param: str, words: str
    ) -> None:
        with serving(_with_tools(model_folder, "x")) as client:
            response = client.post("/v1/chat/completions", json={"messages": ASKED, **change})
        assert response.status_code == 400, response.text
        assert response.json()["error"]["param"] == param
        assert words in response.json()["error"]["message"]

    def test_a_model_without_tools_says_so(self, sdk: openai.OpenAI) -> None:
        tools: Any = [WEATHER]
        with pytest.raises(openai.BadRequestError, match="chat template has no tools") as raised:
            sdk.chat.completions.create(model=NAME, messages=ASKED, tools=tools)
        assert raised.value.param == "tools"


class TestResponseFormat:
    def test_any_json_object(self, sdk: openai.OpenAI) -> None:
        answer = sdk.chat.completions.create(
            model=NAME, messages=ASKED, response_format={"type": "json_object"}, max_tokens=400, seed=1
        )
        if answer.choices[0].finish_reason == "stop":  # a model this small may go on until the limit
            assert isinstance(json.loads(answer.choices[0].message.content or ""), dict)
        assert (answer.choices[0].message.content or "").startswith("{")

    @pytest.mark.parametrize("seed", range(3))
    def test_json_by_a_schema(self, sdk: openai.OpenAI, seed: int) -> None:
        schema: dict[str, Any] = {
            "type": "object",
            "properties": {
                "kind": {"enum": ["pod", "node"]},
                "score": {"type": "integer", "minimum": 0, "maximum": 9},
            },
            "required": ["kind", "score"],
            "additionalProperties": False,
        }
        form: Any = {
            "type": "json_schema",
            "json_schema": {"name": "verdict", "schema": schema, "strict": True},
        }
        arguments: Any = {"model": NAME, "messages": ASKED, "temperature": 2, "seed": seed}
        answer = sdk.chat.completions.create(**arguments, response_format=form)
        text = answer.choices[0].message.content or ""
        validate(json.loads(text), schema)
        assert answer.choices[0].finish_reason == "stop"
        pieces = sdk.chat.completions.create(**arguments, response_format=form, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in pieces) == text

    def test_text_is_what_there_is_without_a_format(self, sdk: openai.OpenAI, tiny_chat: TinyChat) -> None:
        answer = sdk.chat.completions.create(
            model=NAME, messages=ASKED, response_format={"type": "text"}, temperature=0
        )
        assert answer.choices[0].message.content == tiny_chat.answer

    @pytest.mark.parametrize(
        ("form", "param", "words"),
        [
            pytest.param(
                {"type": "json_schema"}, "response_format.json_schema", "is required", id="no schema"
            ),
            pytest.param({"type": "xml"}, "response_format.type", "'json_schema'", id="another type"),
            pytest.param(
                {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {"type": "array", "uniqueItems": True}},
                },
                "response_format",
                "uniqueItems",
                id="a keyword that cannot be enforced",
            ),
        ],
    )
    def test_what_cannot_be_enforced_is_refused(
        self, sdk: openai.OpenAI, form: Any, param: str, words: str
    ) -> None:
        with pytest.raises(openai.BadRequestError, match=words) as raised:
            sdk.chat.completions.create(model=NAME, messages=ASKED, response_format=form)
        assert raised.value.param == param
