"""Reading the few bodies that kubectl sends as protobuf: `kubectl create namespace|configmap|secret|serviceaccount`.

Everything else of kubectl, and every other client that Berth knows of, sends JSON. Field numbers are those of
Kubernetes' published .proto files; a field that is not in these tables is refused, never dropped.
"""

import base64
from collections.abc import Iterator
from typing import Any

from berth_local.apiserver.errors import ApiError, bad_request
from berth_local.apiserver.objects import Object

PROTOBUF = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"

TEXT, BYTES, BOOL, TEXT_MAP, BYTES_MAP, TEXTS, NOTHING = (
    "text",
    "bytes",
    "bool",
    "texts",
    "bytemap",
    "list",
    "-",
)
Fields = dict[int, tuple[str, Any]]

_META: Fields = {
    1: ("name", TEXT),
    2: ("generateName", TEXT),
    3: ("namespace", TEXT),
    4: ("selfLink", NOTHING),
    5: ("uid", TEXT),
    6: ("resourceVersion", TEXT),
    7: ("generation", NOTHING),
    8: ("creationTimestamp", NOTHING),
    11: ("labels", TEXT_MAP),
    12: ("annotations", TEXT_MAP),
    14: ("finalizers", TEXTS),
}
_KINDS: dict[tuple[str, str], Fields] = {
    ("v1", "Namespace"): {
        1: ("metadata", _META),
        2: ("spec", {1: ("finalizers", TEXTS)}),
        3: ("status", {1: ("phase", TEXT)}),
    },
    ("v1", "ConfigMap"): {
        1: ("metadata", _META),
        2: ("data", TEXT_MAP),
        3: ("binaryData", BYTES_MAP),
        4: ("immutable", BOOL),
    },
    ("v1", "Secret"): {
        1: ("metadata", _META),
        2: ("data", BYTES_MAP),
        3: ("type", TEXT),
        4: ("stringData", TEXT_MAP),
        5: ("immutable", BOOL),
    },
    ("v1", "ServiceAccount"): {1: ("metadata", _META), 4: ("automountServiceAccountToken", BOOL)},
}
_TYPE: Fields = {1: ("apiVersion", TEXT), 2: ("kind", TEXT)}
_ENVELOPE: Fields = {1: ("typeMeta", _TYPE), 2: ("raw", BYTES), 3: ("encoding", TEXT), 4: ("type", TEXT)}


def read_protobuf(data: bytes) -> Object:
    """Return the object in a protobuf body; ApiError 400 when it is broken, 415 when it is of another kind."""
    try:
        if not data.startswith(_MAGIC):
            raise ValueError("it does not begin as Kubernetes' protobuf does")
        envelope = _message(data[len(_MAGIC) :], _ENVELOPE)
        identity = envelope.get("typeMeta") or {}
        fields = _KINDS.get((identity.get("apiVersion", ""), identity.get("kind", "")))
        if fields is None:
            raise _unsupported(str(identity.get("kind", "an object")))
        return identity | _message(base64.b64decode(envelope.get("raw", "")), fields)
    except (ValueError, IndexError) as error:
        raise bad_request(f"the body cannot be read as protobuf: {error}") from None


def _unsupported(kind: str) -> ApiError:
    return ApiError(
        415,
        "UnsupportedMediaType",
        f"this server reads {kind} as JSON or YAML only, not as protobuf; add --dry-run=client -o yaml to the "
        "command and pipe it to: kubectl apply -f -",
    )


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (field number, value) of a message; values are integers or bytes."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, position = _varint(data, position)
            yield number, value
        elif wire == 2:
            size, position = _varint(data, position)
            if position + size > len(data):
                raise ValueError("it ends too early")
            yield number, data[position : position + size]
            position += size
        else:
            raise ValueError(f"wire type {wire} is not understood")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, position
        shift += 7


def _message(data: bytes, known: Fields) -> Object:
    found: Object = {}
    for number, value in _fields(data):
        if number not in known:
            raise ValueError(f"field {number} is not understood")
        name, kind = known[number]
        if kind is NOTHING:
            continue
        if kind is BOOL:
            found[name] = bool(value)
            continue
        if not isinstance(value, bytes):
            raise ValueError(f"{name} is not of its type")
        if isinstance(kind, dict):
            found[name] = _message(value, kind)
        elif kind in (TEXT_MAP, BYTES_MAP):
            entry = _message(value, {1: ("key", TEXT), 2: ("value", TEXT if kind is TEXT_MAP else BYTES)})
            found.setdefault(name, {})[entry.get("key", "")] = entry.get("value", "")
        elif kind is TEXTS:
            found.setdefault(name, []).append(value.decode())
        else:
            found[name] = base64.b64encode(value).decode() if kind is BYTES else value.decode()
    return {name: value for name, value in found.items() if value != ""}
