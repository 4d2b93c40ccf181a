"""What tests need of an API server beyond what the operator's own client does: deletes, replaces, watches."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import ClientResponse

from berth_operator.api.names import API_VERSION, KIND
from berth_operator.cluster_cache import DEPLOYMENTS, EVENTS, SERVICES, WORKSPACES
from berth_operator.kube import Conflict, KubeClient, NotFound, Object, Resource

PATIENCE_SECONDS = 30.0
"""Far above what anything takes, so that a loaded machine is no failure; waits end as soon as they can."""

GARBAGE_SECONDS = 75.0
"""What is owned goes when the garbage collector has heard of the owner's kind, for which it looks every 30 s."""

POLL_SECONDS = 0.05
LONGEST_POLL_SECONDS = 0.5
"""What takes long is looked at less often: looking costs the API server what it needs to get there."""


async def eventually(
    look: Callable[[], Awaitable[Any]],
    accept: Callable[[Any], object],
    what: str = "",
    seconds: float = PATIENCE_SECONDS,
) -> Any:
    """Look until what is seen is accepted, and return it; fail with what was seen last."""
    deadline, pause = time.monotonic() + seconds, POLL_SECONDS
    while True:
        seen = await look()
        if accept(seen):
            return seen
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:.0f} s: {what}\nlast seen: {_readable(seen)}")
        await asyncio.sleep(pause)
        pause = min(pause * 1.2, LONGEST_POLL_SECONDS)


def _readable(seen: object) -> str:
    """What was seen, without who wrote which field of it when."""
    if isinstance(seen, dict) and "metadata" in seen:
        metadata = {name: value for name, value in seen["metadata"].items() if name != "managedFields"}
        seen = {**seen, "metadata": metadata}
    return json.dumps(seen, default=str)[:6000]


def condition(workspace: Object | None, kind: str = "Ready") -> Object:
    """A condition of a Workspace; {} where it has none of that type."""
    found = ((workspace or {}).get("status") or {}).get("conditions") or []
    return next((item for item in found if item["type"] == kind), {})


def is_ready(workspace: Object | None) -> bool:
    return condition(workspace).get("status") == "True"


def version(obj: Object) -> int:
    """The moment of an object's last change, in the order of all changes of the cluster."""
    return int(obj["metadata"]["resourceVersion"])


