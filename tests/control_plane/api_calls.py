"""Every call that the operator makes of the API server, told apart by what it is for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import yaml

from berth_operator.api.names import FIELD_MANAGER
from control_plane.own_account import CHART


class Call(NamedTuple):
    """A verb on a kind, and what for where the operator does that for more than one purpose."""

    verb: str
    kind: str
    purpose: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.kind}" + (f" ({self.purpose})" if self.purpose else "")


WATCHED = ("workspaces", "deployments", "statefulsets", "services", "replicasets", "nodes", "pods")

WORKSPACE_CALLS = (
    Call("get", "workspaces"),
    Call("get", "configmaps"),
    Call("get", "deployments"),
    Call("patch", "deployments"),
    Call("get", "services"),
    Call("patch", "services", "apply"),
    Call("patch", "services", "merge"),
    Call("patch", "workspaces/status"),
    Call("list", "events"),
    Call("create", "events"),
    Call("get", "events"),
    Call("patch", "events"),
)
"""Made for one Workspace, in the course of its life."""

GROUP_CALLS = (Call("get", "statefulsets"), Call("patch", "statefulsets"))
"""Made besides for one whose model takes several nodes."""

LIST_CALLS = tuple(
    Call("list", kind, purpose) for purpose in ("resync", "before a watch") for kind in WATCHED
)
WATCH_CALLS = tuple(Call("watch", kind) for kind in WATCHED)

LEASE_CALLS = tuple(Call(verb, "leases") for verb in ("get", "create", "patch"))

NODE_CALLS = (Call("list", "pods", "of a node"),)
"""Made once for all Workspaces whose pods wait for a GPU."""

DISCOVERY = Call("discover", "kinds")
"""What kopf asks before it watches: which kinds there are. Anybody may."""

CALLS = (*WORKSPACE_CALLS, *GROUP_CALLS, *LIST_CALLS, *WATCH_CALLS, *LEASE_CALLS, *NODE_CALLS, DISCOVERY)

_VERBS = {"GET": "get", "POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}
_PATH = re.compile(
    r"/(?:api/v1|apis/[^/]+/[^/]+)(?:/namespaces/[^/]+)?/(?P<kind>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>[^/]+))?$"
)
_DISCOVERY = re.compile(r"/(?:api|apis)(?:/[^/]+){0,2}$")
_APPLY, _MERGE = "application/apply-patch+yaml", "application/merge-patch+json"


def call_of(method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Call:
    """Tell which call a request is. Raises LookupError for one that nobody knows."""
    if _DISCOVERY.match(path) and method == "GET" and not re.match(r"/api/v1/[^/]+$", path):
        return DISCOVERY
    parts = _PATH.match(path)
    if parts is None:
        raise LookupError(f"no call is known to {method} {path}")
    kind = parts["kind"] + (f"/{parts['sub']}" if parts["sub"] else "")
    verb, purpose = _VERBS[method], ""
    if verb == "get" and parts["name"] is None:
        verb = "watch" if query.get("watch") in ("true", "1") else "list"
    if verb == "list" and kind in WATCHED:
        purpose = "resync" if headers.get("User-Agent") == FIELD_MANAGER else "before a watch"
        purpose = "of a node" if "fieldSelector" in query else purpose
    if verb == "patch" and kind == "services":
        purpose = {_APPLY: "apply", _MERGE: "merge"}[headers["Content-Type"].partition(";")[0]]
    found = Call(verb, kind, purpose)
    if found not in CALLS:
        raise LookupError(f"no call is known to {method} {path}: {found}")
    return found


def granted() -> set[tuple[str, str]]:
    """The verbs on kinds that the chart grants the operator, as calls have them.

    Server-side apply creates by "patch"; nobody writes finalizers, the right to is asked for by an admission plugin.
    """
    rights = yaml.safe_load((Path(CHART) / "rights.yaml").read_text(encoding="utf-8"))
    rules = [rule for part in ("operator", "leader") for rule in rights[part]["rules"]]
    pairs = {(verb, kind) for rule in rules for verb in rule["verbs"] for kind in rule["resources"]}
    return pairs - {
        ("create", "deployments"),
        ("create", "statefulsets"),
        ("create", "services"),
        ("update", "workspaces/finalizers"),
    }
