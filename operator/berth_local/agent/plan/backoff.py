"""How long a failing thing waits before it is tried again: the kubelet's rule for containers and images."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """The rule. The defaults are the kubelet's: 10 s, doubling to 5 minutes, forgotten after 10 quiet minutes."""

    first_seconds: float = 10.0
    longest_seconds: float = 300.0
    forget_seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class Failures:
    """What the rule remembers of one container or image: the next delay, and when the last attempt failed."""

    delay: float = 0.0
    failed_at: float | None = None


def after_failure(past: Failures, now: float, rule: Backoff) -> tuple[Failures, float]:
    """Return the memory after a failure at `now` (seconds on any steady clock), and how long to wait before a retry.

    The first failure is retried at once; each further one waits twice as long as the last, up to the longest.
    """
    if past.failed_at is None or now - past.failed_at > max(rule.forget_seconds, past.delay):
        return Failures(rule.first_seconds, now), 0.0
    return Failures(min(past.delay * 2, rule.longest_seconds), now), past.delay
