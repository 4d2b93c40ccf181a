"""pydantic's findings, told in the user's words."""

import difflib
import re
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from berth_operator.api.problems import Problem, shown
from berth_operator.api.spec import ADAPTER_NAME_PATTERN, LABEL_VALUE_PATTERN, NAME_PATTERN, NO_SPACE_PATTERN

_FIELD = re.compile(r"[A-Za-z]{1,40}", re.ASCII)

_TYPES = {
    "string_type": "text",
    "string_unicode": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "list_type": "a list",
}

_PATTERNS = {
    ADAPTER_NAME_PATTERN: "the name of an adapter (lower-case letters and digits, with '-' between them)",
    NAME_PATTERN: "a Kubernetes name (lower-case letters and digits, with '-' and '.' between them)",
    LABEL_VALUE_PATTERN: "the value of a label (letters and digits, with '-', '_' and '.' between them)",
    NO_SPACE_PATTERN: "the name of an image (which has no spaces)",
}


def schema_problems(error: ValidationError, root: type[BaseModel]) -> list[Problem]:
    """One problem for each finding, in the order of the document."""
    return [_problem(dict(item), root) for item in error.errors(include_url=False)]


def field_path(location: tuple[Any, ...]) -> str:
    """Write `("inference", "adapters", 0, "strength")` as `inference.adapters[0].strength`."""
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step != "[key]":
            # A key that the user chose can be anything; the path stays readable.
            text = shown(step).strip('"') if isinstance(step, str) else str(step)
            path += f".{text}" if path else text
    return path


def _problem(item: dict[str, Any], root: type[BaseModel]) -> Problem:
    kind, location, value = item["type"], item["loc"], item.get("input")
    context = item.get("ctx") or {}
    path = field_path(location)
    explain = _see(location)
    match kind:
        case "missing":
            return Problem(path, "is missing", f"set it; {explain}")
        case "extra_forbidden":
            return Problem(path, "is not a field that Berth knows", _instead(location, root))
        case "literal_error":
            return Problem(
                path, f"cannot be {shown(value)}", f"use {context.get('expected', 'an allowed value')}"
            )
        case "string_pattern_mismatch":
            form = _PATTERNS.get(str(context["pattern"]), "of the right form")
            return Problem(path, f"{shown(value)} is not {form}", explain)
        case "string_too_short" | "too_short":
            return Problem(path, "is empty", f"set it, or leave the field out; {explain}")
        case "string_too_long" | "too_long":
            limit = context.get("max_length")
            unit = "characters" if kind == "string_too_long" else "entries"
            return Problem(path, f"has more than {limit} {unit}", "shorten it")
        case "greater_than_equal":
            return Problem(path, f"cannot be {shown(value)}", f"use {context['ge']} or more")
        case "less_than_equal":
            return Problem(path, f"cannot be {shown(value)}", f"use {context['le']} or less")
        case "int_parsing_size":
            return Problem(path, f"cannot be {shown(value)}", "use a smaller number")
    if wanted := _TYPES.get(kind):
        hint = "put quotes around it" if wanted == "text" and isinstance(value, int | float) else explain
        return Problem(path, f"must be {wanted}, not {shown(value)}", hint)
    return Problem(path, f"cannot be {shown(value)}", explain)


def _see(location: tuple[Any, ...]) -> str:
    # A key that the user chose is no field that kubectl could explain, and may be of any length.
    names = [step for step in location if isinstance(step, str) and _FIELD.fullmatch(step)]
    return f"see `kubectl explain {'.'.join(['workspace', *names])}`"


def _instead(location: tuple[Any, ...], root: type[BaseModel]) -> str:
    model = _model_at(location[:-1], root)
    known = [field.alias or name for name, field in model.model_fields.items()] if model else []
    near = difflib.get_close_matches(str(location[-1])[:100], known, n=1)
    if near:
        return f"did you mean {near[0]}?"
    return f"remove it (here are: {', '.join(known)})" if known else "remove it"


def _model_at(location: tuple[Any, ...], root: type[BaseModel]) -> type[BaseModel] | None:
    model: type[BaseModel] | None = root
    for step in location:
        if isinstance(step, int) or model is None:
            continue
        field = next((f for n, f in model.model_fields.items() if step in (n, f.alias)), None)
        model = next(_models_in(field.annotation), None) if field else None
    return model


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
