"""A Service and the pods it selects -> the ports it offers, the places that serve them, and its EndpointSlice."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from berth_local.agent.addresses import Address
from berth_local.agent.plan.objects import Object, deleting, is_ready, matches, uid_of
from berth_local.agent.plan.probe import port_number

AddressOf = Callable[[str], Address | None]


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of a Service: its number, and the pods' port by number or name."""

    port: int
    target: int | str
    name: str = ""


def service_ports(service: Mapping[str, Any]) -> tuple[ServicePort, ...]:
    """Return the TCP ports to listen on; none for headless and external Services, and those without a selector."""
    spec = service["spec"]
    ip = spec.get("clusterIP")
    if spec.get("type") == "ExternalName" or not ip or ip == "None" or not spec.get("selector"):
        return ()
    return tuple(
        ServicePort(
            int(port["port"]), port.get("targetPort") or int(port["port"]), str(port.get("name") or "")
        )
        for port in spec.get("ports") or ()
        if port.get("protocol", "TCP") == "TCP"
    )


def selected(service: Mapping[str, Any], pods: Iterable[Object]) -> list[Object]:
    """Return the pods that a Service selects, oldest first, those on their way out among them."""
    selector = {"matchLabels": service["spec"].get("selector") or {}}
    namespace = service["metadata"].get("namespace")
    found = [
        pod
        for pod in pods
        if pod["metadata"].get("namespace") == namespace
        and matches(selector, pod["metadata"].get("labels") or {})
    ]
    return sorted(found, key=lambda pod: (pod["metadata"].get("creationTimestamp") or "", uid_of(pod)))


def endpoints_of(
    service: Mapping[str, Any], port: ServicePort, pods: Iterable[Object], address_of: AddressOf
) -> list[tuple[str, int]]:
    """Return where the ready pods serve a Service's port, oldest pod first."""
    places = []
    for pod in selected(service, pods):
        if deleting(pod) or not is_ready(pod):
            continue
        address, number = address_of(uid_of(pod)), _target(pod, port.target)
        if address is not None and number is not None:
            places.append((address.ip, address.port(number)))
    return places


def endpoint_slice(
    service: Mapping[str, Any], ports: Iterable[ServicePort], pods: Iterable[Object], address_of: AddressOf
) -> Object:
    """Return the EndpointSlice that shows a Service's pods, as `kubectl describe service` reads it."""
    meta = service["metadata"]
    chosen = [pod for pod in selected(service, pods) if address_of(uid_of(pod)) is not None]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{meta['name']}-{uid_of(service)[:5]}",
            "namespace": meta["namespace"],
            "labels": {
                "kubernetes.io/service-name": meta["name"],
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            },
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "name": meta["name"],
                    "uid": uid_of(service),
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "addressType": "IPv4",
        "endpoints": [_endpoint(pod, address_of) for pod in chosen],
        "ports": [_port(port, chosen, address_of) for port in ports],
    }


def _endpoint(pod: Object, address_of: AddressOf) -> Object:
    meta, address = pod["metadata"], address_of(uid_of(pod))
    serving = is_ready(pod)
    return {
        "addresses": [address.ip if address is not None else ""],
        "conditions": {
            "ready": serving and not deleting(pod),
            "serving": serving,
            "terminating": deleting(pod),
        },
        "nodeName": pod["spec"].get("nodeName", ""),
        "targetRef": {
            "kind": "Pod",
            "name": meta["name"],
            "namespace": meta["namespace"],
            "uid": uid_of(pod),
        },
    }


def _port(port: ServicePort, pods: Iterable[Object], address_of: AddressOf) -> Object:
    """One entry of `ports`. Where pods share an address each has its own port; the first pod's is shown."""
    for pod in pods:
        address, number = address_of(uid_of(pod)), _target(pod, port.target)
        if address is not None and number is not None:
            return {"name": port.name, "port": address.port(number), "protocol": "TCP"}
    fallback = port.target if isinstance(port.target, int) else port.port
    return {"name": port.name, "port": fallback, "protocol": "TCP"}


def _target(pod: Mapping[str, Any], target: int | str) -> int | None:
    numbers = (port_number(target, container) for container in pod["spec"]["containers"])
    return next((number for number in numbers if number is not None), None)
