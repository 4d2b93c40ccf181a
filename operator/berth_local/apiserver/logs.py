"""Pod logs: the request's options, and the source that a node agent provides."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from berth_local.apiserver.errors import bad_request
from berth_local.apiserver.objects import Object, dig, parse_time
from berth_local.apiserver.options import truth


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Which part of a container's log is asked for, as `kubectl logs` has it."""

    container: str
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    since: datetime | None = None


PodLogs = Callable[[Object, LogOptions], AsyncIterator[bytes]]
"""Yields a pod's log. Raises LookupError, before it yields, with a message for the user when there is none."""


def log_options(pod: Object, query: Mapping[str, str]) -> LogOptions:
    """Read the options of a log request; ApiError 400 when they are wrong or name no container."""
    name = pod["metadata"]["name"]
    groups = (dig(pod, "spec", group) or () for group in ("containers", "initContainers"))
    names = [str(one["name"]) for group in groups for one in group]
    container = query.get("container", "")
    if not container:
        if len(names) > 1:
            raise bad_request(
                f"a container name must be specified for pod {name}, choose one of: [{' '.join(names)}]"
            )
        container = names[0] if names else ""
    elif container not in names:
        raise bad_request(f"container {container} is not valid for pod {name}")
    return LogOptions(
        container=container,
        follow=truth(query.get("follow")),
        previous=truth(query.get("previous")),
        timestamps=truth(query.get("timestamps")),
        tail_lines=_count(query, "tailLines"),
        limit_bytes=_count(query, "limitBytes"),
        since=_since(query),
    )


def _count(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    if not text.isdecimal():
        raise bad_request(f"{name} must be a number that is not negative, not {text!r}")
    return int(text)


def _since(query: Mapping[str, str]) -> datetime | None:
    seconds = _count(query, "sinceSeconds")
    if seconds is not None:
        return datetime.now(UTC) - timedelta(seconds=seconds)
    text = query.get("sinceTime", "")
    try:
        return parse_time(text) if text else None
    except ValueError:
        raise bad_request(f"sinceTime must be an RFC 3339 time, not {text!r}") from None
