"""Label and field selectors, as query parameters write them."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from berth_local.apiserver.errors import bad_request
from berth_local.apiserver.objects import Object, dig

Match = Callable[[Object], bool]

_KEY = r"[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?"
_VALUE = r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
_SET = re.compile(rf"^({_KEY})\s+(in|notin)\s*\(([^()]*)\)$")
_EQUALS = re.compile(rf"^({_KEY})\s*(==|=|!=)\s*({_VALUE})$")
_COMPARES = re.compile(rf"^({_KEY})\s*([<>])\s*(-?\d+)$")
_EXISTS = re.compile(rf"^(!?)\s*({_KEY})$")


def label_selector(text: str) -> Match | None:
    """Read a label selector, equality- or set-based; None when it selects everything. ApiError 400 when malformed."""
    parts = [part.strip() for part in re.split(r",(?![^(]*\))", text)] if text.strip() else []
    rules = [_label_rule(part, text) for part in parts]
    if not rules:
        return None

    def matches(body: Object) -> bool:
        labels = body["metadata"].get("labels") or {}
        return all(rule(labels) for rule in rules)

    return matches


def _label_rule(part: str, whole: str) -> Callable[[Mapping[str, str]], bool]:
    if found := _SET.match(part):
        key, words = found[1], {word.strip() for word in found[4].split(",")}
        if found[3] == "in":
            return lambda labels: key in labels and labels[key] in words
        return lambda labels: labels.get(key) not in words
    if found := _EQUALS.match(part):
        key, value = found[1], found[4]
        if found[3] == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if found := _COMPARES.match(part):
        key, sign, limit = found[1], found[3], int(found[4])

        def compares(labels: Mapping[str, str]) -> bool:
            text = labels.get(key, "")
            if not re.fullmatch(r"-?\d+", text):
                return False
            return int(text) > limit if sign == ">" else int(text) < limit

        return compares
    if found := _EXISTS.match(part):
        key, absent = found[2], bool(found[1])
        return lambda labels: (key in labels) is not absent
    raise bad_request(
        f"unable to parse requirement: {part or whole!r} is not a label selector's requirement "
        "(key=value, key!=value, key in (a,b), key notin (a,b), key, !key)"
    )


FIELDS: dict[str, tuple[str, ...]] = {
    "pods": (
        "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
        "status.phase", "status.podIP", "status.nominatedNodeName",
    ),
    "events": (
        "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
        "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath", "reason",
        "reportingComponent", "source", "type",
    ),
    "events.events.k8s.io": (
        "regarding.kind", "regarding.namespace", "regarding.name", "regarding.uid", "regarding.apiVersion",
        "regarding.resourceVersion", "regarding.fieldPath", "reason", "reportingController", "type",
    ),
    "namespaces": ("status.phase",),
    "nodes": ("spec.unschedulable",),
    "secrets": ("type",),
    "services": ("spec.clusterIP", "spec.type"),
    "replicasets.apps": ("status.replicas",),
    "jobs.batch": ("status.successful",),
}  # fmt: skip
"""What can be selected by, beside metadata.name and metadata.namespace."""


def field_selector(text: str, kind: str, custom: tuple[str, ...] = ()) -> Match | None:
    """Read a field selector for a kind (`pods`, `replicasets.apps`); None when it selects everything.

    `custom` are a custom kind's selectable fields. ApiError 400 for a field that cannot be selected by.
    """
    allowed = {"metadata.name", "metadata.namespace", *FIELDS.get(kind, ()), *custom}
    rules: list[tuple[tuple[str, ...], str, bool]] = []
    for part in (one.strip() for one in text.split(",")):
        if not part:
            continue
        found = re.fullmatch(r"([^=!]+?)\s*(==|=|!=)\s*(.*)", part)
        if found is None:
            raise bad_request(f"invalid selector: {text!r}; can't understand {part!r}")
        name, sign, value = found[1].strip(), found[2], found[3]
        if name not in allowed:
            raise bad_request(f"field label not supported: {name}")
        rules.append((tuple(name.split(".")), value, sign != "!="))
    if not rules:
        return None

    def matches(body: Object) -> bool:
        return all((_text(body, path) == value) is wanted for path, value, wanted in rules)

    return matches


def _text(body: Object, path: tuple[str, ...]) -> str:
    value: Any = dig(body, *path)
    if path == ("source",) and isinstance(value, dict):
        value = value.get("component")
    if value is None and path == ("spec", "unschedulable"):
        value = False
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def both(first: Match | None, second: Match | None) -> Match | None:
    """Return what matches where both match."""
    if first is None or second is None:
        return first or second
    return lambda body: first(body) and second(body)
