"""Whether a preset fits into the memory of the GPUs that it may use, judged before any pod is made."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from berth_operator.api.names import ANNOTATION_BYPASS
from berth_operator.api.workspace import Workspace
from berth_operator.plan import node_affinity, nodes
from berth_operator.plan.instance_types import CLOUDS, PROVIDERS, InstanceType, instance_type_of, smallest
from berth_operator.plan.observed import Object, labels
from berth_operator.plan.placement import GPU_RESOURCE
from berth_operator.plan.reasons import Culprit, Finding, Reason
from berth_operator.presets import Preset
from berth_operator.quantity import GIB, MIB, gibibytes
from berth_operator.sizing import REFERENCE_CONTEXT, MemoryNeed

LABEL_GPU_MEMORY = "nvidia.com/gpu.memory"
"""The memory of one GPU in MiB; set by NVIDIA's GPU feature discovery, like the two that follow."""

LABEL_GPU_COUNT = "nvidia.com/gpu.count"
LABEL_GPU_PRODUCT = "nvidia.com/gpu.product"


@dataclass(frozen=True, slots=True)
class Capacity:
    """The GPUs of one machine: how many, and the memory of one in bytes."""

    name: str
    gpus: int
    gpu_bytes: int
    product: str = ""

    @property
    def words(self) -> str:
        """The GPUs for people: `1 x 24 GiB (A10)`."""
        size = self.gpu_bytes / GIB
        shown = f"{size:.0f}" if abs(size - round(size)) < 0.05 else f"{size:.1f}"
        return f"{self.gpus} x {shown} GiB" + (f" ({self.product})" if self.product else "")


@dataclass(frozen=True, slots=True)
class Fit:
    """What a preset needs, and the largest machine that it may use: None where none is known well enough."""

    need: MemoryNeed
    tokens: int
    gpus: int
    capacity: Capacity | None
    fits: bool | None
    """None: it cannot be judged."""
    suggestions: tuple[InstanceType, ...] = ()
    share: float = 1.0
    """How much of the GPUs' memory the runtime takes."""

    @property
    def arithmetic(self) -> str:
        """The need in words: `26.0 GiB weights + 0.8 GiB KV cache at 4096 tokens + 3.7 GiB overhead = 30.5 GiB`."""
        need = self.need
        within = "" if self.share == 1 else f" within {self.share * 100:g} % of the memory"
        return (
            f"{gibibytes(need.weights)} weights + {gibibytes(need.kv_cache)} KV cache at {self.tokens} tokens "
            f"+ {gibibytes(need.overhead)} overhead = {gibibytes(need.total)}{within}"
        )


def judge_fit(
    preset: Preset,
    pod_spec: Object,
    known: Sequence[Object] | None,
    tokens: int = REFERENCE_CONTEXT,
    share: float = 1.0,
) -> Fit:
    """Judge a preset that runs on GPUs. `known` are the cluster's nodes, None where they may not be read.

    It is to hold one sequence of so many `tokens`, or of the model's whole context, in this `share` of the memory.
    """
    gpus, tokens = preset.resources.gpu, min(tokens, preset.model.context_length)
    need = preset.memory_need(tokens)
    asked_of_gpus = math.ceil(need.total / share)
    asked = node_affinity.wanted_instance_types(pod_spec)
    matching = [node for node in known or () if node_affinity.is_wanted(node, pod_spec)]
    with_gpu = [
        node for node in matching if nodes.allocatable(node, GPU_RESOURCE) or nodes.has_gpu_hint(node)
    ]
    found = [capacity_of(node) for node in with_gpu] or [_of_type(name) for name in asked]
    best = max((one for one in found if one), key=lambda one: _usable(one, gpus), default=None)
    fits: bool | None = None
    if best is not None and _usable(best, gpus) >= asked_of_gpus:
        fits = True
    elif found and all(found):
        # Every machine that it may use is known, and none is large enough.
        fits = False
    clouds = _clouds(asked, known or ())
    suggestions = tuple(
        entry for cloud in clouds if (entry := smallest(asked_of_gpus, gpus, cloud)) is not None
    )
    return Fit(need, tokens, gpus, best, fits, suggestions, share)


