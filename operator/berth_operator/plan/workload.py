"""From a Workspace to the objects that serve it, or to the finding that says why it cannot be carried out."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from berth_operator.api.names import (
    ANNOTATION_ACCELERATOR,
    ANNOTATION_API_KEY_SECRET,
    ANNOTATION_BYPASS,
    ANNOTATION_WEIGHTS,
    OWN_ANNOTATIONS,
    RUNTIME_VLLM,
    TOKEN_KEY,
)
from berth_operator.api.problems import shown
from berth_operator.api.spec import Inference, PresetRef
from berth_operator.api.weights import WITH_THE_POD
from berth_operator.api.workspace import Workspace
from berth_operator.plan.api_keys import api_key_refusal
from berth_operator.plan.deployment import (
    TEMPLATE_READINESS_SECONDS,
    preset_pod_spec,
    render_deployment,
    template_pod,
)
from berth_operator.plan.fit import Fit, fit_finding, judge_fit, serves_as_is
from berth_operator.plan.group import (
    first_pod,
    group_warnings,
    is_as_meant,
    may_be_grouped,
    name_refusal,
    render_group,
    render_peers,
)
from berth_operator.plan.metadata import ANNOTATION_RENDERED
from berth_operator.plan.observed import Observed
from berth_operator.plan.reasons import Finding, Reason
from berth_operator.plan.runtime import chosen_runtime, vllm_refusal
from berth_operator.plan.server_config import ConfigMapData, ServerConfig, read_config
from berth_operator.plan.service import render_service
from berth_operator.plan.vllm_container import context_tokens, gpu_share
from berth_operator.plan.vllm_group import over_nodes
from berth_operator.plan.weights import comes_from_hub, weights_volume, without_effect
from berth_operator.presets import Preset, PresetCatalogue
from berth_operator.settings import Settings

KAITO_ONLY: Final = {
    "kaito.sh/performance-mode": "vLLM is tuned in the ConfigMap of inference.config",
    "kaito.sh/disable-benchmark": "no benchmark is run",
    "kaito.sh/node-image-family": "Berth makes no nodes",
    "kaito.sh/node-class-name": "Berth makes no nodes",
    "kaito.sh/model-streaming": "weights come from the hub, or from a private image",
}
"""Annotations of KAITO's that a manifest may carry, and why they have no effect."""


JUDGED_ELSEWHERE: Final = (ANNOTATION_ACCELERATOR, ANNOTATION_API_KEY_SECRET, ANNOTATION_WEIGHTS)
"""Annotations of ours whose values are judged by who uses them."""


@dataclass(frozen=True, slots=True)
class Workload:
    """The objects that a Workspace asks for.

    `deployment` makes the pods. For a group, which holds one copy of the model over several nodes, it is a StatefulSet,
    and `peers` the Service by which its pods find each other. `warnings` are what is done all the same though it may be
    a mistake. `fit` is None where no GPU is used.
    """

    deployment: dict[str, Any]
    service: dict[str, Any]
    warnings: tuple[Finding, ...] = ()
    fit: Fit | None = None
    peers: dict[str, Any] | None = None


