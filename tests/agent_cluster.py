"""An embedded control plane without the operator, and ways to await what happens on it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from berth_local.agent.cache import Cache
from berth_local.agent.client import (
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    EVENTS,
    NODES,
    PODS,
    REPLICA_SETS,
    SECRETS,
    SERVICES,
    ApiClient,
)
from berth_local.agent.host import Rules
from berth_local.agent.plan.backoff import Backoff
from berth_local.agent.plan.images import INFERENCE, Image
from berth_local.agent.plan.objects import Key, Object, condition, deleting
from berth_local.control_plane import ControlPlane

T = TypeVar("T")

SECONDS = 30.0
"""Far more than anything here takes on a loaded machine; only a failure waits this long."""

PROGRAM = str(Path(__file__).with_name("agent_program.py"))
IMAGE = "registry.example/test/python:3"
RULES = Rules(
    images=(INFERENCE, Image("python")),
    restart=Backoff(first_seconds=0.2, longest_seconds=1.0),
    image_retry=Backoff(first_seconds=0.2, longest_seconds=1.0),
    capacity={"cpu": "64", "memory": "64Gi"},
)
WATCHED = (DEPLOYMENTS, REPLICA_SETS, PODS, SERVICES, ENDPOINT_SLICES, EVENTS, NODES, SECRETS)


class Cluster:
    """The control plane under test and a view of its objects that is kept current."""

    def __init__(self, plane: ControlPlane, client: ApiClient, web: aiohttp.ClientSession) -> None:
        self.plane, self.client, self.web = plane, client, web
        self.caches = {resource.plural: Cache(client, resource) for resource in WATCHED}
        self._changed = asyncio.Event()
        for cache in self.caches.values():
            cache.subscribe(lambda _: self._changed.set())

    def get(self, plural: str, name: str) -> Object | None:
        return self.caches[plural].get(Key("" if plural == "nodes" else "default", name))

    def pods(self, app: str = "web") -> list[Object]:
        found = [
            pod for pod in self.caches["pods"] if (pod["metadata"].get("labels") or {}).get("app") == app
        ]
        return sorted(found, key=lambda pod: int(pod["metadata"]["resourceVersion"]))

    def events(self, reason: str) -> list[Object]:
        return [event for event in self.caches["events"] if event["reason"] == reason]

    def told(self, reason: str, message: str) -> list[Object]:
        return [event for event in self.events(reason) if event["message"] == message]

    async def until(self, look: Callable[[], T | None], seconds: float = SECONDS) -> T:
        """Wait until `look` returns something true, looking again whenever an object changes."""
        try:
            async with asyncio.timeout(seconds):
                while not (found := look()):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(
                f"not within {seconds} s; pods: {[pod.get('status') for pod in self.pods()]}"
            ) from None
        return found

    async def create(self, resource: Any, body: Object) -> Object:
        return await self.client.create(resource, body)

    async def available(self, name: str = "web", replicas: int = 1) -> Object:
        """Wait until a Deployment has settled with that many pods of its present template."""

        def settled() -> Object | None:
            found = self.get("deployments", name)
            status = (found or {}).get("status") or {}
            if found is None or status.get("observedGeneration") != found["metadata"]["generation"]:
                return None
            counts = [status.get(f"{kind}eplicas", 0) for kind in ("r", "updatedR", "readyR", "availableR")]
            return found if counts == [replicas] * 4 else None

        return await self.until(settled)

    async def endpoint(self, name: str = "web") -> str:
        """Wait until a Service's address is known."""

        def known() -> str | None:
            service = self.get("services", name)
            return ((service or {}).get("metadata", {}).get("annotations") or {}).get("berth.dev/endpoint")

        return await self.until(known)

    async def serving(self, pods: int = 1) -> str:
        """Wait until a Service forwards to that many pods, and return its address."""

        def forwards() -> bool:
            shown = [one for found in self.caches["endpointslices"] for one in found.get("endpoints") or ()]
            return sum(one["conditions"]["ready"] for one in shown) == pods

        await self.until(forwards)
        return await self.endpoint()

    async def ask(self, url: str) -> dict[str, Any]:
        async with self.web.get(url) as response:
            answer: dict[str, Any] = await response.json(content_type=None)
            return answer

    async def tell(self, pod: Object, path: str) -> None:
        """Ask a pod itself for a path, whether or not its Service knows it."""
        with contextlib.suppress(aiohttp.ClientError):
            async with self.web.get(f"http://{pod['status']['podIP']}:5000{path}"):
                pass


@contextlib.asynccontextmanager
async def cluster(folder: Path, rules: Rules = RULES) -> AsyncIterator[Cluster]:
    async with (
        ControlPlane(folder, rules=rules, with_operator=False) as plane,
        plane.client() as client,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as web,
    ):
        made = Cluster(plane, client, web)
        watching = [asyncio.create_task(cache.run()) for cache in made.caches.values()]
        for cache in made.caches.values():
            await cache.synced()
        try:
            yield made
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)


def container(**more: Any) -> Object:
    """A container that serves; one whose readiness probe is given is ready only when told so."""
    given = {
        "name": "main",
        "image": IMAGE,
        "command": ["python", PROGRAM],
        "readinessProbe": probe(),
        **more,
    }
    env = [{"name": "READY", "value": "1"}] if "readinessProbe" not in more else []
    ports = [{"name": "http", "containerPort": 5000}]
    return {"ports": ports, **given, "env": [*env, *(more.get("env") or [])]}


def probe(path: str = "/health", **more: Any) -> Object:
    return {"httpGet": {"path": path, "port": "http"}, "periodSeconds": 1, "timeoutSeconds": 5, **more}


def shell(script: str, **more: Any) -> Object:
    return {"name": "main", "image": IMAGE, "command": ["sh", "-c", script], **more}


def pod(*containers: Object, name: str = "web", **spec: Any) -> Object:
    meta = {"name": name, "namespace": "default", "labels": {"app": "web"}}
    body = {"containers": list(containers) or [container()], "terminationGracePeriodSeconds": 5, **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": body}


def deployment(*containers: Object, replicas: int = 1, **spec: Any) -> Object:
    template = pod(*containers)
    template = {"metadata": {"labels": template["metadata"]["labels"]}, "spec": template["spec"]}
    body = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template, **spec}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": body,
    }


def service(**spec: Any) -> Object:
    body = {
        "selector": {"app": "web"},
        "ports": [{"name": "http", "port": 8080, "targetPort": "http"}],
        **spec,
    }
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": body,
    }


def status_of(subject: Object, kind: str) -> str:
    return str((condition(subject, kind) or {}).get("status"))


def state_of(subject: Object | None, number: int = 0, field: str = "containerStatuses") -> Object:
    """A container's `state`, `lastState` and counts, with the waiting reason at `reason` when there is one."""
    entries = ((subject or {}).get("status") or {}).get(field) or []
    if len(entries) <= number:
        return {}
    entry = dict(entries[number])
    waiting = (entry.get("state") or {}).get("waiting") or {}
    return {**entry, "reason": waiting.get("reason"), "message": waiting.get("message")}


def running(pods: list[Object]) -> Object | None:
    """The first pod whose container's process runs."""
    return next((one for one in pods if "running" in (state_of(one).get("state") or {})), None)


def living(pods: list[Object]) -> list[Object]:
    return [one for one in pods if not deleting(one)]
