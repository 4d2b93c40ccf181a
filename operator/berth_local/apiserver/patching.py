"""The four kinds of patch: JSON patch, merge patch, strategic merge patch and server-side apply."""

from typing import Any

import jsonpatch

from berth_local.apiserver.bodies import check_identity, decode, read_value
from berth_local.apiserver.errors import (
    ApiError,
    Cause,
    bad_request,
    invalid,
    not_found,
    unprocessable_patch,
    unsupported_media,
)
from berth_local.apiserver.fields.managers import Manager, apply
from berth_local.apiserver.fields.typed import typed_faults
from berth_local.apiserver.kinds.resource import Resource
from berth_local.apiserver.objects import Object, clone, now
from berth_local.apiserver.options import WriteOptions
from berth_local.apiserver.schema.decoding import json_type
from berth_local.apiserver.store import Key, Stored
from berth_local.apiserver.strategic import strategic_merge
from berth_local.apiserver.writing import Writer

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

_MOST_OPERATIONS = 10_000
"""As the API server bounds a JSON patch, so that a small request is not a large amount of work."""


def accepted_types(resource: Resource) -> list[str]:
    """Return the content types that a patch of a resource may have."""
    strategic = [] if resource.custom else [STRATEGIC_PATCH]
    return [JSON_PATCH, MERGE_PATCH, *strategic, APPLY_PATCH]


def patch(
    writer: Writer, resource: Resource, key: Key, data: bytes, content_type: str, options: WriteOptions,
    subresource: str = "",
) -> tuple[Stored, bool]:  # fmt: skip
    """Patch an object or its status. Returns the object, and whether it is new (only apply makes objects)."""
    if content_type not in accepted_types(resource):
        raise unsupported_media(accepted_types(resource))
    if content_type == APPLY_PATCH:
        return _apply(writer, resource, key, data, options, subresource)
    old = writer.store.get(resource.table, key)
    if old is None:
        raise not_found(resource.group, resource.plural, key[1])
    view = resource.view(old)
    patched = patched_object(resource, view, data, content_type)
    _check_patched(resource, view, patched)
    try:
        check_identity(resource, patched)
        body = decode(resource, patched, options)
    except ApiError as error:
        if error.code == 400 and "cannot be handled" in error.message:
            message = f"Invalid value: {error.message.partition(': ')[2]}"
            raise ApiError(
                422, "Invalid", f' "" is invalid: patch: {message}', {"causes": [
                    {"reason": "FieldValueInvalid", "message": message, "field": "patch"}]},
            ) from None  # fmt: skip
        raise
    return writer.replace(resource, old, body, options, subresource), False


def patched_object(resource: Resource, view: Object, data: bytes, content_type: str) -> Object:
    """Return an object with a JSON, merge or strategic merge patch carried out."""
    try:
        change = read_value(data, "application/json")
    except ValueError as error:
        raise bad_request(f"error decoding patch: {error}") from None
    if content_type == JSON_PATCH:
        result = _json_patched(view, change)
    elif not isinstance(change, dict):
        raise bad_request(f"error decoding patch: a merge patch must be an object, not {json_type(change)}")
    elif content_type == STRATEGIC_PATCH:
        result = strategic_merge(resource.schema, clone(view), change)
    else:
        result = merge_patched(clone(view), change)
    if not isinstance(result, dict) or not isinstance(result.get("metadata", {}), dict):
        raise unprocessable_patch()
    result.setdefault("metadata", {})
    return result


def merge_patched(target: Any, change: Any) -> Any:
    """Carry out a JSON merge patch (RFC 7386)."""
    if not isinstance(change, dict):
        return change
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in change.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patched(result.get(name), value)
    return result


def _json_patched(view: Object, change: Any) -> Any:
    if not isinstance(change, list) or not all(isinstance(one, dict) for one in change):
        raise bad_request("error decoding patch: a JSON patch must be a list of operations")
    if len(change) > _MOST_OPERATIONS:
        message = f"The allowed maximum operations in a JSON patch is {_MOST_OPERATIONS}, got {len(change)}"
        raise ApiError(413, "RequestEntityTooLarge", message)
    try:
        return jsonpatch.JsonPatch(change).apply(view)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError, KeyError, ValueError):
        raise unprocessable_patch() from None


def _check_patched(resource: Resource, view: Object, patched: Object) -> None:
    """Refuse a patch that makes another object of it."""
    name, was = patched["metadata"].get("name"), view["metadata"]
    if name != was["name"]:
        raise bad_request(
            f"the name of the object ({name}) does not match the name on the URL ({was['name']})"
        )
    if patched["metadata"].get("namespace", "") != was.get("namespace", ""):
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    uid = patched["metadata"].get("uid") or was["uid"]
    if uid != was["uid"]:
        cause = Cause("metadata.uid", f'Invalid value: "{uid}": field is immutable')
        raise invalid(resource.group, resource.kind, name, [cause])


def _apply(
    writer: Writer, resource: Resource, key: Key, data: bytes, options: WriteOptions, subresource: str
) -> tuple[Stored, bool]:
    try:
        config = read_value(data, APPLY_PATCH)
    except ValueError as error:
        raise bad_request(f"error decoding YAML: error converting YAML to JSON: yaml: {error}") from None
    if not isinstance(config, dict) or not isinstance(config.get("metadata", {}), dict | None):
        raise bad_request("error decoding YAML: an applied configuration must be an object with metadata")
    if not config.get("apiVersion") or not config.get("kind"):
        raise bad_request(
            f"invalid object type: {config.get('apiVersion', '/')}, Kind={config.get('kind', '')}"
        )
    check_identity(resource, config)
    meta = config["metadata"] = {
        name: value for name, value in (config.get("metadata") or {}).items() if value not in ("", None)
    }
    namespace, name = key
    place = (
        f"{meta.get('namespace', '')}/{meta.get('name', '')}; {resource.api_version}, Kind={resource.kind}"
    )
    named = "name" in meta
    if meta.setdefault("name", name) != name:
        raise bad_request(
            f"the name of the object ({meta['name']}) does not match the name on the URL ({name})"
        )
    if namespace and meta.setdefault("namespace", namespace) != namespace:
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if meta.get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    faults = typed_faults(resource.schema, config)
    if faults:
        raise ApiError(500, "", f"failed to create typed patch object ({place}): {'; '.join(faults)}")
    body = decode(resource, config, options)
    old = writer.store.get(resource.table, key)
    if old is None and not named and not subresource:
        raise bad_request(
            f"the name of the object ({name} based on URL) was undeterminable: name must be provided"
        )
    if old is None and subresource:
        raise not_found(resource.group, resource.plural, name)
    revision = meta.pop("resourceVersion", None)
    if old is None and (revision or meta.get("uid")):
        raise not_found(resource.group, resource.plural, name)
    who = Manager(options.manager, "Apply", resource.api_version, subresource)
    scope = subresource or ("main" if resource.has_status else "")
    body["metadata"].pop("resourceVersion", None)
    live = old.body if old else {}
    merged = apply(resource.schema, live, body, who, now(), force=options.force, scope=scope)
    if old is None:
        entries = merged["metadata"].pop("managedFields")
        created = writer.create(resource, namespace, merged, options, entries)
        return created, True
    merged["metadata"]["resourceVersion"] = revision
    return writer.replace(resource, old, merged, options, subresource, managed=True), False
