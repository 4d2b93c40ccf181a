"""Which sequences a group of beams keeps, and when it need not look further."""

from __future__ import annotations

from typing import Any

import pytest

from berth_inference.engine import SamplingParams
from berth_inference.engine.hypotheses import Candidate, Hypotheses, divide


def _hypotheses(*totals_and_lengths: tuple[float, int], size: int = 2, **sampling: Any) -> Hypotheses:
    found = Hypotheses(size, SamplingParams(**sampling), 10)
    for total, length in totals_and_lengths:
        found.add(range(length), total)
    return found


def _candidates(*ends: bool) -> list[Candidate]:
    return [Candidate(0, token, -float(token), end) for token, end in enumerate(ends)]


@pytest.mark.parametrize(
    ("ends", "finished", "going"),
    [
        ([False, False, False, False], [], [0, 1]),
        ([True, False, False, False], [0], [1, 2]),
        ([True, True, False, False], [0, 1], [2, 3]),
        ([False, False, True, True], [], [0, 1]),
        ([False, True, True, False], [1], [0, 3]),
        ([True, True, True, False], [0, 1], [3]),
        ([True, True, True, True], [0, 1], []),
    ],
    ids=["none ends", "the best", "both best", "worse ones", "in between", "few go on", "all end"],
)
def test_of_a_steps_candidates_the_best_count_as_ended_and_the_others_go_on(
    ends: list[bool], finished: list[int], going: list[int]
) -> None:
    parts = divide(_candidates(*ends), 2)
    assert [[candidate.token for candidate in part] for part in parts] == [finished, going]


@pytest.mark.parametrize(
    ("power", "kept"),
    [(1.0, [(-2.0, 2), (-3.0, 4)]), (0.0, [(-2.0, 2), (-2.5, 2)]), (3.0, [(-3.0, 4), (-2.0, 2)])],
    ids=["by the mean", "by the sum", "the longer the better"],
)
def test_the_best_by_total_and_length_are_kept(power: float, kept: list[tuple[float, int]]) -> None:
    found = _hypotheses((-2.5, 2), (-2.0, 2), (-3.0, 4), length_penalty=power)
    assert {one.score for one in found.kept} == {total / length**power for total, length in kept}


def test_of_equals_the_one_that_came_first_is_kept() -> None:
    found = _hypotheses((-2.0, 2), (-2.0, 2), (-4.0, 4))
    assert [one.tokens for one in found.kept] == [(0, 1), (0, 1)]


ENDED = ((-4.0, 4), (-6.0, 4))  # the worse one's mean is -1.5


@pytest.mark.parametrize(
    ("ended", "sampling", "best", "length", "complete"),
    [
        (ENDED[:1], {"early_stopping": True}, -100.0, 5, False),
        (ENDED, {"early_stopping": True}, -0.1, 5, True),
        (ENDED, {}, -7.4, 5, False),
        (ENDED, {}, -7.5, 5, True),
        (ENDED, {"early_stopping": "never"}, -7.5, 5, False),
        (ENDED, {"early_stopping": "never"}, -14.9, 5, False),
        (ENDED, {"early_stopping": "never"}, -15.0, 5, True),
        # Without a reward for length a score cannot rise any more: -6 x 4 against best x 5.
        (ENDED, {"early_stopping": "never", "length_penalty": -1.0}, -4.7, 5, False),
        (ENDED, {"early_stopping": "never", "length_penalty": -1.0}, -4.9, 5, True),
        (ENDED, {"length_penalty": 0.0}, -5.9, 5, False),
        (ENDED, {"length_penalty": 0.0}, -6.0, 5, True),
    ],
    ids=[
        "too few",
        "enough, early",
        "the best is better now",
        "the best is no better now",
        "but may become better",
        "even by the longest text",
        "not by the longest text",
        "short texts: the best is better",
        "short texts: it is not",
        "sums: the best is better",
        "sums: it is not",
    ],
)
def test_a_group_is_complete_when_nothing_better_can_come(
    ended: tuple[tuple[float, int], ...],
    sampling: dict[str, Any],
    best: float,
    length: int,
    complete: bool,
) -> None:
    assert _hypotheses(*ended, **sampling).complete(best, length) is complete
