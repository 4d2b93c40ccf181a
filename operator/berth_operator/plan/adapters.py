"""LoRA adapters of a Workspace: how their files come into the pod, and how the server is told of them.

An adapter in an image is copied out of it by an init container that runs the image itself, as KAITO's did, into a
folder of its own of a volume that the pod's containers share. One in a volume is mounted as it is. Both then lie in
`/mnt/adapter/NAME`, where the server reads them.
"""

from collections.abc import Sequence
from typing import Any, Final

from berth_operator.api.names import ADAPTER_PREFIX
from berth_operator.api.spec import Adapter

FOLDER: Final = "/mnt/adapter"
DATA: Final = "/data"
VOLUME: Final = "adapters"

USER: Final = 65532
"""The user of Berth's own images. Images of adapters seldom name one, and a pod that may not run as root needs it."""

REQUESTS: Final = {"cpu": "100m", "memory": "64Mi"}
"""What `cp` needs; the server that runs after it asks for more, so that it costs nothing."""


def arguments(adapters: Sequence[Adapter]) -> list[str]:
    """Return the server's flags: where each adapter lies, and how much it counts."""
    found: list[str] = []
    for adapter in adapters:
        strength = "" if float(adapter.strength) == 1 else f":{adapter.strength}"
        found.append(f"--adapter={adapter.source.name}{strength}={_folder(adapter)}")
    return found


def volumes(adapters: Sequence[Adapter]) -> list[dict[str, Any]]:
    """Return the pod's volumes: one for all adapters in images, and those that hold an adapter."""
    shared = [{"name": VOLUME, "emptyDir": {}}] if any(one.source.image for one in adapters) else []
    return shared + [
        {**one.source.volume_source, "name": _part(one)} for one in adapters if one.source.volume_source
    ]


def volume_mounts(adapters: Sequence[Adapter]) -> list[dict[str, Any]]:
    """Return the server's mounts, from which it only reads."""
    return [{**_mount(adapter), "readOnly": True} for adapter in adapters]


def init_containers(adapters: Sequence[Adapter]) -> list[dict[str, Any]]:
    """Return the containers that copy adapters out of their images before the server starts."""
    return [
        {
            "name": _part(adapter),
            "image": adapter.source.image,
            # The dot copies what the folder holds, whether or not an earlier attempt copied some of it.
            "command": ["cp", "-r", f"{DATA}/.", _folder(adapter)],
            "resources": {"requests": dict(REQUESTS)},
            "volumeMounts": [_mount(adapter)],
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "runAsNonRoot": True,
                "runAsUser": USER,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        }
        for adapter in adapters
        if adapter.source.image
    ]


def image_pull_secrets(adapters: Sequence[Adapter]) -> list[str]:
    """Return the names of the Secrets that open the registries of the adapters' images."""
    return [name for adapter in adapters for name in adapter.source.image_pull_secrets]


def _mount(adapter: Adapter) -> dict[str, Any]:
    if adapter.source.image:
        return {"name": VOLUME, "mountPath": _folder(adapter), "subPath": adapter.source.name}
    return {"name": _part(adapter), "mountPath": _folder(adapter)}


def _folder(adapter: Adapter) -> str:
    return f"{FOLDER}/{adapter.source.name}"


def _part(adapter: Adapter) -> str:
    """The name of the adapter's own init container or volume."""
    return f"{ADAPTER_PREFIX}{adapter.source.name}"