class Cluster(KubeClient):
    """The objects of one namespace."""

    namespace: str

    async def create_workspace(self, name: str, **inference: Any) -> Object:
        return await self.create(WORKSPACES, workspace(self.namespace, name, **inference))

    async def workspace(self, name: str) -> Object | None:
        return await self.get(WORKSPACES, self.namespace, name)

    async def deployment(self, name: str) -> Object | None:
        return await self.get(DEPLOYMENTS, self.namespace, name)

    async def service(self, name: str) -> Object | None:
        return await self.get(SERVICES, self.namespace, name)

    async def edit(
        self, resource: Resource, name: str, patch: Object, subresource: str | None = None
    ) -> Object:
        """Merge-patch an object as somebody other than the operator."""
        return await self._request(
            "PATCH",
            resource.path(self.namespace, name, subresource),
            [("fieldManager", "somebody-else")],
            patch,
            "application/merge-patch+json",
        )

    async def changed(self, resource: Resource, name: str, change: Callable[[Object], object]) -> Object:
        """Change an object as `kubectl edit` does, again if somebody was quicker; return what came of it."""
        path = resource.path(self.namespace, name)
        while True:
            live = await self._request("GET", path)
            change(live)
            with suppress(Conflict):
                return await self._request("PUT", path, [("fieldManager", "somebody-else")], live)

    async def send(self, resource: Resource, body: Object) -> Object:
        """Create an object whose text may be anything, as a user's file may be."""
        return await self._request("POST", resource.path(self.namespace), None, body)

    async def send_strictly(self, resource: Resource, body: Object) -> Object:
        """Create an object as kubectl does: an unknown field is an error."""
        query = [("fieldValidation", "Strict")]
        return await self._request("POST", resource.path(self.namespace), query, body)

    async def delete(self, resource: Resource, name: str, grace: int | None = None) -> None:
        query = [] if grace is None else [("gracePeriodSeconds", str(grace))]
        with suppress(NotFound):
            await self._request("DELETE", resource.path(self.namespace, name), query)

    async def post(self, path: str, body: Object) -> Object:
        return await self._request("POST", path, None, body)

    async def reported(self, name: str, reason: str) -> Object:
        """Wait until the Workspace's Ready condition, of its present generation, has this reason."""

        def told(seen: Object | None) -> bool:
            ready = condition(seen)
            return bool(
                seen
                and ready.get("reason") == reason
                and ready["observedGeneration"] == seen["metadata"]["generation"]
            )

        return await self.seen(lambda: self.workspace(name), told, f"{name} is {reason}")

    async def deployed(self, name: str, accept: Callable[[Object], object] = bool) -> Object:
        """Wait until the Workspace's Deployment is there and accepted."""
        return await self.seen(lambda: self.deployment(name), accept, f"Deployment {name}")

    async def exposed(self, name: str, accept: Callable[[Object], object] = bool) -> Object:
        """Wait until the Workspace's Service is there and accepted."""
        return await self.seen(lambda: self.service(name), accept, f"Service {name}")

    async def seen(
        self, look: Callable[[], Awaitable[Object | None]], accept: Callable[[Object], object], what: str
    ) -> Object:
        """Wait until there is something and it is accepted."""
        found: Object = await eventually(look, lambda live: live is not None and accept(live), what)
        return found

    async def give_address(self, name: str, address: str) -> None:
        """Give a Service an address from outside, as a cloud's load balancer does."""
        status = {"loadBalancer": {"ingress": [{"ip": address}]}}
        await self.edit(SERVICES, name, {"status": status}, "status")

    async def gone(self, resource: Resource, name: str) -> None:
        await eventually(
            lambda: self.get(resource, self.namespace, name),
            lambda seen: seen is None,
            f"{name} is gone",
            GARBAGE_SECONDS,
        )

    async def events(self, name: str) -> list[Object]:
        """The Events about a Workspace."""
        live = await self.list_all(EVENTS, self.namespace)
        about = ("Workspace", name)
        return [
            item
            for item in live
            if (item["involvedObject"].get("kind"), item["involvedObject"].get("name")) == about
        ]

    async def caught_up(self, history: list[Object], latest: Object) -> None:
        """Wait until a history has come to this version of an object."""

        async def versions() -> list[int]:
            return list(map(version, history))

        await eventually(versions, lambda seen: version(latest) in seen, "the history's end")

    @asynccontextmanager
    async def history(self, resource: Resource) -> AsyncIterator[list[Object]]:
        """Keep every version of the namespace's objects that there is while the context lasts."""
        answer = await self._request("GET", resource.path(self.namespace))
        seen: list[Object] = []
        query = f"?watch=true&resourceVersion={answer['metadata']['resourceVersion']}"
        request = await self._api.param_serialize(
            "GET",
            resource.path(self.namespace) + query,
            header_params={"Accept": "application/json"},
            auth_settings=["BearerToken"],
        )
        response = (await self._api.call_api(*request, _request_timeout=600)).response

        async def keep() -> None:
            async for line in response.content:
                event = json.loads(line)
                if event["type"] in ("ADDED", "MODIFIED"):
                    seen.append(event["object"])

        keeping = asyncio.create_task(keep())
        try:
            yield seen
        finally:
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping
            await _hang_up(response)


async def _hang_up(response: ClientResponse) -> None:
    """End an answer that has no end. Over TLS, closing takes a goodbye for which a test's loop does not wait."""
    connection = response.connection
    if connection is None or connection.transport is None or connection.protocol is None:
        return
    closed = connection.protocol.closed
    connection.transport.abort()
    if closed is not None:
        await asyncio.wait([closed])
    response.close()


def workspace(namespace: str, name: str, **inference: Any) -> Object:
    """A Workspace whose pods no scheduler places, by a label that no node has; tests play the nodes."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name, "namespace": namespace},
        "resource": {"count": 1, "labelSelector": {"matchLabels": {"berth.dev/test-node": name}}},
        "inference": inference or {"preset": {"name": "phi-3-mini-4k-instruct"}},
    }
