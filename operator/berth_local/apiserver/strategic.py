"""Strategic merge patch: JSON merge patch that knows which lists are merged by key."""

from typing import Any

from berth_local.apiserver.errors import ApiError, bad_request
from berth_local.apiserver.objects import Object, clone
from berth_local.apiserver.schema.node import Node

_ORDER, _DELETE = "$setElementOrder/", "$deleteFromPrimitiveList/"


def strategic_merge(node: Node, original: Any, patch: Object) -> Any:
    """Return the object with a strategic merge patch carried out; ApiError 400 for a patch that makes no sense."""
    directive = patch.get("$patch")
    if directive == "replace":
        return _stripped({key: item for key, item in patch.items() if key != "$patch"})
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise bad_request(f"Unknown patch type: {directive}")
    result: Object = dict(original) if isinstance(original, dict) else {}
    if "$retainKeys" in patch:
        retained = _list(patch, "$retainKeys")
        result = {key: item for key, item in result.items() if key in retained}
    for key in patch:
        if key.startswith(_DELETE):
            name = key.removeprefix(_DELETE)
            unwanted = _list(patch, key)
            result[name] = [item for item in result.get(name) or () if item not in unwanted]
    for key, item in patch.items():
        if key in ("$patch", "$retainKeys") or key.startswith((_ORDER, _DELETE)):
            continue
        child = node.child(key)
        if item is None:
            result.pop(key, None)
        elif isinstance(item, dict):
            current = result.get(key)
            if item.get("$patch") == "delete":
                result.pop(key, None)
            else:
                result[key] = strategic_merge(child, current if isinstance(current, dict) else {}, item)
        elif isinstance(item, list):
            result[key] = _merge_list(child, result.get(key), item, key)
        else:
            result[key] = item
    for key in patch:
        if key.startswith(_ORDER) and isinstance(result.get(name := key.removeprefix(_ORDER)), list):
            before = original.get(name) if isinstance(original, dict) else None
            result[name] = _ordered(node.child(name), result[name], _list(patch, key), before or [])
    return result


def _list(patch: Object, key: str) -> list[Any]:
    value = patch[key]
    if not isinstance(value, list):
        raise bad_request(f"{key} in a strategic merge patch must be a list")
    return value


def _stripped(value: Any) -> Any:
    """Return a value that is set as a whole, without the directives within."""
    if isinstance(value, dict):
        return {
            key: _stripped(item)
            for key, item in value.items()
            if item is not None and not key.startswith(("$patch", "$retainKeys", _ORDER, _DELETE))
        }
    if isinstance(value, list):
        return [
            _stripped(one) for one in value if not (isinstance(one, dict) and one.get("$patch") == "delete")
        ]
    return value


def _merge_list(node: Node, original: Any, patch: list[Any], name: str) -> list[Any]:
    current: list[Any] = list(original) if isinstance(original, list) else []
    if "merge" not in node.strategy:
        return [_stripped(item) if isinstance(item, dict) else clone(item) for item in patch]
    if not node.merge_key:
        added = [item for index, item in enumerate(patch) if item not in current + patch[:index]]
        return _ordered(node, current + added, patch, current)
    if {"$patch": "replace"} in patch:
        return [_stripped(item) for item in patch if item != {"$patch": "replace"}]
    key = node.merge_key
    before = list(current)
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise _keyless(name, key)
        current = _merge_item(node, current, item)
    return _ordered(node, current, [item for item in patch if item.get("$patch") != "delete"], before)


def _merge_item(node: Node, current: list[Any], item: Object) -> list[Any]:
    key = node.merge_key
    place = next(
        (index for index, one in enumerate(current) if isinstance(one, dict) and one.get(key) == item[key]),
        None,
    )
    directive = item.get("$patch")
    if directive == "delete":
        return [one for index, one in enumerate(current) if index != place]
    if directive == "replace":
        whole = _stripped(item)
    else:
        whole = strategic_merge(node.item(), {} if place is None else current[place], item)
    return [*current, whole] if place is None else [*current[:place], whole, *current[place + 1 :]]


def _keyless(name: str, key: str) -> ApiError:
    return ApiError(
        422,
        "Invalid",
        f"map: {name} in a strategic merge patch does not contain declared merge key: {key}",
        {},
    )


def _ordered(node: Node, current: list[Any], order: list[Any], before: list[Any]) -> list[Any]:
    """Put the items that a patch names in its order, and each other one before those that it used to precede."""

    def identity(item: Any) -> Any:
        return item.get(node.merge_key) if isinstance(item, dict) and node.merge_key else item

    wanted, was = [identity(one) for one in order], [identity(one) for one in before]
    named = sorted(
        (one for one in current if identity(one) in wanted), key=lambda one: wanted.index(identity(one))
    )
    others = [one for one in current if identity(one) not in wanted]
    result: list[Any] = []
    while named and others:
        left, right = identity(others[0]), identity(named[0])
        first = left in was and right in was and was.index(left) < was.index(right)
        result.append((others if first else named).pop(0))
    return result + others + named
