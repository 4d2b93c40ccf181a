"""Lists: selected, cut into pages, in the form that the client takes."""

import base64
import binascii
import json
from collections.abc import Mapping

from berth_local.apiserver.errors import ApiError, bad_request, expired
from berth_local.apiserver.kinds.resource import Resource
from berth_local.apiserver.negotiation import METADATA, OBJECT, TABLE
from berth_local.apiserver.objects import Object, encode
from berth_local.apiserver.selectors import Match, both, field_selector, label_selector
from berth_local.apiserver.store import Key, Store, Stored
from berth_local.apiserver.tables import partial, table


def selection(resource: Resource, query: Mapping[str, str], name: str = "") -> Match | None:
    """Read the selectors of a list or watch; `name` limits it to one object. ApiError 400 when malformed."""
    custom = resource.custom.selectable if resource.custom else ()
    fields = field_selector(query.get("fieldSelector", ""), resource.name, custom)
    match = both(label_selector(query.get("labelSelector", "")), fields)
    if resource.outgoing and fields is not None:
        outgoing = resource.outgoing
        labels = label_selector(query.get("labelSelector", ""))
        match = both(labels, lambda body: fields(outgoing(body)))
    if name:
        match = both(match, lambda body: bool(body["metadata"]["name"] == name))
    return match


def revision_asked(query: Mapping[str, str]) -> int | None:
    """Read resourceVersion; None when it is not given. ApiError 400 when it is no number."""
    text = query.get("resourceVersion", "")
    if not text:
        return None
    if not text.isascii() or not text.isdecimal():
        raise bad_request(
            f'invalid resource version: resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing '
            f'"{text}": invalid syntax'
        )
    return int(text)


def select(store: Store, resource: Resource, namespace: str, match: Match | None) -> list[Stored]:
    """Return the objects of a namespace, or of all, that match, by namespace and name."""
    found = store.list(resource.table, namespace or None)
    return found if match is None else [one for one in found if match(one.body)]


def list_answer(
    store: Store, resource: Resource, namespace: str, query: Mapping[str, str], form: str
) -> bytes:
    """Return the JSON of a list, a Table or a list of metadata."""
    revision = revision_asked(query)
    if revision is not None and revision > store.revision:
        raise too_new(revision, store.revision)
    found = select(store, resource, namespace, selection(resource, query))
    found, meta = _page(found, store.revision, query)
    if resource.custom and form == OBJECT:
        meta.setdefault("continue", "")
    if form == TABLE:
        return encode(table(resource, found, meta, query.get("includeObject", "Metadata")))
    if form == METADATA:
        listed: Object = {
            "kind": "PartialObjectMetadataList",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": meta,
        }
        return encode(listed | {"items": [partial(one) for one in found]})
    head = encode({"kind": resource.list_kind, "apiVersion": resource.api_version, "metadata": meta})
    return head[:-1] + b',"items":[' + b",".join(resource.encoded_item(one) for one in found) + b"]}"


def too_new(asked: int, present: int) -> ApiError:
    """A revision that is still to come: one of another server's, or of this one's lost state."""
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    details: Object = {"causes": causes, "retryAfterSeconds": 1}
    return ApiError(504, "Timeout", f"Too large resource version: {asked}, current: {present}", details)


def _page(found: list[Stored], revision: int, query: Mapping[str, str]) -> tuple[list[Stored], Object]:
    """Cut out the page that `limit` and `continue` ask for, with the list's metadata."""
    meta: Object = {"resourceVersion": str(revision)}
    token = query.get("continue", "")
    if token:
        after, listed = _read_token(token)
        if listed > revision:
            raise expired("The provided continue parameter is too old")
        meta["resourceVersion"] = str(listed)
        found = [one for one in found if one.key > after]
    text = query.get("limit", "0") or "0"
    if not text.isdecimal():
        raise bad_request(f"limit must be a number that is not negative, not {text!r}")
    limit = int(text)
    if limit and len(found) > limit:
        meta["remainingItemCount"] = len(found) - limit
        found = found[:limit]
        meta["continue"] = _token(found[-1].key, int(meta["resourceVersion"]))
    return found, meta


def _token(key: Key, revision: int) -> str:
    return base64.urlsafe_b64encode(encode({"rv": revision, "start": list(key)})).decode().rstrip("=")


def _read_token(text: str) -> tuple[Key, int]:
    try:
        content = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        namespace, name = content["start"]
        return (str(namespace), str(name)), int(content["rv"])
    except (binascii.Error, KeyError, TypeError, ValueError):
        raise bad_request("invalid continue token: continue key is not valid") from None
