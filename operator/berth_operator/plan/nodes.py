"""What nodes say of themselves: labels, taints, room, GPUs. Pure predicates over Node objects."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

from berth_operator.api.names import LABEL_INSTANCE_TYPE
from berth_operator.plan.instance_types import instance_type_of
from berth_operator.plan.observed import Object, has_ended, is_sidecar, labels
from berth_operator.plan.placement import GPU_RESOURCE
from berth_operator.quantity import gibibytes, parse_quantity

PRESSURES = {"MemoryPressure": "memory", "DiskPressure": "disk", "PIDPressure": "processes"}

GPU_HINTS = (
    # Set by NVIDIA's GPU feature discovery, which may run where the device plugin does not.
    "nvidia.com/gpu.product",
    "nvidia.com/gpu.present",
    # Set by Node Feature Discovery for a PCI display or 3D controller of vendor 10de, NVIDIA.
    "feature.node.kubernetes.io/pci-10de.present",
    "feature.node.kubernetes.io/pci-0302_10de.present",
    "feature.node.kubernetes.io/pci-0300_10de.present",
    # Set by AKS and by GKE on the nodes of a GPU pool.
    "kubernetes.azure.com/accelerator",
    "cloud.google.com/gke-accelerator",
)
"""Labels that only nodes with a GPU carry."""

UNREACHABLE_TAINTS = frozenset({"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"})
PRESSURE_TAINTS = {
    "node.kubernetes.io/memory-pressure": "memory",
    "node.kubernetes.io/disk-pressure": "disk",
    "node.kubernetes.io/pid-pressure": "processes",
}


def name_of(node: Object) -> str:
    """Return a node's name."""
    return str(node["metadata"]["name"])


def instance_type(node: Object) -> str:
    """Return a node's machine type, or "" where it has none."""
    return labels(node).get(LABEL_INSTANCE_TYPE, "")


def allocatable(node: Object, resource: str) -> int:
    """Return how much of a resource a node offers to pods, in its unit; 0 where it offers none."""
    return _count(resource, ((node.get("status") or {}).get("allocatable") or {}).get(resource))


def requested(pod_spec: Object, resource: str) -> int:
    """Return how much of a resource a pod asks for, in its unit: of all that run at once."""
    total = 0
    sidecars = filter(is_sidecar, pod_spec.get("initContainers") or [])
    for container in [*sidecars, *(pod_spec.get("containers") or [])]:
        wanted = container.get("resources") or {}
        amount = (wanted.get("requests") or {}).get(resource) or (wanted.get("limits") or {}).get(resource)
        total += _count(resource, amount)
    return total


def _count(resource: str, quantity: Any) -> int:
    """A quantity in its resource's unit: thousandths of a CPU, bytes, pieces; 0 for what is none."""
    try:
        return math.ceil(parse_quantity(str(quantity or "0")) * (1000 if resource == "cpu" else 1))
    except ValueError:
        return 0


def amount(resource: str, count: int) -> str:
    """Return an amount of a resource for people: `2 GPUs`, `3.5 CPU`, `64.0 GiB of memory`."""
    if resource == GPU_RESOURCE:
        return f"{count} GPU{'' if count == 1 else 's'}"
    if resource == "cpu":
        return f"{count / 1000:g} CPU"
    return f"{gibibytes(count)} of {'disk' if resource == 'ephemeral-storage' else resource}"


def has_gpu_hint(node: Object) -> bool:
    """Whether a node shows that the machine has a GPU, whether or not pods can have it: by its labels, by its type,
    or by a device plugin that has once reported there."""
    return (
        any(labels(node).get(hint, "false") not in ("false", "none") for hint in GPU_HINTS)
        or instance_type_of(instance_type(node)) is not None
        or GPU_RESOURCE in ((node.get("status") or {}).get("capacity") or {})
    )


def conditions(node: Object) -> dict[str, str]:
    """Return the status of each of a node's conditions."""
    found = (node.get("status") or {}).get("conditions") or []
    return {str(item.get("type")): str(item.get("status")) for item in found}


def is_ready(node: Object) -> bool:
    """Whether a node's kubelet says that it can run pods. A node that says nothing of it is believed."""
    return conditions(node).get("Ready", "True") == "True"


def is_cordoned(node: Object) -> bool:
    """Whether somebody keeps new pods off a node."""
    return bool((node.get("spec") or {}).get("unschedulable"))


def is_away(node: Object) -> bool:
    """Whether a node does not answer, by its condition or by the taints that tell so."""
    taints = {taint.get("key") for taint in (node.get("spec") or {}).get("taints") or []}
    return not is_ready(node) or bool(taints & UNREACHABLE_TAINTS)


def is_closed(node: Object, pod_spec: Object) -> bool:
    """Whether a node takes no new pod of this kind at present, however much of it is free."""
    return is_cordoned(node) or is_away(node) or bool(untolerated(node, pod_spec))


def pressures(node: Object) -> list[str]:
    """Return what a node is short of: memory, disk, processes."""
    held = conditions(node)
    return [word for kind, word in PRESSURES.items() if held.get(kind) == "True"]


def untolerated(node: Object, pod_spec: Object) -> list[str]:
    """Return the taints that keep the pod away, as `key` or `key=value`."""
    tolerations = pod_spec.get("tolerations") or []
    found = []
    for taint in (node.get("spec") or {}).get("taints") or []:
        if taint.get("effect") == "PreferNoSchedule" or any(_tolerates(one, taint) for one in tolerations):
            continue
        found.append(f"{taint.get('key')}={taint['value']}" if taint.get("value") else str(taint.get("key")))
    return found


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    key = toleration.get("key") or ""
    if toleration.get("operator") == "Exists":
        return not key or key == taint.get("key")
    return bool(key == taint.get("key") and (toleration.get("value") or "") == (taint.get("value") or ""))


def gpu_requests(pods: Iterable[Object]) -> Iterator[tuple[Object, int]]:
    """Return each pod that holds GPUs, and how many: it has a node and has not ended."""
    for pod in pods:
        held = requested(pod.get("spec") or {}, GPU_RESOURCE)
        if held and not has_ended(pod) and (pod.get("spec") or {}).get("nodeName"):
            yield pod, held
