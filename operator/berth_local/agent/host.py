"""What every pod on the node shares: the API, the caches, the processes, and the node's own figures."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from berth_local.agent.cache import Cache
from berth_local.agent.client import ApiClient
from berth_local.agent.events import EventRecorder
from berth_local.agent.logs import PodLogs
from berth_local.agent.plan.backoff import Backoff
from berth_local.agent.plan.images import INFERENCE, Image
from berth_local.agent.plan.objects import Object
from berth_local.agent.processes import Processes

NODE_NAME = "berth-local"

_MACHINES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64"}
"""Kubernetes' names for processor architectures, where Python's differ."""

STORAGE_MARGIN = 0.9
"""Share of the free disk that pods may ask for; the kubelet evicts when less than a tenth is left."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What may differ between a node that serves people and one under test."""

    images: tuple[Image, ...] = (INFERENCE,)
    restart: Backoff = field(default_factory=Backoff)
    image_retry: Backoff = field(default_factory=Backoff)
    own_addresses: bool | None = None
    """Whether pods get addresses of their own; None means where the system allows."""
    labels: Mapping[str, str] = field(default_factory=dict)
    capacity: Mapping[str, str] = field(default_factory=dict)
    """Resources that replace or add to the node's true ones."""


@dataclass(slots=True)
class Host:
    """The node as its pods see it."""

    client: ApiClient
    processes: Processes
    events: EventRecorder
    logs: PodLogs
    rules: Rules
    state: Path
    own_addresses: bool
    pods: Cache
    secrets: Cache
    config_maps: Cache
    allocatable: Mapping[str, str]

    def of_namespace(self, cache: Cache, namespace: str) -> dict[str, Object]:
        """Return a namespace's objects by name."""
        return {
            obj["metadata"]["name"]: obj for obj in cache if obj["metadata"].get("namespace") == namespace
        }


def base_environment(home: Path) -> dict[str, str]:
    """Return what every container's environment begins with: nothing of the user's but the way to programs.

    Credentials that the user's shell holds (tokens, KUBECONFIG) stay out.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {"PATH": path, "HOME": str(home), "LANG": os.environ.get("LANG", "C.UTF-8")}


def capacity(state: Path) -> dict[str, str]:
    """Return what this machine has, as a Node's capacity."""
    disk = os.statvfs(state)
    return {
        "cpu": str(os.cpu_count() or 1),
        "memory": str(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")),
        "ephemeral-storage": str(int(disk.f_frsize * disk.f_bavail * STORAGE_MARGIN)),
        "pods": "110",
    }


def node_of(rules: Rules, state: Path) -> Object:
    """Return the Node object for this machine, without its status."""
    machine = os.uname().machine
    labels = {
        "kubernetes.io/hostname": NODE_NAME,
        # Whatever this machine runs: pods ask for the system that their image is made for, and the program that
        # stands in for the image is made for this one.
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": _MACHINES.get(machine, machine),
        "node.kubernetes.io/instance-type": "local",
        **rules.labels,
    }
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE_NAME, "labels": labels}}


def node_status(rules: Rules, state: Path, now: str) -> Object:
    """Return the status of a ready node with this machine's figures."""
    amounts = {**capacity(state), **rules.capacity}
    calm = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "memory is not watched"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "disk is not watched"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "processes are not counted"),
        ("Ready", "True", "KubeletReady", "the embedded node agent is running"),
    ]
    conditions: list[dict[str, Any]] = [
        {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }
        for kind, status, reason, message in calm
    ]
    return {
        "capacity": amounts,
        "allocatable": amounts,
        "conditions": conditions,
        "addresses": [
            {"type": "InternalIP", "address": "127.0.0.1"},
            {"type": "Hostname", "address": NODE_NAME},
        ],
        "nodeInfo": {
            "architecture": _MACHINES.get(os.uname().machine, os.uname().machine),
            "operatingSystem": "linux" if sys.platform == "linux" else sys.platform,
            "kernelVersion": os.uname().release,
            "osImage": f"{os.uname().sysname} (berth local)",
            "kubeletVersion": "berth-local",
            "containerRuntimeVersion": f"process://{sys.version.split()[0]}",
            "kubeProxyVersion": "",
            "machineID": "",
            "systemUUID": "",
            "bootID": "",
        },
    }
