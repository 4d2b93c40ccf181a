"""A Dockerfile as its instructions: enough of the format to check structure, and no more."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Instruction:
    """One instruction, its continuation lines joined: `name` in capitals, `value` as written."""

    name: str
    value: str

    @property
    def exec_form(self) -> list[str] | None:
        """The words of the JSON form (`["python", "-m", "x"]`); None where a shell would parse it."""
        try:
            words = json.loads(self.value)
        except json.JSONDecodeError:
            return None
        return words if isinstance(words, list) and all(isinstance(word, str) for word in words) else None


@dataclass
class Stage:
    """What follows one FROM; `base` and `name` as written there."""

    base: str
    name: str | None
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, name: str) -> list[Instruction]:
        return [instruction for instruction in self.instructions if instruction.name == name]

    def last(self, name: str) -> Instruction:
        """The instruction that counts where each replaces the one before it."""
        return self.all(name)[-1]

    @property
    def environment(self) -> dict[str, str]:
        pairs = (re.findall(r"(\w+)=(\"[^\"]*\"|\S+)", env.value) for env in self.all("ENV"))
        return {key: value.strip('"') for found in pairs for key, value in found}


@dataclass
class Dockerfile:
    """`arguments` are the ARGs before the first FROM, with their defaults."""

    arguments: dict[str, str | None]
    stages: list[Stage]

    @property
    def final(self) -> Stage:
        return self.stages[-1]


def parse(path: Path) -> Dockerfile:
    """Read a Dockerfile without heredocs or parser directives; a line that fits neither is an error."""
    text = "\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith("#"))
    arguments: dict[str, str | None] = {}
    stages: list[Stage] = []
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if not line.strip():
            continue
        match = re.match(r"([A-Z]+)\s+(.+)", line)
        if not match:
            raise ValueError(f"{path.name}: not an instruction: {line!r}")
        name, value = match[1], match[2].strip()
        if name == "FROM":
            base, _, alias = value.partition(" AS ")
            stages.append(Stage(base, alias or None))
        elif stages:
            stages[-1].instructions.append(Instruction(name, value))
        elif name == "ARG":
            key, separator, default = value.partition("=")
            arguments[key] = default if separator else None
        else:
            raise ValueError(f"{path.name}: {name} before the first FROM")
    return Dockerfile(arguments, stages)
