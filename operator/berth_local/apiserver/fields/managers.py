"""Field managers: what each owns after an update, and server-side apply with its conflicts."""

from dataclasses import dataclass
from typing import Any

from berth_local.apiserver.errors import apply_conflict
from berth_local.apiserver.fields.merge import merge, remove
from berth_local.apiserver.fields.paths import (
    FieldSet,
    Path,
    applied,
    difference,
    from_fields,
    shown,
    to_fields,
)
from berth_local.apiserver.objects import Object
from berth_local.apiserver.schema.node import Node

_NOBODYS = {("f:apiVersion",), ("f:kind",), ("f:metadata",)} | {
    ("f:metadata", f"f:{name}")
    for name in (
        "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields",
        "resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds",
    )
}  # fmt: skip
"""What no manager owns: an object's identity and what the server writes."""


@dataclass(frozen=True, slots=True)
class Manager:
    """Who writes: a name, whether it applies or updates, in which version, through which subresource."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""


@dataclass(slots=True)
class Owned:
    """What a manager owns since when."""

    manager: Manager
    paths: FieldSet
    time: str


def read(entries: Any) -> list[Owned] | None:
    """Read `metadata.managedFields`; None when it is not understood."""
    found: list[Owned] = []
    try:
        for entry in entries or ():
            if not entry:
                continue
            who = Manager(
                str(entry.get("manager", "")), str(entry["operation"]), str(entry.get("apiVersion", "")),
                str(entry.get("subresource", "")),
            )  # fmt: skip
            found.append(Owned(who, from_fields(entry.get("fieldsV1") or {}), str(entry.get("time", ""))))
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return found


def write(owners: list[Owned]) -> list[Object]:
    """Return `metadata.managedFields`: appliers first, then by time and name."""
    entries: list[Object] = []
    for owned in sorted(owners, key=lambda one: (one.manager.operation, one.time, one.manager.name)):
        if not owned.paths:
            continue
        who = owned.manager
        entry: Object = {"manager": who.name, "operation": who.operation, "apiVersion": who.api_version}
        entry |= {"time": owned.time, "fieldsType": "FieldsV1", "fieldsV1": to_fields(owned.paths)}
        entries.append(entry | ({"subresource": who.subresource} if who.subresource else {}))
    return entries


def _ours(paths: FieldSet) -> FieldSet:
    return paths - _NOBODYS


def after_update(
    node: Node, old: Object, new: Object, who: Manager, time: str, hidden: frozenset[str] = frozenset()
) -> list[Object]:
    """Return managedFields after `who` replaced `old` ({} for a creation) by `new`.

    What `new` itself says of managers counts where it is understood, so that a client may hand fields over; one
    empty entry forgets all managers. `hidden` are top-level fields that this write does not come to own.
    """
    said = (new.get("metadata") or {}).get("managedFields")
    before = (old.get("metadata") or {}).get("managedFields")
    if said == [{}]:
        return []
    changed, removed = (_ours(paths) for paths in difference(node, old, new))
    unseen = {f"f:{name}" for name in hidden}
    changed = {path for path in changed if path[0] not in unseen}
    if said == before and not changed and not removed:
        return list(before or [])
    owners = read(said)
    if not owners:
        owners = read(before) or []
    mine: Owned | None = None
    for owned in owners:
        owned.paths -= removed
        if owned.manager == who:
            mine = owned
        else:
            owned.paths -= changed
    if changed:
        if mine is None:
            mine = Owned(who, set(), time)
            owners.append(mine)
        mine.paths |= changed
        mine.time = time
    return write(owners)


def apply(
    node: Node, live: Object, config: Object, who: Manager, time: str, *, force: bool, scope: str = ""
) -> Object:
    """Return the live object ({} when there is none) with a configuration applied by `who`.

    `scope` limits the configuration's claims: "status" for that subresource, "main" for an object whose status is
    one, "" for everything. Raises ApiError 409 that names the managers in the way, unless `force`.
    """
    claims = {path for path in _ours(applied(node, config)) if path and _within(path, scope)}
    owners = read((live.get("metadata") or {}).get("managedFields")) or []
    mine = next((owned for owned in owners if owned.manager == who), None)
    others = [owned for owned in owners if owned is not mine]
    merged: Object = merge(node, live, config)
    changed, _ = (_ours(paths) for paths in difference(node, live, merged))
    contested = [(owned, owned.paths & changed & claims) for owned in others]
    lost = [(owned, paths) for owned, paths in contested if paths]
    if lost and not force:
        raise apply_conflict(
            sorted((_described(owned.manager), shown(path)) for owned, paths in lost for path in paths)
        )
    for owned, paths in lost:
        owned.paths -= paths
    before = mine.paths if mine else set()
    kept = _with_parents(path for owned in others for path in owned.paths) | _with_parents(claims)
    gone = {path for path in before - claims if path not in kept}
    if gone:
        merged = remove(node, merged, gone)
        merged.setdefault("metadata", {})
    owners = [owned for owned in owners if owned.paths]
    if mine is None:
        owners.append(Owned(who, claims, time))
    elif mine.paths != claims or changed or gone:
        if mine not in owners:
            owners.append(mine)
        mine.paths, mine.time = claims, time
    merged["metadata"] = {**merged.get("metadata", {}), "managedFields": write(owners)}
    return merged


def _within(path: Path, scope: str) -> bool:
    status = path[0] == "f:status"
    return not scope or (status if scope == "status" else not status)


def _with_parents(paths: Any) -> FieldSet:
    return {path[:length] for path in paths for length in range(1, len(path) + 1)}


def _described(who: Manager) -> str:
    through = f" with subresource {quoted}" if (quoted := f'"{who.subresource}"') != '""' else ""
    version = f" using {who.api_version}" if who.operation == "Update" else ""
    return f'"{who.name}"{through}{version}'
