"""The operator as a process: connect, list, watch, reconcile, until told to stop."""

import asyncio
import logging
from datetime import UTC, datetime

import kopf

from berth_operator.cluster_cache import ClusterCache
from berth_operator.controller import Controller, ResourceMissing
from berth_operator.handlers import watch_registry, watch_settings
from berth_operator.kube import KubeClient, KubeError
from berth_operator.presets import load_presets
from berth_operator.probes import probe_server
from berth_operator.reconcile import Reconciler
from berth_operator.settings import Settings

log = logging.getLogger(__name__)

START_RETRY_SECONDS = 3.0


def rfc3339_now() -> str:
    """Return the present moment as Kubernetes writes times."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def configure_logging(settings: Settings) -> None:
    """Log to standard error, one line an entry, as text or as JSON."""
    json_lines = settings.log_format == "json"
    kopf.configure(verbose=False, log_format=kopf.LogFormat.JSON if json_lines else kopf.LogFormat.FULL)
    # kopf logs every event it hands to a handler; ours only mark a key.
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)


async def run(settings: Settings) -> None:
    """Run until cancelled or signalled. Raises `PresetError` if the presets cannot be read."""
    catalogue = load_presets(settings.presets_dir)
    log.info(
        "%d presets; watching %s", len(catalogue), ", ".join(settings.watch_namespaces) or "all namespaces"
    )
    async with await KubeClient.connect() as client:
        cache = ClusterCache()
        reconciler = Reconciler(client, cache, catalogue, settings, rfc3339_now)
        controller = Controller(client, cache, reconciler, settings)
        async with probe_server(controller, settings.liveness_port):
            await _start(controller)
            try:
                await kopf.operator(
                    registry=watch_registry(controller),
                    settings=watch_settings(),
                    standalone=True,
                    clusterwide=not settings.watch_namespaces,
                    namespaces=settings.watch_namespaces,
                )
            finally:
                await controller.stop()


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
