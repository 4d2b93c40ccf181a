"""What one served resource is: its names, its schema, its subresources and how it is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from berth_local.apiserver.errors import qualified
from berth_local.apiserver.names import SUBDOMAIN
from berth_local.apiserver.objects import Object, api_version, encode
from berth_local.apiserver.schema.builtin import builtin_schema
from berth_local.apiserver.schema.node import Node
from berth_local.apiserver.schema.validation import ObjectValidator
from berth_local.apiserver.store import Stored

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`: `cell` computes it; priority 0 is always shown, 1 with `-o wide`."""

    name: str
    cell: Callable[[Object], object]
    type: str = "string"
    format: str = ""
    priority: int = 0
    description: str = ""


@dataclass(frozen=True)
class Custom:
    """What only resources that a CustomResourceDefinition adds have."""

    schema: Node
    document: Object
    validator: ObjectValidator
    storage_version: str
    selectable: tuple[str, ...] = ()
    deprecation: str = ""


@dataclass(frozen=True, eq=False)
class Resource:
    """One resource in one version.

    `model` names the built-in kind's model in the official client. `table` is where its objects are stored, shared
    by the versions of a kind. `incoming` and `outgoing` convert between this version and the stored form, where
    they differ by more than apiVersion. `inert` says that nothing acts on such objects here.
    """

    group: str
    version: str
    plural: str
    kind: str
    model: str = ""
    namespaced: bool = True
    singular: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    stored_as: str = ""
    name_rule: str = SUBDOMAIN
    generation: bool = False
    unconditional: bool = True
    returns_deleted: bool = False
    inert: bool = False
    columns: Sequence[Column] = ()
    custom: Custom | None = None
    incoming: Callable[[Object], Object] | None = None
    outgoing: Callable[[Object], Object] | None = None
    verbs: tuple[str, ...] = field(default=VERBS)

    @property
    def api_version(self) -> str:
        """`apps/v1`, `v1`."""
        return api_version(self.group, self.version)

    @cached_property
    def name(self) -> str:
        """The plural with its group: `deployments.apps`, `pods`."""
        return qualified(self.plural, self.group)

    @cached_property
    def table(self) -> str:
        """The name of the table that holds the objects."""
        return self.stored_as or self.name

    @cached_property
    def schema(self) -> Node:
        """What the fields of an object are, in the form that is stored."""
        return self.custom.schema if self.custom else builtin_schema(self.model)

    @property
    def has_status(self) -> bool:
        """Whether the status is written through its own subresource."""
        return "status" in self.subresources

    @property
    def list_kind(self) -> str:
        """The kind of a list."""
        return f"{self.kind}List"

    @cached_property
    def _prefix(self) -> bytes:
        return encode({"kind": self.kind, "apiVersion": self.api_version})[:-1]

    def view(self, stored: Stored) -> Object:
        """Return an object as this version shows it."""
        body = self.outgoing(stored.body) if self.outgoing else stored.body
        return {**body, "kind": self.kind, "apiVersion": self.api_version}

    def encoded(self, stored: Stored) -> bytes:
        """Return an object's JSON in this version, encoded once."""
        known = stored.encoded.get(self.api_version)
        if known is None:
            body = self.outgoing(stored.body) if self.outgoing else stored.body
            rest = encode({key: value for key, value in body.items() if key not in ("kind", "apiVersion")})
            known = stored.encoded[self.api_version] = self._prefix + b"," + rest[1:]
        return known

    def encoded_item(self, stored: Stored) -> bytes:
        """Return an object's JSON as a list holds it: built-in kinds leave out kind and apiVersion there."""
        whole = self.encoded(stored)
        return whole if self.custom else b"{" + whole[len(self._prefix) + 1 :]
