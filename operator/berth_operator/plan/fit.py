"""Whether a preset fits into the memory of the GPUs that it may use, judged before any pod is made."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from berth_operator.api.names import ANNOTATION_BYPASS
from berth_operator.api.workspace import Workspace
from berth_operator.plan import node_affinity, nodes
from berth_operator.plan.capacity import Capacity, capacity_of, capacity_of_type
from berth_operator.plan.instance_types import CLOUDS, PROVIDERS, InstanceType, instance_type_of, smallest
from berth_operator.plan.observed import Object
from berth_operator.plan.placement import GPU_RESOURCE
from berth_operator.plan.reasons import Culprit, Finding, Reason
from berth_operator.plan.replicas import scales_itself
from berth_operator.presets import Preset
from berth_operator.quantity import gibibytes
from berth_operator.sizing import REFERENCE_CONTEXT, MemoryNeed


@dataclass(frozen=True, slots=True)
class Fit:
    """What a preset needs, and the largest machine that it may use: None where none is known well enough.

    On several `nodes`, the machine is the smallest of as many, the largest first.
    """

    need: MemoryNeed
    tokens: int
    gpus: int
    capacity: Capacity | None
    fits: bool | None
    """None: it cannot be judged."""
    suggestions: tuple[InstanceType, ...] = ()
    share: float = 1.0
    """How much of the GPUs' memory the runtime takes."""
    nodes: int = 1
    """How many hold one copy of the model together."""
    enough_nodes: int | None = None
    """How many of such machines would hold it together; None where it fits, or where that is not known."""

    @property
    def where(self) -> str:
        """What is to hold it: `2 GPUs`, `3 nodes of 1 GPU`."""
        gpus = f"{self.gpus} GPU{'s' if self.gpus > 1 else ''}"
        return gpus if self.nodes == 1 else f"{self.nodes} nodes of {gpus}"

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
    among: int = 1,
) -> Fit:
    """Judge a preset that runs on GPUs. `known` are the cluster's nodes, None where they may not be read.

    It is to hold one sequence of so many `tokens`, or of the model's whole context, in this `share` of the memory, on
    one node or `among` so many.
    """
    gpus, tokens = preset.resources.gpu, min(tokens, preset.model.context_length)
    need = preset.memory_need(tokens, nodes=among)
    asked_of_gpus = math.ceil(need.total / share / among)
    asked = node_affinity.wanted_instance_types(pod_spec)
    matching = [node for node in known or () if node_affinity.is_wanted(node, pod_spec)]
    with_gpu = [
        node for node in matching if nodes.allocatable(node, GPU_RESOURCE) or nodes.has_gpu_hint(node)
    ]
    found = [capacity_of(node) for node in with_gpu] or [capacity_of_type(name) for name in asked]
    ranked = sorted((one for one in found if one), key=lambda one: _usable(one, gpus), reverse=True)
    best = ranked[min(among, len(ranked)) - 1] if ranked else None
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
    enough = _enough_nodes(preset, tokens, share, _usable(best, gpus)) if best and fits is False else None
    return Fit(need, tokens, gpus, best, fits, suggestions, share, among, enough)


def _enough_nodes(preset: Preset, tokens: int, share: float, usable: int) -> int | None:
    """How many nodes hold a model of which each gives so many bytes; None where no number does: none has less than
    one of its layers."""
    for count in range(2, preset.model.layers + 1):
        if preset.memory_need(tokens, nodes=count).total <= usable * share * count:
            return count
    return None


def _usable(capacity: Capacity, gpus: int) -> int:
    """The memory that one pod gets of a machine, in bytes; nothing where it has too few GPUs."""
    return capacity.gpu_bytes * gpus if capacity.gpus >= gpus else 0


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
        largest = (
            "the largest matching node" if fit.nodes == 1 else f"the smallest of the {fit.nodes} largest,"
        )
        where, culprit = f'{largest} "{fit.capacity.name}"', Culprit("Node", fit.capacity.name)
    suggested = " or ".join(f"{entry.name} ({entry.gpus} x {entry.gpu_gib} GiB)" for entry in fit.suggestions)
    use = f"use {suggested}" if suggested else "use GPUs with more memory"
    on = fit.where
    if fit.share != 1:
        use = f"lower max-model-len in the ConfigMap of inference.config, {use}"
        on += " of one node" if fit.nodes == 1 else ""
        if fit.enough_nodes and not scales_itself(workspace):
            use = f"set resource.count to {fit.enough_nodes}, so that as many nodes hold it together, {use}"
    return Finding(
        Reason.DOES_NOT_FIT,
        f"{preset.name} needs {fit.arithmetic} on {on}; {where} has {fit.capacity.words}",
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
