"""A container's spec and what it refers to -> its command line and environment on this machine."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING
from typing import Any

from berth_local.agent.plan.objects import Object
from berth_local.agent.plan.resources import quantity

_REFERENCE = re.compile(r"\$(\$|\(([-._a-zA-Z][-._a-zA-Z0-9]*)\))")
# An option's value may itself be named: `--adapter=NAME=FOLDER`.
_OPTION = re.compile(r"-[-\w.]*=([-\w.:]+=)?")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


class ConfigError(ValueError):
    """The container cannot be made as its spec stands; the message is what the pod's status shows."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What a container's environment may refer to, besides its pod: Secrets' and ConfigMaps' decoded text."""

    secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    config_maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    """Values of `status.*` and `spec.*` field references."""
    allocatable: Mapping[str, str] = field(default_factory=dict)
    """What the node has, for resource references without a limit."""


def environment_of(
    container: Mapping[str, Any], pod: Object, sources: Sources, mounts: Mapping[str, str]
) -> dict[str, str]:
    """Return the variables that a container's `env` and `envFrom` set; raise ConfigError for one that cannot be.

    Values that begin with a mount path point into that mount's folder; what a Secret holds is left as it is.
    """
    result: dict[str, str] = {}
    for entry in container.get("envFrom") or ():
        for kind, reference in (("secret", entry.get("secretRef")), ("configmap", entry.get("configMapRef"))):
            if reference:
                data = _data(kind, reference, sources)
                result.update({f"{entry.get('prefix', '')}{name}": value for name, value in data.items()})
    for entry in container.get("env") or ():
        name, origin = entry["name"], entry.get("valueFrom") or {}
        if not origin:
            result[name] = translate(expand(str(entry.get("value") or ""), result), mounts)
            continue
        value = _value_from(origin, container, pod, sources)
        if value is not None:
            result[name] = value if "secretKeyRef" in origin else translate(value, mounts)
    return result


def command_line(
    container: Mapping[str, Any],
    entrypoint: Sequence[str],
    environment: Mapping[str, str],
    mounts: Mapping[str, str],
    interpreter: str,
) -> list[str]:
    """Return what to execute: `command` (or the image's entry point) and `args`, `$(NAME)` and mounts resolved.

    `python` and `python3` mean `interpreter`, which is where the image's program is installed.
    """
    words = [*(container.get("command") or entrypoint), *(container.get("args") or ())]
    if not words:
        raise ConfigError("no command specified")
    line = [translate(expand(str(word), environment), mounts) for word in words]
    return [interpreter if line[0] in ("python", "python3") else line[0], *line[1:]]


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Return the text with `$(NAME)` replaced where NAME is set; `$$` stands for one dollar sign."""

    def value(found: re.Match[str]) -> str:
        return "$" if found[1] == "$" else environment.get(found[2], found[0])

    return _REFERENCE.sub(value, text)


def translate(text: str, mounts: Mapping[str, str]) -> str:
    """Return the text with a mount path at its beginning, or after the `=` of an option, replaced by its folder."""
    option = _OPTION.match(text)
    before = option[0] if option else ""
    path = text[len(before) :]
    for mount in sorted(mounts, key=len, reverse=True):
        if path == mount or path.startswith(mount.rstrip("/") + "/"):
            return before + mounts[mount] + path[len(mount.rstrip("/")) :]
    return text


def _data(kind: str, reference: Mapping[str, Any], sources: Sources) -> Mapping[str, str]:
    known = sources.secrets if kind == "secret" else sources.config_maps
    name = str(reference.get("name", ""))
    if name in known:
        return known[name]
    if reference.get("optional"):
        return {}
    raise ConfigError(f'{kind} "{name}" not found')


def _value_from(
    origin: Mapping[str, Any], container: Mapping[str, Any], pod: Object, sources: Sources
) -> str | None:
    for kind, source in (("secret", "secretKeyRef"), ("configmap", "configMapKeyRef")):
        if reference := origin.get(source):
            data = _data(kind, reference, sources)
            if reference["key"] in data:
                return data[reference["key"]]
            if reference.get("optional"):
                return None
            title = "Secret" if kind == "secret" else "ConfigMap"
            where = f"{pod['metadata'].get('namespace')}/{reference['name']}"
            raise ConfigError(f"couldn't find key {reference['key']} in {title} {where}")
    if "fieldRef" in origin:
        return _field(str(origin["fieldRef"]["fieldPath"]), pod, sources)
    if "resourceFieldRef" in origin:
        return _resource(origin["resourceFieldRef"], container, sources)
    raise ConfigError(f"the embedded agent does not know the variable source {', '.join(origin)}")


def _field(path: str, pod: Object, sources: Sources) -> str:
    meta = pod["metadata"]
    if found := _SUBSCRIPT.fullmatch(path):
        return str((meta.get(found[1]) or {}).get(found[2], ""))
    if path in ("metadata.name", "metadata.namespace", "metadata.uid"):
        return str(meta.get(path.removeprefix("metadata."), ""))
    if path in sources.fields:
        return sources.fields[path]
    raise ConfigError(f"field label not supported: {path}")


def _resource(reference: Mapping[str, Any], container: Mapping[str, Any], sources: Sources) -> str:
    where, _, name = str(reference["resource"]).partition(".")
    amounts = (container.get("resources") or {}).get(where) or {}
    amount = amounts.get(name, sources.allocatable.get(name, "0") if where == "limits" else "0")
    # Kubernetes rounds up: half a CPU asked for in whole CPUs is one.
    count = (quantity(amount) / quantity(reference.get("divisor") or "1")).to_integral_value(ROUND_CEILING)
    return str(count)
