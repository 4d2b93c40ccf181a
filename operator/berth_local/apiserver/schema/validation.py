"""Judging custom objects by their CRD's schema, with the API server's words for each fault."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jsonschema import Draft4Validator, FormatChecker
from jsonschema.exceptions import ValidationError

from berth_local.apiserver.errors import Cause
from berth_local.apiserver.objects import Object, parse_time
from berth_local.apiserver.schema.decoding import json_type
from berth_local.apiserver.schema.node import Node

_FORMATS = FormatChecker(formats=())


@_FORMATS.checks("date-time", raises=ValueError)
def _is_time(value: object) -> bool:
    return not isinstance(value, str) or bool(parse_time(value))


_KEPT = {
    "type", "enum", "pattern", "format", "required", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
    "minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "multipleOf",
}  # fmt: skip
_SUBSCHEMAS = ("allOf", "anyOf", "oneOf")


def _plain(schema: Mapping[str, Any]) -> Object:
    """Return the part of a structural schema that JSON schema (draft 4, as OpenAPI 3.0 builds on it) can judge."""
    plain: Object = {key: value for key, value in schema.items() if key in _KEPT}
    for key in _SUBSCHEMAS:
        if schema.get(key):
            plain[key] = [_plain(one) for one in schema[key]]
    if isinstance(schema.get("not"), Mapping):
        plain["not"] = _plain(schema["not"])
    if schema.get("properties"):
        plain["properties"] = {name: _plain(one) for name, one in schema["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), Mapping):
            plain[key] = _plain(schema[key])
    if schema.get("x-kubernetes-int-or-string"):
        plain.pop("anyOf", None)
        plain["type"] = ["integer", "string"]
    if schema.get("nullable"):
        kinds = plain.get("type", [])
        plain["type"] = [*([kinds] if isinstance(kinds, str) else kinds), "null"] if kinds else []
        if not plain["type"]:
            del plain["type"]
        if "enum" in plain:
            plain["enum"] = [*plain["enum"], None]
    return plain


class ObjectValidator:
    """Judges the objects of one version of a custom kind."""

    def __init__(self, schema: Mapping[str, Any], node: Node) -> None:
        plain = _plain(schema)
        for name in ("apiVersion", "kind", "metadata"):
            plain.get("properties", {}).pop(name, None)
        self._validator, self._node = Draft4Validator(plain, format_checker=_FORMATS), node

    def causes(self, value: Object) -> list[Cause]:
        """Return every fault found; none when the object is fine."""
        faults: dict[tuple[str, str], Cause] = {}
        errors = list(self._validator.iter_errors(value))
        sized = {
            tuple(error.absolute_path) for error in errors if error.validator in ("maxLength", "minLength")
        }
        for error in errors:
            if error.validator == "pattern" and tuple(error.absolute_path) in sized:
                continue
            for cause in _causes(error):
                faults.setdefault((cause.field, cause.message), cause)
        for cause in _duplicates(self._node, value, ""):
            faults.setdefault((cause.field, cause.message), cause)
        return list(faults.values())


def _path(parts: Iterable[Any]) -> str:
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def quote(value: Any) -> str:
    """Return a value as messages show it: JSON, with text in quotes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _causes(error: ValidationError) -> Iterator[Cause]:
    field = _path(error.absolute_path)
    value: Any = error.instance
    limit: Any = error.validator_value
    body = f"Invalid value: {quote(value)}: {field} in body"
    rule = str(error.validator)
    if rule == "required":
        for name in limit:
            if name not in value:
                yield Cause(_path([*error.absolute_path, name]), "Required value", "FieldValueRequired")
    elif rule == "type":
        wanted = limit if isinstance(limit, str) else next((one for one in limit if one != "null"), "value")
        if wanted == "integer" and isinstance(limit, list) and "string" in limit:
            wanted = "integer,string"
        given = f'"{json_type(value)}"'
        message = f"Invalid value: {given}: {field or '<nil>'} in body must be of type {wanted}: {given}"
        yield Cause(field or "<nil>", message, "FieldValueTypeInvalid")
    elif rule == "enum":
        listed = ", ".join(quote(one) for one in limit if one is not None)
        message = f"Unsupported value: {quote(value)}: supported values: {listed}"
        yield Cause(field, message, "FieldValueNotSupported")
    elif rule == "maxLength":
        yield Cause(field, f"Too long: may not be more than {limit} bytes", "FieldValueTooLong")
    elif rule in ("maxItems", "maxProperties"):
        message = f"Too many: {len(value)}: must have at most {limit} items"
        yield Cause(field, message, "FieldValueTooMany")
    elif rule == "format":
        yield Cause(field, f"{body} must be of type {limit}: {quote(value)}", "FieldValueTypeInvalid")
    elif rule in ("minItems", "minProperties"):
        what = "items" if rule == "minItems" else "properties"
        yield Cause(
            field, f"Invalid value: {len(value)}: {field} in body should have at least {limit} {what}"
        )
    else:
        yield Cause(field, f"{body} {_should(rule, limit, error)}")


def _should(rule: str, limit: Any, error: ValidationError) -> str:
    strict = isinstance(error.schema, dict) and bool(error.schema.get(f"exclusive{rule.capitalize()}"))
    words = {
        "pattern": f"should match '{limit}'",
        "minLength": f"should be at least {limit} chars long",
        "minimum": f"should be greater than {'' if strict else 'or equal to '}{limit}",
        "maximum": f"should be less than {'' if strict else 'or equal to '}{limit}",
        "multipleOf": f"should be a multiple of {limit}",
        "uniqueItems": "shouldn't contain duplicates",
        "oneOf": "must validate one and only one schema (oneOf)",
        "anyOf": "must validate at least one schema (anyOf)",
        "not": "must not validate the schema (not)",
    }
    return words.get(rule, error.message)


def _duplicates(node: Node, value: Any, path: str) -> Iterator[Cause]:
    if isinstance(value, dict):
        for name, item in value.items():
            if isinstance(item, dict | list):
                yield from _duplicates(node.child(name), item, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        seen: set[str] = set()
        for index, item in enumerate(value):
            if node.list_type == "set":
                identity = item
            elif node.list_type == "map" and isinstance(item, dict):
                identity = {key: item.get(key, _key_default(node, key)) for key in node.keys}
            else:
                identity = None
            if identity is not None and (text := quote(identity)) in seen:
                yield Cause(f"{path}[{index}]", f"Duplicate value: {text}", "FieldValueDuplicate")
            elif identity is not None:
                seen.add(text)
            if isinstance(item, dict | list):
                yield from _duplicates(node.item(), item, f"{path}[{index}]")


def _key_default(node: Node, key: str) -> Any:
    default = node.item().child(key).default
    return default if isinstance(default, str | int | float | bool) else None


def is_finite(value: Any) -> bool:
    """Say whether JSON data holds only numbers that JSON can write (Python reads NaN and Infinity too)."""
    if isinstance(value, dict):
        return all(is_finite(item) for item in value.values())
    if isinstance(value, list):
        return all(is_finite(item) for item in value)
    return not isinstance(value, float) or math.isfinite(value)
