"""Sets of field paths, as `metadata.managedFields` writes them (FieldsV1).

A path is a tuple of elements in FieldsV1's own spelling: `f:spec`, `k:{"name":"a"}`, `v:"x"`. A set may hold an
object's or list item's own path (FieldsV1's `.`) beside those of what it contains.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from berth_local.apiserver.objects import MISSING, Object
from berth_local.apiserver.schema.node import Node

Path = tuple[str, ...]
FieldSet = set[Path]


def element(node: Node, item: Any) -> str | None:
    """Return the path element of a list's item, or None when it lacks a key and so cannot be told apart."""
    if node.list_type == "set":
        return "v:" + json.dumps(item, separators=(",", ":"), ensure_ascii=False)
    if not isinstance(item, dict):
        return None
    keys: Object = {}
    for key in sorted(node.keys):
        value = item.get(key, KEY_DEFAULTS.get(key, node.item().child(key).default))
        if value is MISSING:
            return None
        keys[key] = value
    return "k:" + json.dumps(keys, separators=(",", ":"), ensure_ascii=False)


KEY_DEFAULTS = {"protocol": "TCP"}
"""The one key of the built-in types that may be left out."""


def items(node: Node, value: list[Any]) -> dict[str, Any] | None:
    """Return a list's items by their path element; None for a list that is one value, or has doubtful keys."""
    if node.list_type not in ("map", "set"):
        return None
    found: dict[str, Any] = {}
    for item in value:
        name = element(node, item)
        if name is None or name in found:
            return None
        found[name] = item
    return found


def applied(node: Node, value: Any, path: Path = ()) -> FieldSet:
    """Return the fields that an applied configuration names, and so claims."""
    found: FieldSet = set()
    _applied(node, value, path, found)
    return found


def _applied(node: Node, value: Any, path: Path, found: FieldSet) -> None:
    if isinstance(value, dict) and value and not node.atomic:
        for name, item in value.items():
            below = (*path, f"f:{name}")
            _applied(node.child(name), item, below, found)
            if name not in node.properties:
                found.add(below)
    elif isinstance(value, list) and value and (known := items(node, value)) is not None:
        for name, item in known.items():
            below = (*path, name)
            found.add(below)
            if isinstance(item, dict):
                _applied(node.item(), item, below, found)
    else:
        found.add(path)


def everything(node: Node, value: Any, path: Path, found: FieldSet) -> None:
    """Add a value's own path and those of all that it contains."""
    found.add(path)
    if isinstance(value, dict) and not node.atomic:
        for name, item in value.items():
            everything(node.child(name), item, (*path, f"f:{name}"), found)
    elif isinstance(value, list) and (known := items(node, value)) is not None:
        for name, item in known.items():
            everything(node.item(), item, (*path, name), found)


def difference(node: Node, old: Any, new: Any) -> tuple[FieldSet, FieldSet]:
    """Return the paths (set or changed, removed) between two objects."""
    changed: FieldSet = set()
    removed: FieldSet = set()
    _difference(node, old, new, (), changed, removed)
    return changed, removed


def _difference(node: Node, old: Any, new: Any, path: Path, changed: FieldSet, removed: FieldSet) -> None:
    if new is old:
        return
    if old is MISSING and node.inline and isinstance(new, dict | list):
        old = type(new)()
    if new is MISSING:
        everything(node, old, path, removed)
    elif old is MISSING:
        everything(node, new, path, changed)
    elif isinstance(old, dict) and isinstance(new, dict) and not node.atomic:
        for name in old.keys() | new.keys():
            _difference(
                node.child(name), old.get(name, MISSING), new.get(name, MISSING), (*path, f"f:{name}"),
                changed, removed,
            )  # fmt: skip
    elif (
        isinstance(old, list) and isinstance(new, list)
        and (was := items(node, old)) is not None and (now := items(node, new)) is not None
    ):  # fmt: skip
        for name in was.keys() | now.keys():
            _difference(
                node.item(), was.get(name, MISSING), now.get(name, MISSING), (*path, name), changed, removed
            )
    elif old != new:
        changed.add(path)


def to_fields(paths: Iterable[Path]) -> Object:
    """Return a set of paths as FieldsV1."""
    tree: Object = {}
    chosen = sorted(paths)
    for path in chosen:
        place = tree
        for part in path:
            place = place.setdefault(part, {})
    for path in chosen:
        place = tree
        for part in path:
            place = place[part]
        if any(name != "." for name in place):
            place["."] = {}
    return _ordered(tree)


def _ordered(tree: Object) -> Object:
    return {name: _ordered(tree[name]) for name in sorted(tree)}


def from_fields(tree: Object) -> FieldSet:
    """Read FieldsV1; ValueError when it is none."""
    return set(_walk(tree, ()))


def _walk(tree: Object, path: Path) -> Iterator[Path]:
    if not isinstance(tree, dict):
        raise ValueError(f"not a field set: {tree!r}")
    if not tree and path:
        yield path
    for name, below in tree.items():
        if name == ".":
            yield path
        elif name[:2] in ("f:", "k:", "v:", "i:"):
            yield from _walk(below, (*path, name))
        else:
            raise ValueError(f"not a path element: {name!r}")


def shown(path: Path) -> str:
    """Return a path as messages show it: `.spec.containers[name="a"].image`."""
    text = ""
    for part in path:
        if part.startswith("f:"):
            text += f".{part[2:]}"
        elif part.startswith("k:"):
            keys = json.loads(part[2:])
            text += "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in keys.items()) + "]"
        else:
            text += f"[={part[2:]}]"
    return text
