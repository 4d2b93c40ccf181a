"""The cluster's nodes, without what they say every few minutes only to show that they live."""

from collections.abc import Iterable
from typing import Any

Object = dict[str, Any]

KEPT_STATUS = ("allocatable", "capacity")


class NodeCache:
    """The latest known version of each node. `known` is False while nodes may not be read."""

    def __init__(self) -> None:
        self.known = False
        self._nodes: dict[str, Object] = {}

    @property
    def all(self) -> tuple[Object, ...] | None:
        """Every node; None where they may not be read."""
        return tuple(self._nodes.values()) if self.known else None

    def put(self, node: Object) -> bool:
        """Keep a node; return whether anything of it changed that matters."""
        slim = _slim(node)
        name = slim["metadata"]["name"]
        changed = self._nodes.get(name) != slim
        self._nodes[name] = slim
        return changed

    def remove(self, node: Object) -> None:
        """Forget a node."""
        self._nodes.pop(node["metadata"]["name"], None)

    def replace(self, nodes: Iterable[Object]) -> bool:
        """Take a full list as the truth; return whether anything changed that matters."""
        fresh = {node["metadata"]["name"]: _slim(node) for node in nodes}
        changed = not self.known or fresh != self._nodes
        self._nodes, self.known = fresh, True
        return changed


def _slim(node: Object) -> Object:
    """A node's labels, taints, room and conditions: not its images, and not the times of its heartbeats."""
    meta, spec, status = node["metadata"], node.get("spec") or {}, node.get("status") or {}
    conditions = [
        {name: item.get(name) for name in ("type", "status", "reason")}
        for item in status.get("conditions") or []
    ]
    return {
        "metadata": {"name": meta["name"], "labels": meta.get("labels") or {}},
        "spec": {name: spec[name] for name in ("taints", "unschedulable", "providerID") if name in spec},
        "status": {
            **{name: status[name] for name in KEPT_STATUS if name in status},
            "conditions": conditions,
        },
    }
