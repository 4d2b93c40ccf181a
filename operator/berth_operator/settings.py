"""What the operator is told by its environment, read once at start and refused in one line when wrong."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from berth_operator import __version__
from berth_operator.api.weights import FORMS, WITH_THE_POD, WeightsVolume, read_weights_volume


class SettingsError(ValueError):
    """An environment variable holds something unusable; the message names it and says what fits."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The operator's settings. Every field is read from the environment variable named beside it."""

    watch_namespaces: tuple[str, ...] = ()
    """`BERTH_WATCH_NAMESPACES`, comma separated; empty means every namespace."""

    presets_dir: Path | None = None
    """`BERTH_PRESETS_DIR`; unset means the presets that came with the package."""

    image_registry: str = "ghcr.io/berth-dev"
    """`BERTH_IMAGE_REGISTRY`: where images that a preset names without a registry are pulled from."""

    image_tag: str = __version__
    """`BERTH_IMAGE_TAG`: the release of the server image; `-cpu` or `-cuda` is added to it."""

    image_digest_cpu: str = ""
    """`BERTH_IMAGE_DIGEST_CPU`: `sha256:...` of the server image's build for CPUs; wins over its tag."""

    image_digest_cuda: str = ""
    """`BERTH_IMAGE_DIGEST_CUDA`: that of the build for GPUs."""

    vllm_image: str = "docker.io/vllm/vllm-openai:v0.26.0"
    """`BERTH_VLLM_IMAGE`: vLLM's own image, as its project publishes it, for Workspaces of the runtime `vllm`."""

    image_pull_secrets: tuple[str, ...] = ()
    """`BERTH_IMAGE_PULL_SECRETS`, comma separated: Secrets in the Workspace's namespace, for that registry."""

    weights_volume: WeightsVolume = WITH_THE_POD
    """`BERTH_WEIGHTS_VOLUME`: where weights are kept when a Workspace's annotation berth.dev/weights does not say."""

    weights_node_path: str = "/opt/kaito/models"
    """`BERTH_WEIGHTS_NODE_PATH`: the folder on each node that holds a folder of weights for each preset."""

    weights_fs_group: int | None = 65532
    """`BERTH_WEIGHTS_FS_GROUP`: the group that a claimed volume is given to, the server image's own; `none` leaves it
    to the cluster."""

    hub_endpoint: str = ""
    """`BERTH_HUB_ENDPOINT`: a mirror of the hub, for the pods that download."""

    http_proxy: str = ""
    """`BERTH_HTTP_PROXY`: the proxy for http:// of the pods that download; so the next two."""

    https_proxy: str = ""
    """`BERTH_HTTPS_PROXY`: the proxy for https://."""

    no_proxy: str = ""
    """`BERTH_NO_PROXY`: hosts that are reached without one, comma separated."""

    resync_seconds: float = 300.0
    """`BERTH_RESYNC_SECONDS`: how often everything is listed and looked at again. Five minutes bounds how long
    an event that a broken watch lost can go unseen, and costs three lists."""

    workers: int = 8
    """`BERTH_WORKERS`: Workspaces reconciled at once. The API server is the bound well before eight."""

    log_format: str = "text"
    """`BERTH_LOG_FORMAT`: `text` or `json`."""

    liveness_port: int = 8080
    """`BERTH_LIVENESS_PORT`: `/healthz` and `/readyz`; 0 turns them off."""

    leader_election: tuple[str, str] | None = None
    """`BERTH_LEADER_ELECTION`: `namespace/name` of the Lease that operators beside this one share; unset means that
    there is none beside it."""


def _names(value: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in value.split(",") if name.strip())


def _number(variable: str, value: str, lowest: float) -> float:
    try:
        number = float(value)
    except ValueError:
        raise SettingsError(f"{variable} must be a number, not {value!r}") from None
    if not number >= lowest:
        raise SettingsError(f"{variable} must be at least {lowest:g}, not {value}")
    return number


