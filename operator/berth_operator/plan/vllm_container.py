"""vLLM and Berth's front of it: the two containers of a pod whose Workspace asks for the runtime `vllm`.

The front is the pod's one container that is reached: it has the name, the port, the probes and the keys of Berth's own
server. vLLM listens on the loopback beside it. It is an init container that goes on running (a sidecar), because of the
two orders that this makes: the front starts once vLLM serves, and ends before vLLM is told to, so that running requests
can finish.
"""

import functools
import math
from importlib.resources import files as resources_of
from typing import Any, Final

from berth_operator.api.names import CONTAINER, PORT_NAME, SERVER_PORT, VLLM_CONTAINER
from berth_operator.api.spec import PresetRef
from berth_operator.api.weights import WeightsVolume
from berth_operator.plan import api_keys, vllm_settings, weights
from berth_operator.plan.container import (
    LIVENESS_PERIOD_SECONDS,
    PROBE_TIMEOUT_SECONDS,
    SHARED_MEMORY_MOUNT,
    STARTUP_PERIOD_SECONDS,
    TMP_MOUNT,
    WEIGHTS_MOUNT,
    drain_seconds,
    image,
    model_arguments,
    probes,
    resources,
    restricted,
)
from berth_operator.plan.server_config import ServerConfig
from berth_operator.presets import Preset
from berth_operator.settings import Settings

HOST: Final = "127.0.0.1"
PORT: Final = 8000

USER: Final = 65532
"""The user of Berth's own images, who owns the weights. vLLM's image names none, and would run as root."""

GPU_SHARE: Final = 0.9
"""The share of each GPU's memory that vLLM takes: its own default for years, given so that the arithmetic holds."""

END_SECONDS: Final = 15
"""vLLM has nothing left to finish once the front has ended; freeing a GPU takes seconds."""

FRONT_REQUESTS: Final = {"cpu": "500m", "memory": "512Mi"}
"""Tokenizing and streaming text. It takes about 100 MiB and a tokenizer, which may be as large again."""

CACHE_MOUNT: Final = {"name": "vllm-tmp", "mountPath": "/tmp"}  # noqa: S108 - a mount path in the pod
VOLUMES: Final = ({"name": "vllm-tmp", "emptyDir": {}},)
"""vLLM's home and temporary files: what it compiles, apart from what the front writes."""

PYTHON: Final = ("python3", "-I", "-S", "-c")
"""Without packages and outside the environment, so that neither what is slow to import nor a proxy disturbs it."""

# Not the kubelet's own request, which would come from outside the loopback.
_ASK: Final = (
    "import http.client, sys; "
    f"c = http.client.HTTPConnection('{HOST}', {PORT}, timeout={PROBE_TIMEOUT_SECONDS - 1}); "
    "c.request('GET', '/health'); sys.exit(c.getresponse().status != 200)"
)


def context_tokens(preset: Preset, config: ServerConfig) -> int:
    """Return the longest sequence that vLLM is started for, in tokens."""
    own = preset.vllm.max_model_len if preset.vllm is not None else None
    return int(config.settings.get("max_model_len") or own or preset.model.context_length)


def gpu_share(config: ServerConfig) -> float:
    """Return the share of each GPU's memory that vLLM is to take."""
    return float(config.settings.get("gpu_memory_utilization", GPU_SHARE))


def render_front(
    workspace_name: str,
    preset: Preset,
    reference: PresetRef,
    settings: Settings,
    config: ServerConfig,
    *,
    api_key_secret: str | None,
) -> dict[str, Any]:
    """Return the container that answers requests, and has vLLM compute the tokens."""
    # Named, because vLLM may say that it serves a folder, where it found the model.
    arguments = ["--upstream", f"http://{HOST}:{PORT}", "--tokenizer", preset.model.id]
    arguments += model_arguments(preset)
    for served in dict.fromkeys((preset.name, workspace_name)):
        arguments += ["--served-model-name", served]
    arguments += ["--port", str(SERVER_PORT)]
    mounts: list[dict[str, Any]] = [{**WEIGHTS_MOUNT, "readOnly": True}, dict(TMP_MOUNT)]
    if api_key_secret:
        arguments += api_keys.ARGUMENTS
        mounts.append(api_keys.volume_mount())
    # Last, because the last of two flags wins.
    arguments += config.front_arguments
    return {
        "name": CONTAINER,
        "image": image(preset, reference, settings, on_gpu=False),
        "command": ["python", "-m", "berth_inference", "front"],
        "args": arguments,
        "env": [
            {"name": "HF_HOME", "value": weights.CACHE_FOLDER},
            {"name": "BERTH_DRAIN_SECONDS", "value": str(drain_seconds(config))},
            {"name": "HF_HUB_OFFLINE", "value": "1"},
        ],
        "ports": [{"name": PORT_NAME, "containerPort": SERVER_PORT, "protocol": "TCP"}],
        "resources": {"requests": dict(FRONT_REQUESTS)},
        "volumeMounts": mounts,
        **probes(preset.readiness_seconds),
        **restricted(),
    }


