"""What nodes say of themselves: labels, taints, room, GPUs. Pure predicates over Node objects."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from berth_operator.api.names import LABEL_INSTANCE_TYPE
from berth_operator.plan.observed import Object, is_sidecar, labels
from berth_operator.plan.placement import GPU_RESOURCE
from berth_operator.quantity import bytes_of

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
    """Return how much of a resource a node offers to pods, in its base unit; 0 where it offers none."""
    text = ((node.get("status") or {}).get("allocatable") or {}).get(resource, "0")
    try:
        return bytes_of(str(text))
    except ValueError:
        return 0


def requested(pod_spec: Object, resource: str) -> int:
    """Return how much of a resource a pod asks for, in its base unit: of all that run at once."""
    total = 0
    sidecars = filter(is_sidecar, pod_spec.get("initContainers") or [])
    for container in [*sidecars, *(pod_spec.get("containers") or [])]:
        wanted = container.get("resources") or {}
        amount = (wanted.get("requests") or {}).get(resource) or (wanted.get("limits") or {}).get(resource)
        try:
            total += bytes_of(str(amount or "0"))
        except ValueError:
            continue
    return total


def has_gpu_hint(node: Object) -> bool:
    """Whether a node's labels show that the machine has a GPU, whether or not pods can have it."""
    return any(labels(node).get(hint, "false") not in ("false", "none") for hint in GPU_HINTS)


def conditions(node: Object) -> dict[str, str]:
    """Return the status of each of a node's conditions."""
    found = (node.get("status") or {}).get("conditions") or []
    return {str(item.get("type")): str(item.get("status")) for item in found}


def is_ready(node: Object) -> bool:
    """Whether a node's kubelet says that it can run pods. A node that says nothing of it is believed."""
    return conditions(node).get("Ready", "True") == "True"


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


def is_wanted(node: Object, pod_spec: Object) -> bool:
    """Whether the pod's node selector and required node affinity let it run on the node."""
    own = labels(node)
    if any(own.get(key) != value for key, value in (pod_spec.get("nodeSelector") or {}).items()):
        return False
    affinity = (pod_spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if not required:
        return True
    return any(_term_holds(node, term) for term in required.get("nodeSelectorTerms") or [])


def _term_holds(node: Object, term: Object) -> bool:
    expressions, fields = term.get("matchExpressions") or [], term.get("matchFields") or []
    # Kubernetes: a term without any condition matches nothing.
    return bool(expressions or fields) and all(
        [
            *(_holds(one, labels(node)) for one in expressions),
            *(_holds(one, {"metadata.name": name_of(node)}) for one in fields),
        ]
    )


def _holds(expression: Object, values: dict[str, str]) -> bool:
    value, listed = values.get(str(expression.get("key"))), expression.get("values") or []
    match expression.get("operator"):
        case "In":
            return value in listed
        case "NotIn":
            return value not in listed
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt" as operator:
            if value is None or not re.fullmatch(r"-?[0-9]+", value) or not listed:
                return False
            return int(value) > int(listed[0]) if operator == "Gt" else int(value) < int(listed[0])
        case _:
            return False


def wanted_labels(pod_spec: Object) -> Iterator[str]:
    """Return what a pod requires of its node's labels, as people write it: `apps=llm`, `spot (not set)`."""
    for key, value in sorted((pod_spec.get("nodeSelector") or {}).items()):
        yield f"{key}={value}"
    affinity = (pod_spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in (required.get("nodeSelectorTerms") or [])[:1]:
        for one in term.get("matchExpressions") or []:
            yield _in_words(one)


def _in_words(expression: dict[str, Any]) -> str:
    key, values = expression.get("key"), list(expression.get("values") or [])
    match expression.get("operator"):
        case "In":
            return f"{key}={values[0]}" if len(values) == 1 else f"{key} in ({', '.join(values)})"
        case "Exists":
            return f"{key} (set)"
        case "DoesNotExist":
            return f"{key} (not set)"
        case operator:
            return f"{key} {operator} {', '.join(values)}"


def wanted_instance_types(pod_spec: Object) -> list[str]:
    """Return the machine types that a pod requires, [] where any will do."""
    affinity = (pod_spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or []:
        for one in term.get("matchExpressions") or []:
            if one.get("key") == LABEL_INSTANCE_TYPE and one.get("operator") == "In":
                return [str(value) for value in one.get("values") or []]
    return []


def gpu_requests(pods: Iterable[Object]) -> Iterator[tuple[Object, int]]:
    """Return each pod that holds GPUs, and how many: it has a node and has not ended."""
    for pod in pods:
        held = requested(pod.get("spec") or {}, GPU_RESOURCE)
        ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        if held and not ended and (pod.get("spec") or {}).get("nodeName"):
            yield pod, held
