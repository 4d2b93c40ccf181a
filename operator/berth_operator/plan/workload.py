"""From a Workspace to the objects that serve it, or to the finding that says why it cannot be carried out."""

from dataclasses import dataclass
from typing import Any

from berth_operator.api.names import ANNOTATION_ACCELERATOR, ANNOTATION_RUNTIME, TOKEN_KEY
from berth_operator.api.spec import Inference, PresetRef
from berth_operator.api.workspace import Workspace
from berth_operator.plan.deployment import (
    TEMPLATE_READINESS_SECONDS,
    preset_pod_spec,
    render_deployment,
    template_pod,
)
from berth_operator.plan.reasons import Finding, Reason
from berth_operator.plan.service import render_service
from berth_operator.presets import Preset, PresetCatalogue
from berth_operator.settings import Settings


@dataclass(frozen=True, slots=True)
class Workload:
    """The objects that a Workspace asks for."""

    deployment: dict[str, Any]
    service: dict[str, Any]


def plan_workload(workspace: Workspace, catalogue: PresetCatalogue, settings: Settings) -> Workload | Finding:
    """Return the Workspace's objects, or why there can be none. Pure: the same input gives the same output."""
    inference = workspace.inference
    assert inference is not None  # noqa: S101 - parsing refused the Workspace otherwise
    if (refusal := _unsupported(workspace, inference)) is not None:
        return refusal
    if inference.template is not None:
        pod, readiness = template_pod(inference.template), TEMPLATE_READINESS_SECONDS
    else:
        assert inference.preset is not None  # noqa: S101 - parsing refused the Workspace otherwise
        preset = catalogue.get(inference.preset.name)
        if preset is None:
            return _unknown_preset(inference.preset.name, catalogue)
        placed = _accelerator(workspace, preset)
        if isinstance(placed, Finding):
            return placed
        if (refusal := _without_access(inference.preset, preset)) is not None:
            return refusal
        spec = preset_pod_spec(workspace, inference.preset, preset, settings, on_gpu=placed)
        pod, readiness = {"spec": spec}, preset.readiness_seconds
    return Workload(render_deployment(workspace, pod, readiness), render_service(workspace))


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
        f"preset {preset.name} needs no GPU" if asked == "nvidia" else f'"{asked}" is not an accelerator'
    )
    return Finding(
        Reason.NOT_SUPPORTED,
        f"annotation {ANNOTATION_ACCELERATOR}: {problem}; use cpu, or remove the annotation",
        terminal=True,
    )


def _unsupported(workspace: Workspace, inference: Inference) -> Finding | None:
    """Refuse what this version does not act on, rather than accept and ignore it."""
    runtime = workspace.metadata.annotations.get(ANNOTATION_RUNTIME, "transformers")
    for asked, what, remedy in (
        (
            runtime != "transformers",
            f'annotation {ANNOTATION_RUNTIME}: "{runtime}"',
            "use transformers, or remove it",
        ),
        (
            bool(inference.adapters),
            "inference.adapters",
            "remove it, or bake the merged weights into an image",
        ),
        (inference.config is not None, "inference.config", "remove it, or use inference.template"),
    ):
        if asked:
            return Finding(
                Reason.NOT_SUPPORTED, f"{what} is not supported by this version; {remedy}", terminal=True
            )
    return None
