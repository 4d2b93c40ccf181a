"""What Berth holds itself to, and whether a run has shown it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.inference.results import Results
from benchmarks.inference.workloads import CONTEXTS, FIRST_BUSY, FIRST_IDLE, MIXED_16, MIXED_64, SINGLE


@dataclass(frozen=True, slots=True)
class Run:
    """What was measured, and of what. `floor`: tokens a second that memory allows one stream at most."""

    model: str
    floor: float
    results: Results


@dataclass(frozen=True, slots=True)
class Criterion:
    """`measure` gives None where a run did not measure it. `bound` is the least, or with `at_most` the most."""

    words: str
    measure: Callable[[Run], float | None]
    bound: float
    aim: float | None = None
    at_most: bool = False
    model: str | None = None


def _against(workload: str, server: str, own: str = "berth") -> Callable[[Run], float | None]:
    return lambda run: run.results.ratio(workload, server, own)


def _of_floor(run: Run) -> float | None:
    own = run.results.median(SINGLE, "berth")
    return own.tokens_per_second / run.floor if own and own.tokens_per_second else None


def _wider(run: Run) -> float | None:
    wide, narrow = run.results.median(MIXED_64, "berth"), run.results.median(MIXED_16, "berth")
    if wide is None or narrow is None or not wide.tokens_per_second or not narrow.tokens_per_second:
        return None
    return wide.tokens_per_second / narrow.tokens_per_second


def _first_token(run: Run) -> float | None:
    busy, idle = run.results.median(FIRST_BUSY, "berth"), run.results.median(FIRST_IDLE, "berth")
    if busy is None or idle is None or not busy.first_token_p99 or not idle.first_token_p50:
        return None
    return busy.first_token_p99 / idle.first_token_p50


_SMALL = "112m"

CRITERIA = (
    Criterion(f"{MIXED_16}, against pipeline", _against(MIXED_16, "pipeline"), 6, 9, model=_SMALL),
    Criterion(f"{MIXED_16}, against continuous", _against(MIXED_16, "continuous"), 1.4, 2, model=_SMALL),
    Criterion(f"{MIXED_16}, against serve", _against(MIXED_16, "serve"), 1.4, 2, model=_SMALL),
    Criterion(f"{MIXED_16}, against llama.cpp", _against(MIXED_16, "llama.cpp"), 0.6, 1, model=_SMALL),
    Criterion(
        f"{SINGLE}, against pipeline", _against(SINGLE, "pipeline", "berth-whole"), 1.6, 2.2, model=_SMALL
    ),
    Criterion(f"{SINGLE}, of what memory allows", _of_floor, 0.65, 0.85, model="1.1b"),
    Criterion(f"{MIXED_64}, against {MIXED_16}", _wider, 1),
    Criterion("first token beside 15 (p99), times idle (median)", _first_token, 3, at_most=True),
    Criterion(f"{CONTEXTS}, against continuous", _against(CONTEXTS, "continuous"), 5),
    Criterion(f"{CONTEXTS}, against serve", _against(CONTEXTS, "serve"), 5),
    Criterion("slowest /health, seconds", lambda run: run.results.slowest_health(), 0.1, at_most=True),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A criterion, what was found, and whether that is enough."""

    criterion: Criterion
    found: float
    holds: bool


def judge(run: Run) -> list[Verdict]:
    """Of every criterion that this run has measured."""
    verdicts = []
    for criterion in CRITERIA:
        if criterion.model not in (None, run.model) or (found := criterion.measure(run)) is None:
            continue
        holds = found <= criterion.bound if criterion.at_most else found >= criterion.bound
        verdicts.append(Verdict(criterion, found, holds))
    return verdicts


def verdict_table(verdicts: list[Verdict]) -> str:
    """Markdown."""
    lines = ["| what | found | needed | aim | holds |", "|---|---|---|---|---|"]
    for verdict in verdicts:
        criterion = verdict.criterion
        sign = "at most" if criterion.at_most else "at least"
        aim = "" if criterion.aim is None else f"{criterion.aim:g}"
        holds = "yes" if verdict.holds else "NO"
        lines.append(
            f"| {criterion.words} | {verdict.found:.2f} | {sign} {criterion.bound:g} | {aim} | {holds} |"
        )
    return "\n".join(lines)
