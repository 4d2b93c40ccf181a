"""Keys and values of prompts' beginnings that a later request may begin with too."""

from __future__ import annotations

from collections.abc import Sequence

from berth_inference.engine.batch.kv_cache import KeysAndValues, Staging
from berth_inference.engine.batch.prefix_index import PrefixIndex
from berth_inference.engine.batch.scheduler import Regime
from berth_inference.engine.out_of_memory import is_out_of_memory


class PrefixCache:
    """Copies of what was read, in blocks. Called from one thread only, but for `queries` and `hits`.

    `most` is how many tokens it may ever hold; 0 switches it off. Only prompts that were read to their
    end come in, and what comes out is copied into a place of its own: nothing that happens to a
    request changes what is kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._index: PrefixIndex[list[KeysAndValues]] = PrefixIndex()
        self.queries = 0
        """Tokens of prompts that were looked up."""
        self.hits = 0
        """Those of them that did not have to be read."""

    @property
    def cells(self) -> int:
        """Tokens that are held."""
        return self._index.cells

    def load(self, regime: Regime, prompt: Sequence[int], staging: Staging) -> None:
        """Begin an empty staging with what is kept of a prompt, all but its last token: that has to be read."""
        if not self._most:
            return
        self.queries += len(prompt)
        if found := self._index.find(regime, prompt[:-1]):
            staging.begin(found)
            self.hits += staging.columns

    def store(self, regime: Regime, prompt: Sequence[int], staging: Staging, room: int) -> None:
        """Keep a prompt that has been read, as far as there is room for so many tokens altogether."""
        try:
            self._index.add(regime, prompt, staging.copy, min(room, self._most))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self.clear()  # the requests can use it better

    def shrink(self, room: int) -> None:
        """Make do with room for so many tokens, for requests need the rest."""
        self._index.shrink(room)

    def clear(self) -> bool:
        """Give everything up. Whether there was anything."""
        held = self.cells > 0
        self._index.shrink(0)
        return held
