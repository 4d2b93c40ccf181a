"""Where objects live: tables of immutable objects, one counter of revisions, a bounded history for watches.

Everything here is synchronous, so each call is a transaction: the server runs in one event loop.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from berth_local.apiserver.objects import Object

Key = tuple[str, str]
"""(namespace, name); the namespace of cluster-scoped objects is empty."""

HISTORY = 4096
"""Changes remembered per table. A burst of a thousand objects with a few writes each fits; at some 30 kB an
object in memory it bounds a table's history to about 120 MB."""


@dataclass(slots=True, eq=False)
class Stored:
    """One version of an object. `body` is never changed; `encoded` keeps its JSON per apiVersion it was asked in."""

    body: Object
    revision: int
    encoded: dict[str, bytes] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """Namespace and name."""
        meta = self.body["metadata"]
        return meta.get("namespace", ""), meta["name"]


@dataclass(slots=True, eq=False)
class Change:
    """Something that happened: ADDED, MODIFIED or DELETED, the object as it then was, and as it was before."""

    type: str
    new: Stored
    old: Stored | None


class Table:
    """The objects of one kind."""

    def __init__(self, floor: int) -> None:
        self.objects: dict[Key, Stored] = {}
        self.floor = floor
        """Changes after this revision are all remembered."""
        self.first = 0
        """The running number of the first remembered change."""
        self.changes: list[Change] = []
        self.watchers: set[asyncio.Event] = set()

    def record(self, change: Change) -> None:
        """Remember a change and wake who watches."""
        self.changes.append(change)
        if len(self.changes) > HISTORY + HISTORY // 4:
            excess = len(self.changes) - HISTORY
            self.floor = self.changes[excess - 1].new.revision
            del self.changes[:excess]
            self.first += excess
        for event in self.watchers:
            event.set()

    def position(self, revision: int) -> int:
        """Return the running number of the first change after a revision."""
        low, high = 0, len(self.changes)
        while low < high:
            middle = (low + high) // 2
            if self.changes[middle].new.revision > revision:
                high = middle
            else:
                low = middle + 1
        return self.first + low

    def since(self, position: int) -> list[Change] | None:
        """Return the changes from a running number on; None when the first of them is forgotten."""
        return None if position < self.first else self.changes[position - self.first :]


Listener = Callable[[str, Change], None]


class Store:
    """All tables. `table` is a resource's name and group, such as `deployments.apps`."""

    def __init__(self) -> None:
        self.revision = 1
        self.tables: dict[str, Table] = {}
        self.uids: dict[str, tuple[str, Key]] = {}
        self.owned: dict[str, set[tuple[str, Key]]] = {}
        """For each owner's uid, what names it as owner."""
        self.listeners: list[Listener] = []

    def table(self, name: str) -> Table:
        """Return a table; it is made when first asked for."""
        if name not in self.tables:
            self.tables[name] = Table(self.revision)
        return self.tables[name]

    def get(self, table: str, key: Key) -> Stored | None:
        """Return the present version of an object, or None."""
        found = self.tables.get(table)
        return found.objects.get(key) if found else None

    def list(self, table: str, namespace: str | None = None) -> list[Stored]:
        """Return the objects of a namespace, or of all, in the order of their keys."""
        objects = self.table(table).objects
        return [objects[key] for key in sorted(objects) if namespace is None or key[0] == namespace]

    def put(self, table: str, body: Object) -> Stored:
        """Store a new or changed object under the next revision, which is written into it."""
        self.revision += 1
        body["metadata"]["resourceVersion"] = str(self.revision)
        new = Stored(body, self.revision)
        place = self.table(table)
        old = place.objects.get(new.key)
        place.objects[new.key] = new
        self._index(table, old, new)
        self._tell(table, Change("MODIFIED" if old else "ADDED", new, old))
        return new

    def delete(self, table: str, key: Key, last: Object | None = None) -> Stored:
        """Take an object away; KeyError when there is none.

        Returns it as last seen (or as `last`, where the deletion itself changes it), with its deletion's revision.
        """
        place = self.table(table)
        old = place.objects.pop(key)
        self.revision += 1
        seen = last or old.body
        body = {**seen, "metadata": {**seen["metadata"], "resourceVersion": str(self.revision)}}
        gone = Stored(body, self.revision)
        self._index(table, old, None)
        self._tell(table, Change("DELETED", gone, old))
        return gone

    def load(self, table: str, body: Object) -> None:
        """Put back an object that was kept elsewhere, as it is and without telling anyone."""
        stored = Stored(body, int(body["metadata"]["resourceVersion"]))
        self.table(table).objects[stored.key] = stored
        self._index(table, None, stored)

    def drop_table(self, name: str) -> None:
        """Forget a table, whose objects must be gone; watches of it end."""
        gone = self.tables.pop(name, None)
        for event in gone.watchers if gone else ():
            event.set()

    def __iter__(self) -> Iterator[tuple[str, Stored]]:
        for name, table in self.tables.items():
            for stored in table.objects.values():
                yield name, stored

    def _tell(self, table: str, change: Change) -> None:
        self.tables[table].record(change)
        for listener in self.listeners:
            listener(table, change)

    def _index(self, table: str, old: Stored | None, new: Stored | None) -> None:
        latest = new or old
        if latest is None:
            return
        place = (table, latest.key)
        before, after = _owners(old), _owners(new)
        for uid in before - after:
            self.owned[uid].discard(place)
            if not self.owned[uid]:
                del self.owned[uid]
        for uid in after - before:
            self.owned.setdefault(uid, set()).add(place)
        uid = latest.body["metadata"].get("uid", "")
        if new is not None:
            self.uids[uid] = place
        else:
            self.uids.pop(uid, None)


def _owners(stored: Stored | None) -> set[str]:
    if stored is None:
        return set()
    return {owner.get("uid", "") for owner in stored.body["metadata"].get("ownerReferences") or ()}