def plan_workload(
    workspace: Workspace,
    catalogue: PresetCatalogue,
    settings: Settings,
    config: ConfigMapData | None = None,
    observed: Observed | None = None,
) -> Workload | Finding:
    """Return the Workspace's objects, or why there can be none. Pure: the same input gives the same output.

    `config` is the ConfigMap that `inference.config` names, as it was read; None judges the Workspace without it.
    """
    inference = workspace.inference
    assert inference is not None  # noqa: S101 - parsing refused the Workspace otherwise
    if (refusal := _unknown_annotation(workspace) or api_key_refusal(workspace)) is not None:
        return refusal
    runtime = chosen_runtime(workspace)
    if isinstance(runtime, Finding):
        return runtime
    server = _server_config(inference, config, runtime)
    if isinstance(server, Finding):
        return server
    if inference.template is not None:
        deployment = render_deployment(
            workspace, template_pod(inference.template, server), TEMPLATE_READINESS_SECONDS
        )
        return Workload(deployment, render_service(workspace), tuple(_without_effect(workspace, None)))
    assert inference.preset is not None  # noqa: S101 - parsing refused the Workspace otherwise
    preset = catalogue.get(inference.preset.name)
    if preset is None:
        return _unknown_preset(inference.preset.name, catalogue)
    on_gpu = _accelerator(workspace, preset)
    if isinstance(on_gpu, Finding):
        return on_gpu
    with_vllm = runtime == RUNTIME_VLLM
    if with_vllm and (refusal := vllm_refusal(inference, preset, catalogue, server, on_gpu=on_gpu)):
        return refusal
    if (refusal := _without_access(inference.preset, preset)) is not None:
        return refusal
    where = weights_volume(workspace, settings)
    if isinstance(where, Finding):
        return where
    if not comes_from_hub(preset):
        where = WITH_THE_POD
    spec = preset_pod_spec(
        workspace, inference.preset, preset, settings, server, where, on_gpu=on_gpu, runtime=runtime
    )
    deployment = render_deployment(workspace, {"spec": spec}, preset.readiness_seconds)
    workload = Workload(deployment, render_service(workspace), tuple(_without_effect(workspace, preset)))
    if not on_gpu:
        return workload
    observed = observed or Observed()
    pod_spec = deployment["spec"]["template"]["spec"]
    if not with_vllm:
        return _fitted(workspace, preset, workload, judge_fit(preset, pod_spec, observed.nodes), observed)
    return _alone_or_grouped(workspace, preset, workload, spec, server, observed)


def _alone_or_grouped(
    workspace: Workspace,
    preset: Preset,
    workload: Workload,
    spec: dict[str, Any],
    server: ServerConfig,
    observed: Observed,
) -> Workload | Finding:
    """Return what runs a model with vLLM: each pod with all of it, or all pods together where one node cannot hold it.

    `spec` is that of a pod with all of it, before the Workspace's affinity.
    """
    pod_spec = workload.deployment["spec"]["template"]["spec"]
    tokens, share = context_tokens(preset, server), gpu_share(server)
    fit = judge_fit(preset, pod_spec, observed.nodes, tokens, share)
    if not may_be_grouped(workspace, preset):
        return _fitted(workspace, preset, workload, fit, observed)
    nodes = workspace.resource.count
    group = replace(
        workload,
        deployment=render_group(workspace, over_nodes(spec, workspace.metadata.name, nodes, server)),
        service=render_service(workspace, first_pod(workspace.metadata.name)),
        peers=render_peers(workspace),
        warnings=(*workload.warnings, *group_warnings(workspace)),
    )
    # What is there stays: nodes come and go, and a group is not to be taken down for that.
    is_group = is_as_meant(observed.group, group.deployment)
    is_alone = serves_as_is(observed.deployment, workload.deployment, ANNOTATION_RENDERED)
    is_too_large = fit.fits is False or (fit.fits is None and observed.group is not None)
    if not is_group and (not is_too_large or is_alone):
        return _fitted(workspace, preset, workload, fit, observed)
    over_all = judge_fit(preset, pod_spec, observed.nodes, tokens, share, nodes)
    if is_group:
        return replace(group, fit=over_all)
    return name_refusal(workspace) or _fitted(workspace, preset, group, over_all, observed)


