"""A model's weights: whether they are downloaded, onto which volume, and with what the hub is reached."""

from collections.abc import Iterator
from typing import Any, Final

from berth_operator.api.names import ANNOTATION_LOCAL_WEIGHTS, ANNOTATION_WEIGHTS, TOKEN_KEY
from berth_operator.api.problems import shown
from berth_operator.api.spec import PresetRef
from berth_operator.api.weights import FORMS, WeightsVolume, read_weights_volume
from berth_operator.api.workspace import Workspace
from berth_operator.plan.reasons import Finding, Reason
from berth_operator.presets import Preset
from berth_operator.settings import Settings

CACHE_FOLDER: Final = "/var/cache/berth"
"""Where weights are kept; the one place besides /tmp that is written to."""

VOLUME: Final = "weights"

SCRATCH: Final = "1Gi"
"""Disk of the node that a pod asks for whose weights are on a volume of their own: its log and temporary files."""


def comes_from_hub(preset: Preset) -> bool:
    """Whether the model's id is one of the hub (`owner/name`), and not a folder or what the image has built in."""
    return "/" in preset.model.id and not preset.model.id.startswith(("/", ".", "~"))


def is_fetched(preset: Preset, reference: PresetRef) -> bool:
    """Whether an init container fetches the weights. A private image may bring them, and its server sees to them."""
    return comes_from_hub(preset) and reference.access_mode != "private"


def weights_volume(workspace: Workspace, settings: Settings) -> WeightsVolume | Finding:
    """Return where the weights go: the annotations say, else the operator's setting."""
    annotations = workspace.metadata.annotations
    ours, kaitos = annotations.get(ANNOTATION_WEIGHTS), annotations.get(ANNOTATION_LOCAL_WEIGHTS)
    chosen = settings.weights_volume if ours is None else read_weights_volume(ours)
    if chosen is None:
        return _refusal(ANNOTATION_WEIGHTS, f"{shown(ours)} is no place for weights", f"use {FORMS}")
    if kaitos not in (None, "true", "false"):
        return _refusal(ANNOTATION_LOCAL_WEIGHTS, f"{shown(kaitos)} is not true or false", "use one of them")
    if kaitos != "true":
        return chosen
    if ours is not None and chosen.kind != "node":
        return _refusal(
            ANNOTATION_LOCAL_WEIGHTS,
            f"means {ANNOTATION_WEIGHTS}: node, which is {shown(ours)}",
            "remove one",
        )
    return WeightsVolume("node")


def without_effect(workspace: Workspace, preset: Preset | None) -> Iterator[Finding]:
    """Annotations about weights on a Workspace that downloads none: said, and not held against it."""
    if preset is not None and comes_from_hub(preset):
        return
    why = "a template has volumes of its own" if preset is None else f"{preset.model.id} is part of the image"
    for name in (ANNOTATION_WEIGHTS, ANNOTATION_LOCAL_WEIGHTS):
        if name in workspace.metadata.annotations:
            yield Finding(
                Reason.NOT_SUPPORTED, f"annotation {name} has no effect here: {why}", "remove it", cause=name
            )


def volume(where: WeightsVolume, preset: Preset, reference: PresetRef, settings: Settings) -> dict[str, Any]:
    """Return the pod's volume of weights."""
    source: dict[str, Any]
    match where.kind:
        case "pod":
            source = {"emptyDir": {}}
        case "node":
            # KAITO's own folder. It must exist: what the kubelet would make, only root could write to.
            folder = reference.name.lower().replace("/", "-")
            source = {"hostPath": {"path": f"{settings.weights_node_path}/{folder}", "type": "Directory"}}
        case "claim":
            source = {"persistentVolumeClaim": {"claimName": where.name}}
        case "storage-class":
            spec: dict[str, Any] = {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": preset.resources.disk}},
            }
            if where.name:
                spec["storageClassName"] = where.name
            source = {"ephemeral": {"volumeClaimTemplate": {"spec": spec}}}
    return {"name": VOLUME, **source}


def ownership(where: WeightsVolume, settings: Settings) -> dict[str, Any]:
    """Return what the pod's security context needs so that a fresh volume, which is root's, can be written to."""
    if not where.is_claimed or settings.weights_fs_group is None:
        return {}
    return {"fsGroup": settings.weights_fs_group, "fsGroupChangePolicy": "OnRootMismatch"}


def hub_environment(preset: Preset, reference: PresetRef, settings: Settings) -> list[dict[str, Any]]:
    """Return the variables of a container that downloads: the token, by reference, the mirror and the proxies."""
    environment: list[dict[str, Any]] = []
    if secret := reference.preset_options.model_access_secret:
        environment.append(
            {"name": TOKEN_KEY, "valueFrom": {"secretKeyRef": {"name": secret, "key": TOKEN_KEY}}}
        )
    named = {
        "HF_ENDPOINT": settings.hub_endpoint,
        "HTTP_PROXY": settings.http_proxy,
        "HTTPS_PROXY": settings.https_proxy,
        "NO_PROXY": settings.no_proxy,
    }
    if not comes_from_hub(preset):
        return environment
    if settings.hub_endpoint:
        # A mirror has the files. Their chunks would come from the hub's own storage, past it.
        named["HF_HUB_DISABLE_XET"] = "1"
    return [*environment, *({"name": name, "value": value} for name, value in named.items() if value)]


def _refusal(annotation: str, problem: str, remedy: str) -> Finding:
    return Finding(
        Reason.NOT_SUPPORTED,
        f"annotation {annotation}: {problem}",
        f"{remedy}, or remove the annotation",
        terminal=True,
        cause=annotation,
    )
