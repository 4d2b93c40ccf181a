"""Times as Kubernetes writes them, and spans of time as people say them."""

from datetime import datetime


def seconds_between(earlier: str | None, later: str | None) -> float | None:
    """Return the seconds between two RFC 3339 times; None where one of them is missing or unreadable."""
    try:
        return (_time(later) - _time(earlier)).total_seconds()
    except (TypeError, ValueError):
        return None


def _time(text: str | None) -> datetime:
    # Python 3.11 and later read the Z.
    found = datetime.fromisoformat(text or "")
    if found.tzinfo is None:
        raise ValueError("a time without its zone")
    return found


def span(seconds: float) -> str:
    """Return a span for people: `40 s`, `3 min`, `1 h 5 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"
