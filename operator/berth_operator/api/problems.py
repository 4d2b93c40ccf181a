"""A fault in a Workspace, told in the user's words."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

MAX_PROBLEMS = 20
"""As many as anybody reads at once; a hostile object cannot make a status of any size."""

SHOWN_CHARACTERS = 60
"""How much of a wrong value is quoted: enough to find it by, and a condition's message stays one line."""


@dataclass(frozen=True)
class Problem:
    """One fault: where it is (`inference.adapters[0].strength`), what is wrong, and what to do about it."""

    path: str
    message: str
    remedy: str

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return f"{where}{self.message}; {self.remedy}"


class InvalidWorkspace(Exception):
    """A Workspace that cannot be acted on.

    `problems` holds what was found, in document order: the first `MAX_PROBLEMS`, and how many more there are.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        found = tuple(problems)
        if rest := len(found[MAX_PROBLEMS:]):
            more = Problem("", f"{rest} more problems were found", "fix those before first")
            found = (*found[:MAX_PROBLEMS], more)
        self.problems: tuple[Problem, ...] = found
        super().__init__(". ".join(str(problem) for problem in self.problems))


def shown(value: Any) -> str:
    """Quote a user's value as JSON, shortened, with anything unprintable escaped."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list | tuple | set):
        return "a list"
    if isinstance(value, str) and len(value) > SHOWN_CHARACTERS:
        return f"{json.dumps(value[:SHOWN_CHARACTERS])}... ({len(value)} characters)"
    if isinstance(value, str | bool | float | None):
        return json.dumps(value)
    if isinstance(value, int):
        digits = f"{value:.3e}" if abs(value) >= 10**15 and abs(value) < 10**300 else None
        return digits or (str(value) if abs(value) < 10**15 else "a very large number")
    return f"a value of type {type(value).__name__}"
