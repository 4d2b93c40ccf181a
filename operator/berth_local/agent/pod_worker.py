"""One pod on the node: from bound to gone, its status kept true all the while."""

import asyncio
import contextlib
import logging
import shutil
from datetime import UTC, datetime
from pathlib import Path

from berth_local.agent.addresses import Address, NoAddress, allot
from berth_local.agent.client import PODS
from berth_local.agent.container import Container
from berth_local.agent.host import Host
from berth_local.agent.plan.environment import ConfigError
from berth_local.agent.plan.objects import Object, deleting, key_of, uid_of
from berth_local.agent.plan.pod_status import Facts, Place, Terminated, grace_seconds, pod_status
from berth_local.agent.setup import PodContext
from berth_local.agent.volumes import make_volumes
from berth_operator.kube import KubeError, NotFound

log = logging.getLogger(__name__)

MOUNT_RETRY_SECONDS = 5.0
"""How often volumes that cannot be made are tried again, besides when a Secret or ConfigMap changes."""

STATUS_RETRY_SECONDS = 1.0
"""Until a status that could not be written is written again."""

GONE_GRACE_SECONDS = 1.0
"""What the containers of a pod that was force-deleted get to end: the kubelet's least."""

HOST_IP = "127.0.0.1"


class PodWorker:
    """Runs one pod. `run` returns when the pod is gone from the node."""

    def __init__(self, host: Host, pod: Object) -> None:
        self._host, self._pod = host, pod
        self._began = datetime.now(UTC)
        self._end = asyncio.Event()
        self._gone = self._stopping = False
        self._changed = asyncio.Event()
        self._sources_changed = asyncio.Event()
        meta = pod["metadata"]
        self._folder: Path = host.state / "pods" / f"{meta['namespace']}_{meta['name']}_{meta['uid']}"
        self.namespace = str(meta["namespace"])
        self.address: Address | None = None
        """Where the pod listens, once that is known."""
        spec = pod["spec"]
        self._init = [Facts(one["name"], one.get("image", "")) for one in spec.get("initContainers") or ()]
        self._main = [Facts(one["name"], one.get("image", "")) for one in spec["containers"]]
        self._containers: dict[str, Container] = {}

    def update(self, pod: Object) -> None:
        """Take in the pod as it is now."""
        self._pod = pod
        if deleting(pod):
            self._end.set()
        self._changed.set()

    def sources_changed(self) -> None:
        """Say that a Secret or ConfigMap changed. Running containers find the change in their files."""
        self._sources_changed.set()
        if self.address is not None and not self._stopping:
            # One that was deleted stays mounted as it was, as on any node.
            with contextlib.suppress(ConfigError, OSError):
                self._volumes()

    def gone(self) -> None:
        """Say that the pod was removed from the API without waiting for this node."""
        self._gone = True
        self._end.set()

    async def run(self) -> None:
        """Run the pod until its deletion, and remove what is left of it."""
        if deleting(self._pod):
            self._end.set()
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._host.logs.add(key_of(self._pod), self._folder / "logs")
        self._changed.set()
        reporting = asyncio.create_task(self._report())
        living = asyncio.create_task(self._live())
        try:
            await self._end.wait()
            await self._stop(GONE_GRACE_SECONDS if self._gone else grace_seconds(self._pod))
        finally:
            for task in (living, reporting):
                task.cancel()
            await asyncio.gather(living, reporting, return_exceptions=True)
        await self._write_status()
        await self._remove()

    async def stop(self, longest: float) -> None:
        """End the containers because the node goes, within `longest` seconds; the pod object stays as it is."""
        await self._stop(min(longest, grace_seconds(self._pod)))

    async def _stop(self, grace: float) -> None:
        self._stopping = True
        # Sidecars serve the others and so end after them.
        main = {facts.name for facts in self._main}
        await asyncio.gather(*(one.stop(grace) for name, one in self._containers.items() if name in main))
        await asyncio.gather(*(one.stop(grace) for name, one in self._containers.items() if name not in main))

    async def _live(self) -> None:
        try:
            context = await self._prepare()
            sidecars: list[asyncio.Task[None]] = []
            try:
                if await self._initialize(context, sidecars):
                    async with asyncio.TaskGroup() as group:
                        for spec in self._pod["spec"]["containers"]:
                            group.create_task(self._container(context, spec).run())
                    # Only a pod whose restart policy lets containers end comes here.
                    for name in {facts.name for facts in self._init}:
                        if (container := self._containers.get(name)) is not None:
                            await container.stop(grace_seconds(self._pod))
            finally:
                for task in sidecars:
                    task.cancel()
                await asyncio.gather(*sidecars, return_exceptions=True)
        except Exception as error:
            # A fault of the agent's own: told where the user looks, and not swallowed.
            self._host.events.record(
                self._pod, "Failed", f"Error: the embedded agent failed: {error!r}", "Warning"
            )
            log.exception("pod %s cannot be run", key_of(self._pod))
            raise

    def _container(self, context: PodContext, spec: Object, *, init: bool = False) -> Container:
        container = Container(context, spec, init=init)
        self._containers[spec["name"]] = container
        self._changed.set()
        return container

    async def _prepare(self) -> PodContext:
        spec = self._pod["spec"]
        ports = [
            int(port["containerPort"])
            for one in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
            for port in one.get("ports") or ()
        ]
        while True:
            self._sources_changed.clear()
            try:
                volumes = self._volumes()
                address = allot(ports, self._host.own_addresses)
                break
            except (ConfigError, NoAddress) as error:
                reason = "FailedMount" if isinstance(error, ConfigError) else "FailedCreatePodSandBox"
                self._host.events.record(self._pod, reason, f"{_SETUP[reason]}: {error}", "Warning")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._sources_changed.wait(), MOUNT_RETRY_SECONDS)
        self.address = address
        self._changed.set()
        return PodContext(
            self._host, self._pod, address, self._folder, volumes, self._sources_changed, self._changed.set
        )

    def _volumes(self) -> dict[str, Path]:
        namespace = str(self._pod["metadata"]["namespace"])
        return make_volumes(
            self._pod,
            self._folder / "volumes",
            self._host.of_namespace(self._host.secrets, namespace),
            self._host.of_namespace(self._host.config_maps, namespace),
        )

    async def _initialize(self, context: PodContext, sidecars: list[asyncio.Task[None]]) -> bool:
        """Run the init containers one after the other; return whether all of them let the pod go on."""
        for spec in self._pod["spec"].get("initContainers") or ():
            container = self._container(context, spec, init=True)
            if container.facts.sidecar:
                sidecars.append(asyncio.create_task(container.run()))
                await container.started.wait()
                continue
            await container.run()
            state = container.facts.state
            if self._stopping or not isinstance(state, Terminated) or state.exit_code != 0:
                return False
        return True

    def _status(self) -> Object:
        def now(facts: Facts) -> Facts:
            container = self._containers.get(facts.name)
            return container.facts if container is not None else facts

        ip = self.address.ip if self.address is not None else None
        place = Place(HOST_IP, ip, self._began)
        init, main = [now(one) for one in self._init], [now(one) for one in self._main]
        return pod_status(self._pod, place, init, main, datetime.now(UTC))

    async def _report(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            if not await self._write_status():
                await asyncio.sleep(STATUS_RETRY_SECONDS)
                self._changed.set()

    async def _write_status(self) -> bool:
        """Write the status when it differs from what the API server has; return whether it is up to date now."""
        status, known = self._status(), self._pod.get("status") or {}
        if self._gone or all(known.get(name) == value for name, value in status.items()):
            return True
        key = key_of(self._pod)
        body = {"metadata": {"uid": uid_of(self._pod)}, "status": status}
        try:
            pod = await self._host.client.merge(PODS, key.namespace, key.name, body, "status")
        except NotFound:
            return True
        except KubeError as error:
            log.info("status of pod %s was not written: %s", key, error)
            return False
        self._pod = {**pod, "apiVersion": "v1", "kind": "Pod"}
        self._host.pods.put(self._pod)
        return True

    async def _remove(self) -> None:
        """Remove the pod's files, then the pod: whoever sees that it is gone finds nothing left of it."""
        key = key_of(self._pod)
        self._host.logs.remove(key, self._folder / "logs")
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        while not self._gone:
            try:
                await self._host.client.delete(
                    PODS, key.namespace, key.name, uid_of(self._pod), grace_seconds=0
                )
                break
            except KubeError as error:
                log.info("pod %s was not removed: %s", key, error)
                await asyncio.sleep(STATUS_RETRY_SECONDS)


_SETUP = {
    "FailedMount": "MountVolume.SetUp failed",
    "FailedCreatePodSandBox": "Failed to create pod sandbox",
}
