"""Schemas of the built-in kinds, read off the models of the official Kubernetes client."""

import functools
import re
from collections.abc import Mapping
from typing import Any

import kubernetes.client

from berth_local.apiserver.schema import lists
from berth_local.apiserver.schema.node import ANY, Node

_PREFIX = re.compile(r"^(?:Core|Events|Apiextensions|Rbac)?V\d+(?:(?:alpha|beta)\d+)?")


@functools.cache
def builtin_schema(model: str) -> Node:
    """Return the schema of a model of the client, such as `V1Deployment`; every field is named in it."""
    document: dict[str, Any] = getattr(kubernetes.client, model).model_json_schema()
    known: dict[str, Node] = {}
    root = _object(document, model, document.get("$defs") or {}, known)
    for name, child in root.properties.items():
        child.inline = ("", name) in lists.INLINE or child.inline
    return root


@functools.cache
def metadata_schema() -> Node:
    """Return the schema of `metadata`, the same for all kinds."""
    return builtin_schema("V1ObjectMeta")


def descriptions(model: str) -> dict[str, Any]:
    """Return the client's JSON schema of a model, with its descriptions."""
    document: dict[str, Any] = getattr(kubernetes.client, model).model_json_schema()
    return document


def bare_type(model: str) -> str:
    """Return a model's name as Kubernetes has it: `V1PodSpec` is PodSpec, `CoreV1Event` is Event."""
    return _PREFIX.sub("", model)


def _object(
    schema: Mapping[str, Any], model: str, definitions: Mapping[str, Any], known: dict[str, Node]
) -> Node:
    kind = bare_type(model)
    node = known[model] = Node(type="object", atomic=kind in lists.WHOLE_TYPES, title=kind)
    for name, field_schema in (schema.get("properties") or {}).items():
        place = (kind, name)
        if place in lists.BYTES:
            child = Node(type="object", additional=Node(type="string", format="byte"))
        else:
            child = _field(field_schema, definitions, known)
        marks = (
            place in lists.MERGED,
            place in lists.SETS,
            place in lists.RETAINED,
            place in lists.WHOLE_FIELDS,
        )
        if any(marks) or place in lists.INLINE or place in lists.QUANTITIES:
            child = _marked(child, place)
        node.properties[name] = child
    return node


def _marked(child: Node, place: tuple[str, str]) -> Node:
    """Return a copy of a node that knows how its place merges; nodes are shared between places."""
    node = Node(
        type=child.type, properties=child.properties, additional=child.additional, items=child.items,
        preserve=child.preserve, int_or_string=child.int_or_string, atomic=child.atomic, format=child.format,
        title=child.title,
    )  # fmt: skip
    strategy = set()
    if place in lists.MERGED:
        node.merge_key, node.keys = lists.MERGED[place]
        node.list_type = "map" if node.keys else "atomic"
        strategy.add("merge")
    if place in lists.SETS:
        node.list_type = "set"
        strategy.add("merge")
    if place in lists.RETAINED:
        strategy.add("retainKeys")
    node.strategy = frozenset(strategy)
    node.atomic = node.atomic or place in lists.WHOLE_FIELDS
    node.inline = place in lists.INLINE
    if place in lists.QUANTITIES:
        if node.type == "object":
            node.additional = Node(type="string", quantity=True)
        else:
            node.quantity = True
    return node


def _field(schema: Mapping[str, Any], definitions: Mapping[str, Any], known: dict[str, Node]) -> Node:
    choices = [one for one in schema.get("anyOf") or () if one.get("type") != "null"]
    if len(choices) > 1:
        types = {choice.get("type") for choice in choices}
        return Node(int_or_string=True) if types == {"integer", "string"} else ANY
    if choices:
        schema = choices[0]
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return known.get(name) or _object(definitions[name], name, definitions, known)
    kind = schema.get("type")
    if kind == "array":
        return Node(type="array", items=_field(schema.get("items") or {}, definitions, known))
    if kind == "object":
        values = schema.get("additionalProperties")
        if isinstance(values, Mapping) and values:
            return Node(type="object", additional=_field(values, definitions, known))
        return ANY
    return Node(type=str(kind), format=str(schema.get("format", ""))) if kind else ANY
