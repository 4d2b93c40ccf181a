"""The user's pod template: what Berth itself reads of it must have its shape. The rest the API server judges."""

from collections.abc import Iterator
from typing import Any

from berth_operator.api.problems import Problem, shown

PATH = "inference.template"
REMEDY = "write it as in a Deployment's pod template"

REQUIRED_NODES = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED_NODES = "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution"

# Labels, tolerations and node affinity are what Berth adds to; parents stand before what is in them.
SHAPES: tuple[tuple[str, type], ...] = (
    ("metadata", dict),
    ("metadata.labels", dict),
    ("metadata.annotations", dict),
    ("spec", dict),
    ("spec.tolerations", list),
    ("spec.affinity", dict),
    ("spec.affinity.nodeAffinity", dict),
    (REQUIRED_NODES, dict),
    (f"{REQUIRED_NODES}.nodeSelectorTerms", list),
    (PREFERRED_NODES, list),
)


def template_problems(template: dict[str, Any]) -> Iterator[Problem]:
    """Faults of a pod template that would keep Berth from adding its own part to it."""
    for path, shape in SHAPES:
        value = _at(template, path)
        if value is not None and not isinstance(value, shape):
            yield _not(f"{PATH}.{path}", value, "an object" if shape is dict else "a list")
    for index, term in enumerate(_list_at(template, f"{REQUIRED_NODES}.nodeSelectorTerms")):
        path = f"{PATH}.{REQUIRED_NODES}.nodeSelectorTerms[{index}]"
        if not isinstance(term, dict):
            yield _not(path, term, "an object")
        elif not isinstance(term.get("matchExpressions") or [], list):
            yield _not(f"{path}.matchExpressions", term["matchExpressions"], "a list")
    path = f"{PATH}.spec.containers"
    containers = _list_at(template, "spec.containers")
    if not containers:
        yield Problem(path, "the template has no containers", "add one that listens on port 5000")
    elif not all(isinstance(container, dict) for container in containers):
        yield Problem(path, "holds something that is not a container", REMEDY)


def _not(path: str, value: Any, shape: str) -> Problem:
    return Problem(path, f"{shown(value)} is not {shape}", REMEDY)


def _at(value: Any, path: str) -> Any:
    """What stands at a path, or None: a parent of the wrong shape has been told of by itself."""
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _list_at(value: Any, path: str) -> list[Any]:
    found = _at(value, path)
    return found if isinstance(found, list) else []
