"""The server's container: image, arguments, resources, probes and rights, rendered from a preset."""

import math
from collections.abc import Sequence
from typing import Any

from berth_operator.api.names import CONTAINER, PORT_NAME, SERVER_PORT, TOKEN_KEY
from berth_operator.api.spec import Adapter, PresetRef
from berth_operator.plan import adapters, api_keys
from berth_operator.plan.placement import GPU_RESOURCE
from berth_operator.plan.server_config import ServerConfig
from berth_operator.presets import Preset
from berth_operator.quantity import round_up_bytes
from berth_operator.settings import Settings

CACHE_FOLDER = "/var/cache/berth"
"""Where weights are kept; the one place besides /tmp that the server writes to."""

DRAIN_SECONDS = 45
"""How long requests that run may take to finish after SIGTERM: a 200-token answer at the 5 tokens a second of a
large model on a busy CPU."""

END_SECONDS = 15
"""What follows the drain (ending what is left, closing the model) takes well under this."""

STARTUP_PERIOD_SECONDS = 5
READINESS_PERIOD_SECONDS = 5
LIVENESS_PERIOD_SECONDS = 10
PROBE_TIMEOUT_SECONDS = 5

VOLUME_MOUNTS = (
    {"name": "weights", "mountPath": CACHE_FOLDER},
    {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a mount path in the pod
    {"name": "dshm", "mountPath": "/dev/shm"},  # noqa: S108 - where torch's workers share memory
)

VOLUMES = (
    {"name": "weights", "emptyDir": {}},
    {"name": "tmp", "emptyDir": {}},
    {"name": "dshm", "emptyDir": {"medium": "Memory"}},
)


def image(preset: Preset, reference: PresetRef, settings: Settings, *, on_gpu: bool) -> str:
    """Return the image to run: the user's own in private mode, else the preset's from the operator's registry."""
    if reference.access_mode == "private" and reference.preset_options.image:
        return reference.preset_options.image
    if "/" in preset.image:
        return preset.image
    return f"{settings.image_registry}/{preset.image}:{settings.image_tag}-{'cuda' if on_gpu else 'cpu'}"


def resources(preset: Preset, *, on_gpu: bool) -> dict[str, Any]:
    """Return requests and limits. A GPU preset that runs on CPU needs its weights and cache in main memory."""
    needs = preset.resources
    memory = needs.memory if on_gpu or not preset.needs_gpu else round_up_bytes(preset.memory_need().total)
    requests: dict[str, Any] = {"cpu": needs.cpu, "memory": memory, "ephemeral-storage": needs.disk}
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
    *,
    api_key_secret: str | None,
    merged: Sequence[Adapter] = (),
    on_gpu: bool,
) -> dict[str, Any]:
    """Return the container that serves the preset."""
    arguments = ["--model", preset.model.id]
    if preset.model.revision is not None:
        arguments += ["--revision", preset.model.revision]
    for served in dict.fromkeys((preset.name, workspace_name)):
        arguments += ["--served-model-name", served]
    arguments += preset.server.args
    if preset.needs_gpu and not on_gpu:
        arguments += ["--device", "cpu"]
    arguments += adapters.arguments(merged)
    mounts = [*(dict(mount) for mount in VOLUME_MOUNTS), *adapters.volume_mounts(merged)]
    if api_key_secret:
        arguments += api_keys.ARGUMENTS
        mounts.append(api_keys.volume_mount())
    # Last, because the last of two flags wins.
    arguments += config.arguments

    environment: list[dict[str, Any]] = [
        {"name": "HF_HOME", "value": CACHE_FOLDER},
        {"name": "BERTH_DRAIN_SECONDS", "value": str(drain_seconds(config))},
    ]
    secret = reference.preset_options.model_access_secret
    if secret:
        environment.append(
            {"name": TOKEN_KEY, "valueFrom": {"secretKeyRef": {"name": secret, "key": TOKEN_KEY}}},
        )
    return {
        "name": CONTAINER,
        "image": image(preset, reference, settings, on_gpu=on_gpu),
        "command": ["python", "-m", "berth_inference", "serve"],
        "args": arguments,
        "env": environment,
        "ports": [{"name": PORT_NAME, "containerPort": SERVER_PORT, "protocol": "TCP"}],
        "resources": resources(preset, on_gpu=on_gpu),
        "volumeMounts": mounts,
        **_probes(preset.readiness_seconds),
        # Our server says why it cannot serve; of any other, or one that was killed, the end of its log has to do.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def _probes(readiness_seconds: int) -> dict[str, Any]:
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
