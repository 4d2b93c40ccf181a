"""Whether an applied configuration fits its schema: server-side apply refuses what it cannot place."""

from typing import Any

from berth_local.apiserver.fields.paths import element
from berth_local.apiserver.schema.node import Node


def typed_faults(node: Node, value: Any, path: str = "") -> list[str]:
    """Return what does not fit, worded as server-side apply does: `.spec.foo: field not declared in schema`."""
    if value is None:
        return []
    if node.type == "object":
        if not isinstance(value, dict):
            return [f"{path}: expected map, got {_kind(value)}"]
        faults: list[str] = []
        for name, item in value.items():
            child = node.properties.get(name, node.additional)
            if child is not None:
                faults += typed_faults(child, item, f"{path}.{name}")
            elif not node.preserve and node.properties and not (not path and name in ("apiVersion", "kind")):
                faults.append(f"{path}.{name}: field not declared in schema")
        return faults
    if node.type == "array":
        return _list_faults(node, value, path)
    if node.int_or_string or not node.type or node.quantity:
        return []
    expected = {"string": (str, "string"), "boolean": (bool, "boolean")}.get(
        node.type, (int | float, "numeric (int or float)")
    )
    if isinstance(value, expected[0]) and (expected[0] is bool or not isinstance(value, bool)):
        return []
    return [f"{path}: expected {expected[1]}, got {_kind(value)}"]


def _list_faults(node: Node, value: Any, path: str) -> list[str]:
    if not isinstance(value, list):
        return [f"{path}: expected list, got {_kind(value)}"]
    faults: list[str] = []
    seen: set[str] = set()
    for index, item in enumerate(value):
        place = f"{path}[{index}]"
        if node.list_type in ("map", "set"):
            name = element(node, item)
            if name is None:
                keys = ", ".join(node.keys)
                faults.append(
                    f"{path}: element {index}: associative list with keys has an element that omits key field {keys!r}"
                )
            elif name in seen:
                faults.append(f"{path}: duplicate entries for key {name[2:]}")
            seen.add(name or "")
        faults += typed_faults(node.item(), item, place)
    return faults


def _kind(value: Any) -> str:
    return {str: "string", bool: "boolean", dict: "map", list: "list"}.get(type(value), "numeric")
