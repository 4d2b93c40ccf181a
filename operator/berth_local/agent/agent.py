"""The node agent: watches the API server and runs what is bound to its one node."""

import asyncio
import logging
import shutil
from datetime import UTC, datetime
from pathlib import Path

from berth_local.agent.addresses import Address, own_addresses
from berth_local.agent.cache import Cache
from berth_local.agent.client import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    NODES,
    PODS,
    REPLICA_SETS,
    SECRETS,
    SERVICES,
    ApiClient,
)
from berth_local.agent.controllers import DeploymentController, ReplicaSetController
from berth_local.agent.events import EventRecorder
from berth_local.agent.host import NODE_NAME, Host, Rules, node_of, node_status
from berth_local.agent.logs import PodLogs
from berth_local.agent.plan.objects import Object, controller_uid, deleting, key_of, time_text, uid_of
from berth_local.agent.pod_worker import PodWorker
from berth_local.agent.processes import Processes
from berth_local.agent.scheduler import Scheduler
from berth_local.agent.service_controller import ServiceController

log = logging.getLogger(__name__)

STOP_SECONDS = 5.0
"""What pods get to end when the node itself stops: nobody waits for their answers any more."""


class NodeAgent:
    """One node, with the controllers that a cluster would bring. Use it as an async context manager.

    `state` is a folder for the pods' files; `logs` is where `kubectl logs` reads; `processes` starts and
    guards the programs and is closed by its owner.
    """

    def __init__(
        self,
        url: str,
        state: Path,
        processes: Processes,
        logs: PodLogs | None = None,
        rules: Rules | None = None,
    ) -> None:
        self._url, self._state, self._processes = url, state, processes
        self._logs, self._rules = logs or PodLogs(), rules or Rules()
        self._workers: dict[str, PodWorker] = {}
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "NodeAgent":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Register the node, end what a previous run left in the API, and begin to work."""
        self._state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._client = ApiClient(self._url)
        try:
            await self._start(self._client)
        except BaseException:
            await _cancelled(self._tasks)
            await self._client.close()
            raise

    async def _start(self, client: ApiClient) -> None:
        self._events = events = EventRecorder(client, NODE_NAME)
        node = await self._register()
        resources = (DEPLOYMENTS, REPLICA_SETS, PODS, SERVICES, SECRETS, CONFIG_MAPS)
        caches = [Cache(client, resource) for resource in resources]
        deployments, replica_sets, pods, services, secrets, config_maps = caches
        self._pods = pods
        self._host = Host(
            client=client,
            processes=self._processes,
            events=events,
            logs=self._logs,
            rules=self._rules,
            state=self._state,
            own_addresses=own_addresses() if self._rules.own_addresses is None else self._rules.own_addresses,
            pods=pods,
            secrets=secrets,
            config_maps=config_maps,
            allocatable=node["status"]["allocatable"],
        )
        await self._clean_up()
        pods.subscribe(self._pod_changed)
        for cache in (secrets, config_maps):
            cache.subscribe(self._source_changed)
        self._services = ServiceController(client, events, services, pods, self.address_of)
        controllers = (
            DeploymentController(client, events, deployments, replica_sets, pods),
            ReplicaSetController(client, events, replica_sets, pods),
            Scheduler(client, events, pods, node),
            self._services,
        )
        self._tasks = [asyncio.create_task(events.run()), asyncio.create_task(events.expire())]
        # Pods come last, as they need their Secrets; controllers after all, as half a view would mislead them.
        for group in ((deployments, replica_sets, services, secrets, config_maps), (pods,)):
            self._tasks += [asyncio.create_task(cache.run()) for cache in group]
            for cache in group:
                await cache.synced()
        self._tasks += [asyncio.create_task(one.run()) for one in controllers]

    async def stop(self) -> None:
        """End every pod's processes and stop working. The objects stay as they are."""
        recording, *others = self._tasks
        await _cancelled(others)
        await self._services.close()
        await asyncio.gather(*(worker.stop(STOP_SECONDS) for worker in self._workers.values()))
        await _cancelled(list(self._runs.values()))
        await self._events.flush(1.0)
        await _cancelled([recording])
        await self._client.close()

    def address_of(self, uid: str) -> Address | None:
        """Return where a pod listens, if it runs here."""
        worker = self._workers.get(uid)
        return worker.address if worker is not None else None

    async def _register(self) -> Object:
        now = time_text(datetime.now(UTC))
        await self._client.apply(NODES, node_of(self._rules, self._state))
        status = node_status(self._rules, self._state, now)
        body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE_NAME}, "status": status}
        node = await self._client.apply(NODES, body, "status")
        self._events.record({**body, **node}, "Starting", "Starting the embedded node agent.")
        return node

    async def _clean_up(self) -> None:
        """Remove the pods of a previous run, whose processes ended with it: their ReplicaSets make new ones.

        A pod that nobody would make anew keeps its object and is run again.
        """
        shutil.rmtree(self._state / "pods", ignore_errors=True)
        pods, _ = await self._client.list(PODS)
        for pod in pods:
            if pod["spec"].get("nodeName") == NODE_NAME and (controller_uid(pod) or deleting(pod)):
                key = key_of(pod)
                await self._client.delete(PODS, key.namespace, key.name, uid_of(pod), grace_seconds=0)

    def _pod_changed(self, pod: Object) -> None:
        uid, worker = uid_of(pod), self._workers.get(uid_of(pod))
        present = self._pods.get(key_of(pod))
        if present is None or uid_of(present) != uid:
            if worker is not None:
                worker.gone()
        elif worker is not None:
            worker.update(pod)
        elif pod["spec"].get("nodeName") == NODE_NAME:
            worker = self._workers[uid] = PodWorker(self._host, pod)
            run = self._runs[uid] = asyncio.create_task(worker.run())
            run.add_done_callback(lambda _: self._forget(uid))

    def _forget(self, uid: str) -> None:
        self._workers.pop(uid, None)
        run = self._runs.pop(uid, None)
        if run is not None and not run.cancelled() and (error := run.exception()) is not None:
            log.error("a pod's worker failed", exc_info=error)

    def _source_changed(self, obj: Object) -> None:
        for worker in list(self._workers.values()):
            if worker.namespace == obj["metadata"].get("namespace"):
                worker.sources_changed()


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
