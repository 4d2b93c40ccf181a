"""The ConfigMap that `inference.config` names: settings of the server, judged before anything is rolled out.

Its key `inference_config.yaml` holds YAML with one section for each runtime, as KAITO's does: `transformers:` is
Berth's server, with the names of its flags (`max_output_tokens: 512`), `vllm:` is vLLM with the names of its own, and
`front:` is Berth's front of it. What the server's settings are is read from `data/server_settings.json`, which it
publishes; vLLM's are in `vllm_settings`. They reach the pod as arguments and not as a mounted file: a pod that restarts
then runs with what was judged, whatever became of the ConfigMap since.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from berth_operator.api.names import RUNTIME_TRANSFORMERS, RUNTIME_VLLM
from berth_operator.plan.differences import digest
from berth_operator.plan.reasons import Culprit, Finding, Reason, clipped
from berth_operator.plan.setting_rules import FRONT, judge_setting, nearest

CONFIG_KEY: Final = "inference_config.yaml"

OF_RUNTIME: Final = {RUNTIME_TRANSFORMERS: (RUNTIME_TRANSFORMERS,), RUNTIME_VLLM: (RUNTIME_VLLM, FRONT)}
"""The sections that a Workspace of a runtime reads; a file may have the others', too."""

SECTIONS: Final = tuple(section for sections in OF_RUNTIME.values() for section in sections)


@dataclass(frozen=True, slots=True)
class ConfigMapData:
    """A ConfigMap as it was read: `data` is None where it does not exist, `refused` says why it may not be read."""

    name: str
    data: Mapping[str, Any] | None = None
    refused: str = ""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Settings of the server that a ConfigMap asks for, all of them acceptable to it."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    content: str = ""
    """The digest of the whole ConfigMap, by which a template's pods are rolled."""
    front: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the front, where `settings` are vLLM's."""

    @property
    def arguments(self) -> list[str]:
        """The server's settings as flags. Given last, they win over a preset's own."""
        return _flags(self.settings)

    @property
    def front_arguments(self) -> list[str]:
        """The front's settings as flags."""
        return _flags(self.front)

    @property
    def drain_seconds(self) -> float | None:
        """How long running requests may take to finish, where the ConfigMap says so; in seconds."""
        value = self.settings.get("drain_seconds", self.front.get("drain_seconds"))
        return None if value is None else float(value)


def _flags(settings: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    for name, value in sorted(settings.items()):
        values = value if isinstance(value, list) else [value]
        found += [part for one in values for part in (f"--{name.replace('_', '-')}", str(one))]
    return found


def read_config(config: ConfigMapData, runtime: str | None = RUNTIME_TRANSFORMERS) -> ServerConfig | Finding:
    """Judge a ConfigMap; return its settings, or what is wrong with it.

    Without a runtime only its being there is judged: a pod template of the user's own reads what it likes.
    """
    culprit = Culprit("ConfigMap", config.name)
    if config.refused:
        return Finding(
            Reason.CONFIG_MAP_MISSING,
            f"{culprit}, which inference.config names, may not be read: {clipped(config.refused)}",
            "give the operator the right to get ConfigMaps in this namespace (the chart does)",
            culprit,
            terminal=True,
            cause=config.name,
        )
    if config.data is None:
        return Finding(
            Reason.CONFIG_MAP_MISSING,
            f"{culprit}, which inference.config names, does not exist in the Workspace's namespace",
            f"create it with the key {CONFIG_KEY}, or correct inference.config",
            culprit,
            terminal=True,
            cause=config.name,
        )
    if runtime is None:
        return ServerConfig(content=digest(dict(config.data)))
    text = config.data.get(CONFIG_KEY)
    if not isinstance(text, str):
        return Finding(
            Reason.CONFIG_MAP_MISSING,
            f"{culprit}, which inference.config names, has no key {CONFIG_KEY}",
            f"add it, with a section `{runtime}:`",
            culprit,
            terminal=True,
            cause=f"{config.name}/{CONFIG_KEY}",
        )
    faults, settings = _judge(text, runtime)
    if faults:
        return Finding(
            Reason.INVALID_CONFIG,
            f"{culprit}, {CONFIG_KEY}: {clipped('. '.join(faults[:5]), 600)}",
            "correct it; pods go on running with what they have",
            culprit,
            terminal=True,
            cause=clipped(faults[0], 120),
        )
    return ServerConfig(settings.get(runtime, {}), digest(dict(config.data)), settings.get(FRONT, {}))


def _judge(text: str, runtime: str) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Return what is wrong with a file, and the settings of each section that the runtime reads."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        return [f"is not YAML: {clipped(error, 200)}"], {}
    if document is None:
        return [], {}
    if not isinstance(document, dict):
        return [f"must hold sections, such as `{runtime}:`"], {}
    faults = [
        f"{clipped(name, 60)!r} is not a section{nearest(str(name), SECTIONS)}"
        for name in document
        if name not in SECTIONS
    ]
    settings: dict[str, dict[str, Any]] = {}
    for section in OF_RUNTIME[runtime]:
        chosen = document.get(section)
        if chosen is None:
            continue
        if not isinstance(chosen, dict):
            faults.append(f"{section}: must hold settings, one a line")
            continue
        found = settings.setdefault(section, {})
        for key, value in chosen.items():
            name = str(key).replace("-", "_")
            fault, found[name] = judge_setting(section, name, value)
            if fault:
                faults.append(f"{section}.{clipped(key, 60)}: {fault}")
    return faults, settings
