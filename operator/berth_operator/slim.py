"""What is kept of an object in memory, where a thousand of each kind stay for as long as the operator runs."""

import sys
from typing import Any, Final

Object = dict[str, Any]

CONTAINERS: Final = frozenset({"containers", "initContainers"})

UNASKED: Final = frozenset(
    {"args", "command", "env", "livenessProbe", "readinessProbe", "securityContext", "volumeMounts"}
)
"""What a pod's containers run and see. A pod is asked where it is and how it fares; what its containers are to be is in
its controller's template."""


def slim(obj: Object) -> Object:
    """An object without the record of who wrote which of its fields, and with its words shared with other objects."""
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    shared: Object = _shared({**obj, "metadata": metadata})
    return shared


def slim_replica_set(obj: Object) -> Object:
    """A ReplicaSet without its template, which is the Deployment's: it is asked which it is, and what it failed at."""
    return slim({**obj, "spec": {"replicas": (obj.get("spec") or {}).get("replicas")}})


def slim_pod(obj: Object) -> Object:
    """A pod without what its containers run and see."""
    spec = {
        name: [_slim_container(one) for one in value] if name in CONTAINERS else value
        for name, value in (obj.get("spec") or {}).items()
    }
    return slim({**obj, "spec": spec})


def _slim_container(container: Object) -> Object:
    return {name: value for name, value in container.items() if name not in UNASKED}


def _shared(value: Any) -> Any:
    """The same value, with each word that stands in many objects in memory once: names of fields above all."""
    if isinstance(value, str):
        return sys.intern(value)
    if isinstance(value, dict):
        return {sys.intern(name): _shared(held) for name, held in value.items()}
    if isinstance(value, list):
        return [_shared(held) for held in value]
    return value
