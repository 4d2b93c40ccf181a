"""The OpenAPI page: every field is explained, with its range and default, and every example is answered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from berth_inference.app import create_app
from berth_inference.settings import Settings

PAGE: dict[str, Any] = create_app(Settings(model="tiny-chat"), lambda *_: None).openapi()  # type: ignore[arg-type, return-value]
SCHEMAS: dict[str, Any] = PAGE["components"]["schemas"]
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, operations in PAGE["paths"].items()
    for method, operation in operations.items()
}
POSTS = {
    name.removeprefix("POST "): operation["requestBody"]["content"]["application/json"]
    for name, operation in OPERATIONS.items()
    if name.startswith("POST ")
}
EXAMPLES = [
    pytest.param(path, example["value"], id=f"{path} {name}")
    for path, content in POSTS.items()
    for name, example in content["examples"].items()
]

# What pydantic writes into a JSON schema for a bound that it could not translate.
UNTRANSLATED = {"ge", "gt", "le", "lt", "min_length", "max_length"}


def _within(value: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of the page, with its place."""
    if isinstance(value, dict):
        yield where, value
        for key, item in value.items():
            yield from _within(item, f"{where}/{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _within(item, f"{where}/{index}")


def _fields(names: set[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in sorted(names):
        for field, schema in SCHEMAS[name].get("properties", {}).items():
            yield f"{name}.{field}", schema


def _reached(name: str, found: set[str]) -> set[str]:
    """A schema and all that it refers to."""
    if name not in found:
        found.add(name)
        for _, inner in _within(SCHEMAS[name]):
            if isinstance(inner.get("$ref"), str):
                _reached(inner["$ref"].rpartition("/")[2], found)
    return found


REQUESTS: set[str] = set()
for content in POSTS.values():
    _reached(content["schema"]["$ref"].rpartition("/")[2], REQUESTS)


def test_every_schema_and_every_field_is_described() -> None:
    silent = [name for name, schema in SCHEMAS.items() if not schema.get("description")]
    silent += [name for name, field in _fields(set(SCHEMAS)) if not field.get("description")]
    assert silent == []


def test_every_operation_and_every_parameter_of_a_path_is_described() -> None:
    for name, operation in OPERATIONS.items():
        assert operation["description"], name
        for parameter in operation.get("parameters", []):
            assert parameter["description"], name


def test_every_argument_that_may_be_left_out_says_what_then_happens() -> None:
    silent = [
        name
        for name, field in _fields(REQUESTS)
        if "default" in field and not field["description"].startswith("Refused: ")
        if "Not given: " not in field["description"]
    ]
    assert silent == []
    assert len(list(_fields(REQUESTS))) > 100


def test_every_bound_is_in_words_that_readers_of_json_schema_know() -> None:
    bounds = [
        where
        for where, value in _within(SCHEMAS)
        for name in UNTRANSLATED & value.keys()
        if not isinstance(value[name], dict)  # an argument of that name
    ]
    assert bounds == []


@pytest.mark.parametrize(
    ("schema", "field", "bounds"),
    [
        ("GenerateKwargs", "top_k", {"minimum": 0}),
        ("GenerateKwargs", "temperature", {"minimum": 0.001, "maximum": 100}),
        ("GenerateKwargs", "bad_words_ids", {"maxItems": 1024}),
        ("GenerateRequest", "top_k", {"minimum": -1}),
        ("ChatCompletionRequest", "top_logprobs", {"minimum": 0, "maximum": 20}),
        ("ChatCompletionRequest", "seed", {"minimum": -(2**63), "exclusiveMaximum": 2**63}),
        ("CompletionRequest", "model", {"maxLength": 512}),
    ],
)
def test_a_range_is_on_the_page(schema: str, field: str, bounds: dict[str, Any]) -> None:
    first = SCHEMAS[schema]["properties"][field]["anyOf"][0]
    assert {name: first.get(name) for name in bounds} == bounds


def test_an_argument_that_is_refused_shows_the_values_that_are_not() -> None:
    assert SCHEMAS["GenerateKwargs"]["properties"]["penalty_alpha"]["enum"] == [None, 0]


def test_only_statuses_that_a_route_answers_are_on_the_page() -> None:
    for name, operation in OPERATIONS.items():
        assert ("422" in operation["responses"]) == (name == "POST /chat"), name
    assert "HTTPValidationError" not in SCHEMAS


@pytest.mark.parametrize("path", POSTS)
def test_a_request_has_several_named_examples(path: str) -> None:
    examples = POSTS[path]["examples"]
    assert len(examples) >= 2
    assert all(example["summary"] for example in examples.values())
    if "stream" in SCHEMAS[POSTS[path]["schema"]["$ref"].rpartition("/")[2]]["properties"]:
        assert len(examples) >= 3
        assert [name for name, example in examples.items() if example["value"].get("stream")] == ["streaming"]


@pytest.mark.parametrize(("path", "body"), EXAMPLES)
def test_an_example_is_answered(tiny_client: Any, path: str, body: dict[str, Any]) -> None:
    response = tiny_client.post(path, json=body)
    assert response.status_code == 200, response.text
    streamed = "json" not in response.headers["content-type"]
    assert streamed == bool(body.get("stream"))
    assert "error" not in response.text
