"""Why a request could not be finished, and what it is told."""

from __future__ import annotations

from berth_inference.errors import BerthError, ErrorKind, invalid


def too_late() -> BerthError:
    """Past its deadline."""
    return BerthError(
        ErrorKind.DEADLINE, "The answer was not finished within the server's limit of time for one request."
    )


def out_of_memory() -> BerthError:
    """The device or the container has no more memory for it."""
    return BerthError(
        ErrorKind.UNAVAILABLE,
        "The server ran out of memory on this request; ask for fewer beams, sequences or tokens, or try again.",
        retry_after=1,
    )


def broken() -> BerthError:
    """Something that is nobody's fault but the server's."""
    return BerthError(ErrorKind.INTERNAL, "The generation failed; the server's log says why.")


def shutting_down() -> BerthError:
    """It comes too late."""
    return BerthError(ErrorKind.UNAVAILABLE, "The server is shutting down.", retry_after=1)


def unfinished() -> BerthError:
    """The server stops and does not wait for it any longer."""
    return BerthError(
        ErrorKind.UNAVAILABLE,
        "The server is shutting down and the answer was not finished in time.",
        retry_after=1,
    )


def cannot_be_applied(error: Exception) -> BerthError:
    """Its arguments do not fit together, or do not fit this model, says transformers."""
    # The first line, kept short: it is foreign text, and may be empty.
    words = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
    return invalid(None, f"These arguments cannot be applied: {words}")
