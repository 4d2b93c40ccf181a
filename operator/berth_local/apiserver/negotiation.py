"""What form of answer a client takes: plain JSON, a Table for people, or metadata alone."""

from dataclasses import dataclass

from berth_local.apiserver.errors import not_acceptable

OBJECT, TABLE, METADATA = "", "Table", "PartialObjectMetadata"
_OFFERED = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")


@dataclass(frozen=True, slots=True)
class Accepted:
    """One entry of an Accept header."""

    type: str
    parameters: dict[str, str]


def accepted(header: str) -> list[Accepted]:
    """Read an Accept header in the client's order."""
    entries = []
    for part in header.split(","):
        kind, *rest = (one.strip() for one in part.split(";"))
        pairs = (one.partition("=") for one in rest)
        entries.append(Accepted(kind, {name.strip(): value.strip() for name, _, value in pairs}))
    return [entry for entry in entries if entry.type]


def form(header: str) -> str:
    """Return the first form that can be served; ApiError 406 when there is none."""
    entries = accepted(header)
    if not entries:
        return OBJECT
    for entry in entries:
        if entry.type not in ("application/json", "*/*", "application/*"):
            continue
        wanted = entry.parameters.get("as", "").removesuffix("List")
        right = entry.parameters.get("g") == "meta.k8s.io" and entry.parameters.get("v") in ("v1", "v1beta1")
        if not wanted:
            return OBJECT
        if wanted in (TABLE, METADATA) and right:
            return wanted
    raise not_acceptable([_OFFERED[0]])
