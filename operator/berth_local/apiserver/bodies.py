"""Reading request bodies: JSON or YAML, objects only, with the API server's words for what cannot be read."""

import json
from typing import Any

import yaml

from berth_local.apiserver.errors import ApiError, Cause, bad_request, invalid
from berth_local.apiserver.kinds.resource import Resource
from berth_local.apiserver.objects import Object
from berth_local.apiserver.options import IGNORE, STRICT, WriteOptions
from berth_local.apiserver.protobuf import PROTOBUF, read_protobuf
from berth_local.apiserver.schema.decoding import WrongType, decode_builtin, json_type, prune
from berth_local.apiserver.schema.validation import is_finite

JSON, YAML = "application/json", "application/yaml"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _json(data: bytes) -> Any:
    value = json.loads(data)
    if not is_finite(value):
        raise ValueError("NaN and Infinity are not JSON")
    return value


def _yaml(data: bytes) -> Any:
    """Read YAML as Kubernetes does: to the types that JSON has."""
    return json.loads(json.dumps(yaml.load(data, Loader=_LOADER), default=_as_text, allow_nan=False))  # noqa: S506


def _as_text(value: object) -> str:
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    raise ValueError(f"{type(value).__name__} has no place in JSON")


def read_value(data: bytes, content_type: str) -> Any:
    """Parse a body as JSON, or as YAML where it is said to be that; ValueError when it is neither."""
    try:
        return (
            _yaml(data)
            if content_type.endswith("yaml") and not data.lstrip().startswith(b"{")
            else _json(data)
        )
    except (yaml.YAMLError, TypeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(" ".join(str(error).split())) from error
    except ValueError:
        if content_type.endswith("yaml"):
            try:
                return _yaml(data)
            except (yaml.YAMLError, TypeError, RecursionError) as error:
                raise ValueError(" ".join(str(error).split())) from error
        raise


def read_object(data: bytes, content_type: str, kind: str) -> Object:
    """Parse a body that must be an object of a kind; ApiError 400 otherwise."""
    if content_type == PROTOBUF:
        return read_protobuf(data)
    try:
        value = read_value(data, content_type)
    except ValueError as error:
        said = "unexpected end of JSON input" if not data.strip() else str(error)
        shown = data[:80].decode(errors="replace") or "<empty>"
        raise _unrecognized(kind, f"{said} ({shown})") from None
    if not isinstance(value, dict):
        raise _unrecognized(kind, f"cannot read {json_type(value)} as an object with apiVersion and kind")
    return value


def _unrecognized(kind: str, why: str) -> ApiError:
    return bad_request(
        f"the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; "
        f"json parse error: {why}"
    )


def check_identity(resource: Resource, body: Object) -> None:
    """Refuse a body of another apiVersion or kind; built-in kinds may leave both out."""
    given, kind = body.get("apiVersion") or "", body.get("kind") or ""
    if not resource.custom:
        given, kind = given or resource.api_version, kind or resource.kind
    if given != resource.api_version:
        raise bad_request(
            f"the API version in the data ({given}) does not match the expected API version ({resource.api_version})"
        )
    if kind != resource.kind:
        message = f"Invalid value: {json.dumps(kind)}: must be {resource.kind}"
        name = (body.get("metadata") or {}).get("name", "") if isinstance(body.get("metadata"), dict) else ""
        raise invalid(resource.group, str(kind), str(name), [Cause("kind", message)])


def decode(resource: Resource, body: Object, options: WriteOptions) -> Object:
    """Return a body as its kind holds it, in the stored form.

    Unknown fields are cut off: refused (ApiError 400) under Strict validation, told in a warning under Warn.
    """
    handled = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
    if not isinstance(body.get("metadata", {}), dict):
        raise bad_request(f"{handled}: metadata must be an object, not {json_type(body['metadata'])}")
    try:
        if resource.custom:
            decoded, unknown = prune(resource.schema, body, resource.kind)
        else:
            decoded, unknown = decode_builtin(resource.schema, body, resource.kind)
    except WrongType as error:
        raise bad_request(f"{handled}: {error}") from None
    told = [f'unknown field "{path}"' for path in unknown]
    if told and options.validation == STRICT:
        raise bad_request(f"{handled}: strict decoding error: {', '.join(told)}")
    if options.validation != IGNORE:
        options.warnings += told
    decoded["metadata"] = {
        name: value for name, value in (decoded.get("metadata") or {}).items() if value != ""
    }
    if resource.incoming:
        decoded = resource.incoming(decoded)
    stored_version = resource.custom.storage_version if resource.custom else resource.api_version
    if resource.outgoing:
        stored_version = str(decoded["apiVersion"])
    return {**decoded, "apiVersion": stored_version, "kind": resource.kind}
