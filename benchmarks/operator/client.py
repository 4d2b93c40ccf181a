"""A tight asynchronous client of an API server: what the operator's writes cost without an operator."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import aiohttp

Object = dict[str, Any]

WORKSPACES = ("/apis/kaito.sh/v1beta1", "workspaces")
DEPLOYMENTS = ("/apis/apps/v1", "deployments")
SERVICES = ("/api/v1", "services")
PODS = ("/api/v1", "pods")
KINDS = (WORKSPACES, DEPLOYMENTS, SERVICES)

AT_ONCE = 16
"""Requests that the client has under way; more bring no more on two cores."""

_HEADERS = {
    "apply": {"Content-Type": "application/apply-patch+yaml"},
    "merge": {"Content-Type": "application/merge-patch+json"},
    "json": {"Content-Type": "application/json"},
}


class Client:
    """Requests to one namespace over kept connections; `session` trusts the server and is trusted by it."""

    def __init__(self, url: str, session: aiohttp.ClientSession, namespace: str) -> None:
        self._url, self._session, self.namespace = url, session, namespace

    def _path(self, kind: tuple[str, str], *more: str) -> str:
        return "/".join((self._url + kind[0], "namespaces", self.namespace, kind[1], *more))

    async def send(
        self, method: str, path: str, body: Object | None = None, how: str = "json", **query: str
    ) -> Any:
        """Send one request and return the answer's object; ends the program where it is refused."""
        data = None if body is None else json.dumps(body)
        async with self._session.request(method, path, data=data, headers=_HEADERS[how], params=query) as got:
            text = await got.text()
            if got.status >= 300:
                raise SystemExit(f"{method} {path} answered {got.status}: {text[:300]}")
            return json.loads(text)

    async def create_workspace(self, name: str) -> Object:
        """Create a Workspace of tiny-chat, as a user does."""
        body = {
            "apiVersion": "kaito.sh/v1beta1",
            "kind": "Workspace",
            "metadata": {"name": name, "namespace": self.namespace},
            "resource": {"labelSelector": {"matchLabels": {"benchmark": "none"}}},
            "inference": {"preset": {"name": "tiny-chat"}},
        }
        return dict(await self.send("POST", self._path(WORKSPACES), body))

    async def get(self, kind: tuple[str, str], name: str) -> Object:
        """Read one object."""
        return dict(await self.send("GET", self._path(kind, name)))

    async def count(self, kind: tuple[str, str]) -> int:
        """How many objects of a kind there are."""
        first = await self.send("GET", self._path(kind), limit="1")
        return len(first["items"]) + int(first["metadata"].get("remainingItemCount", 0))

    async def write_as_the_operator(self, written: Iterable[Object], owner: Object) -> None:
        """Make the writes of a Workspace: Deployment and Service applied, then the status."""
        name = owner["metadata"]["name"]
        deployment, service, status = (renamed(body, owner) for body in written)
        query = {"fieldManager": "berth", "force": "true"}
        await self.send("PATCH", self._path(DEPLOYMENTS, name), deployment, "apply", **query)
        await self.send("PATCH", self._path(SERVICES, name), service, "apply", **query)
        await self.send("PATCH", self._path(WORKSPACES, name, "status"), status, "merge")

    async def apply_deployment(self, written: Iterable[Object], owner: Object) -> None:
        """Make the first of these writes only."""
        deployment = renamed(next(iter(written)), owner)
        path = self._path(DEPLOYMENTS, owner["metadata"]["name"])
        await self.send("PATCH", path, deployment, "apply", fieldManager="berth", force="true")

    @contextlib.asynccontextmanager
    async def watching(self, seen: Callable[[str, Object], None]) -> AsyncIterator[None]:
        """Tell of every object of the three kinds that is created or changed, with its kind's plural."""
        begun = [asyncio.Event() for _ in KINDS]

        async def watch(kind: tuple[str, str], ready: asyncio.Event) -> None:
            query = {"watch": "true", "timeoutSeconds": "3600"}
            async with self._session.get(self._path(kind), params=query) as response:
                ready.set()
                async for line in response.content:
                    event = json.loads(line)
                    if event["type"] in ("ADDED", "MODIFIED"):
                        seen(kind[1], event["object"])

        tasks = [asyncio.create_task(watch(*pair)) for pair in zip(KINDS, begun, strict=True)]
        try:
            await asyncio.gather(*(ready.wait() for ready in begun))
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def what_was_written(deployment: Object, service: Object, workspace: Object) -> tuple[Object, Object, Object]:
    """Take from live objects what the operator had written: two objects to apply and a status."""

    def meant(live: Object, api_version: str, kind: str) -> Object:
        names = ("name", "namespace", "labels", "annotations", "ownerReferences")
        metadata = {name: live["metadata"][name] for name in names if name in live["metadata"]}
        metadata.get("annotations", {}).pop("deployment.kubernetes.io/revision", None)
        spec = {
            name: value for name, value in live["spec"].items() if not name.startswith(("clusterIP", "ip"))
        }
        return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}

    return (
        meant(deployment, "apps/v1", "Deployment"),
        meant(service, "v1", "Service"),
        {"status": workspace["status"]},
    )


def renamed(body: Object, owner: Object) -> Object:
    """Return a body for another Workspace."""
    if "metadata" not in body:
        return body
    meta = owner["metadata"]
    changed: Object = json.loads(
        json.dumps(body).replace(f'"{body["metadata"]["name"]}"', f'"{meta["name"]}"')
    )
    changed["metadata"]["namespace"] = meta["namespace"]
    for reference in changed["metadata"]["ownerReferences"]:
        reference["uid"] = meta["uid"]
    return changed


async def all_at_once(work: Callable[[str], Awaitable[object]], names: Iterable[str]) -> None:
    """Do work for every name, AT_ONCE of them at a time."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(name: str) -> None:
        async with limit:
            await work(name)

    await asyncio.gather(*(one(name) for name in names))
