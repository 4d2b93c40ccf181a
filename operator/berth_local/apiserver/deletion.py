"""Deleting objects: at once, or held back by finalizers, by a pod's grace period, by what an object contains."""

from datetime import UTC, datetime, timedelta

from berth_local.apiserver.errors import conflict, forbidden, not_found
from berth_local.apiserver.kinds.resource import Resource
from berth_local.apiserver.objects import Object, clone, dig
from berth_local.apiserver.options import BACKGROUND, FOREGROUND, ORPHAN, DeleteOptions
from berth_local.apiserver.store import Key, Store, Stored
from berth_local.apiserver.writing import is_finished

WAIT_FOR_DEPENDENTS, KEEP_DEPENDENTS = "foregroundDeletion", "orphan"
PERMANENT = ("default", "kube-system")


def delete(store: Store, resource: Resource, key: Key, options: DeleteOptions) -> tuple[Stored, bool]:
    """Delete an object, or mark it as to be deleted. Returns its last state, and whether it is gone."""
    old = store.get(resource.table, key)
    if old is None:
        raise not_found(resource.group, resource.plural, key[1])
    if resource.table == "namespaces" and key[1] in PERMANENT:
        raise forbidden("", "namespaces", key[1], "this namespace may not be deleted")
    _check_preconditions(resource, old.body, options)
    body = _marked(resource, old.body, options)
    gone = is_finished(resource, body)
    if options.dry_run:
        return Stored(body, 0), gone
    if gone:
        waited = old.body["metadata"].get("deletionTimestamp") is not None
        return store.delete(resource.table, key, body if waited else None), True
    if body == old.body:
        return old, False
    return store.put(resource.table, body), False


def _check_preconditions(resource: Resource, body: Object, options: DeleteOptions) -> None:
    for given, field, word in (
        (options.uid, "uid", "UID"),
        (options.revision, "resourceVersion", "ResourceVersion"),
    ):
        present = body["metadata"].get(field, "")
        if given and given != present:
            why = (
                f"the {word} in the precondition ({given}) does not match the {word} in record ({present}). The "
                "object might have been deleted and then recreated"
            )
            raise conflict(resource.group, resource.kind, body["metadata"]["name"], why)


def _marked(resource: Resource, was: Object, options: DeleteOptions) -> Object:
    """Return the object with its deletion asked for: when, after what grace, waiting for whom."""
    body: Object = {**was, "metadata": clone(was["metadata"])}
    meta = body["metadata"]
    grace = _grace(resource, was, options)
    known = meta.get("deletionGracePeriodSeconds")
    if meta.get("deletionTimestamp") is None:
        if meta.get("generation"):
            meta["generation"] += 1
        meta["deletionTimestamp"] = _after(grace)
        meta["deletionGracePeriodSeconds"] = grace
    elif known is not None and grace < known:
        meta["deletionTimestamp"], meta["deletionGracePeriodSeconds"] = _after(grace), grace
    finalizers = [
        one for one in meta.pop("finalizers", ()) if one not in (WAIT_FOR_DEPENDENTS, KEEP_DEPENDENTS)
    ]
    added = {FOREGROUND: WAIT_FOR_DEPENDENTS, ORPHAN: KEEP_DEPENDENTS}.get(options.policy)
    finalizers += [added] if added else []
    if finalizers:
        meta["finalizers"] = finalizers
    if resource.table == "namespaces":
        meta.pop("deletionGracePeriodSeconds", None)
        body["status"] = {**(was.get("status") or {}), "phase": "Terminating"}
    return body


def _grace(resource: Resource, body: Object, options: DeleteOptions) -> int:
    """Return the seconds that a deletion leaves: only pods that were given to a node have any."""
    if resource.table != "pods" or not dig(body, "spec", "nodeName"):
        return 0
    if dig(body, "status", "phase") in ("Succeeded", "Failed"):
        return 0
    if options.grace is not None:
        return options.grace
    return int(dig(body, "spec", "terminationGracePeriodSeconds") or 0)


def _after(seconds: int) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def background(uid: str = "") -> DeleteOptions:
    """Return the options by which the server itself deletes; `uid` guards against a namesake."""
    return DeleteOptions(policy=BACKGROUND, uid=uid)
