"""Which beginnings of prompts are at hand. Pure: knows nothing of what is kept of them."""

from __future__ import annotations

import itertools
from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from berth_inference.engine.batch.scheduler import Regime

BLOCK = 32
"""Tokens that are kept and found together. Reading what is left of one costs about one step of a batch."""

Kept = TypeVar("Kept")
_Key = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class _Block(Generic[Kept]):
    number: int
    kept: Kept


class PrefixIndex(Generic[Kept]):
    """Blocks of tokens, each known by its tokens and the block before it; the least recently used go first.

    Tokens are compared and not only hashed: what was read of one prompt must never be taken for
    another's. Each regime has blocks of its own. A block always goes before the one that leads to it,
    because whatever is used is put behind whatever it leads to.
    """

    def __init__(self) -> None:
        self._blocks: OrderedDict[_Key, _Block[Kept]] = OrderedDict()  # least recently used first
        self._numbers = itertools.count(len(Regime))  # a regime's own number stands before its first blocks

    @property
    def cells(self) -> int:
        """Tokens that are kept."""
        return len(self._blocks) * BLOCK

    def find(self, regime: Regime, tokens: Sequence[int]) -> list[Kept]:
        """What is kept of the beginning of these tokens, block by block."""
        path = self._path(regime, _blocks(tokens))
        self._use(path)
        return [self._blocks[key].kept for key in path]

    def add(self, regime: Regime, tokens: Sequence[int], keep: Callable[[int, int], Kept], room: int) -> None:
        """Keep all whole blocks of these tokens, or as many of the first as fit into `room` tokens.

        `keep` is called with the bounds of each block that is new.
        """
        blocks = _blocks(tokens)
        path = self._path(regime, blocks)
        self._use(path)
        own = set(path)
        try:
            for index in range(len(path), len(blocks)):
                self._evict(room - BLOCK, own)
                if self.cells + BLOCK > room:
                    return
                before = self._blocks[path[-1]].number if path else int(regime)
                key = (before, blocks[index])
                kept = keep(index * BLOCK, (index + 1) * BLOCK)
                self._blocks[key] = _Block(next(self._numbers), kept)
                path.append(key)
                own.add(key)
        finally:
            self._use(path)

    def shrink(self, cells: int) -> None:
        """Keep at most this many tokens."""
        self._evict(cells, set())

    def _evict(self, cells: int, spared: set[_Key]) -> None:
        while self._blocks and self.cells > cells and next(iter(self._blocks)) not in spared:
            self._blocks.popitem(last=False)

    def _path(self, regime: Regime, blocks: Sequence[bytes]) -> list[_Key]:
        path: list[_Key] = []
        before = int(regime)
        for block in blocks:
            found = self._blocks.get((before, block))
            if found is None:
                break
            path.append((before, block))
            before = found.number
        return path

    def _use(self, path: Sequence[_Key]) -> None:
        for key in reversed(path):
            self._blocks.move_to_end(key)


def _blocks(tokens: Sequence[int]) -> list[bytes]:
    """All whole blocks, in a form that takes little memory."""
    whole = len(tokens) // BLOCK * BLOCK
    return [array("q", tokens[start : start + BLOCK]).tobytes() for start in range(0, whole, BLOCK)]