def _fitted(
    workspace: Workspace, preset: Preset, workload: Workload, fit: Fit, observed: Observed
) -> Workload | Finding:
    """Return the workload with the judgement of its fit; the finding where it cannot fit and nobody insists."""
    workload = replace(workload, fit=fit)
    finding = fit_finding(workspace, preset, fit)
    if finding is None or serves_as_is(observed.deployment, workload.deployment, ANNOTATION_RENDERED):
        return workload
    if workspace.resource.count == 0:
        # Nothing is to run, and what does must be stopped.
        return workload
    if ANNOTATION_BYPASS not in workspace.metadata.annotations:
        return finding
    warning = replace(
        finding,
        remedy=f"it is tried all the same, for the annotation {ANNOTATION_BYPASS} is set",
        terminal=False,
    )
    return replace(workload, warnings=(*workload.warnings, warning))


def _server_config(
    inference: Inference, config: ConfigMapData | None, runtime: str
) -> ServerConfig | Finding:
    if inference.config is None or config is None:
        return ServerConfig()
    return read_config(config, None if inference.template is not None else runtime)


def _without_effect(workspace: Workspace, preset: Preset | None) -> Iterator[Finding]:
    """Annotations that ask for what is not done: said, and not held against the Workspace."""
    yield from without_effect(workspace, preset)
    for name, why in KAITO_ONLY.items():
        if name in workspace.metadata.annotations:
            yield Finding(
                Reason.NOT_SUPPORTED, f"annotation {name} has no effect here: {why}", "remove it", cause=name
            )


def _unknown_preset(name: str, catalogue: PresetCatalogue) -> Finding:
    near = catalogue.nearest(name)
    hint = f"did you mean {near[0]}? " if near else ""
    return Finding(
        Reason.UNKNOWN_PRESET,
        f'there is no preset "{name}"; {hint}Presets: {", ".join(sorted(catalogue))}. '
        "The name of a preset cannot be changed: delete the Workspace and apply it again",
        terminal=True,
    )


def _without_access(reference: PresetRef, preset: Preset) -> Finding | None:
    # A private image may hold the weights, so that nothing is downloaded and no token is needed.
    if (
        not preset.model.gated
        or reference.preset_options.model_access_secret
        or reference.access_mode == "private"
    ):
        return None
    return Finding(
        Reason.ACCESS_SECRET_REQUIRED,
        f"{preset.model.id} is gated: accept its licence on the hub, put a token into a Secret under the key "
        f"{TOKEN_KEY}, and name the Secret in inference.preset.presetOptions.modelAccessSecret",
        terminal=True,
    )


def _accelerator(workspace: Workspace, preset: Preset) -> bool | Finding:
    """Return whether the preset runs on a GPU."""
    asked = workspace.metadata.annotations.get(ANNOTATION_ACCELERATOR)
    if asked in (None, "cpu"):
        return preset.needs_gpu and asked is None
    if asked == "nvidia" and preset.needs_gpu:
        return True
    problem = (
        f"preset {preset.name} needs no GPU" if asked == "nvidia" else f"{shown(asked)} is not an accelerator"
    )
    return Finding(
        Reason.NOT_SUPPORTED,
        f"annotation {ANNOTATION_ACCELERATOR}: {problem}; use cpu, or remove the annotation",
        terminal=True,
    )


def _unknown_annotation(workspace: Workspace) -> Finding | None:
    """An annotation of ours with a slip in its name or value would be ignored in silence."""
    for name, value in sorted(workspace.metadata.annotations.items()):
        if not name.startswith("berth.dev/") or name in JUDGED_ELSEWHERE:
            continue
        allowed = OWN_ANNOTATIONS.get(name)
        if allowed is None:
            near = difflib.get_close_matches(name, list(OWN_ANNOTATIONS), n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(OWN_ANNOTATIONS)}"
            return Finding(
                Reason.NOT_SUPPORTED,
                f"annotation {name} is not one of Berth's",
                f"{hint} Correct or remove it",
                terminal=True,
                cause=name,
            )
        if value not in allowed:
            return Finding(
                Reason.NOT_SUPPORTED,
                f'annotation {name}: "{value[:60]}" means nothing',
                f"use {' or '.join(allowed)}, or remove the annotation",
                terminal=True,
                cause=name,
            )
    return None
