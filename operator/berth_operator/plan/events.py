"""One Event per change of cause: what `kubectl describe workspace` tells of a Workspace's history."""

from dataclasses import dataclass
from typing import Any

from berth_operator.plan.reasons import UNDER_WAY, Finding, Reason
from berth_operator.plan.status import MESSAGE_LIMIT, Report

Told = tuple[str, str]
"""What an Event told of: a reason, and the cause within it."""


@dataclass(frozen=True, slots=True)
class EventNote:
    """An Event to post: its type (`Normal` or `Warning`), reason, message, and the cause that it is of."""

    type: str
    reason: str
    message: str
    cause: str = ""


def told_by(report: Report) -> Told:
    """Return what an Event about this report would tell of."""
    return (str(report.finding.reason), report.finding.cause) if report.finding else (str(Reason.SERVING), "")


def event_about(report: Report, told: Told | None, previous: dict[str, Any]) -> EventNote | None:
    """Return the Event for a report, or None where its cause has been told already.

    `told` is what the last Event told of, None where that is not known (the operator has just started): then the
    status that stands in the cluster decides. That a new Workspace is not serving yet is no news; that it serves is.
    """
    reason, cause = told_by(report)
    if told == (reason, cause):
        return None
    if told is None:
        before = _ready(previous)
        if before.get("reason") == reason or (not before and report.finding and _is_calm(report.finding)):
            return None
    kind = "Normal" if _is_calm(report.finding) else "Warning"
    return EventNote(kind, reason, str(_ready(report.status)["message"])[:MESSAGE_LIMIT], cause)


def warning_event(warning: Finding) -> EventNote:
    """Return the Event for something that is done though it may be a mistake."""
    # Told apart from an Event that the same finding made when it was a refusal.
    cause = f"warning {warning.cause or warning.what}"
    return EventNote("Warning", str(warning.reason), warning.message[:MESSAGE_LIMIT], cause)


def _is_calm(finding: Finding | None) -> bool:
    return finding is None or finding.reason in UNDER_WAY


def _ready(status: dict[str, Any]) -> dict[str, Any]:
    return next((item for item in status.get("conditions") or [] if item.get("type") == "Ready"), {})
