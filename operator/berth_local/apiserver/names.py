"""Which names, labels and annotations objects may have, with the API server's words for each refusal."""

import json
import re
import secrets
from collections.abc import Iterator
from typing import Any

from berth_local.apiserver.errors import Cause
from berth_local.apiserver.objects import Object

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"

SUBDOMAIN, LABEL, LABEL_1035, PATH_SEGMENT = "subdomain", "label", "label1035", "segment"

_RULES = {
    SUBDOMAIN: (
        _SUBDOMAIN, 253,
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
        "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
        f"'{_SUBDOMAIN}')",
    ),
    LABEL: (
        _LABEL, 63,
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and "
        "end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
        f"'{_LABEL}')",
    ),
    LABEL_1035: (
        _LABEL_1035, 63,
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
        "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for "
        f"validation is '{_LABEL_1035}')",
    ),
}  # fmt: skip

_QUALIFIED_TEXT = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    f"'{_QUALIFIED}')"
)
_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
    "validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)

ANNOTATION_BYTES = 256 * 1024
"""All annotations of an object together, keys and values, as in Kubernetes."""

_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
"""Kubernetes' own alphabet for generated names: no vowels, so no words."""


def generated(prefix: str) -> str:
    """Return a name for `generateName`: the prefix, cut to leave room, and five random characters."""
    return prefix[: 253 - 5] + "".join(secrets.choice(_SUFFIX) for _ in range(5))


def name_faults(name: str, rule: str, field: str = "metadata.name") -> Iterator[Cause]:
    """Judge a name by a rule of this module."""
    shown = json.dumps(name, ensure_ascii=False)
    if rule == PATH_SEGMENT:
        if name in (".", "..") or "/" in name or "%" in name:
            yield Cause(field, f"Invalid value: {shown}: may not be '.' or '..' nor contain '/' or '%'")
        return
    pattern, longest, text = _RULES[rule]
    if len(name) > longest:
        yield Cause(field, f"Invalid value: {shown}: must be no more than {longest} bytes")
    if not re.fullmatch(pattern, name):
        yield Cause(field, f"Invalid value: {shown}: {text}")


def metadata_faults(meta: Object, rule: str, namespaced: bool) -> Iterator[Cause]:
    """Judge an object's metadata: its name, labels, annotations, owners and finalizers."""
    name = meta.get("name") or ""
    if not name:
        yield Cause("metadata.name", "Required value: name or generateName is required", "FieldValueRequired")
    else:
        yield from name_faults(name, rule)
    if meta.get("namespace") and not namespaced:
        yield Cause("metadata.namespace", "Forbidden: not allowed on this type", "FieldValueForbidden")
    yield from label_faults(meta.get("labels") or {}, "metadata.labels")
    size = 0
    for key, value in (meta.get("annotations") or {}).items():
        yield from _key_faults(key.lower(), key, "metadata.annotations")
        size += len(key) + len(value.encode(errors="surrogatepass"))
    if size > ANNOTATION_BYTES:
        message = f"Too long: may not be more than {ANNOTATION_BYTES} bytes"
        yield Cause("metadata.annotations", message, "FieldValueTooLong")
    controllers = 0
    for index, owner in enumerate(meta.get("ownerReferences") or ()):
        for key, word in (("apiVersion", "version"), ("kind", "kind"), ("name", "name"), ("uid", "uid")):
            if not owner.get(key):
                field = f"metadata.ownerReferences[{index}].{key}"
                yield Cause(field, f'Invalid value: "": {word} must not be empty')
        controllers += bool(owner.get("controller"))
    if controllers > 1:
        yield Cause(
            "metadata.ownerReferences", "Invalid value: Only one reference can have Controller set to true"
        )
    for index, finalizer in enumerate(meta.get("finalizers") or ()):
        yield from _key_faults(finalizer, finalizer, f"metadata.finalizers[{index}]")


def label_faults(labels: dict[str, Any], field: str) -> Iterator[Cause]:
    """Judge labels: qualified names as keys, values of at most 63 characters."""
    for key, value in labels.items():
        yield from _key_faults(key, key, field)
        shown = json.dumps(value, ensure_ascii=False)
        if len(value) > 63:
            yield Cause(field, f"Invalid value: {shown}: must be no more than 63 bytes")
        if not re.fullmatch(f"({_QUALIFIED})?", value):
            yield Cause(field, f"Invalid value: {shown}: {_VALUE_TEXT}")


def _key_faults(key: str, original: str, field: str) -> Iterator[Cause]:
    shown = json.dumps(original, ensure_ascii=False)
    prefix, slash, name = key.rpartition("/")
    if slash and (not prefix or "/" in prefix or not re.fullmatch(_SUBDOMAIN, prefix) or len(prefix) > 253):
        text = _RULES[SUBDOMAIN][2]
        yield Cause(field, f"Invalid value: {shown}: prefix part {text}")
    if len(name) > 63:
        yield Cause(field, f"Invalid value: {shown}: name part must be no more than 63 bytes")
    if not re.fullmatch(_QUALIFIED, name):
        yield Cause(field, f"Invalid value: {shown}: {_QUALIFIED_TEXT}")
