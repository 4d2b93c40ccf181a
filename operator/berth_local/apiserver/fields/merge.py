"""Merging an applied configuration into an object, and taking out what is no longer applied."""

from collections.abc import Set as AbstractSet
from typing import Any

from berth_local.apiserver.fields.paths import Path, element, items
from berth_local.apiserver.objects import clone
from berth_local.apiserver.schema.node import Node


def merge(node: Node, live: Any, config: Any) -> Any:
    """Return the live value with everything that the configuration names set as it says."""
    if isinstance(live, dict) and isinstance(config, dict) and not node.atomic:
        merged = dict(live)
        for name, item in config.items():
            merged[name] = merge(node.child(name), live[name], item) if name in live else clone(item)
        return merged
    if isinstance(live, list) and isinstance(config, list):
        was, wanted = items(node, live), items(node, config)
        if was is not None and wanted is not None:
            return _merge_items(node, was, wanted)
    return clone(config)


def _merge_items(node: Node, live: dict[str, Any], config: dict[str, Any]) -> list[Any]:
    """Merge keyed lists: what both have stands in the applied order, what one alone has keeps its neighbours.

    Items that only the live list has come first where both could follow.
    """
    merged: list[Any] = []
    ours, theirs = list(live), list(config)
    shared = [name for name in theirs if name in live]
    while ours or theirs:
        if ours and ours[0] not in config:
            merged.append(live[ours.pop(0)])
        elif ours and ours[0] not in theirs[:1] and (not shared or ours[0] != shared[0]) and theirs:
            # It is applied too, at another place of the order: it is taken there, or was already.
            ours.pop(0)
        elif theirs:
            name = theirs.pop(0)
            merged.append(
                merge(node.item(), live[name], config[name]) if name in live else clone(config[name])
            )
            if shared[:1] == [name]:
                shared.pop(0)
            if ours[:1] == [name]:
                ours.pop(0)
        else:
            ours.pop(0)
    return merged


def remove(node: Node, value: Any, gone: AbstractSet[Path]) -> Any:
    """Return a value without the paths `gone`, nor the objects and lists that this empties."""
    direct = {path[0] for path in gone if len(path) == 1}
    deeper: dict[str, set[Path]] = {}
    for path in gone:
        if len(path) > 1:
            deeper.setdefault(path[0], set()).add(path[1:])
    if isinstance(value, dict):
        kept: dict[str, Any] = {}
        for name, item in value.items():
            part = f"f:{name}"
            if part in direct:
                continue
            if part in deeper:
                left = remove(node.child(name), item, deeper[part])
                if left in ({}, []) and item not in ({}, []):
                    continue
                item = left
            kept[name] = item
        return kept
    if isinstance(value, list):
        rest: list[Any] = []
        for item in value:
            name = element(node, item) or ""
            if name in direct:
                continue
            rest.append(remove(node.item(), item, deeper[name]) if name in deeper else item)
        return rest
    return value
