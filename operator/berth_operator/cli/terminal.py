"""How commands print: colour on a terminal, plain text in a pipe."""

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

BOLD, DIM, RED, GREEN, YELLOW = "1", "2", "31", "32", "33"


def has_colour(stream: TextIO) -> bool:
    """Whether a stream is a terminal that shows colours; `NO_COLOR` says no for all of them (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def styled(text: str, *codes: str, stream: TextIO | None = None) -> str:
    """Return text in a style, or as it is where the stream shows none."""
    if not codes or not has_colour(stream or sys.stdout):
        return text
    return f"\x1b[{';'.join(codes)}m{text}\x1b[0m"


def table(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as columns, three spaces apart, without a space at a line's end."""
    kept = [tuple(row) for row in rows]
    widths = [max(len(row[column]) for row in kept) for column in range(len(kept[0]))] if kept else []
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in kept
    )