def render_vllm(
    workspace_name: str, preset: Preset, settings: Settings, config: ServerConfig, where: WeightsVolume
) -> dict[str, Any]:
    """Return the sidecar that runs vLLM on the preset's GPUs."""
    contained = restricted()
    return {
        "name": VLLM_CONTAINER,
        "image": settings.vllm_image,
        "restartPolicy": "Always",
        "command": [*PYTHON, _launcher(), weights.CACHE_FOLDER, "vllm", "serve"],
        "args": _arguments(workspace_name, preset, config),
        # A name without a slash before it would be looked for in the working directory.
        "workingDir": TMP_MOUNT["mountPath"],
        "env": [
            {"name": name, "value": value}
            for name, value in (
                ("HF_HOME", weights.CACHE_FOLDER),
                ("HF_HUB_OFFLINE", "1"),
                # Caches go below HOME. USER stands for an entry in /etc/passwd, which torch asks for.
                ("HOME", TMP_MOUNT["mountPath"]),
                ("USER", "berth"),
                ("VLLM_NO_USAGE_STATS", "1"),
                ("DO_NOT_TRACK", "1"),
            )
        ],
        "resources": resources(preset, where, on_gpu=True),
        "volumeMounts": [
            {**WEIGHTS_MOUNT, "readOnly": True},
            dict(CACHE_MOUNT),
            dict(SHARED_MEMORY_MOUNT),
        ],
        # The front waits for the first; later it tells by its own readiness that vLLM is away.
        "startupProbe": _probe(
            STARTUP_PERIOD_SECONDS, math.ceil(preset.readiness_seconds / STARTUP_PERIOD_SECONDS)
        ),
        "livenessProbe": _probe(LIVENESS_PERIOD_SECONDS, 6),
        **contained,
        "securityContext": {**contained["securityContext"], "runAsUser": USER},
    }


def _arguments(workspace_name: str, preset: Preset, config: ServerConfig) -> list[str]:
    revision = preset.model.revision
    pinned = [] if revision is None else ["--revision", revision, "--tokenizer-revision", revision]
    names = dict.fromkeys((preset.name, workspace_name, preset.model.id))
    own = preset.vllm.args if preset.vllm is not None else ()
    return [
        preset.model.id,
        *pinned,
        *("--served-model-name", *names),
        *("--host", HOST, "--port", str(PORT)),
        # Nothing that could hold code, whatever lies beside them.
        *("--load-format", "safetensors", "--dtype", preset.model.dtype),
        *("--tensor-parallel-size", str(preset.resources.gpu)),
        *("--max-model-len", str(context_tokens(preset, config))),
        *("--gpu-memory-utilization", f"{gpu_share(config):g}"),
        # What a request leaves out is what Berth's pages say, whatever the model's publisher recommends.
        *("--generation-config", "vllm"),
        "--disable-uvicorn-access-log",
        *own,
        *_flags(config),
    ]


def _flags(config: ServerConfig) -> list[str]:
    """A ConfigMap's settings as vLLM's flags: last, because the last of two wins; a truth is a flag without a value."""
    found: list[str] = []
    for name, value in sorted(config.settings.items()):
        flag = name.replace("_", "-")
        if vllm_settings.SETTINGS[name]["type"] == "boolean":
            found.append(f"--{flag}" if value == "true" else f"--no-{flag}")
        elif name not in ("max_model_len", "gpu_memory_utilization"):
            found += [f"--{flag}", str(value)]
    return found


@functools.cache
def _launcher() -> str:
    return (resources_of("berth_operator") / "data" / "run_vllm.py").read_text(encoding="utf-8")


def _probe(period: int, failures: int) -> dict[str, Any]:
    return {
        "exec": {"command": [*PYTHON, _ASK]},
        "periodSeconds": period,
        "timeoutSeconds": PROBE_TIMEOUT_SECONDS,
        "failureThreshold": failures,
    }