def _address(variable: str, value: str) -> str:
    """An address that pods are given in the open, and that therefore holds no password."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(f"{variable} must be an address such as https://host:port, not {value!r}")
    if parts.username or parts.password:
        raise SettingsError(f"{variable} must hold no user or password: whoever may see pods would see them")
    return value.rstrip("/")


def _group(variable: str, value: str) -> int | None:
    return None if value == "none" else int(_number(variable, value, 1))


def settings_from(environment: Mapping[str, str]) -> Settings:
    """Read the settings; raise `SettingsError` for the first variable that holds something unusable."""
    found = {
        name: value for name, value in environment.items() if name.startswith("BERTH_") and value.strip()
    }
    defaults = Settings()

    def number(variable: str, default: float, lowest: float) -> float:
        return _number(variable, found[variable], lowest) if variable in found else default

    log_format = found.get("BERTH_LOG_FORMAT", defaults.log_format)
    if log_format not in ("text", "json"):
        raise SettingsError(f"BERTH_LOG_FORMAT must be text or json, not {log_format!r}")
    presets_dir = Path(found["BERTH_PRESETS_DIR"]) if "BERTH_PRESETS_DIR" in found else None
    if presets_dir is not None and not presets_dir.is_dir():
        raise SettingsError(f"BERTH_PRESETS_DIR names no folder: {presets_dir}")
    lease = tuple(part.strip() for part in found.get("BERTH_LEADER_ELECTION", "").split("/"))
    if "BERTH_LEADER_ELECTION" in found and (len(lease) != 2 or not all(lease)):
        raise SettingsError(
            f"BERTH_LEADER_ELECTION must be NAMESPACE/NAME of a Lease, not {found['BERTH_LEADER_ELECTION']!r}"
        )
    volume = read_weights_volume(found.get("BERTH_WEIGHTS_VOLUME", "pod").strip())
    if volume is None:
        raise SettingsError(f"BERTH_WEIGHTS_VOLUME must be {FORMS}, not {found['BERTH_WEIGHTS_VOLUME']!r}")
    node_path = found.get("BERTH_WEIGHTS_NODE_PATH", defaults.weights_node_path)
    if not node_path.startswith("/") or ".." in node_path.split("/"):
        raise SettingsError(f"BERTH_WEIGHTS_NODE_PATH must be a whole path, not {node_path!r}")

    def address(variable: str) -> str:
        return _address(variable, found[variable].strip()) if variable in found else ""

    return Settings(
        watch_namespaces=_names(found.get("BERTH_WATCH_NAMESPACES", "")),
        presets_dir=presets_dir,
        image_registry=found.get("BERTH_IMAGE_REGISTRY", defaults.image_registry).rstrip("/"),
        image_tag=found.get("BERTH_IMAGE_TAG", defaults.image_tag),
        image_digest_cpu=found.get("BERTH_IMAGE_DIGEST_CPU", "").strip(),
        image_digest_cuda=found.get("BERTH_IMAGE_DIGEST_CUDA", "").strip(),
        vllm_image=found.get("BERTH_VLLM_IMAGE", defaults.vllm_image).strip(),
        image_pull_secrets=_names(found.get("BERTH_IMAGE_PULL_SECRETS", "")),
        weights_volume=volume,
        weights_node_path=node_path.rstrip("/"),
        weights_fs_group=_group("BERTH_WEIGHTS_FS_GROUP", found.get("BERTH_WEIGHTS_FS_GROUP", "65532")),
        hub_endpoint=address("BERTH_HUB_ENDPOINT"),
        http_proxy=address("BERTH_HTTP_PROXY"),
        https_proxy=address("BERTH_HTTPS_PROXY"),
        no_proxy=found.get("BERTH_NO_PROXY", "").strip(),
        resync_seconds=number("BERTH_RESYNC_SECONDS", defaults.resync_seconds, 1),
        workers=int(number("BERTH_WORKERS", defaults.workers, 1)),
        log_format=log_format,
        liveness_port=int(number("BERTH_LIVENESS_PORT", defaults.liveness_port, 0)),
        leader_election=(lease[0], lease[1]) if len(lease) == 2 else None,
    )
