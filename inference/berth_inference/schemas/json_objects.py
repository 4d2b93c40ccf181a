"""Request bodies as JSON Schema says them, in words for people."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]

_REFUSED = "Refused: "
_LARGE: dict[Any, str] = {2**63: "2^63", -(2**63): "-2^63"}


@dataclass(frozen=True, slots=True)
class JSONObject:
    """An object of a request: where it is (empty for the body), its model's name, its arguments' schemas."""

    path: str
    name: str
    properties: dict[str, Schema]

    def inside(self, name: str) -> str:
        """Where one of its arguments is."""
        return f"{self.path}.{name}" if self.path else name


def objects(model: type[BaseModel]) -> Iterator[JSONObject]:
    """The body, less what it has from one that it extends, and every object within it, outer ones first."""
    schema = model.model_json_schema()
    extended = model.__base__ or BaseModel
    own = {
        name: field
        for name, field in schema["properties"].items()
        if name not in getattr(extended, "model_fields", {})
    }
    yield from _objects(JSONObject("", model.__name__, own), schema.get("$defs", {}))


def _objects(found: JSONObject, definitions: dict[str, Schema]) -> Iterator[JSONObject]:
    yield found
    for name, field in found.properties.items():
        for inner in sorted(set(re.findall(r"#/\$defs/(\w+)", json.dumps(field)))):
            properties = definitions[inner]["properties"]
            yield from _objects(JSONObject(found.inside(name), inner, properties), definitions)


def advice(field: Schema) -> str | None:
    """What to do instead of an argument that is refused; None for one that is served."""
    description: str = field["description"]
    return description.removeprefix(_REFUSED) if description.startswith(_REFUSED) else None


def values(field: Schema, path: str = "") -> str:
    """What an argument takes. An object is a link to the heading of its own, which is its path."""
    match field:
        case {"enum": allowed}:
            return ", ".join(f"`{json.dumps(value)}`" for value in allowed)
        case {"const": value}:
            return f"`{json.dumps(value)}`"
        case {"anyOf": choices}:
            said = [values(choice, path) for choice in choices if choice.get("type") != "null"]
            return " or ".join(dict.fromkeys(said))
        case {"$ref": _}:
            return f"[object](#{re.sub(r'[^a-z_]', '', path)})"
        case {"type": "array", "items": items}:
            each = values(items, path)
            bound = f"at most {field['maxItems']} " if "maxItems" in field else ""
            return f"list of {bound}{f'({each})' if ' or ' in each or (bound and ' ' in each) else each}"
        case {"type": "object", "additionalProperties": {"type": _} as inner}:
            return f"object of {values(inner)}"
        case {"type": "integer" | "number" as kind}:
            return f"{kind}{_between(field)}"
        case {"type": "boolean"}:
            return "`true`, `false`"
        case {"type": "string"}:
            return "text" + (f" of at most {field['maxLength']} characters" if "maxLength" in field else "")
        case _:
            return "object"


def _between(field: Schema) -> str:
    low, high = field.get("minimum"), field.get("maximum")
    above, below = field.get("exclusiveMinimum"), field.get("exclusiveMaximum")
    if above is not None:
        return f" > {above}" + (f", <= {high}" if high is not None else "")
    if below is not None:
        return f" >= {_LARGE.get(low, low)}, < {_LARGE.get(below, below)}"
    if high is None:
        return f" >= {low}" if low is not None else ""
    return f" {low} to {high}"
