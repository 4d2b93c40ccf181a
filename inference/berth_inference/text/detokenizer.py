"""Text of tokens as they come, in whole characters."""

from __future__ import annotations

from collections.abc import Sequence

from berth_inference.engine import Codec

BROKEN = "\N{REPLACEMENT CHARACTER}"
"""What tokenizers make of bytes that are no character."""

# Tokens that are decoded again with each new one, where they have no text: decoding so many takes about as
# long as sending a piece does.
_LONGEST_CONTEXT = 64


class Detokenizer:
    """Turns one sequence's tokens into text piece by piece.

    Of tokens that spell valid text, the pieces together are what the codec makes of all at once. A token's
    text depends on the one before it (a leading space, say), and a character can be spread over several
    tokens; so the last piece's tokens are decoded again with the new ones, and what ends in the middle of a
    character waits.
    """

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._tokens: list[int] = []
        self._context = 0  # where the last piece's tokens begin
        self._told = 0  # how many tokens have been turned into pieces

    def add(self, token_ids: Sequence[int]) -> str:
        """The text that these tokens make certain; empty while they end in the middle of a character."""
        self._tokens += token_ids
        text = self._codec.decode(self._tokens[self._context :])
        if text.endswith(BROKEN):
            return ""
        return self._piece(text)

    def end(self) -> str:
        """What is left when no more tokens come, broken or not."""
        return self._piece(self._codec.decode(self._tokens[self._context :]))

    def _piece(self, text: str) -> str:
        before = self._codec.decode(self._tokens[self._context : self._told])
        # Tokens without text, such as special ones, are no context: the next would count as a text's first.
        if text != before or len(self._tokens) - self._context > _LONGEST_CONTEXT:
            self._context = self._told
        self._told = len(self._tokens)
        return text[len(before) :]
