"""The operator as a process: connect, list, watch, reconcile, until told to stop."""

import asyncio
import contextlib
import logging
import os
import signal
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import kopf

from berth_operator.cluster_cache import ClusterCache
from berth_operator.controller import Controller, ResourceMissing
from berth_operator.kube import KubeClient, KubeError
from berth_operator.leadership import Leadership
from berth_operator.observe.health import HealthWatch
from berth_operator.presets import load_presets
from berth_operator.probes import probe_server
from berth_operator.reconcile import Reconciler
from berth_operator.settings import Settings
from berth_operator.watches import keep_watching

log = logging.getLogger(__name__)

START_RETRY_SECONDS = 3.0


def rfc3339_now() -> str:
    """Return the present moment as Kubernetes writes times."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def microtime_now() -> str:
    """Return the present moment as Leases have it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def configure_logging(settings: Settings) -> None:
    """Log to standard error, one line an entry, as text or as JSON."""
    json_lines = settings.log_format == "json"
    kopf.configure(verbose=False, log_format=kopf.LogFormat.JSON if json_lines else kopf.LogFormat.FULL)
    # kopf logs every event it hands to a handler; ours only mark a key.
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)


async def run(settings: Settings) -> None:
    """Run until cancelled, as SIGTERM and SIGINT do. Raises `PresetError` if the presets cannot be read."""
    _cancel_on_signals()
    catalogue = load_presets(settings.presets_dir)
    log.info(
        "%d presets; watching %s", len(catalogue), ", ".join(settings.watch_namespaces) or "all namespaces"
    )
    async with await KubeClient.connect() as client:
        cache = ClusterCache()
        # What a pod says of its start is a reason to look at its Workspace.
        health = HealthWatch(lambda key: controller.wake([key]))
        reconciler = Reconciler(client, cache, catalogue, settings, rfc3339_now, health)
        controller = Controller(client, cache, reconciler, settings)
        leadership = _leadership(client, settings)
        async with (
            probe_server(controller, settings.liveness_port, leadership),
            _led(leadership),
            health.running(),
        ):
            await _start(controller)
            try:
                await keep_watching(controller, settings)
            finally:
                await controller.stop()


def _cancel_on_signals() -> None:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    for number in (signal.SIGTERM, signal.SIGINT):
        # Once: what is being put in order meanwhile would be cancelled by a second one.
        loop.add_signal_handler(number, lambda: task and not task.cancelling() and task.cancel())


def _leadership(client: KubeClient, settings: Settings) -> Leadership | None:
    if settings.leader_election is None:
        return None
    # The pod's name tells people who leads; the rest tells a restarted container from the one before it.
    identity = f"{os.environ.get('HOSTNAME', 'operator')}_{uuid.uuid4().hex[:8]}"
    return Leadership(client, settings.leader_election, identity, microtime_now)


@contextlib.asynccontextmanager
async def _led(leadership: Leadership | None) -> AsyncIterator[None]:
    """Wait until this operator leads, and keep leading while the context lasts; it is cancelled when that ends.

    Raises `LeadershipLost` at the end if it was lost.
    """
    if leadership is None:
        yield
        return
    await leadership.acquire()
    led = asyncio.current_task()
    keeping = asyncio.create_task(leadership.keep(), name="lease")
    keeping.add_done_callback(lambda task: led.cancel() if led and not task.cancelled() else None)
    try:
        yield
    finally:
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping
        await leadership.release()


async def _start(controller: Controller) -> None:
    """Wait for the API server and for the CRD: both may come up after the operator does."""
    while True:
        try:
            await controller.start()
        except ResourceMissing:
            log.warning("the cluster has no kind Workspace; install the CRD (the chart does); looking again")
        except KubeError as error:
            log.warning("cannot list the cluster's objects yet: %s", error)
        else:
            return
        await asyncio.sleep(START_RETRY_SECONDS)
