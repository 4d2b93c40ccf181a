"""A conversation with a Kubernetes API server, as data: what is asked, and what the answer must say.

The same steps run against the embedded API server and, where one is at hand, a real one. Text may hold
`{step:path.to.field}`, which stands for a value that an earlier step's answer had.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

JSON = "application/json"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"

NAMESPACE = "conformance"
BOATS = f"/apis/harbor.example/v1/namespaces/{NAMESPACE}/boats"
OLD_BOATS = BOATS.replace("/v1/", "/v1alpha1/")


@dataclass(frozen=True)
class Step:
    """One request. `says` maps paths (`metadata.generation`) to values that the answer must have there.

    `watch` reads a watch instead: the answer is then the list of its events. `until` repeats the request until its
    `says` hold, for what controllers do in their own time.
    """

    name: str
    method: str
    path: str
    body: Any = None
    code: int = 200
    says: Mapping[str, Any] = field(default_factory=dict)
    type: str = JSON
    accept: str = JSON
    query: Mapping[str, str] = field(default_factory=dict)
    watch: bool = False
    until: bool = False


def boat(
    name: str, *, version: str = "v1", meta: Mapping[str, Any] | None = None, **spec: Any
) -> dict[str, Any]:
    metadata = {"name": name, **(meta or {})}
    return {"apiVersion": f"harbor.example/{version}", "kind": "Boat", "metadata": metadata, "spec": spec}


def applied(
    name: str, manager: str, *, force: bool = False, path: str = BOATS, sub: str = "", **spec: Any
) -> dict[str, Any]:
    """Return what a Step needs to server-side apply a boat."""
    query = {"fieldManager": manager} | ({"force": "true"} if force else {})
    body = {"apiVersion": "harbor.example/v1", "kind": "Boat", "metadata": {"name": name}}
    body |= {"status": spec} if sub else {"spec": spec}
    return {"method": "PATCH", "path": f"{path}/{name}{sub}", "type": APPLY, "query": query, "body": body}


_STRING = {"type": "string"}
_CONDITION = {"type": "object", "required": ["type"], "properties": {"type": _STRING, "status": _STRING}}
_PART = {"type": "object", "required": ["name"], "properties": {"name": _STRING, "size": {"type": "integer"}}}
SCHEMA = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "required": ["sail"],
            "properties": {
                "sail": {"type": "string", "minLength": 2, "maxLength": 8, "pattern": "^[a-z]*$"},
                "rig": {"type": "string", "enum": ["sloop", "ketch"]},
                "crew": {"type": "integer", "minimum": 1, "maximum": 10, "default": 2},
                "names": {"type": "array", "maxItems": 3, "items": _STRING, "x-kubernetes-list-type": "set"},
                "launched": {"type": "string", "format": "date-time"},
                "length": {"x-kubernetes-int-or-string": True},
                "note": {"type": "string", "nullable": True},
                "parts": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": _PART,
                },
                "tags": {"type": "object", "additionalProperties": _STRING},
                "extra": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            },
        },
        "status": {
            "type": "object",
            "properties": {
                "phase": _STRING,
                "conditions": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["type"],
                    "items": _CONDITION,
                },
            },
        },
    },
}


def _version(name: str, columns: Sequence[Mapping[str, Any]] = (), **more: Any) -> dict[str, Any]:
    version = {"name": name, "served": True, "storage": False, "schema": {"openAPIV3Schema": SCHEMA}}
    version |= {"subresources": {"status": {}}, **more}
    return version | ({"additionalPrinterColumns": list(columns)} if columns else {})


COLUMNS = [
    {"name": "Sail", "type": "string", "jsonPath": ".spec.sail"},
    {"name": "Crew", "type": "integer", "jsonPath": ".spec.crew", "priority": 1},
    {"name": "Afloat", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Afloat")].status'},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
]
SELECTABLE = [{"jsonPath": ".spec.sail"}]
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "boats.harbor.example"},
    "spec": {
        "group": "harbor.example",
        "scope": "Namespaced",
        "names": {
            "plural": "boats",
            "singular": "boat",
            "kind": "Boat",
            "shortNames": ["bt"],
            "categories": ["fleet"],
        },
        "versions": [
            _version("v1", COLUMNS, storage=True, selectableFields=SELECTABLE),
            _version(
                "v1alpha1",
                selectableFields=SELECTABLE,
                deprecated=True,
                deprecationWarning="harbor.example/v1alpha1 Boat is old",
            ),
        ],
    },
}
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NAMESPACES = "/api/v1/namespaces"

SETUP = [
    Step(
        "make a namespace",
        "POST",
        NAMESPACES,
        {"metadata": {"name": NAMESPACE}},
        201,
        {"status.phase": "Active"},
    ),
    Step("define boats", "POST", DEFINITIONS, DEFINITION, 201, {"spec.names.listKind": "BoatList"}),
    Step(
        "boats are served",
        "GET",
        f"{DEFINITIONS}/boats.harbor.example",
        until=True,
        says={"status.conditions.1.type": "Established", "status.storedVersions": ["v1"]},
    ),
    Step(
        "discover boats",
        "GET",
        "/apis/harbor.example/v1",
        says={"resources.0.shortNames": ["bt"]},
        until=True,
    ),
    Step("list no boats", "GET", BOATS, says={"items": [], "kind": "BoatList"}, until=True),
]
