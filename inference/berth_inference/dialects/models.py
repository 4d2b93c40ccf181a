"""Which model a request means. One is served, under several names."""

from __future__ import annotations

from berth_inference.engine.interface import ModelInfo
from berth_inference.errors import BerthError, ErrorKind


def served_name(asked: str | None, info: ModelInfo) -> str:
    """The name to answer with: the one that was asked for. Raises `BerthError` for a model that is not served."""
    if asked is None:
        return info.names[0]
    if asked in info.names:
        return asked
    raise BerthError(
        ErrorKind.NOT_FOUND,
        f"{asked[:200]!r} is not served here; served: {', '.join(info.names)}",
        param="model",
    )
