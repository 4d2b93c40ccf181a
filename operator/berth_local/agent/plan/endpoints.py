"""A Service and the pods it selects -> the ports it offers and the places that serve them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from berth_local.agent.addresses import Address
from berth_local.agent.plan.objects import Object, deleting, is_ready, matches, uid_of
from berth_local.agent.plan.probe import port_number


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of a Service: its number, and the pods' port by number or name."""

    port: int
    target: int | str


def service_ports(service: Mapping[str, Any]) -> tuple[ServicePort, ...]:
    """Return the TCP ports to listen on; none for headless and external Services, and those without a selector."""
    spec = service["spec"]
    ip = spec.get("clusterIP")
    if spec.get("type") == "ExternalName" or not ip or ip == "None" or not spec.get("selector"):
        return ()
    return tuple(
        ServicePort(int(port["port"]), port.get("targetPort") or int(port["port"]))
        for port in spec.get("ports") or ()
        if port.get("protocol", "TCP") == "TCP"
    )


def endpoints_of(
    service: Mapping[str, Any],
    port: ServicePort,
    pods: Iterable[Object],
    address_of: Callable[[str], Address | None],
) -> list[tuple[str, int]]:
    """Return where the ready pods serve a Service's port, oldest pod first."""
    selector = {"matchLabels": service["spec"].get("selector") or {}}
    places = []
    for pod in sorted(pods, key=lambda pod: (pod["metadata"].get("creationTimestamp") or "", uid_of(pod))):
        if (
            pod["metadata"]["namespace"] != service["metadata"]["namespace"]
            or deleting(pod)
            or not is_ready(pod)
        ):
            continue
        address = address_of(uid_of(pod))
        number = _target(pod, port.target)
        if (
            address is not None
            and number is not None
            and matches(selector, pod["metadata"].get("labels") or {})
        ):
            places.append((address.ip, address.port(number)))
    return places


def _target(pod: Mapping[str, Any], target: int | str) -> int | None:
    numbers = (port_number(target, container) for container in pod["spec"]["containers"])
    return next((number for number in numbers if number is not None), None)
