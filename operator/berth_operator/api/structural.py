"""pydantic's JSON Schema, made into the structural schema that a CRD may carry."""

import copy
from typing import Any

from pydantic import BaseModel

from berth_operator.api.rules import EXTENSIONS, RULES

_COPIED = (
    "description", "format", "pattern", "enum", "minimum", "maximum", "minLength", "maxLength", "minItems",
    "maxItems", "minProperties", "maxProperties",
)  # fmt: skip


def structural_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of a model and everything in it, with the rules and extensions of the Workspace API."""
    whole = model.model_json_schema(by_alias=True, mode="validation")
    return _convert(whole, whole.get("$defs", {}), "")


def _convert(schema: dict[str, Any], definitions: dict[str, Any], path: str) -> dict[str, Any]:
    schema = _resolved(schema, definitions)
    result: dict[str, Any] = {key: schema[key] for key in _COPIED if key in schema}
    # A default that is the type's zero (0, "", no entries) says nothing; stored objects stay as users wrote them.
    if schema.get("default"):
        result["default"] = schema["default"]
    match schema.get("type"):
        case "object":
            result |= _object(schema, definitions, path)
        case "array":
            result |= {"type": "array", "items": _convert(schema["items"], definitions, f"{path}[]")}
        case None:
            # A value of any kind is an object of any content to the API server.
            result |= {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        case scalar:
            result["type"] = scalar
    result |= copy.deepcopy(EXTENSIONS.get(path, {}))
    if rules := RULES.get(path):
        result["x-kubernetes-validations"] = [rule.as_schema() for rule in rules]
    return result


def _object(schema: dict[str, Any], definitions: dict[str, Any], path: str) -> dict[str, Any]:
    if "properties" in schema:
        prefix = f"{path}." if path else ""
        properties = {
            name: _convert(inner, definitions, prefix + name) for name, inner in schema["properties"].items()
        }
        required = {"required": schema["required"]} if schema.get("required") else {}
        return {"type": "object", "properties": properties, **required}
    values = schema.get("additionalProperties")
    if isinstance(values, dict) and values:
        return {"type": "object", "additionalProperties": _convert(values, definitions, f"{path}{{}}")}
    return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def _resolved(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema with its reference put in place, and without the alternative of being null."""
    if "anyOf" in schema:
        (alternative,) = [entry for entry in schema["anyOf"] if entry.get("type") != "null"]
        own = {key: value for key, value in schema.items() if key != "anyOf"}
        return _resolved({**alternative, **own}, definitions)
    if "$ref" in schema:
        own = {key: value for key, value in schema.items() if key != "$ref"}
        return {**definitions[schema["$ref"].rpartition("/")[2]], **own}
    return schema
