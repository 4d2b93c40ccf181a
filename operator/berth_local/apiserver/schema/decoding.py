"""From what a client sent to what the schema knows: unknown fields are cut off and told, wrong types refused."""

import base64
import binascii
from collections.abc import Iterator
from typing import Any

from berth_local.apiserver.objects import MISSING, Object, clone
from berth_local.apiserver.schema.builtin import metadata_schema
from berth_local.apiserver.schema.node import Node

_GO_NAMES = {"string": "string", "integer": "int32", "boolean": "bool", "number": "float64"}


class WrongType(Exception):
    """A value that its field cannot hold; the message is worded as the API's decoder does."""


def decode_builtin(schema: Node, value: Object, kind: str) -> tuple[Object, list[str]]:
    """Return an object of a built-in kind as its type holds it, and the paths of unknown fields.

    Nulls, empty lists and empty maps count as absent; numbers given for quantities become text.
    Raises WrongType.
    """
    unknown: list[str] = []
    schema.title = schema.title or kind
    decoded: Object = _typed(schema, value, "", "", schema.title, unknown)
    return decoded, sorted(unknown)


def _typed(node: Node, value: Any, path: str, plain: str, owner: str, unknown: list[str]) -> Any:
    if node.type == "object":
        if not isinstance(value, dict):
            raise _mismatch(value, owner, plain, _go_type(node))
        if not node.properties and node.additional is None:
            return clone(value)
        found: Object = {}
        for name, item in value.items():
            child = node.properties.get(name, node.additional)
            below = f"{path}.{name}" if path else name
            if child is None:
                if not node.preserve:
                    unknown.append(below)
                continue
            if item is None:
                continue
            inner = (f"{plain}.{name}" if plain else name) if node.properties else plain
            kept = _typed(child, item, below, inner, node.title or owner, unknown)
            if (
                kept not in ([], {})
                or not child.type
                or (isinstance(kept, dict) and child.additional is None)
            ):
                found[name] = kept
        return found
    if node.type == "array":
        if not isinstance(value, list):
            raise _mismatch(value, owner, plain, f"[]{_go_type(node.item())}")
        return [
            _typed(node.item(), item, f"{path}[{index}]", plain, owner, unknown)
            for index, item in enumerate(value)
            if item is not None or not node.item().type
        ]
    return _scalar(node, value, plain, owner)


def _scalar(node: Node, value: Any, plain: str, owner: str) -> Any:
    if node.quantity and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if node.int_or_string:
        right = isinstance(value, int | str) and not isinstance(value, bool)
    elif node.type == "string":
        right = isinstance(value, str)
    elif node.type == "boolean":
        right = isinstance(value, bool)
    elif node.type == "integer":
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        right = isinstance(value, int) and not isinstance(value, bool)
    elif node.type == "number":
        right = isinstance(value, int | float) and not isinstance(value, bool)
    else:
        return clone(value)
    if not right:
        raise _mismatch(value, owner, plain, _GO_NAMES.get(node.type, "intstr.IntOrString"))
    if node.format == "byte":
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as error:
            raise WrongType(f"illegal base64 data at {plain}") from error
    return value


def _go_type(node: Node) -> str:
    if node.title:
        return f"v1.{node.title}"
    return "map[string]string" if node.type == "object" else _GO_NAMES.get(node.type, "value")


def _mismatch(value: Any, owner: str, plain: str, wanted: str) -> WrongType:
    given = {"integer": "number"}.get(json_type(value), json_type(value)).replace("boolean", "bool")
    field = f"Go struct field {owner}.{plain}" if plain else "Go value"
    return WrongType(f"json: cannot unmarshal {given} into {field} of type {wanted}")


def json_type(value: Any) -> str:
    """Return the JSON schema name of a value's type."""
    if value is None:
        return "null"
    for kind, name in (
        (bool, "boolean"),
        (int, "integer"),
        (float, "number"),
        (str, "string"),
        (dict, "object"),
    ):
        if isinstance(value, kind):
            return name
    return "array"


def prune(schema: Node, value: Object, kind: str) -> tuple[Object, list[str]]:
    """Return a custom object without the fields that its schema lacks, and their paths, metadata's first."""
    unknown: list[str] = []
    pruned: Object = _pruned(schema, value, "", unknown, top=True)
    known: list[str] = []
    if isinstance(pruned.get("metadata"), dict):
        pruned["metadata"] = _typed(
            metadata_schema(), pruned["metadata"], "metadata", "metadata", kind, known
        )
    return pruned, sorted(known) + sorted(unknown)


def _pruned(node: Node, value: Any, path: str, unknown: list[str], top: bool = False) -> Any:
    if isinstance(value, dict):
        return dict(_fields(node, value, path, unknown, top or node.embedded))
    if isinstance(value, list):
        if node.items is None:
            return clone(value)
        return [_pruned(node.items, item, f"{path}[{index}]", unknown) for index, item in enumerate(value)]
    return value


def _fields(node: Node, value: Object, path: str, unknown: list[str], top: bool) -> Iterator[tuple[str, Any]]:
    for name, item in value.items():
        below = f"{path}.{name}" if path else name
        if top and name in ("apiVersion", "kind", "metadata"):
            yield name, clone(item)
        elif (child := node.properties.get(name, node.additional)) is not None:
            yield name, _pruned(child, item, below, unknown)
        elif node.preserve:
            yield name, clone(item)
        else:
            unknown.append(below)


def set_defaults(node: Node, value: Any) -> None:
    """Fill in the defaults of a custom object, in place; a null that is not allowed counts as absent."""
    if isinstance(value, dict):
        for name, child in node.properties.items():
            present = value.get(name, MISSING)
            if present is None and not child.nullable:
                del value[name]
                present = MISSING
            if present is MISSING and child.default is not MISSING:
                present = value[name] = clone(child.default)
            if isinstance(present, dict | list):
                set_defaults(child, present)
        if node.additional is not None:
            for name, item in value.items():
                if name not in node.properties:
                    set_defaults(node.additional, item)
    elif isinstance(value, list) and node.items is not None:
        for item in value:
            set_defaults(node.items, item)