def _usable(capacity: Capacity, gpus: int) -> int:
    """The memory that one pod gets of a machine, in bytes; nothing where it has too few GPUs."""
    return capacity.gpu_bytes * gpus if capacity.gpus >= gpus else 0


def capacity_of(node: Object) -> Capacity | None:
    """Return a node's GPUs, by its labels, else by its instance type; None where neither tells."""
    own, name = labels(node), nodes.name_of(node)
    memory, count = own.get(LABEL_GPU_MEMORY, ""), own.get(LABEL_GPU_COUNT, "")
    # int() takes digits of every script, and so does isdigit.
    if memory.isascii() and memory.isdigit() and int(memory) > 0:
        offered = nodes.allocatable(node, GPU_RESOURCE)
        gpus = int(count) if count.isascii() and count.isdigit() else offered
        if gpus:
            return Capacity(name, gpus, int(memory) * MIB, own.get(LABEL_GPU_PRODUCT, ""))
    known = instance_type_of(nodes.instance_type(node))
    return None if known is None else Capacity(name, known.gpus, known.gpu_bytes, known.product)


def _of_type(name: str) -> Capacity | None:
    known = instance_type_of(name)
    return None if known is None else Capacity(known.name, known.gpus, known.gpu_bytes, known.product)


def _clouds(asked: Iterable[str], known: Iterable[Object]) -> tuple[str, ...]:
    """The clouds to suggest types of: the one that this cluster is seen to be in, else all."""
    for name in asked:
        if (entry := instance_type_of(name)) is not None:
            return (entry.cloud,)
        if name.startswith("Standard_"):
            return ("azure",)
    for node in known:
        scheme = str((node.get("spec") or {}).get("providerID", "")).partition(":")[0]
        if scheme in PROVIDERS:
            return (PROVIDERS[scheme],)
        if (entry := instance_type_of(nodes.instance_type(node))) is not None:
            return (entry.cloud,)
    return CLOUDS


def fit_finding(workspace: Workspace, preset: Preset, fit: Fit) -> Finding | None:
    """Return the finding of a preset that cannot fit, or None."""
    if fit.fits is not False or fit.capacity is None:
        return None
    asked = workspace.resource.instance_type
    if asked and fit.capacity.name.lower() == asked.lower():
        where, culprit = f"instance type {fit.capacity.name}", Culprit("InstanceType", fit.capacity.name)
    else:
        where, culprit = (
            f'the largest matching node "{fit.capacity.name}"',
            Culprit("Node", fit.capacity.name),
        )
    suggested = " or ".join(f"{entry.name} ({entry.gpus} x {entry.gpu_gib} GiB)" for entry in fit.suggestions)
    use = f"use {suggested}" if suggested else "use GPUs with more memory"
    gpus = f"{fit.gpus} GPU{'s' if fit.gpus > 1 else ''}"
    if fit.share != 1:
        use = f"lower max-model-len in the ConfigMap of inference.config, {use}"
        gpus += " of one node"
    return Finding(
        Reason.DOES_NOT_FIT,
        f"{preset.name} needs {fit.arithmetic} on {gpus}; {where} has {fit.capacity.words}",
        f'{use}, or a smaller preset; annotate the Workspace with {ANNOTATION_BYPASS}: "true" to try all the same',
        culprit,
        terminal=True,
        cause=fit.capacity.name,
    )


def serves_as_is(deployment: dict[str, Any] | None, wanted: dict[str, Any], annotation: str) -> bool:
    """Whether what is wanted runs and serves already: then it fits, whatever the arithmetic says."""
    if deployment is None:
        return False
    live = (deployment["metadata"].get("annotations") or {}).get(annotation)
    serving = (deployment.get("status") or {}).get("readyReplicas") or 0
    return serving > 0 and live is not None and live == wanted["metadata"]["annotations"].get(annotation)
