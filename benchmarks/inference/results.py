"""What was measured, in rows; a table of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from benchmarks.health_probe import Health
from benchmarks.inference.client import Timing


@dataclass(frozen=True, slots=True)
class Row:
    """One workload on one server. Seconds, tokens a second over all requests, MiB.

    None where a server does not tell: one that does not stream has no first token. What was cut at its
    limit of time counts its tokens so far, and has none to count if it does not stream.
    """

    workload: str
    server: str
    tokens_per_second: float | None
    first_token_p50: float | None
    first_token_p99: float | None
    gap_p50: float | None
    gap_p99: float | None
    answer_p50: float | None
    health: float
    peak_mib: float
    whole: bool


def row(workload: str, server: str, timing: Timing, *, streams: bool, health: Health, peak_mib: float) -> Row:
    """From the times of single tokens."""
    first = [answer.first_token for answer in timing.answers if answer.first_token is not None]
    gaps = [gap for answer in timing.answers for gap in answer.gaps]
    ended = [answer.ended - answer.sent for answer in timing.answers if answer.ended is not None]
    tokens = sum(
        answer.ask.new if answer.ended is not None else len(answer.tokens) for answer in timing.answers
    )
    return Row(
        workload,
        server,
        tokens_per_second=tokens / timing.seconds if timing.whole or streams else None,
        first_token_p50=percentile(first, 50),
        first_token_p99=percentile(first, 99),
        gap_p50=percentile(gaps, 50),
        gap_p99=percentile(gaps, 99),
        answer_p50=percentile(ended, 50) if timing.whole else None,
        health=health.slowest,
        peak_mib=peak_mib,
        whole=timing.whole,
    )


def percentile(values: Iterable[float], percent: float) -> float | None:
    """By nearest rank; None of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else None


class Results:
    """All rows of one run: medians over its repeats."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def workloads(self) -> list[str]:
        """Names, in the order in which they were run."""
        return list(dict.fromkeys(row.workload for row in self._rows))

    def servers(self, workload: str) -> list[str]:
        """Names, in the order in which they were run."""
        return list(dict.fromkeys(row.server for row in self._rows if row.workload == workload))

    def median(self, workload: str, server: str) -> Row | None:
        """One row from the repeats; of /health and memory the worst."""
        same = [row for row in self._rows if (row.workload, row.server) == (workload, server)]
        if not same:
            return None
        values = {field.name: [getattr(row, field.name) for row in same] for field in fields(Row)}
        found = {name: _median(values[name]) for name in _MEDIANS}
        worst = {"health": max(values["health"]), "peak_mib": max(values["peak_mib"])}
        return Row(workload, server, **found, **worst, whole=all(values["whole"]))  # type: ignore[arg-type]

    def ratio(self, workload: str, other: str, own: str = "berth") -> float | None:
        """Berth's tokens a second to another's, asked as `own` is; None where either is missing."""
        ours, theirs = self.median(workload, own), self.median(workload, other)
        if ours is None or theirs is None or not ours.tokens_per_second or not theirs.tokens_per_second:
            return None
        return ours.tokens_per_second / theirs.tokens_per_second

    def slowest_health(self) -> float | None:
        """Seconds of Berth's slowest /health in any workload."""
        return max((row.health for row in self._rows if row.server.startswith("berth")), default=None)


_MEDIANS = ("tokens_per_second", "first_token_p50", "first_token_p99", "gap_p50", "gap_p99", "answer_p50")

_HEADINGS = (
    ("workload", "server", "tokens/s", "berth is"),
    ("first token p50 / p99 ms", "next token p50 / p99 ms", "answer p50 s"),
    ("slowest /health ms", "peak MiB", "command"),
)


def table(results: Results, command: str) -> str:
    """Markdown. `command` has places for a workload and a server."""
    lines = [_line([heading for group in _HEADINGS for heading in group])]
    lines.append(_line(["---"] * lines[0].count(" | ") + ["---"]))
    for workload in results.workloads():
        for server in results.servers(workload):
            found = results.median(workload, server)
            assert found is not None
            ratio = results.ratio(workload, server) if server != "berth" else None
            servers = server if server == "berth" else f"berth {server}"
            lines.append(
                _line(
                    [
                        workload if found.whole else f"{workload} (cut)",
                        server,
                        _number(found.tokens_per_second, 1, 1),
                        f"{ratio:.2f} x" if ratio is not None else "",
                        f"{_number(found.first_token_p50, 1000)} / {_number(found.first_token_p99, 1000)}",
                        f"{_number(found.gap_p50, 1000, 1)} / {_number(found.gap_p99, 1000, 1)}",
                        _number(found.answer_p50, 1, 2),
                        _number(found.health, 1000),
                        _number(found.peak_mib, 1),
                        f"`{command.format(workload=workload, servers=servers)}`",
                    ]
                )
            )
    return "\n".join(lines)


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: float | None, scale: float, digits: int = 0) -> str:
    return "-" if value is None else f"{value * scale:.{digits}f}"
