"""Schemas of the built-in kinds, read off the models of the official Kubernetes client."""

import datetime
import functools
import re
import types
import typing
from dataclasses import replace
from typing import Any

import kubernetes.client
from pydantic import BaseModel

from berth_local.apiserver.schema import lists
from berth_local.apiserver.schema.node import ANY, Node

_PREFIX = re.compile(r"^(?:Core|Events|Apiextensions|Rbac)?V\d+(?:(?:alpha|beta)\d+)?")
_SCALARS = {str: "string", bool: "boolean", int: "integer", float: "number", bytes: "string"}


def builtin_schema(model: str) -> Node:
    """Return the schema of a model of the client, such as `V1Deployment`; every field is named in it."""
    return _object(getattr(kubernetes.client, model))


def metadata_schema() -> Node:
    """Return the schema of `metadata`, the same for all kinds."""
    return builtin_schema("V1ObjectMeta")


@functools.cache
def _object(model: type[BaseModel]) -> Node:
    return _Reader().read(model)


class _Reader:
    """Reads one kind. Types may contain themselves, so what is begun is remembered."""

    def __init__(self) -> None:
        self._known: dict[type[BaseModel], Node] = {}

    def read(self, model: type[BaseModel]) -> Node:
        if model in self._known:
            return self._known[model]
        title = _PREFIX.sub("", model.__name__)
        node = self._known[model] = Node(type="object", atomic=title in lists.WHOLE_TYPES, title=title)
        names = {field.serialization_alias or name for name, field in model.model_fields.items()}
        top = {"kind", "metadata", "apiVersion"} <= names
        for name, field in model.model_fields.items():
            alias = field.serialization_alias or name
            child = self._field(field.annotation)
            node.properties[alias] = _marked(child, title, alias, top=top)
            if field.description:
                node.descriptions[alias] = field.description
        return node

    def _field(self, annotation: Any) -> Node:
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is typing.Annotated:
            return self._field(arguments[0])
        if origin in (typing.Union, types.UnionType):
            return self._union([one for one in arguments if one is not type(None)])
        if origin is list:
            return Node(type="array", items=self._field(arguments[0]))
        if origin is dict:
            values = self._field(arguments[1])
            return Node(type="object", additional=values) if values.type or values.int_or_string else ANY
        if annotation is datetime.datetime:
            return Node(type="string", format="date-time")
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return self.read(annotation)
        return Node(type=_SCALARS[annotation]) if annotation in _SCALARS else ANY

    def _union(self, choices: list[Any]) -> Node:
        nodes = [self._field(choice) for choice in choices]
        kinds = {node.type for node in nodes}
        if len(nodes) == 1 or kinds == {"string"}:
            return nodes[0]
        if kinds == {"integer", "string"}:
            return Node(int_or_string=True)
        return Node(type="number") if kinds == {"integer", "number"} else ANY


def _marked(child: Node, title: str, name: str, *, top: bool) -> Node:
    """Return a node that knows how its place merges; the type's own node is shared between places."""
    place = (title, name)
    marks: dict[str, Any] = {}
    strategy = set()
    if place in lists.MERGED:
        merge_key, keys = lists.MERGED[place]
        marks |= {"merge_key": merge_key, "keys": keys, "list_type": "map" if keys else "atomic"}
        strategy |= {"merge"}
    if place in lists.SETS:
        marks["list_type"] = "set"
        strategy |= {"merge"}
    if place in lists.RETAINED:
        strategy |= {"retainKeys"}
    if strategy:
        marks["strategy"] = frozenset(strategy)
    if place in lists.WHOLE_FIELDS:
        marks["atomic"] = True
    if place in lists.INLINE or (top and ("", name) in lists.INLINE):
        marks["inline"] = True
    if place in lists.BYTES:
        marks["additional"] = Node(type="string", format="byte")
    if place in lists.QUANTITIES:
        marks |= (
            {"additional": Node(type="string", quantity=True)}
            if child.type == "object"
            else {"quantity": True}
        )
    # The copy shares the original's properties, which may still be being read.
    return replace(child, **marks) if marks else child
