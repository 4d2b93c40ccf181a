"""Requests to tiny-chat at random: over every API, good and bad, some of which are given up."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

_QUESTIONS = (
    "What is Kubernetes?",
    "Which port does the server listen on?",
    "Hello!",
    "Tell me about the presets. " * 12,
)
_SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "ready": {"type": "boolean"}},
    "required": ["name", "ready"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """A request, and what may come of it.

    `good`: whether the server has to answer it, unless it has too much to do. `leaves`: seconds after
    which its client closes the connection, if it is not answered by then.
    """

    what: str
    path: str
    content: bytes
    good: bool = True
    leaves: float | None = None


def random_plan(source: random.Random) -> Plan:
    """One request in six is bad, and of the others one in five is given up."""
    if source.random() < 1 / 6:
        return _bad(source)
    plan = good_plan(source, tokens=source.choice((1, 8, 30, 30, 100)))
    return replace(plan, leaves=source.uniform(0, 1.5)) if source.random() < 1 / 5 else plan


def good_plan(source: random.Random, *, tokens: int) -> Plan:
    """A request for `tokens` new tokens at most, that can be served."""
    make = source.choice((_chat, _beams, _chat_completions, _constrained, _completions, _generate, _tokenize))
    return make(source, tokens)


def long_plan(source: random.Random, *, tokens: int) -> Plan:
    """A request that makes exactly `tokens` new tokens, over any of the APIs."""
    return source.choice((_long_chat, _long_completions, _long_chat_completions))(source, tokens)


def _plan(what: str, path: str, body: dict[str, Any], *, good: bool = True) -> Plan:
    return Plan(what, path, json.dumps(body).encode(), good)


def _messages(source: random.Random) -> list[dict[str, str]]:
    return [{"role": "user", "content": source.choice(_QUESTIONS)}]


def _maybe(source: random.Random, **arguments: Any) -> dict[str, Any]:
    """Each of the arguments with even odds."""
    return {name: value for name, value in arguments.items() if source.random() < 1 / 2}


def _seed(source: random.Random) -> int:
    return source.randrange(2**32)


def _chat(source: random.Random, tokens: int) -> Plan:
    arguments = _maybe(source, temperature=0.7, top_k=20, repetition_penalty=1.1)
    arguments |= {"max_new_tokens": tokens, "do_sample": True} | _maybe(source, num_return_sequences=3)
    stream = source.random() < 1 / 2
    body = {"messages": _messages(source), "generate_kwargs": arguments, "stream": stream}
    return _plan("chat", "/chat", body)


def _beams(source: random.Random, tokens: int) -> Plan:
    arguments: dict[str, Any] = {"max_new_tokens": min(tokens, 20), "num_beams": 4, "do_sample": False}
    arguments |= source.choice(
        ({}, {"num_return_sequences": 2}, {"num_beam_groups": 2, "diversity_penalty": 0.5})
    )
    return _plan("beams", "/chat", {"prompt": "The server", "generate_kwargs": arguments})


def _chat_completions(source: random.Random, tokens: int) -> Plan:
    body = _maybe(source, n=2, seed=_seed(source), temperature=0.8, stop=["."], presence_penalty=0.5)
    body |= _maybe(source, stream=True) | _maybe(source, logprobs=True)
    return _plan(
        "chat completions",
        "/v1/chat/completions",
        {"messages": _messages(source), "max_tokens": tokens, **body},
    )


def _constrained(source: random.Random, tokens: int) -> Plan:
    wanted = source.choice(
        (
            {"type": "json_object"},
            {"type": "json_schema", "json_schema": {"name": "state", "schema": _SCHEMA}},
        )
    )
    body = {"messages": _messages(source), "max_tokens": max(tokens, 8), "response_format": wanted}
    return _plan("response_format", "/v1/chat/completions", body | _maybe(source, stream=True))


def _completions(source: random.Random, tokens: int) -> Plan:
    prompt: Any = source.choice(
        ("Berth is", [source.randrange(5, 2000) for _ in range(source.randint(1, 300))], ["One", "Two"])
    )
    body = {"prompt": prompt, "max_tokens": tokens, "ignore_eos": True} | _maybe(source, n=2, temperature=0.9)
    body |= _maybe(source, stream=True) | _maybe(source, seed=_seed(source))
    return _plan("completions", "/v1/completions", body)


def _generate(source: random.Random, tokens: int) -> Plan:
    body = {"prompt": "A pod is", "max_tokens": tokens} | _maybe(source, n=2, stream=True, top_k=10)
    return _plan("generate", "/v1/generate", body)


def _tokenize(source: random.Random, _: int) -> Plan:
    return _plan("tokenize", "/tokenize", {"prompt": source.choice(_QUESTIONS)})


def _long_chat(source: random.Random, tokens: int) -> Plan:
    arguments = {"max_new_tokens": tokens, "min_new_tokens": tokens}
    stream = source.random() < 1 / 2
    return _plan("chat", "/chat", {"prompt": "A pod is", "generate_kwargs": arguments, "stream": stream})


def _long_completions(source: random.Random, tokens: int) -> Plan:
    body = {"prompt": "A pod is", "max_tokens": tokens, "ignore_eos": True}
    return _plan("completions", "/v1/completions", body | _maybe(source, stream=True))


def _long_chat_completions(source: random.Random, tokens: int) -> Plan:
    body = {"messages": _messages(source), "max_tokens": tokens, "ignore_eos": True}
    return _plan("chat completions", "/v1/chat/completions", body | _maybe(source, stream=True))


def _bad(source: random.Random) -> Plan:
    what, path, body = source.choice(_BAD)
    return replace(_plan(what, path, {}), content=body() if callable(body) else body, good=False)


_BAD: tuple[tuple[str, str, bytes | Callable[[], bytes]], ...] = (
    ("no JSON", "/v1/chat/completions", b"{"),
    ("no object", "/chat", b"[1, 2]"),
    ("an unknown argument", "/chat", b'{"prompt": "a", "generate_kwargs": {"custom_generate": "x"}}'),
    ("a text for a number", "/v1/completions", b'{"prompt": "a", "temperature": "hot"}'),
    ("an impossible number", "/v1/completions", b'{"prompt": "a", "top_p": 7}'),
    ("more tokens than there are", "/v1/completions", b'{"prompt": "a", "max_tokens": 1000000}'),
    ("a token that there is not", "/v1/completions", b'{"prompt": [123456]}'),
    (
        "an unknown model",
        "/v1/chat/completions",
        b'{"model": "x", "messages": [{"role": "user", "content": "a"}]}',
    ),
    ("no messages", "/v1/chat/completions", b'{"messages": []}'),
    (
        "a broken schema",
        "/v1/chat/completions",
        json.dumps(
            {
                "messages": [{"role": "user", "content": "a"}],
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {"type": "nothing"}},
                },
            }
        ).encode(),
    ),
    ("too many beams", "/chat", b'{"prompt": "a", "generate_kwargs": {"num_beams": 1000}}'),
    ("both prompts", "/v1/generate", b'{"prompt": "a", "messages": [{"role": "user", "content": "a"}]}'),
    ("a prompt too long", "/v1/completions", lambda: json.dumps({"prompt": [7] * 5000}).encode()),
    ("a body too large", "/v1/completions", lambda: b'{"prompt": "' + b"a" * 5 * 2**20 + b'"}'),
)
