"""The two forms of an event: core v1, which is stored, and events.k8s.io/v1."""

from berth_local.apiserver.objects import Object

_NAMES = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
_BACK = {core: name for name, core in _NAMES.items()}


def with_required(body: Object) -> Object:
    """Fill in the fields that an event always shows, null or empty."""
    always: Object = {"source": {}, "firstTimestamp": None, "lastTimestamp": None, "eventTime": None}
    always |= {"reportingComponent": "", "reportingInstance": ""}
    return {**body, **{name: body.get(name) or value for name, value in always.items()}}


def to_core(body: Object) -> Object:
    """Return an events.k8s.io/v1 event in the stored form."""
    core = {_NAMES.get(name, name): value for name, value in body.items()}
    return {**core, "apiVersion": "v1"}


def from_core(body: Object) -> Object:
    """Return a stored event as events.k8s.io/v1 shows it."""
    return {_BACK.get(name, name): value for name, value in body.items() if value != ""}
