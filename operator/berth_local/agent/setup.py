"""What a container needs before it can start: its command line, environment and folders."""

import asyncio
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from berth_local.agent.actions import Target
from berth_local.agent.addresses import Address
from berth_local.agent.host import Host, base_environment
from berth_local.agent.plan.environment import Sources, command_line, environment_of, translate
from berth_local.agent.plan.images import Image
from berth_local.agent.plan.objects import Object
from berth_local.agent.volumes import decoded, mounts_of

TMP = "/tmp"  # noqa: S108 - the container's, not this machine's


@dataclass(slots=True)
class PodContext:
    """What the containers of one pod share."""

    host: Host
    pod: Object
    address: Address
    folder: Path
    volumes: Mapping[str, Path]
    sources_changed: asyncio.Event
    changed: Callable[[], None]

    def event(self, reason: str, message: str, kind: str = "Normal") -> None:
        """Record an Event about the pod."""
        self.host.events.record(self.pod, reason, message, kind)


def set_up(context: PodContext, spec: Mapping[str, Any], image: Image) -> tuple[list[str], Target]:
    """Return a container's command line and all else it runs with; raise ConfigError for what cannot be had."""
    host, namespace = context.host, str(context.pod["metadata"].get("namespace", ""))
    mounts = mounts_of(spec, context.volumes)
    home = context.folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    sources = Sources(
        secrets=_texts(host.of_namespace(host.secrets, namespace)),
        config_maps=_texts(host.of_namespace(host.config_maps, namespace)),
        fields=_fields(context),
        allocatable=host.allocatable,
    )
    environment = base_environment(home) | _where(spec, context.address)
    environment["HOSTNAME"] = str(context.pod["metadata"]["name"])
    if TMP in mounts:
        environment["TMPDIR"] = mounts[TMP]
    environment |= environment_of(spec, context.pod, sources, mounts)
    line = command_line(spec, image.entrypoint, environment, mounts, sys.executable)
    folder = home
    if wanted := spec.get("workingDir"):
        mounted = translate(str(wanted), mounts)
        folder = Path(mounted) if mounted != wanted else home / str(wanted).lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
    return line, Target(spec, context.address, environment, mounts, folder, host.processes)


def _texts(objects: Mapping[str, Object]) -> dict[str, dict[str, str]]:
    return {
        name: {key: value.decode(errors="replace") for key, value in decoded(obj).items()}
        for name, obj in objects.items()
    }


def _fields(context: PodContext) -> dict[str, str]:
    spec = context.pod["spec"]
    return {
        "spec.nodeName": str(spec.get("nodeName", "")),
        "spec.serviceAccountName": str(spec.get("serviceAccountName", "default")),
        "status.hostIP": "127.0.0.1",
        "status.podIP": context.address.ip,
        "status.podIPs": context.address.ip,
    }


def _where(spec: Mapping[str, Any], address: Address) -> dict[str, str]:
    """What tells the server where to listen: its own arguments name neither host nor port."""
    ports = [int(port["containerPort"]) for port in spec.get("ports") or ()]
    named = [int(port["containerPort"]) for port in spec.get("ports") or () if port.get("name") == "http"]
    first = next(iter(named or ports), None)
    return {"BERTH_HOST": address.ip} | ({} if first is None else {"BERTH_PORT": str(address.port(first))})
