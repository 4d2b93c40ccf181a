"""The OpenAPI page as what schemathesis makes requests from, and what has to hold of every answer."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import positive_data_acceptance

from berth_inference.app import create_app
from berth_inference.settings import Settings
from server.limited_server import MOST_SEQUENCES, MOST_TOKENS, NAME, LimitedServer

SECONDS = 20  # for one answer of a few tokens, on a machine that does much else

_LENGTHS = ("max_tokens", "max_completion_tokens", "max_new_tokens")
_COUNTS = ("n", "best_of", "num_return_sequences", "num_beams")

# What the page cannot tell, because it depends on the model, on the server's settings or on other arguments. Without
# it, most cases would be refused before anything else of them is looked at.
_NARROWER: dict[str, dict[str, Any]] = {
    "model": {"enum": [NAME, None]},
    "content": {"type": ["string", "array"]},
    "role": {"not": {"const": "tool"}},
    "input_variables": {"enum": [{}, None]},
    **{name: {"anyOf": [{"maximum": MOST_TOKENS}, {"type": "null"}]} for name in _LENGTHS},
    **{name: {"anyOf": [{"maximum": MOST_SEQUENCES}, {"type": "null"}]} for name in _COUNTS},
}
_GIVEN = {"type": ["string", "array"]}
_ONE_OF = (("prompt", "formatted_prompt", "messages"), ("max_completion_tokens", "max_tokens"))
_OF_SOME_ROLES = ("tool_calls", "tool_call_id")

# Which arguments go together no schema says, and two errors of the server are documented.
_UNCHECKED = [positive_data_acceptance, not_a_server_error]


def _load_page() -> Any:
    """The server's own page, narrowed, as schemathesis reads it."""

    def load(*_: Any) -> Any:
        raise NotImplementedError("the page needs no model")

    return schemathesis.openapi.from_dict(_narrowed(create_app(Settings(model="model"), load).openapi()))


def _narrowed(page: dict[str, Any]) -> dict[str, Any]:
    """With what this one server allows, and with a schema for each way to say the same."""
    page = _with_short_examples(page)
    schemas = page["components"]["schemas"]
    for name, schema in schemas.items():
        if name.endswith(("Request", "Kwargs", "Message")):
            schemas[name] = _narrowed_schema(schema)
    return page


def _narrowed_schema(schema: dict[str, Any]) -> dict[str, Any]:
    properties = {
        name: {"allOf": [value, _NARROWER[name]]} if name in _NARROWER else value
        for name, value in schema["properties"].items()
        if name not in _OF_SOME_ROLES
    }
    required = [*schema.get("required", ()), *({"content"} & properties.keys())]
    variants = [properties]
    for names in _ONE_OF:
        found = [name for name in names if name in properties]
        variants = [
            {name: value for name, value in variant.items() if name == chosen or name not in found}
            for variant in variants
            for chosen in found or [""]
        ]
    return {
        "anyOf": [
            {
                **schema,
                "properties": {
                    name: {"allOf": [value, _GIVEN]} if name in _ONE_OF[0] else value
                    for name, value in variant.items()
                },
                "required": sorted({*required, *(variant.keys() & set(_ONE_OF[0]))}),
            }
            for variant in variants
        ]
    }


def _with_short_examples(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_short_examples(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: min(inner, MOST_TOKENS)
        if name in _LENGTHS and isinstance(inner, int)
        else _with_short_examples(inner)
        for name, inner in value.items()
    }


PAGE = _load_page()

OPENAI = [operation.ok().label for operation in PAGE.include(tag="OpenAI").get_all_operations()]
"""Operations that OpenAI's clients use, by their labels: a method and a path."""

OTHERS = [operation.ok().label for operation in PAGE.exclude(tag="OpenAI").get_all_operations()]
"""All other operations."""


class Asked:
    """Sends cases, and counts them."""

    def __init__(self) -> None:
        self.operations: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()

    def __call__(self, case: Any, server: LimitedServer) -> None:
        """Fails where the answer is late, or none that the page documents."""
        request = case.as_transport_kwargs()
        assert not request.pop("cookies")  # the API knows none, and the client warns of them
        if "data" in request:
            request["content"] = request.pop("data")
        began = time.monotonic()
        response = server.client.request(**request)
        assert time.monotonic() - began < SECONDS
        self.operations[case.operation.label] += 1
        self.statuses[response.status_code] += 1
        assert response.status_code < 500 or response.status_code in (503, 504)
        case.validate_response(response, excluded_checks=_UNCHECKED)
        assert "Traceback" not in response.text
        assert str(server.folder) not in response.text


def each_operation(labels: Sequence[str], asked: Asked, cases: int) -> dict[str, Any]:
    """A test for each operation, by its name: with the page's examples and bounds, and that many random cases.

    Not one test of all: pytest from 9.2 on gives what schemathesis makes of it one id, and xdist runs one test an id.
    """
    found = {}
    for label in labels:

        @PAGE.include(name=label).parametrize()
        @hypothesis.settings(
            max_examples=cases,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @pytest.mark.timeout(600)
        def test(case: Any, limited: LimitedServer) -> None:
            asked(case, limited)

        test.__name__ = "test_the_page_is_right_about_" + re.sub(r"\W+", "_", label).strip("_")
        found[test.__name__] = test
    return found
