"""How far a pod is on its way: what its server reports, in words and in numbers.

The server, and before it what fetches its weights, answers GET /health with 503 and a JSON body: `status: loading`,
`phase` (resolving, waiting, downloading, verifying, loading, warming_up), `message`, `elapsed_seconds`, and
`bytes_done` and `bytes_total` while weights move.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from berth_operator.plan.clock import span
from berth_operator.plan.reasons import clipped
from berth_operator.quantity import GIB

PHASES: Final = {
    "resolving": ("Downloading", "finding the model"),
    "waiting": ("Downloading", "waiting for another pod that downloads the weights"),
    "downloading": ("Downloading", "downloading the weights"),
    "verifying": ("Downloading", "checking the weights"),
    "loading": ("Loading", "loading the weights"),
    "warming_up": ("WarmingUp", "producing a first token"),
}
"""The server's phase: its name in `status.progress.phase`, and in words."""

MESSAGE_CHARACTERS = 200
"""How much is kept of a message: it comes from a pod, whose image may be anybody's."""


@dataclass(frozen=True, slots=True)
class ServerReport:
    """What a server said of its start. Bytes are of its phase; `seconds_left` is an estimate."""

    phase: str
    message: str = ""
    bytes_done: int | None = None
    bytes_total: int | None = None
    seconds_left: int | None = None

    @property
    def percent(self) -> int | None:
        """How much of the phase is done, 0 to 100; None where it has no measure."""
        if self.bytes_done is None or not self.bytes_total:
            return None
        return min(100, self.bytes_done * 100 // self.bytes_total)

    @property
    def words(self) -> str:
        """The report for people: `downloading the weights: 43 %, 6.1 of 14.2 GiB, about 3 min left`."""
        said = PHASES[self.phase][1] if self.phase in PHASES else clipped(self.message or self.phase, 100)
        if self.percent is None:
            return said
        done, total = (self.bytes_done or 0) / GIB, (self.bytes_total or 0) / GIB
        text = f"{said}: {self.percent} %, {done:.1f} of {total:.1f} GiB"
        return text if self.seconds_left is None else f"{text}, about {span(self.seconds_left)} left"

    def as_status(self) -> dict[str, Any]:
        """The report as it stands in `status.progress`; numbers that are not known are left out."""
        numbers = {
            "percent": self.percent,
            "bytesDone": self.bytes_done,
            "bytesTotal": self.bytes_total,
            "secondsLeft": self.seconds_left,
        }
        phase = PHASES.get(self.phase, ("Loading", ""))[0]
        return {"phase": phase, **{name: value for name, value in numbers.items() if value is not None}}


def read_report(body: Any) -> ServerReport | None:
    """Read the body of a server that is loading; None for anything else, whatever it is."""
    if not isinstance(body, Mapping) or body.get("status") != "loading":
        return None
    phase, done, total = body.get("phase"), _count(body.get("bytes_done")), _count(body.get("bytes_total"))
    if not isinstance(phase, str) or not phase:
        return None
    return ServerReport(
        phase[:64], clipped(body.get("message"), MESSAGE_CHARACTERS), done if total else None, total or None
    )


def _count(value: Any) -> int | None:
    usable = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53
    return int(value) if usable else None


def seconds_left(first: tuple[float, int], last: tuple[float, int], total: int) -> int | None:
    """Estimate when a download ends, from its first and last (time in s, bytes done); None while nothing moved."""
    elapsed, moved = last[0] - first[0], last[1] - first[1]
    if elapsed <= 0 or moved <= 0 or total < last[1]:
        return None
    return round((total - last[1]) * elapsed / moved)
