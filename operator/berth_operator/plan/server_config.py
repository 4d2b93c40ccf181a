"""The ConfigMap that `inference.config` names: settings of the server, judged before anything is rolled out.

Its key `inference_config.yaml` holds YAML with one section for each runtime, as KAITO's does: `transformers:` is
Berth's server, with the names of its flags (`max_output_tokens: 512`), `vllm:` is vLLM with the names of its own. What
the server's settings are is read from `data/server_settings.json`, which it publishes; vLLM's are in `vllm_settings`.
They reach the pod as arguments and not as a mounted file: a pod that restarts then runs with what was judged, whatever
became of the ConfigMap since.
"""

import difflib
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Final

import yaml

from berth_operator.api.names import RUNTIME_TRANSFORMERS, RUNTIME_VLLM, RUNTIMES
from berth_operator.plan import vllm_settings
from berth_operator.plan.differences import digest
from berth_operator.plan.reasons import Culprit, Finding, Reason, clipped

CONFIG_KEY: Final = "inference_config.yaml"

SECTIONS: Final = RUNTIMES
"""The runtimes that a file may configure; a Workspace reads the section of its own."""

RESERVED: Final = {
    "model": "inference.preset names the model",
    "revision": "the preset pins it",
    "host": "the Service needs the pod's address",
    "port": "the Service needs port 5000",
    "api_key_file": "the annotation berth.dev/api-key-secret names the Secret that holds the keys",
    "adapter": "inference.adapters lists them",
    "device": "the annotation berth.dev/accelerator says so",
}
"""Settings that Berth makes itself, and what to use instead."""


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

    @property
    def arguments(self) -> list[str]:
        """The settings as flags. Given last, they win over a preset's own."""
        found: list[str] = []
        for name, value in sorted(self.settings.items()):
            values = value if isinstance(value, list) else [value]
            found += [part for one in values for part in (f"--{name.replace('_', '-')}", str(one))]
        return found

    @property
    def drain_seconds(self) -> float | None:
        """How long running requests may take to finish, where the ConfigMap says so; in seconds."""
        value = self.settings.get("drain_seconds")
        return None if value is None else float(value)


def read_config(config: ConfigMapData, section: str | None = RUNTIME_TRANSFORMERS) -> ServerConfig | Finding:
    """Judge a ConfigMap; return its settings, or what is wrong with it.

    Without a section only its being there is judged: a pod template of the user's own reads what it likes.
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
    if section is None:
        return ServerConfig(content=digest(dict(config.data)))
    text = config.data.get(CONFIG_KEY)
    if not isinstance(text, str):
        return Finding(
            Reason.CONFIG_MAP_MISSING,
            f"{culprit}, which inference.config names, has no key {CONFIG_KEY}",
            f"add it, with a section `{section}:`",
            culprit,
            terminal=True,
            cause=f"{config.name}/{CONFIG_KEY}",
        )
    faults, settings = _judge(text, section)
    if faults:
        return Finding(
            Reason.INVALID_CONFIG,
            f"{culprit}, {CONFIG_KEY}: {clipped('. '.join(faults[:5]), 600)}",
            "correct it; pods go on running with what they have",
            culprit,
            terminal=True,
            cause=clipped(faults[0], 120),
        )
    return ServerConfig(settings, digest(dict(config.data)))


def _judge(text: str, section: str) -> tuple[list[str], dict[str, Any]]:
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        return [f"is not YAML: {clipped(error, 200)}"], {}
    if document is None:
        return [], {}
    if not isinstance(document, dict):
        return [f"must hold sections, such as `{section}:`"], {}
    faults = [
        f"{clipped(name, 60)!r} is not a section{_nearest(str(name), SECTIONS)}"
        for name in document
        if name not in SECTIONS
    ]
    chosen = document.get(section)
    if chosen is None:
        return faults, {}
    if not isinstance(chosen, dict):
        return [*faults, f"{section}: must hold settings, one a line"], {}
    settings: dict[str, Any] = {}
    for key, value in chosen.items():
        name = str(key).replace("-", "_")
        fault, settings[name] = _setting(section, name, value)
        if fault:
            faults.append(f"{section}.{clipped(key, 60)}: {fault}")
    return faults, settings


def _setting(section: str, name: str, value: Any) -> tuple[str, Any]:
    """Judge one setting: what is wrong with it, "" for nothing, and its value as the server takes it."""
    of_vllm = section == RUNTIME_VLLM
    rules, reserved = (
        (vllm_settings.SETTINGS, vllm_settings.RESERVED) if of_vllm else (server_settings(), RESERVED)
    )
    if name in reserved:
        return f"is Berth's to set: {reserved[name]}", None
    rule = rules.get(name)
    if rule is None:
        unknown = "is no setting of vLLM's that Berth knows" if of_vllm else "the server has no such setting"
        return f"{unknown}{_nearest(name, rules)}", None
    if rule.get("repeatable"):
        values = value if isinstance(value, list) else [value]
        ok = all(isinstance(one, str) and one.strip() for one in values)
        return ("", [one.strip() for one in values]) if ok else ("must be a name, or a list of names", None)
    if rule["type"] == "string":
        if not isinstance(value, str) or ("choices" in rule and value not in rule["choices"]):
            return f"{_shown(value)} is not one of {', '.join(rule.get('choices', ['a text']))}", None
        return "", value
    if rule["type"] == "boolean":
        word = str(value).lower()
        return ("", word) if word in ("true", "false") else (f"{_shown(value)} is not true or false", None)
    number = _number(value, whole=rule["type"] == "integer")
    if number is None:
        return f"{_shown(value)} is not {'a whole number' if rule['type'] == 'integer' else 'a number'}", None
    if not rule["minimum"] <= number <= rule["maximum"]:
        return f"{_shown(value)} is not between {rule['minimum']} and {rule['maximum']}", None
    return "", number


def _number(value: Any, *, whole: bool) -> int | float | None:
    if isinstance(value, str):
        # KAITO's own files quote every value.
        try:
            value = int(value) if whole else float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return None
    return None if whole and not isinstance(value, int) else value


def _shown(value: Any) -> str:
    return clipped(json.dumps(value, default=str), 60)


def _nearest(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name[:100], list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(sorted(known))}"


@functools.cache
def server_settings() -> Mapping[str, Mapping[str, Any]]:
    """Every setting of the server, as it published them: type, bounds, choices, description."""
    text = (resources.files("berth_operator") / "data" / "server_settings.json").read_text(encoding="utf-8")
    settings: dict[str, dict[str, Any]] = json.loads(text)
    return settings
