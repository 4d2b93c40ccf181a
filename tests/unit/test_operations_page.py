"""docs/operations.md leads from a symptom to every reason, and its commands are ones that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from berth_operator.cli import IN_CLUSTER, parser
from berth_operator.plan.reasons import SEVERITY, Reason

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
TOLD_IN_PROSE = re.compile(r"`(kubectl berth [^`]+)`")
BLOCKS = re.compile(r"^```\n(.+?)^```$", re.MULTILINE | re.DOTALL)

OURS = [
    *TOLD_IN_PROSE.findall(PAGE),
    *(
        line
        for block in BLOCKS.findall(PAGE)
        for line in block.splitlines()
        if line.startswith("kubectl berth")
    ),
]


def cells(column: str) -> list[str]:
    """What stands in a column of this name, in every table that has one."""
    found, place = [], None
    for line in PAGE.splitlines():
        row = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not row:
            place = None
        elif place is None:
            place = row.index(column) if column in row else len(row)
        elif place < len(row):
            found.append(row[place])
    return found


def test_every_reason_that_says_why_something_does_not_serve_has_its_way_to_a_fix() -> None:
    told = {name for cell in cells("reason") for name in re.findall(r"`(\w+)`", cell)}
    assert told == set(SEVERITY)
    assert all(Reason(name) for name in told)


def test_the_page_has_commands_of_ours() -> None:
    assert {shlex.split(command)[2] for command in OURS} >= {"explain", "logs", "chat", "plan"}


@pytest.mark.parametrize("command", OURS)
def test_every_command_of_ours_is_one_that_there_is(command: str) -> None:
    arguments = shlex.split(command, comments=True)[2:]
    assert parser("kubectl berth", IN_CLUSTER).parse_args(arguments).run
