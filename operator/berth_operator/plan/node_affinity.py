"""What a pod requires of its node's labels, and which nodes have it."""

import re
from collections.abc import Iterator
from typing import Any

from berth_operator.api.names import LABEL_INSTANCE_TYPE
from berth_operator.plan.nodes import name_of
from berth_operator.plan.observed import Object, labels


def is_wanted(node: Object, pod_spec: Object) -> bool:
    """Whether the pod's node selector and required node affinity let it run on the node."""
    own = labels(node)
    if any(own.get(key) != value for key, value in (pod_spec.get("nodeSelector") or {}).items()):
        return False
    affinity = (pod_spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if not required:
        return True
    return any(_term_holds(node, term) for term in required.get("nodeSelectorTerms") or [])


def _term_holds(node: Object, term: Object) -> bool:
    expressions, fields = term.get("matchExpressions") or [], term.get("matchFields") or []
    # Kubernetes: a term without any condition matches nothing.
    return bool(expressions or fields) and all(
        [
            *(_holds(one, labels(node)) for one in expressions),
            *(_holds(one, {"metadata.name": name_of(node)}) for one in fields),
        ]
    )


def _holds(expression: Object, values: dict[str, str]) -> bool:
    value, listed = values.get(str(expression.get("key"))), expression.get("values") or []
    match expression.get("operator"):
        case "In":
            return value in listed
        case "NotIn":
            return value not in listed
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt" as operator:
            if value is None or not re.fullmatch(r"-?[0-9]+", value) or not listed:
                return False
            return int(value) > int(listed[0]) if operator == "Gt" else int(value) < int(listed[0])
        case _:
            return False


def wanted_labels(pod_spec: Object) -> Iterator[str]:
    """Return what a pod requires of its node's labels, as people write it: `apps=llm`, `spot (not set)`."""
    for key, value in sorted((pod_spec.get("nodeSelector") or {}).items()):
        yield f"{key}={value}"
    affinity = (pod_spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in (required.get("nodeSelectorTerms") or [])[:1]:
        for one in term.get("matchExpressions") or []:
            yield _in_words(one)


def _in_words(expression: dict[str, Any]) -> str:
    key, values = expression.get("key"), list(expression.get("values") or [])
    match expression.get("operator"):
        case "In":
            return f"{key}={values[0]}" if len(values) == 1 else f"{key} in ({', '.join(values)})"
        case "Exists":
            return f"{key} (set)"
        case "DoesNotExist":
            return f"{key} (not set)"
        case operator:
            return f"{key} {operator} {', '.join(values)}"


def wanted_instance_types(pod_spec: Object) -> list[str]:
    """Return the machine types that a pod requires, [] where any will do."""
    affinity = (pod_spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or []:
        for one in term.get("matchExpressions") or []:
            if one.get("key") == LABEL_INSTANCE_TYPE and one.get("operator") == "In":
                return [str(value) for value in one.get("values") or []]
    return []
