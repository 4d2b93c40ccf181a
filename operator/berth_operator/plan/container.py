"""The server's container: image, arguments, resources, probes and rights, rendered from a preset."""

import math
from collections.abc import Sequence
from typing import Any

from berth_operator.api.names import CONTAINER, FETCH_CONTAINER, PORT_NAME, SERVER_PORT
from berth_operator.api.spec import Adapter, PresetRef
from berth_operator.api.weights import WeightsVolume
from berth_operator.plan import adapters, api_keys, weights
from berth_operator.plan.placement import GPU_RESOURCE
from berth_operator.plan.server_config import ServerConfig
from berth_operator.presets import Preset
from berth_operator.quantity import round_up_bytes
from berth_operator.settings import Settings

SERVER_IMAGE = "berth-inference"
"""The repository that the settings' digests are of; a preset may name another one in the same registry."""

DRAIN_SECONDS = 45
"""How long requests that run may take to finish after SIGTERM: a 200-token answer at the 5 tokens a second of a
large model on a busy CPU."""

END_SECONDS = 15
"""What follows the drain (ending what is left, closing the model) takes well under this."""

STARTUP_PERIOD_SECONDS = 5
READINESS_PERIOD_SECONDS = 5
LIVENESS_PERIOD_SECONDS = 10
PROBE_TIMEOUT_SECONDS = 5

