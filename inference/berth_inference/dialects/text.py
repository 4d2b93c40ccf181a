"""Text as JSON can hold it and no tokenizer can read it."""

from __future__ import annotations

from berth_inference.errors import invalid


def check_text(text: str, param: str) -> None:
    """Raises an INVALID `BerthError` for half of a surrogate pair, which is no character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise invalid(param, "holds half of a surrogate pair: \\ud800 to \\udfff.") from None
