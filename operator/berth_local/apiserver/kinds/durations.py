"""Spans of time as `kubectl get` shows them: the shorter, the finer."""

from datetime import UTC, datetime

from berth_local.apiserver.objects import parse_time


def age(moment: object) -> str:
    """Return how long ago an RFC 3339 time was; `<unknown>` where there is none, as kubectl has it."""
    if not isinstance(moment, str) or not moment:
        return "<unknown>"
    try:
        return duration((datetime.now(UTC) - parse_time(moment)).total_seconds())
    except ValueError:
        return "<invalid>"


def duration(seconds: float) -> str:
    """Return a span with two units at most: 90 is `90s`, 150 is `2m30s`, 90,000 is `25h`."""
    total = int(seconds)
    if total < -1:
        return "<invalid>"
    total = max(total, 0)
    minutes, hours, days = total // 60, total // 3600, total // 86400
    if total < 120:
        return f"{total}s"
    if minutes < 10:
        return f"{minutes}m" + (f"{total % 60}s" if total % 60 else "")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h" + (f"{minutes % 60}m" if minutes % 60 else "")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return f"{days}d" + (f"{hours % 24}h" if hours % 24 else "")
    if days < 730:
        return f"{days}d"
    years = days // 365
    return f"{years}y" + (f"{days % 365}d" if years < 8 and days % 365 else "")