WEIGHTS_MOUNT = {"name": weights.VOLUME, "mountPath": weights.CACHE_FOLDER}
TMP_MOUNT = {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108 - a mount path in the pod
SHARED_MEMORY_MOUNT = {"name": "dshm", "mountPath": "/dev/shm"}  # noqa: S108 - where torch's workers share memory

SCRATCH_VOLUMES = (
    {"name": "tmp", "emptyDir": {}},
    {"name": "dshm", "emptyDir": {"medium": "Memory"}},
)


def image(preset: Preset, reference: PresetRef, settings: Settings, *, on_gpu: bool) -> str:
    """Return the image to run: the user's own in private mode, else the preset's from the operator's registry."""
    if reference.access_mode == "private" and reference.preset_options.image:
        return reference.preset_options.image
    if "/" in preset.image:
        return preset.image
    path = f"{settings.image_registry}/{preset.image}"
    digest = settings.image_digest_cuda if on_gpu else settings.image_digest_cpu
    if digest and preset.image == SERVER_IMAGE:
        return f"{path}@{digest}"
    return f"{path}:{settings.image_tag}-{'cuda' if on_gpu else 'cpu'}"


def resources(preset: Preset, where: WeightsVolume, *, on_gpu: bool) -> dict[str, Any]:
    """Return requests and limits. A GPU preset that runs on CPU needs its weights and cache in main memory."""
    needs = preset.resources
    memory = needs.memory if on_gpu or not preset.needs_gpu else round_up_bytes(preset.memory_need().total)
    disk = weights.SCRATCH if where.is_claimed else needs.disk
    requests: dict[str, Any] = {"cpu": needs.cpu, "memory": memory, "ephemeral-storage": disk}
    if on_gpu:
        gpus = str(needs.gpu)
        return {"requests": {**requests, GPU_RESOURCE: gpus}, "limits": {GPU_RESOURCE: gpus}}
    # On CPU the model lives in the container's memory: the limit is what the server budgets its cache from.
    return {"requests": requests, "limits": {"memory": memory}}


def drain_seconds(config: ServerConfig) -> int:
    """How long a pod's requests may take to finish after SIGTERM, in seconds."""
    return DRAIN_SECONDS if config.drain_seconds is None else math.ceil(config.drain_seconds)


def render_container(
    workspace_name: str,
    preset: Preset,
    reference: PresetRef,
    settings: Settings,
    config: ServerConfig,
    where: WeightsVolume,
    *,
    api_key_secret: str | None,
    merged: Sequence[Adapter] = (),
    on_gpu: bool,
) -> dict[str, Any]:
    """Return the container that serves the preset."""
    arguments = model_arguments(preset)
    for served in dict.fromkeys((preset.name, workspace_name)):
        arguments += ["--served-model-name", served]
    arguments += preset.server.args
    if preset.needs_gpu and not on_gpu:
        arguments += ["--device", "cpu"]
    arguments += adapters.arguments(merged)
    fetched = weights.is_fetched(preset, reference)
    # What was fetched is only read: a server that is taken over cannot change what others that share it load.
    mounts: list[dict[str, Any]] = [{**WEIGHTS_MOUNT, "readOnly": True} if fetched else dict(WEIGHTS_MOUNT)]
    mounts += [dict(TMP_MOUNT), dict(SHARED_MEMORY_MOUNT)]
    mounts += adapters.volume_mounts(merged)
    if api_key_secret:
        arguments += api_keys.ARGUMENTS
        mounts.append(api_keys.volume_mount())
    # Last, because the last of two flags wins.
    arguments += config.arguments

    environment: list[dict[str, Any]] = [
        {"name": "HF_HOME", "value": weights.CACHE_FOLDER},
        {"name": "BERTH_DRAIN_SECONDS", "value": str(drain_seconds(config))},
    ]
    if fetched:
        environment.append({"name": "HF_HUB_OFFLINE", "value": "1"})
    else:
        environment += weights.hub_environment(preset, reference, settings)
    return {
        "name": CONTAINER,
        "image": image(preset, reference, settings, on_gpu=on_gpu),
        "command": ["python", "-m", "berth_inference", "serve"],
        "args": arguments,
        "env": environment,
        "ports": [{"name": PORT_NAME, "containerPort": SERVER_PORT, "protocol": "TCP"}],
        "resources": resources(preset, where, on_gpu=on_gpu),
        "volumeMounts": mounts,
        **probes(preset.readiness_seconds),
        **restricted(),
    }


def render_fetch_container(
    preset: Preset,
    reference: PresetRef,
    settings: Settings,
    where: WeightsVolume,
    server_image: str,
    *,
    on_gpu: bool,
) -> dict[str, Any]:
    """Return the init container that puts the preset's weights where the server reads them.

    It runs the image of Berth's server, which the pod needs in any case.
    """
    asked = resources(preset, where, on_gpu=on_gpu)
    return {
        "name": FETCH_CONTAINER,
        "image": server_image,
        "command": ["python", "-m", "berth_inference", "fetch"],
        "args": model_arguments(preset),
        "env": [
            {"name": "HF_HOME", "value": weights.CACHE_FOLDER},
            *weights.hub_environment(preset, reference, settings),
        ],
        # It tells its progress there. Without a name: the pod's other container has a port of that name.
        "ports": [{"containerPort": SERVER_PORT, "protocol": "TCP"}],
        # The server's own, without its GPUs: the pod asks for the larger of the two, and so for nothing more.
        "resources": {
            kind: kept
            for kind, amounts in asked.items()
            if (kept := {name: amount for name, amount in amounts.items() if name != GPU_RESOURCE})
        },
        "volumeMounts": [dict(WEIGHTS_MOUNT), dict(TMP_MOUNT)],
        **restricted(),
    }


def model_arguments(preset: Preset) -> list[str]:
    """Return the flags that name the model, and the commit that its preset pins."""
    revision = [] if preset.model.revision is None else ["--revision", preset.model.revision]
    return ["--model", preset.model.id, *revision]


def restricted() -> dict[str, Any]:
    """Return what every container of ours has: as few rights as it can do with, and a way to say why it ended."""
    return {
        # Our programs say why they cannot go on; of any other, or one that was killed, the end of its log has to do.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def probes(readiness_seconds: int) -> dict[str, Any]:
    """Return the probes of a server of ours that may take so long until it serves."""

    def get(path: str, period: int, failures: int) -> dict[str, Any]:
        return {
            "httpGet": {"path": path, "port": PORT_NAME},
            "periodSeconds": period,
            "timeoutSeconds": PROBE_TIMEOUT_SECONDS,
            "failureThreshold": failures,
        }

    return {
        "startupProbe": get(
            "/health", STARTUP_PERIOD_SECONDS, math.ceil(readiness_seconds / STARTUP_PERIOD_SECONDS)
        ),
        "readinessProbe": get("/health", READINESS_PERIOD_SECONDS, 2),
        # Liveness asks only whether the process answers, and waits a minute: killing a busy server loses its work.
        "livenessProbe": get("/livez", LIVENESS_PERIOD_SECONDS, 6),
    }
