"""What computes a preset's tokens: which runtime a Workspace asks for, and whether it can have it."""

from collections.abc import Mapping

from berth_operator.api.names import (
    ANNOTATION_ACCELERATOR,
    ANNOTATION_RUNTIME,
    RUNTIME_TRANSFORMERS,
    RUNTIME_VLLM,
    RUNTIMES,
)
from berth_operator.api.problems import shown
from berth_operator.api.spec import Inference
from berth_operator.api.workspace import Workspace
from berth_operator.plan.reasons import Culprit, Finding, Reason
from berth_operator.plan.server_config import CONFIG_KEY, ServerConfig
from berth_operator.presets import Preset


def chosen_runtime(workspace: Workspace) -> str | Finding:
    """Return the runtime that the annotation names; a refusal where nothing of the Workspace can have it."""
    runtime = workspace.metadata.annotations.get(ANNOTATION_RUNTIME, RUNTIME_TRANSFORMERS)
    if runtime not in RUNTIMES:
        return _refusal(f"{shown(runtime)} is no runtime", f"use {' or '.join(RUNTIMES)}, or remove it")
    inference = workspace.inference
    if runtime == RUNTIME_TRANSFORMERS or inference is None:
        return runtime
    if inference.template is not None:
        return _refusal(
            "the server of inference.template is the template's own to choose", "remove the annotation"
        )
    if inference.adapters:
        return _refusal(
            "vllm takes no inference.adapters: they are merged into the model by the runtime transformers",
            "use transformers, or serve a model that the adapters are merged into",
        )
    return runtime


def vllm_refusal(
    inference: Inference,
    preset: Preset,
    catalogue: Mapping[str, Preset],
    config: ServerConfig,
    *,
    on_gpu: bool,
) -> Finding | None:
    """Return why a preset cannot be served by vLLM as it is asked for, or None."""
    if preset.vllm is None:
        able = ", ".join(name for name, one in catalogue.items() if one.vllm is not None)
        return _refusal(
            f"preset {preset.name} is not one that vllm serves",
            f"use transformers, or one of these presets: {able}",
        )
    if not on_gpu:
        return _refusal(
            "vllm needs a GPU, and this Workspace is to run on the CPU",
            f"use transformers, or remove the annotation {ANNOTATION_ACCELERATOR}",
        )
    if inference.preset is not None and inference.preset.access_mode == "private":
        return _refusal(
            "vllm runs in an image of its own, and accessMode private names one for Berth's server",
            "use accessMode public, or transformers",
        )
    asked = int(config.settings.get("max_model_len", 0))
    if asked > preset.model.context_length:
        culprit = Culprit("ConfigMap", inference.config or "")
        return Finding(
            Reason.INVALID_CONFIG,
            f"{culprit}, {CONFIG_KEY}: {RUNTIME_VLLM}.max-model-len: {asked} is more than the context of "
            f"{preset.name}, {preset.model.context_length} tokens",
            "correct it; pods go on running with what they have",
            culprit,
            terminal=True,
            cause="max-model-len",
        )
    return None


def _refusal(problem: str, remedy: str) -> Finding:
    return Finding(
        Reason.NOT_SUPPORTED,
        f"annotation {ANNOTATION_RUNTIME}: {problem}",
        remedy,
        terminal=True,
        cause=ANNOTATION_RUNTIME,
    )
