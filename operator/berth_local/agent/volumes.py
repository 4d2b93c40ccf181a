"""A pod's volumes as folders, and which folder a container's mount path means."""

import base64
import binascii
import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from berth_local.agent.plan.environment import ConfigError
from berth_local.agent.plan.objects import Object

SUPPORTED = ("emptyDir", "configMap", "secret")
DEFAULT_MODE = 0o644


def decoded(obj: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the data of a Secret or ConfigMap as bytes."""
    if obj.get("kind") != "Secret":
        text = {name: str(value).encode() for name, value in (obj.get("data") or {}).items()}
        return text | {name: base64.b64decode(value) for name, value in (obj.get("binaryData") or {}).items()}
    given = {name: str(value).encode() for name, value in (obj.get("stringData") or {}).items()}
    with contextlib.suppress(binascii.Error):
        return {name: base64.b64decode(value) for name, value in (obj.get("data") or {}).items()} | given
    raise ConfigError(f'secret "{obj["metadata"]["name"]}" holds data that is not base64')


def make_volumes(
    pod: Object, folder: Path, secrets: Mapping[str, Object], config_maps: Mapping[str, Object]
) -> dict[str, Path]:
    """Make a pod's volumes under `folder` and return volume name -> folder.

    Called again, it keeps an emptyDir as it is, and writes anew only those Secrets and ConfigMaps that changed.

    Raises ConfigError for a missing Secret or ConfigMap, or a kind of volume that the agent does not have.
    """
    made = {}
    for volume in pod["spec"].get("volumes") or ():
        name = str(volume["name"])
        path = _inside(folder, name)
        if "emptyDir" in volume:
            path.mkdir(parents=True, exist_ok=True)
        elif "configMap" in volume:
            _write(path, volume["configMap"], volume["configMap"].get("name"), config_maps, "configmap")
        elif "secret" in volume:
            _write(path, volume["secret"], volume["secret"].get("secretName"), secrets, "secret")
        else:
            kind = next((key for key in volume if key != "name"), "nothing")
            raise ConfigError(
                f'volume "{name}" is of kind {kind}: the embedded agent has {", ".join(SUPPORTED[:-1])} and '
                f"{SUPPORTED[-1]} volumes; use a cluster for others"
            )
        made[name] = path
    return made


def mounts_of(container: Mapping[str, Any], volumes: Mapping[str, Path]) -> dict[str, str]:
    """Return mount path -> folder for a container; raise ConfigError for a mount of an undeclared volume."""
    mounts = {}
    for mount in container.get("volumeMounts") or ():
        if mount["name"] not in volumes:
            raise ConfigError(
                f'volume mount "{mount["name"]}" of container "{container["name"]}" has no volume'
            )
        path = volumes[mount["name"]]
        if mount.get("subPath"):
            path = _inside(path, str(mount["subPath"]))
            if not path.exists():
                path.mkdir(parents=True)
        mounts[str(mount["mountPath"])] = str(path)
    return mounts


def _write(
    path: Path, source: Mapping[str, Any], name: str | None, known: Mapping[str, Object], kind: str
) -> None:
    obj = known.get(str(name))
    if obj is None and not source.get("optional"):
        raise ConfigError(f'{kind} "{name}" not found')
    data = decoded(obj) if obj is not None else {}
    items = source.get("items") or [{"key": key, "path": key} for key in data]
    files: dict[Path, tuple[bytes, int]] = {}
    for item in items:
        if item["key"] not in data:
            if source.get("optional"):
                continue
            raise ConfigError(f'{kind} "{name}" has no key "{item["key"]}"')
        mode = item.get("mode", source.get("defaultMode"))
        mode = DEFAULT_MODE if mode is None else int(mode) & 0o777
        files[_inside(path, str(item["path"]))] = (data[item["key"]], mode)
    present = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    if path.is_dir() and present == {file: content for file, (content, _) in files.items()}:
        return
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True, mode=0o700)
    for file, (content, mode) in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_bytes(content)
        file.chmod(mode)


def _inside(folder: Path, relative: str) -> Path:
    parts = PurePosixPath(relative)
    if parts.is_absolute() or ".." in parts.parts or not parts.parts:
        raise ConfigError(f"{relative!r} is not a path inside the volume")
    return folder / parts
