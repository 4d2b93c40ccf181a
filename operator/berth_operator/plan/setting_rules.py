"""Which settings a ConfigMap may hold, section by section, and with what values."""

import difflib
import functools
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any, Final

from berth_operator.api.names import RUNTIME_VLLM
from berth_operator.plan import vllm_settings
from berth_operator.plan.reasons import clipped

FRONT: Final = "front"
"""The section of Berth's front of a vLLM."""

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

FRONT_SETTINGS: Final = frozenset(
    {
        *("drain_seconds", "log_format", "log_prompts", "max_beams", "max_body_bytes", "max_output_tokens"),
        *("max_prompt_tokens", "max_queued", "max_sequences", "request_seconds", "served_model_name"),
    }
)
"""What the front has of the server's settings: all that has nothing to do with running a model."""


def judge_setting(section: str, name: str, value: Any) -> tuple[str, Any]:
    """Judge one setting of a section: what is wrong with it, "" for nothing, and its value as its reader takes it."""
    of_vllm = section == RUNTIME_VLLM
    rules, reserved = (
        (vllm_settings.SETTINGS, vllm_settings.RESERVED) if of_vllm else (server_settings(), RESERVED)
    )
    if name in reserved:
        return f"is Berth's to set: {reserved[name]}", None
    rule = rules.get(name)
    if rule is not None and section == FRONT and name not in FRONT_SETTINGS:
        return "has no effect here: vLLM runs the model", None
    if rule is None:
        unknown = "is no setting of vLLM's that Berth knows" if of_vllm else "the server has no such setting"
        return f"{unknown}{nearest(name, FRONT_SETTINGS if section == FRONT else rules)}", None
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


def nearest(name: str, known: Any) -> str:
    """Return the hint at the known name that may be meant, or at all of them."""
    near = difflib.get_close_matches(name[:100], list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(sorted(known))}"


@functools.cache
def server_settings() -> Mapping[str, Mapping[str, Any]]:
    """Every setting of the server, as it published them: type, bounds, choices, description."""
    text = (resources.files("berth_operator") / "data" / "server_settings.json").read_text(encoding="utf-8")
    settings: dict[str, dict[str, Any]] = json.loads(text)
    return settings
