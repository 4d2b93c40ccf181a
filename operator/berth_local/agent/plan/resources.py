"""What pods ask of a node, and the quality-of-service class that follows from it."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from berth_operator.quantity import parse_quantity


def quantity(amount: object) -> Decimal:
    """Return the number that a resource quantity stands for, written as text or as a number."""
    return parse_quantity(str(amount))


def pod_requests(spec: Mapping[str, Any]) -> dict[str, Decimal]:
    """Return what a pod asks for: the sum over its containers, or the largest init container where that is more.

    A limit stands in for a request that is not given, as the API server defaults it.
    """
    total: dict[str, Decimal] = {}
    for container in spec.get("containers") or ():
        for name, amount in _requests(container).items():
            total[name] = total.get(name, Decimal(0)) + amount
    for container in spec.get("initContainers") or ():
        for name, amount in _requests(container).items():
            total[name] = max(total.get(name, Decimal(0)), amount)
    return total


def _requests(container: Mapping[str, Any]) -> dict[str, Decimal]:
    resources = container.get("resources") or {}
    wanted = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {name: quantity(amount) for name, amount in wanted.items()}


def qos_class(spec: Mapping[str, Any]) -> str:
    """Return the pod's quality-of-service class: Guaranteed, Burstable or BestEffort."""
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    resources = [container.get("resources") or {} for container in containers]
    if not any(entry.get("requests") or entry.get("limits") for entry in resources):
        return "BestEffort"
    guaranteed = all(
        {"cpu", "memory"} <= set(entry.get("limits") or {})
        and all(
            quantity((entry.get("requests") or {}).get(name, limit)) == quantity(limit)
            for name, limit in (entry.get("limits") or {}).items()
        )
        for entry in resources
    )
    return "Guaranteed" if guaranteed else "Burstable"
