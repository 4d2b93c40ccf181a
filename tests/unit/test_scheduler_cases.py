"""Which request runs when, in tables of cases."""

from __future__ import annotations

from typing import Any

import pytest

from berth_inference.engine.batch.scheduler import (
    BatchLimits,
    Chunk,
    Demand,
    Regime,
    Scheduler,
    cells,
    round_columns,
    round_rows,
)


def limits(**changes: Any) -> BatchLimits:
    return BatchLimits(**{"max_rows": 4, "cells": 10_000, "step_tokens": 10, **changes})


def demand(key: int, prompt: int = 4, **changes: Any) -> Demand:
    return Demand(**{"key": key, "prompt": prompt, "rows": 1, "new_tokens": 8, **changes})


def scheduler(*demands: Demand, **changes: Any) -> Scheduler:
    made = Scheduler(limits(**changes))
    for each in demands:
        made.add(each)
    return made


def read_all(of: Scheduler) -> None:
    while chunks := list(of.chunks()):
        for chunk in chunks:
            of.read(chunk)


@pytest.mark.parametrize(
    ("demands", "changes", "admitted"),
    [
        pytest.param([demand(0), demand(1)], {}, [0, 1], id="what fits is admitted at once"),
        pytest.param(
            [demand(key) for key in range(6)], {}, [0, 1, 2, 3], id="no more rows than there may be"
        ),
        pytest.param(
            [demand(0, rows=3), demand(1, rows=2), demand(2)], {}, [0], id="nobody overtakes one that waits"
        ),
        pytest.param(
            [demand(0, new_tokens=1000), demand(1, new_tokens=1000), demand(2)],
            {"cells": 1152 + 1004},
            [0],
            id="no more positions than there is memory for",
        ),
    ],
)
def test_admission(demands: list[Demand], changes: dict[str, Any], admitted: list[int]) -> None:
    assert scheduler(*demands, **changes).admit() == admitted


@pytest.mark.parametrize(
    ("one", "fits"),
    [
        pytest.param(demand(0, rows=4), True, id="as many rows as may run"),
        pytest.param(demand(0, rows=5), False, id="more rows than may ever run"),
        pytest.param(demand(0, new_tokens=9_000), False, id="more tokens than memory ever holds"),
    ],
)
def test_what_can_never_run_is_known_at_once(one: Demand, fits: bool) -> None:
    made = scheduler()
    assert made.fits_alone(one) is fits
    if not fits:
        with pytest.raises(ValueError, match="can never run"):
            made.add(one)


def test_a_row_that_ends_makes_room_for_the_next_request() -> None:
    made = scheduler(demand(0, rows=4), demand(1))
    assert made.admit() == [0]
    assert made.row_ended(0) is False
    assert made.admit() == [1]


def test_a_long_prompt_is_read_in_parts_and_a_later_one_after_it() -> None:
    made = scheduler(demand(0, 25), demand(1, 3))
    made.admit()
    steps = []
    while chunks := list(made.chunks()):
        steps.append(chunks)
        for chunk in chunks:
            made.read(chunk)
    assert steps == [
        [Chunk(0, 0, 0, 10, last=False)],
        [Chunk(0, 0, 10, 20, last=False)],
        [Chunk(0, 0, 20, 25, last=True), Chunk(1, 0, 0, 3, last=True)],
    ]


@pytest.mark.parametrize(
    ("before", "prompt", "part"),
    [
        pytest.param(7, 20, [Chunk(1, 0, 0, 3, last=False)], id="a fair share of a step begins it"),
        pytest.param(8, 20, [], id="less is no forward of its own"),
        pytest.param(8, 2, [Chunk(1, 0, 0, 2, last=True)], id="unless all of it is read"),
    ],
)
def test_what_a_step_has_left_begins_the_next_prompt(before: int, prompt: int, part: list[Chunk]) -> None:
    made = scheduler(demand(0, before), demand(1, prompt))
    made.admit()
    assert list(made.chunks()) == [Chunk(0, 0, 0, before, last=True), *part]
    read_all(made)
    assert list(made.chunks()) == []


def test_one_prompt_is_read_once_for_all_its_rows() -> None:
    made = scheduler(demand(0, 6, rows=3))
    made.admit()
    assert list(made.chunks()) == [Chunk(0, 0, 0, 6, last=True)]


def test_rows_that_cross_the_boundary_are_read_anew_one_by_one_and_join_the_other_batch() -> None:
    made = scheduler(demand(0, 5, rows=2), boundary=6)
    made.admit()
    read_all(made)
    assert made.advanced(0) is False
    assert made.regime(0) is Regime.SHORT
    assert made.advanced(0) is True
    assert made.regime(0) is Regime.LONG
    assert list(made.chunks()) == [Chunk(0, 0, 0, 7, last=False), Chunk(0, 1, 0, 3, last=False)]
    read_all(made)
    assert list(made.chunks()) == []
    assert made.advanced(0) is False


@pytest.mark.parametrize(
    ("demands", "boundary", "expected"),
    [
        pytest.param([], None, 0, id="nothing"),
        pytest.param([demand(0)], None, 128 + 12, id="one row, and a place to read its prompt into"),
        pytest.param(
            [demand(0), demand(1, 200)], None, 2 * 256 + 208, id="every row costs the longest one's columns"
        ),
        pytest.param(
            [demand(0, 100, new_tokens=300), demand(1)],
            128,
            2 * 128 + 512 + 400,
            id="a request that may cross the boundary counts on both sides",
        ),
        pytest.param([demand(0, 300)], 128, 384 + 308, id="a long prompt never was short"),
    ],
)
def test_the_memory_of_requests_together(demands: list[Demand], boundary: int | None, expected: int) -> None:
    assert cells(demands, boundary) == expected


def test_deadlines_are_seen_wherever_a_request_is() -> None:
    made = scheduler(*(demand(key, rows=4, deadline=float(key)) for key in (1, 2, 3)))
    made.admit()
    assert made.expired(2.5) == [1, 2]


def test_what_is_removed_is_gone_from_the_queue_and_from_the_batch() -> None:
    made = scheduler(demand(0, rows=4), demand(1), demand(2))
    made.admit()
    made.remove(1)
    made.remove(0)
    assert made.admit() == [2]
    assert (made.waiting, made.running, made.rows) == (0, 1, 1)


@pytest.mark.parametrize(("rows", "allocated"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (64, 64)])
def test_rows_are_allocated_in_steps(rows: int, allocated: int) -> None:
    assert round_rows(rows) == allocated


@pytest.mark.parametrize(("columns", "allocated"), [(1, 128), (128, 128), (129, 256)])
def test_columns_are_allocated_in_steps(columns: int, allocated: int) -> None:
    assert round_columns(columns) == allocated
