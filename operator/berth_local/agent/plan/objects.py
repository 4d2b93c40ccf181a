"""Reading Kubernetes objects that are plain dicts: names, owners, labels, times, readiness."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeAlias

Object: TypeAlias = dict[str, Any]


class Key(NamedTuple):
    """What names a namespaced object of a known kind."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def key_of(obj: Mapping[str, Any]) -> Key:
    """Return the namespace and name of an object; the namespace is empty for a cluster's own objects."""
    meta = obj["metadata"]
    return Key(str(meta.get("namespace", "")), str(meta["name"]))


def uid_of(obj: Mapping[str, Any]) -> str:
    """Return the uid of a stored object."""
    return str(obj["metadata"]["uid"])


def deleting(obj: Mapping[str, Any]) -> bool:
    """Return whether deletion of the object was asked for."""
    return bool(obj["metadata"].get("deletionTimestamp"))


def controller_uid(obj: Mapping[str, Any]) -> str | None:
    """Return the uid of the owner that controls the object, if one does."""
    for owner in obj["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            return str(owner["uid"])
    return None


def controller_reference(owner: Mapping[str, Any]) -> Object:
    """Return the owner reference by which `owner` controls another object."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def matches(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Return whether a label selector (`matchLabels`, `matchExpressions`) selects these labels.

    An absent or empty selector selects nothing here: in a Deployment it is refused by an API server, and a
    Service without one has its endpoints managed by someone else.
    """
    if not selector:
        return False
    wanted = selector.get("matchLabels") or {}
    expressions = selector.get("matchExpressions") or ()
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        requirement_holds(expression, labels) for expression in expressions
    )


def requirement_holds(requirement: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Return whether one selector requirement (key, operator, values) holds for these labels."""
    key, operator = requirement.get("key", ""), requirement.get("operator")
    values = [str(value) for value in requirement.get("values") or ()]
    value = labels.get(key)
    match operator:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            try:
                have, bound = int(value or ""), int(values[0])
            except (ValueError, IndexError):
                return False
            return have > bound if operator == "Gt" else have < bound
        case _:
            return False


def condition(obj: Mapping[str, Any], kind: str) -> Object | None:
    """Return the condition of that type in the object's status, if it is there."""
    for found in (obj.get("status") or {}).get("conditions") or ():
        if found.get("type") == kind:
            return dict(found)
    return None


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Return whether the pod's Ready condition is True."""
    found = condition(pod, "Ready")
    return found is not None and found.get("status") == "True"


def is_active(pod: Mapping[str, Any]) -> bool:
    """Return whether a ReplicaSet counts the pod: not ended, and not on its way out."""
    return (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed") and not deleting(pod)


def is_available(pod: Mapping[str, Any], min_ready_seconds: float, now: datetime) -> bool:
    """Return whether the pod has been ready for at least `min_ready_seconds`."""
    return is_ready(pod) and (min_ready_seconds <= 0 or ready_for(pod, now) >= min_ready_seconds)


def ready_for(pod: Mapping[str, Any], now: datetime) -> float:
    """Return for how many seconds the pod's Ready condition has been as it is; 0 when it has none."""
    since = parse_time((condition(pod, "Ready") or {}).get("lastTransitionTime"))
    return 0.0 if since is None else (now - since).total_seconds()


def time_text(when: datetime) -> str:
    """Return a time as the API writes it: RFC 3339, UTC, whole seconds."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str | None) -> datetime | None:
    """Return the time that an API timestamp names, or None for an absent or unreadable one."""
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None


def with_condition(conditions: list[Object], new: Object, now: datetime) -> list[Object]:
    """Return the conditions with `new` in place of the one of its type, lastTransitionTime kept while status is.

    `new` carries type, status and optionally reason and message; times are set here.
    """
    old = next((found for found in conditions if found.get("type") == new["type"]), None)
    since = (
        old.get("lastTransitionTime")
        if old is not None and old.get("status") == new["status"] and old.get("lastTransitionTime")
        else time_text(now)
    )
    changed = {**new, "lastTransitionTime": since}
    if old is None:
        return [*conditions, changed]
    return [changed if found is old else found for found in conditions]
