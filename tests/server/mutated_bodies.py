"""Request bodies as no one should send them: seeded random damage to valid ones of every POST route."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from berth_inference.schemas.chat import ChatRequest, GenerateKwargs
from berth_inference.schemas.chat_completions import ChatCompletionRequest
from berth_inference.schemas.completions import CompletionRequest
from berth_inference.schemas.generate import GenerateRequest
from berth_inference.schemas.tokens import DetokenizeRequest, TokenizeRequest
from server.limited_server import MOST_SEQUENCES, MOST_TOKENS, NAME
from server.mutated_values import BOUNDS, LITERALS, ODD_TEXTS, ODD_VALUES

Body = dict[str, Any]
Path = tuple[Any, ...]

_TURNS = [
    {"role": "user", "content": "What is a pod?"},
    {"role": "assistant", "content": "A group of containers."},
    {"role": "user", "content": "And a node?"},
]
_TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "What it is like.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
_CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Paris"}'},
}
_CALLED = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "What is it like?"},
    {"role": "assistant", "content": None, "tool_calls": [_CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
]
_OPENAI: Body = {
    "model": NAME,
    "max_tokens": MOST_TOKENS,
    "temperature": 0.7,
    "top_p": 0.9,
    "n": 2,
    "seed": 5,
    "stop": ["sheep"],
    "logit_bias": {"40": -3},
    "user": "somebody",
}

# The routes that stream come first, and most often: half of all bodies ask for a stream.
_STREAMING: dict[str, tuple[Body, ...]] = {
    "/chat": (
        {"prompt": "What is Kubernetes?", "seed": 3, "return_full_text": False},
        {
            "messages": _TURNS,
            "generate_kwargs": {"max_new_tokens": MOST_TOKENS, "temperature": 0.5, "top_k": 4},
        },
        {
            "prompt": "The quick brown fox",
            "prefix": "Once more: ",
            "generate_kwargs": {
                "max_length": 40,
                "num_beams": MOST_SEQUENCES,
                "num_return_sequences": 2,
                "bad_words_ids": [[40], [41, 42]],
                "no_repeat_ngram_size": 2,
                "output_scores": True,
                "stop_strings": ["dog"],
            },
        },
    ),
    "/v1/generate": (
        {"prompt": "What is {thing}?", "input_variables": {"thing": "a pod"}, "max_tokens": MOST_TOKENS},
        {"model": NAME, "messages": _TURNS, "n": 1, "best_of": 2, "top_k": -1, "temperature": 0.8, "seed": 1},
        {"formatted_prompt": "What is a node?", "use_beam_search": True, "best_of": 2, "temperature": 0},
        {"prompt": "What?", "mock_response": True},
    ),
    "/v1/chat/completions": (
        {**_OPENAI, "messages": _TURNS},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "What?"}]}], "temperature": 0},
        {"messages": _TURNS, "logprobs": True, "top_logprobs": 2, "presence_penalty": 1, "min_tokens": 1},
        {"messages": _TURNS, "response_format": {"type": "json_object"}},
        {"messages": _TURNS, "tools": [_TOOL], "tool_choice": "auto"},
        {"messages": _CALLED, "tools": [_TOOL], "temperature": 0},
        {
            "messages": _TURNS,
            "response_format": {
                "type": "json_schema",
                "json_schema": {
                    "name": "pod",
                    "schema": {
                        "type": "object",
                        "properties": {"name": {"type": "string", "maxLength": 4}, "pods": {"enum": [1, 2]}},
                        "required": ["name"],
                        "additionalProperties": False,
                    },
                },
            },
        },
    ),
    "/v1/completions": (
        {**_OPENAI, "prompt": "Kubernetes runs"},
        {"prompt": ["A Workspace", [40, 41, 42]], "logprobs": 1, "max_tokens": 2},
        {
            "prompt": [50, 51],
            "echo": True,
            "stop_token_ids": [60],
            "ignore_eos": True,
            "repetition_penalty": 1.2,
        },
    ),
}
_WHOLE: dict[str, tuple[Body, ...]] = {
    "/tokenize": (
        {"prompt": "What is a pod?", "return_token_strs": True},
        {"model": NAME, "messages": _TURNS},
    ),
    "/detokenize": ({"model": NAME, "tokens": [40, 41, 42]},),
}


_ARGUMENTS = {
    path: frozenset(model.model_fields)
    for path, model in {
        "/chat": ChatRequest,
        "/v1/generate": GenerateRequest,
        "/v1/chat/completions": ChatCompletionRequest,
        "/v1/completions": CompletionRequest,
        "/tokenize": TokenizeRequest,
        "/detokenize": DetokenizeRequest,
    }.items()
}
_KWARGS = {path: frozenset(GenerateKwargs.model_fields if path == "/chat" else ()) for path in _ARGUMENTS}


@dataclass
class Target:
    """The route that a body is for, and what is to be written into it as it is, in the order of the marks."""

    path: str
    literals: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Mutant:
    """A damaged request and what was done to it. A `stream` may have been damaged, too."""

    number: int
    path: str
    content: bytes
    content_type: str | None
    stream: bool
    damage: str


def mutants(seed: int, numbers: range) -> Iterator[Mutant]:
    """The damaged requests of these numbers; each is made from the seed and its number alone."""
    for number in numbers:
        chance = random.Random(f"{seed}/{number}")
        stream = number % 2 == 0
        routes = _STREAMING if stream or number % 6 != 5 else _WHOLE
        path = chance.choice(list(routes))
        body = copy.deepcopy(chance.choice(routes[path]))
        if stream:
            body["stream"] = True
        target = Target(path)
        damage = [
            chance.choice(_MUTATIONS)(chance, body, target) for _ in range(chance.choice((1, 1, 1, 1, 2, 3)))
        ]
        text = json.dumps(body)
        for literal in target.literals:
            text = text.replace(f'"{_MARK}"', literal, 1)
        content, content_type = text.encode(), "application/json"
        if chance.random() < 0.15:
            said, content, content_type = chance.choice(_DAMAGED_BYTES)(chance, content)
            damage.append(said)
        yield Mutant(number, path, content, content_type, stream, "; ".join(damage))


_MARK = "a literal that json.dumps does not write"

Mutation = Callable[[random.Random, Body, Target], str]


def _paths(value: Any, here: Path = ()) -> Iterator[Path]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*here, key)
        yield from _paths(inner, (*here, key))


def _at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


def _some_place(chance: random.Random, body: Body) -> tuple[Any, Any, str]:
    """What holds a value, by what key, and where that is."""
    path = chance.choice(list(_paths(body)) or [("prompt",)])
    return _at(body, path[:-1]), path[-1], ".".join(map(str, path))


def _put(chance: random.Random, body: Body, value: Any) -> str:
    parent, key, where = _some_place(chance, body)
    parent[key] = copy.deepcopy(value)
    return f"{where} = {value!r}"[:100]


def _wrong_value(chance: random.Random, body: Body, target: Target) -> str:
    return _put(chance, body, chance.choice(ODD_VALUES))


def _odd_text(chance: random.Random, body: Body, target: Target) -> str:
    return _put(chance, body, chance.choice(ODD_TEXTS))


def _at_a_bound(chance: random.Random, body: Body, target: Target) -> str:
    """At or past what an argument may be."""
    name = chance.choice([name for name in BOUNDS if name in _ARGUMENTS[target.path] | _KWARGS[target.path]])
    value = chance.choice(BOUNDS[name])
    place = body
    if name not in _ARGUMENTS[target.path] and isinstance(body.setdefault("generate_kwargs", {}), dict):
        place = body["generate_kwargs"]
    place[name] = copy.deepcopy(value)
    return f"{name} = {value!r}"[:100]


def _literal(chance: random.Random, body: Body, target: Target) -> str:
    target.literals.append(chance.choice(LITERALS))
    return _put(chance, body, _MARK) + f", which is {target.literals[-1]}"[:40]


def _removed(chance: random.Random, body: Body, target: Target) -> str:
    parent, key, where = _some_place(chance, body)
    if isinstance(parent, dict):
        parent.pop(key, None)
    else:
        del parent[key]
    return f"{where} removed"


def _extra_field(chance: random.Random, body: Body, target: Target) -> str:
    places = [body, *(inner for path in _paths(body) if isinstance(inner := _at(body, path), dict))]
    name = chance.choice(
        ("extra", "Prompt", "max_token", "trust_remote_code", "", "ä", "\ud800", "\x00", "a" * 5000)
    )
    chance.choice(places)[name] = copy.deepcopy(chance.choice(ODD_VALUES))
    return f"a field {name[:20]!r} more"


def _doubled(chance: random.Random, body: Body, target: Target) -> str:
    lists = [inner for path in _paths(body) if isinstance(inner := _at(body, path), list) and inner]
    if not lists:
        return _removed(chance, body, target)
    chosen = chance.choice(lists)
    times = chance.choice((1, 20, 300))
    chosen += [copy.deepcopy(chosen[0]) for _ in range(times)]
    return f"an item {times} times more"


def _wrapped(chance: random.Random, body: Body, target: Target) -> str:
    parent, key, where = _some_place(chance, body)
    inner = parent.get(key) if isinstance(parent, dict) else parent[key]
    parent[key] = chance.choice(([inner], {"value": inner}, [[inner]]))
    return f"{where} wrapped"


def _swapped(chance: random.Random, body: Body, target: Target) -> str:
    names = list(body)
    one, other = chance.choice(names or ["prompt"]), chance.choice(names or ["messages"])
    body[one], body[other] = body.get(other), body.get(one)
    return f"{one} and {other} swapped"


def _deep(chance: random.Random, body: Body, target: Target) -> str:
    nested: Any = "bottom"
    form = chance.choice((lambda inner: {"a": inner}, lambda inner: [inner]))
    for _level in range(200):
        nested = form(nested)
    _put(chance, body, nested)
    return "200 levels deep"


_MUTATIONS: tuple[Mutation, ...] = (
    *(_wrong_value,) * 3,
    *(_odd_text,) * 2,
    *(_at_a_bound,) * 9,
    *(_literal,) * 2,
    _removed,
    _extra_field,
    _doubled,
    _wrapped,
    _swapped,
    _deep,
)

Damaged = tuple[str, bytes, str | None]
_JSON = "application/json"


def _cut_off(chance: random.Random, content: bytes) -> Damaged:
    return "cut off", content[: chance.randrange(len(content))], _JSON


def _other_type(chance: random.Random, content: bytes) -> Damaged:
    types = (
        None,
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "application/problem+json",
        "json",
        "application/octet-stream",
        "ä",
    )
    content_type = chance.choice(types)
    return f"sent as {content_type}", content, content_type


def _other_bytes(chance: random.Random, content: bytes) -> Damaged:
    text = content.decode()
    changed = (
        b"",
        b"null",
        b"[" + content + b"]",
        json.dumps(text).encode(),
        content + content,
        content + b"\x00",
        b"\xef\xbb\xbf" + content,
        text.encode("utf-16"),
        text.encode("utf-32"),
        content[:-1] + b',"prompt":"\xff\xfe"}',
        content.replace(b'"', b"'"),
        content[:-1] + b',"seed":' + b"9" * 5000 + b"}",
        content[:-1] + b',"seed":1e' + b"9" * 5000 + b"}",
        content[:-1] + b',"prompt":' + b"[" * 50_000,
        b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
        content[:-1] + b',"prompt":"' + b"a" * 2**18 + b'"}',
        content[:-1] + b',"prompt":"' + b"sheep " * 2**15 + b'"}',
        content[:-1] + b',"prompt":"' + rb"\ud83d" * 1000 + b'"}',
        b" " * 100_000 + content,
    )
    number = chance.randrange(len(changed))
    return f"other bytes, number {number}", changed[number], _JSON


def _repeated_name(chance: random.Random, content: bytes) -> Damaged:
    name = chance.choice((b"prompt", b"messages", b"stream", b"max_tokens", b"generate_kwargs", b"model"))
    value = chance.choice((b"null", b"1", b'"x"', b"[]", b"{}", b"true"))
    first, last = b'{"%s":%s,' % (name, value) + content[1:], content[:-1] + b',"%s":%s}' % (name, value)
    return f"{name.decode()} twice", chance.choice((first, last)), _JSON


_DAMAGED_BYTES = (_cut_off, _other_type, _other_bytes, _other_bytes, _repeated_name)
