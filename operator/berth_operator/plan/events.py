"""One Event per change of cause: what `kubectl describe workspace` tells of a Workspace's history."""

from dataclasses import dataclass
from typing import Any

from berth_operator.plan.reasons import Reason

# On the way to serving: worth an Event, not an alarm.
UNDER_WAY = frozenset({Reason.SERVING, Reason.DEPLOYING, Reason.STARTING, Reason.ROLLING_OUT, Reason.STOPPED})


@dataclass(frozen=True, slots=True)
class EventNote:
    """An Event to post: its type (`Normal` or `Warning`), reason and message."""

    type: str
    reason: str
    message: str


def event_between(previous: dict[str, Any], current: dict[str, Any]) -> EventNote | None:
    """Return the Event for a change of the Ready condition's status or reason, or None if neither changed.

    That a new Workspace is not serving yet is no news.
    """
    before, after = _ready(previous), _ready(current)
    if (before.get("status"), before.get("reason")) == (after.get("status"), after.get("reason")):
        return None
    reason = str(after["reason"])
    if not before and reason in UNDER_WAY:
        return None
    return EventNote("Normal" if reason in UNDER_WAY else "Warning", reason, str(after["message"]))


def _ready(status: dict[str, Any]) -> dict[str, Any]:
    return next((item for item in status.get("conditions") or [] if item.get("type") == "Ready"), {})
