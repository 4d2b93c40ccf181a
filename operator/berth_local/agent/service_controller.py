"""Services -> ports that listen on this machine, and the annotation that says where."""

import logging
from collections.abc import Callable

from berth_local.agent.addresses import LOOPBACK, Address
from berth_local.agent.cache import Cache
from berth_local.agent.client import ENDPOINT_SLICES, SERVICES, ApiClient
from berth_local.agent.controllers import Controller
from berth_local.agent.events import EventRecorder
from berth_local.agent.plan.endpoints import ServicePort, endpoint_slice, endpoints_of, service_ports
from berth_local.agent.plan.objects import Key, Object, key_of, matches, uid_of
from berth_local.agent.service_proxy import Endpoint, PortProxy

log = logging.getLogger(__name__)

ENDPOINT_ANNOTATION = "berth.dev/endpoint"


class ServiceController(Controller):
    """Keeps one proxy per Service port. `address_of` tells where a pod (by uid) listens, if it runs here."""

    def __init__(
        self,
        client: ApiClient,
        events: EventRecorder,
        services: Cache,
        pods: Cache,
        address_of: Callable[[str], Address | None],
    ) -> None:
        super().__init__(client, events)
        self._services, self._pods, self._address_of = services, pods, address_of
        self._proxies: dict[Key, dict[ServicePort, PortProxy]] = {}
        self._uids: dict[Key, str] = {}
        self._slices: dict[str, Object] = {}
        services.subscribe(lambda service: self._queue.add(key_of(service)))
        pods.subscribe(self._pod_changed)

    async def reconcile(self, key: Key) -> None:
        """Open, refresh and close the proxies of one Service and say where it is reached."""
        service = self._services.get(key)
        if service is not None and self._uids.get(key) != uid_of(service):
            await self._close(key)
        wanted = service_ports(service) if service is not None else ()
        open_now = self._proxies.setdefault(key, {})
        for port in [port for port in open_now if port not in wanted]:
            await open_now.pop(port).close()
        if service is None or not wanted:
            del self._proxies[key]
            self._slices.pop(self._uids.pop(key, ""), None)
            return
        self._uids[key] = uid_of(service)
        for port in wanted:
            if port not in open_now:
                open_now[port] = self._open(key, service, port)
            await open_now[port].refresh()
        await self._annotate(key, service, open_now[wanted[0]].address)
        await self._publish(service, wanted)

    async def close(self) -> None:
        """Stop listening everywhere."""
        for key in list(self._proxies):
            await self._close(key)

    async def _close(self, key: Key) -> None:
        for proxy in self._proxies.pop(key, {}).values():
            await proxy.close()

    def _open(self, key: Key, service: Object, port: ServicePort) -> PortProxy:
        def ready() -> list[Endpoint]:
            current = self._services.get(key)
            return [] if current is None else endpoints_of(current, port, self._pods, self._address_of)

        proxy = PortProxy(ready)
        candidates = [
            (service["spec"]["clusterIP"], port.port),
            (LOOPBACK, _port_before(service)),
            (LOOPBACK, 0),
        ]
        proxy.reserve([(ip, number) for ip, number in candidates if ip])
        return proxy

    async def _annotate(self, key: Key, service: Object, address: Endpoint) -> None:
        url = f"http://{address[0]}:{address[1]}"
        if (service["metadata"].get("annotations") or {}).get(ENDPOINT_ANNOTATION) != url:
            body = {"metadata": {"annotations": {ENDPOINT_ANNOTATION: url}}}
            stored = await self._client.merge(SERVICES, key.namespace, key.name, body)
            service = {"apiVersion": "v1", "kind": "Service", **stored}
            self._services.put(service)
        as_asked = address == (service["spec"]["clusterIP"], service["spec"]["ports"][0]["port"])
        balanced = service["spec"].get("type") == "LoadBalancer" and as_asked
        ingress = [{"ip": address[0], "ipMode": "Proxy"}] if balanced else []
        before = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
        if before != ingress:
            status = {"status": {"loadBalancer": {"ingress": ingress or None}}}
            stored = await self._client.merge(SERVICES, key.namespace, key.name, status, "status")
            self._services.put({"apiVersion": "v1", "kind": "Service", **stored})

    async def _publish(self, service: Object, ports: tuple[ServicePort, ...]) -> None:
        body = endpoint_slice(service, ports, self._pods, self._address_of)
        if self._slices.get(uid_of(service)) != body:
            await self._client.apply(ENDPOINT_SLICES, body)
            self._slices[uid_of(service)] = body

    def _pod_changed(self, pod: Object) -> None:
        for service in self._services:
            selector = service["spec"].get("selector")
            same_place = service["metadata"]["namespace"] == pod["metadata"]["namespace"]
            if same_place and matches({"matchLabels": selector}, pod["metadata"].get("labels") or {}):
                self._queue.add(key_of(service))


def _port_before(service: Object) -> int:
    """The port of a previous run's annotation, so that an address once told keeps working where it can."""
    url = str((service["metadata"].get("annotations") or {}).get(ENDPOINT_ANNOTATION, ""))
    place, _, port = url.removeprefix("http://").rpartition(":")
    return int(port) if place == LOOPBACK and port.isdecimal() else 0
