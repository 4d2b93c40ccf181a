"""The agent's connection to its API server: plain HTTP on loopback, plain dicts, a watch per resource.

The official client is not used here: there is nothing of TLS, credentials or kubeconfig to bring, and a node
needs watches, deletes and objects without a namespace, which the operator's client has no use for.
"""

import json
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

import aiohttp

from berth_local.agent.plan.objects import Object
from berth_operator.kube import Conflict, KubeError, NotFound, Refused, Resource

FIELD_MANAGER = "berth-agent"

DEPLOYMENTS = Resource("apps/v1", "deployments")
REPLICA_SETS = Resource("apps/v1", "replicasets")
PODS = Resource("v1", "pods")
SERVICES = Resource("v1", "services")
SECRETS = Resource("v1", "secrets")
CONFIG_MAPS = Resource("v1", "configmaps")
NODES = Resource("v1", "nodes")
ENDPOINT_SLICES = Resource("discovery.k8s.io/v1", "endpointslices")
EVENTS = Resource("v1", "events")

REQUEST_SECONDS = 30.0
"""Far beyond what an API server in the same process takes, so that exceeding it means that it is gone."""

_KINDS = {400: Refused, 403: Refused, 404: NotFound, 409: Conflict, 422: Refused}


class Expired(KubeError):
    """The resourceVersion asked for is too old (410): list again."""


class ApiClient:
    """Requests to one API server. Use it as an async context manager."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_SECONDS)
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(
            timeout=timeout, connector=connector, headers={"User-Agent": FIELD_MANAGER}
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def get(self, path: str, accept: str = "application/json") -> Object:
        """Return what a path answers."""
        return await self._request("GET", path, accept=accept)

    async def create(self, resource: Resource, body: Object) -> Object:
        """Create an object and return it as stored."""
        namespace = body["metadata"].get("namespace")
        return await self._request("POST", resource.path(namespace), body=body)

    async def merge(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        body: Object,
        subresource: str | None = None,
    ) -> Object:
        """Merge-patch an object or its subresource and return it as stored."""
        path = resource.path(namespace, name, subresource)
        return await self._request("PATCH", path, body=body, content_type="application/merge-patch+json")

    async def apply(
        self, resource: Resource, body: Object, subresource: str | None = None, manager: str = FIELD_MANAGER
    ) -> Object:
        """Server-side apply an object or its subresource and return it as stored."""
        meta = body["metadata"]
        path = resource.path(meta.get("namespace"), meta["name"], subresource)
        return await self._request(
            "PATCH",
            path,
            query={"fieldManager": manager, "force": "true"},
            body=body,
            content_type="application/apply-patch+yaml",
        )

    async def replace_status(self, resource: Resource, body: Object) -> Object:
        """Write the status of an object as a whole; Conflict when the object changed meanwhile."""
        meta = body["metadata"]
        path = resource.path(meta.get("namespace"), meta["name"], "status")
        return await self._request("PUT", path, body=body)

    async def bind(self, namespace: str, name: str, uid: str, node: str) -> Object:
        """Bind a pod to a node and return the pod as stored."""
        body: Object = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "namespace": namespace, "uid": uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        await self._request("POST", PODS.path(namespace, name, "binding"), body=body)
        return await self._request("GET", PODS.path(namespace, name))

    async def delete(
        self, resource: Resource, namespace: str | None, name: str, uid: str, grace_seconds: int | None = None
    ) -> None:
        """Delete the object of that uid; nothing happens when it is gone or another one bears its name."""
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        options["propagationPolicy"] = "Background"
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        try:
            await self._request("DELETE", resource.path(namespace, name), body=options)
        except (NotFound, Conflict):
            return

    async def list(self, resource: Resource) -> tuple[list[Object], str]:
        """Return every object of a resource, and the resourceVersion of the whole."""
        answer = await self._request("GET", resource.path())
        kind = str(answer.get("kind", "")).removesuffix("List")
        named = {"apiVersion": resource.api_version, "kind": kind}
        return [{**named, **item} for item in answer.get("items") or ()], answer["metadata"][
            "resourceVersion"
        ]

    async def watch(self, resource: Resource, version: str) -> AsyncIterator[tuple[str, Object]]:
        """Yield (type, object) of the changes after a resourceVersion, until the server ends the watch.

        Raises Expired when the version is too old, and KubeError for any other error that the server tells.
        """
        query = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version}
        try:
            async with self._session.get(self._url + resource.path(), params=query) as response:
                if response.status >= 300:
                    raise _error(response.status, await response.text())
                buffer = b""
                async for chunk in response.content.iter_any():
                    # Lines are cut here, as the session's own line reader refuses long ones.
                    *lines, buffer = (buffer + chunk).split(b"\n")
                    for line in lines:
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            raise _error(int(event["object"].get("code", 0)), json.dumps(event["object"]))
                        yield event["type"], event["object"]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable(error) from error

    async def _request(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Object:
        headers = {"Accept": accept, "Content-Type": content_type}
        params = (
            query if query is not None or method in ("GET", "DELETE") else {"fieldManager": FIELD_MANAGER}
        )
        data = None if body is None else json.dumps(body).encode()
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        try:
            async with self._session.request(
                method, self._url + path, params=params, data=data, headers=headers, timeout=timeout
            ) as response:
                text = await response.text()
                if response.status >= 300:
                    raise _error(response.status, text)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable(error) from error
        answer: Object = json.loads(text)
        return answer


def _error(status: int, text: str) -> KubeError:
    try:
        answer = json.loads(text)
    except ValueError:
        answer = {}
    if not isinstance(answer, dict) or answer.get("kind") != "Status":
        answer = {"message": f"the API server answered {status}"}
    kind = Expired if status == 410 else _KINDS.get(status, KubeError)
    return kind(status, str(answer.get("reason") or "Unknown"), str(answer.get("message") or status))


def _unreachable(error: BaseException) -> KubeError:
    return KubeError(0, "Unreachable", f"no answer from the API server: {str(error) or type(error).__name__}")
