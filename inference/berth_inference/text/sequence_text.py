"""One sequence's text while it is generated."""

from __future__ import annotations

from collections.abc import Sequence

from berth_inference.engine import Codec
from berth_inference.text.detokenizer import BROKEN, Detokenizer
from berth_inference.text.stop_strings import StopFilter, cut


class SequenceText:
    """Whole characters, no stop string: the pieces of a stream, which together are the answer."""

    def __init__(self, codec: Codec, stops: Sequence[str] = ()) -> None:
        self._detokenizer = Detokenizer(codec)
        self._filter = StopFilter(stops)
        self.text = ""
        """All that was passed on so far."""

    def add(self, token_ids: Sequence[int]) -> str:
        """What can be passed on now."""
        return self._told(self._filter.add(self._detokenizer.add(token_ids)))

    def end(self) -> str:
        """What is left when the sequence has ended."""
        return self._told(self._filter.add(self._detokenizer.end()) + self._filter.end())

    def _told(self, piece: str) -> str:
        self.text += piece
        return piece


def text_of(codec: Codec, token_ids: Sequence[int], stops: Sequence[str] = ()) -> str:
    """The text of a whole sequence: what a stream of it adds up to.

    Some tokenizers take a whole run of bytes for broken when its end is, so broken text is made token by
    token as well.
    """
    whole = codec.decode(token_ids)
    if BROKEN not in whole:
        return cut(whole, stops)
    text = SequenceText(codec, stops)
    for token in token_ids:
        text.add([token])
    text.end()
    return text.text
