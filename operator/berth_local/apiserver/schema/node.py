"""What is known of a field: its type, its children, how patches and server-side apply merge it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from berth_local.apiserver.objects import MISSING


@dataclass(slots=True, eq=False)
class Node:
    """One place in a schema.

    `type` is a JSON schema type, or "" where anything goes. `list_type` is atomic, set or map (with `keys`);
    `merge_key` is the strategic merge patch's, `strategy` its words (merge, replace, retainKeys). `inline` marks a
    field that the built-in Go type always holds, so that setting something below it does not set the field itself.
    `title` is the built-in type's name, `descriptions` are its fields'.
    """

    type: str = ""
    properties: dict[str, Node] = field(default_factory=dict)
    additional: Node | None = None
    items: Node | None = None
    preserve: bool = False
    int_or_string: bool = False
    nullable: bool = False
    default: Any = MISSING
    list_type: str = "atomic"
    keys: tuple[str, ...] = ()
    atomic: bool = False
    merge_key: str = ""
    strategy: frozenset[str] = frozenset()
    inline: bool = False
    embedded: bool = False
    format: str = ""
    quantity: bool = False
    title: str = ""
    descriptions: dict[str, str] = field(default_factory=dict)

    def child(self, name: str) -> Node:
        """Return the node of a field, the free-form one where the schema does not name it."""
        return self.properties.get(name) or self.additional or ANY

    def item(self) -> Node:
        """Return the node of a list's elements."""
        return self.items or ANY


ANY = Node(preserve=True)
"""Free form: objects are owned field by field, lists as a whole."""


def from_crd(schema: Mapping[str, Any]) -> Node:
    """Read a structural OpenAPI schema, as in a CustomResourceDefinition."""
    node = Node(
        type=str(schema.get("type", "")),
        preserve=bool(schema.get("x-kubernetes-preserve-unknown-fields")),
        int_or_string=bool(schema.get("x-kubernetes-int-or-string")),
        nullable=bool(schema.get("nullable")),
        list_type=str(schema.get("x-kubernetes-list-type") or "atomic"),
        keys=tuple(schema.get("x-kubernetes-list-map-keys") or ()),
        atomic=schema.get("x-kubernetes-map-type") == "atomic",
        embedded=bool(schema.get("x-kubernetes-embedded-resource")),
        format=str(schema.get("format", "")),
    )
    if "default" in schema:
        node.default = schema["default"]
    node.properties = {name: from_crd(child) for name, child in (schema.get("properties") or {}).items()}
    additional = schema.get("additionalProperties")
    if isinstance(additional, Mapping):
        node.additional = from_crd(additional)
    elif additional is True:
        node.additional = ANY
    if isinstance(schema.get("items"), Mapping):
        node.items = from_crd(schema["items"])
    return node
