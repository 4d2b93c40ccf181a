"""What follows from a deletion: dependents of a gone owner go, namespaces and definitions empty themselves.

In a cluster this is the controller manager's work. Each piece is level-triggered: it looks at what is stored, not at
what was said.
"""

import asyncio
import contextlib
import logging
from typing import Any

from berth_local.apiserver.deletion import KEEP_DEPENDENTS, WAIT_FOR_DEPENDENTS, background, delete
from berth_local.apiserver.errors import ApiError
from berth_local.apiserver.kinds.custom import CLEANUP
from berth_local.apiserver.kinds.definitions import DEFINITIONS
from berth_local.apiserver.kinds.registry import Registry
from berth_local.apiserver.objects import Object, clone
from berth_local.apiserver.options import FOREGROUND, DeleteOptions
from berth_local.apiserver.store import Change, Key, Store
from berth_local.apiserver.writing import is_finished

_log = logging.getLogger(__name__)

Place = tuple[str, Key]

_TURN = 50
"""Objects handled before other tasks get their turn: some milliseconds' worth."""


class Collector:
    """Follows the store's changes; `run` does the work that they cause."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store, self._registry = store, registry
        self._due: dict[tuple[str, Any], None] = {}
        self._wake = asyncio.Event()
        store.listeners.append(self.notice)

    def notice(self, table: str, change: Change) -> None:
        """Note what a change makes due."""
        body = change.new.body
        meta = body["metadata"]
        owners = meta.get("ownerReferences") or ()
        if change.type == "DELETED":
            self._add("owner", meta.get("uid", ""))
            for owner in owners:
                self._add("waiting", owner.get("uid", ""))
            if meta.get("namespace"):
                self._add("namespace", meta["namespace"])
            self._add("definition", table)
            return
        if owners and (change.old is None or change.old.body["metadata"].get("ownerReferences") != owners):
            self._add("dependent", (table, change.new.key))
        if meta.get("deletionTimestamp"):
            self._add("waiting", meta["uid"])
            if table == "namespaces":
                self._add("namespace", meta["name"])
            if table == DEFINITIONS:
                self._add("definition", meta["name"])

    def notice_all(self) -> None:
        """Note all that may be due in a store that was loaded from disk."""
        for table, stored in self._store:
            self.notice(table, Change("ADDED", stored, None))

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            for count, work in enumerate(self._drain()):
                self._do(*work)
                if count % _TURN == _TURN - 1:
                    await asyncio.sleep(0)

    def _drain(self) -> Any:
        while self._due:
            work = next(iter(self._due))
            del self._due[work]
            yield work

    def _add(self, what: str, which: Any) -> None:
        self._due[what, which] = None
        self._wake.set()

    def _do(self, what: str, which: Any) -> None:
        try:
            if what == "owner":
                for place in list(self._store.owned.get(which, ())):
                    self._check_owners(place)
            elif what == "dependent":
                self._check_owners(which)
            elif what == "waiting":
                self._continue_deletion(which)
            elif what == "namespace":
                self._empty_namespace(which)
            else:
                self._empty_definition(which)
        except ApiError as error:
            _log.warning("cleaning up after a deletion (%s %s): %s", what, which, error.message)

    def _delete(self, place: Place, options: DeleteOptions) -> None:
        resource = self._registry.of_table(place[0])
        if resource is not None:
            with contextlib.suppress(ApiError):
                delete(self._store, resource, place[1], options)

    def _rewrite(self, place: Place, meta: Object) -> None:
        """Store an object with other metadata, or take it away when that ends its deletion."""
        table, key = place
        resource, stored = self._registry.of_table(table), self._store.get(table, key)
        if resource is None or stored is None:
            return
        body = {**stored.body, "metadata": meta}
        if meta.get("deletionTimestamp") and is_finished(resource, body):
            self._store.delete(table, key)
        else:
            self._store.put(table, body)

    def _check_owners(self, place: Place) -> None:
        """Delete an object none of whose owners is left; take the names of gone ones off any other."""
        stored = self._store.get(*place)
        if stored is None:
            return
        meta = stored.body["metadata"]
        owners = meta.get("ownerReferences") or []
        left = [owner for owner in owners if self._lives(owner.get("uid", ""), meta.get("namespace", ""))]
        if owners and not left:
            if not meta.get("deletionTimestamp"):
                self._delete(place, background(meta["uid"]))
        elif len(left) < len(owners):
            self._rewrite(place, {**clone(meta), "ownerReferences": left})

    def _lives(self, uid: str, namespace: str) -> bool:
        found = self._store.uids.get(uid)
        return found is not None and found[1][0] in ("", namespace)

    def _continue_deletion(self, uid: str) -> None:
        """Let an object go that waits for its dependents, or is to leave them behind."""
        place = self._store.uids.get(uid)
        stored = self._store.get(*place) if place else None
        if place is None or stored is None or not stored.body["metadata"].get("deletionTimestamp"):
            return
        meta = stored.body["metadata"]
        finalizers = meta.get("finalizers") or []
        if KEEP_DEPENDENTS in finalizers:
            for dependent in list(self._store.owned.get(uid, ())):
                self._disown(dependent, uid)
            self._drop_finalizer(place, KEEP_DEPENDENTS)
        elif WAIT_FOR_DEPENDENTS in finalizers:
            blocked = False
            for dependent in list(self._store.owned.get(uid, ())):
                other = self._store.get(*dependent)
                if other is None:
                    continue
                if not other.body["metadata"].get("deletionTimestamp"):
                    self._delete(
                        dependent, DeleteOptions(policy=FOREGROUND, uid=other.body["metadata"]["uid"])
                    )
                    other = self._store.get(*dependent)
                blocked = blocked or (other is not None and _blocks(other.body, uid))
            if not blocked:
                self._drop_finalizer(place, WAIT_FOR_DEPENDENTS)

    def _disown(self, place: Place, uid: str) -> None:
        stored = self._store.get(*place)
        if stored is not None:
            meta = clone(stored.body["metadata"])
            meta["ownerReferences"] = [one for one in meta["ownerReferences"] if one.get("uid") != uid]
            if not meta["ownerReferences"]:
                del meta["ownerReferences"]
            self._rewrite(place, meta)

    def _drop_finalizer(self, place: Place, finalizer: str) -> None:
        stored = self._store.get(*place)
        if stored is not None:
            meta = clone(stored.body["metadata"])
            meta["finalizers"] = [one for one in meta.get("finalizers") or () if one != finalizer]
            if not meta["finalizers"]:
                del meta["finalizers"]
            self._rewrite(place, meta)

    def _empty_namespace(self, name: str) -> None:
        stored = self._store.get("namespaces", ("", name))
        if stored is None or not stored.body["metadata"].get("deletionTimestamp"):
            return
        inside = [(table, one) for table, one in self._store if one.key[0] == name]
        for table, one in inside:
            if not one.body["metadata"].get("deletionTimestamp"):
                self._delete((table, one.key), background(one.body["metadata"]["uid"]))
        if not any(one.key[0] == name for _, one in self._store):
            body = {**stored.body, "spec": {}}
            if body["metadata"].get("finalizers"):
                self._store.put("namespaces", body | {"metadata": clone(body["metadata"])})
            else:
                self._store.delete("namespaces", ("", name))

    def _empty_definition(self, name: str) -> None:
        place = (DEFINITIONS, ("", name))
        stored = self._store.get(*place)
        if stored is None or not stored.body["metadata"].get("deletionTimestamp"):
            return
        for one in self._store.list(name):
            if not one.body["metadata"].get("deletionTimestamp"):
                self._delete((name, one.key), background(one.body["metadata"]["uid"]))
        if not self._store.list(name):
            self._drop_finalizer(place, CLEANUP)


def _blocks(body: Object, uid: str) -> bool:
    return any(
        owner.get("uid") == uid and owner.get("blockOwnerDeletion")
        for owner in body["metadata"].get("ownerReferences") or ()
    )
