"""Text up to a stop string, which itself is never told."""

from __future__ import annotations

from collections.abc import Sequence


def cut(text: str, stops: Sequence[str]) -> str:
    """The text before the string that is complete first, the longest of several; all of it where none is.

    That one ends a generation, whatever else would have become complete later.
    """
    found = [(at + len(stop), at) for stop in stops if (at := text.find(stop)) >= 0]
    return text[: min(found)[1]] if found else text


class StopFilter:
    """Passes a text on piece by piece, as far as it is certain that no stop string begins there."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self._stopped = False

    def add(self, text: str) -> str:
        """What can be passed on."""
        if self._stopped:
            return ""
        text = self._held + text
        certain = cut(text, self._stops)
        if certain != text:
            self._held, self._stopped = "", True
            return certain
        kept = self._possible_beginning(text)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def end(self) -> str:
        """What was held back and turned out not to be a stop string."""
        held, self._held = self._held, ""
        return held

    def _possible_beginning(self, text: str) -> int:
        """Length of the longest end of the text with which a stop string begins."""
        longest = min(len(text), max(map(len, self._stops), default=0) - 1)
        return next(
            (
                size
                for size in range(longest, 0, -1)
                if any(stop.startswith(text[-size:]) for stop in self._stops)
            ),
            0,
        )
