"""Beginnings of prompts that are kept: which are found, and which go first."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from berth_inference.engine.batch.prefix_index import BLOCK, PrefixIndex
from berth_inference.engine.batch.scheduler import Regime

Kept = tuple[int, ...]
SYSTEM = [1] * (2 * BLOCK)
ROOM = 1000 * BLOCK


def add(
    index: PrefixIndex[Kept], tokens: list[int], room: int = ROOM, regime: Regime = Regime.SHORT
) -> list[int]:
    """Returns the ends of the blocks that were new."""
    new: list[int] = []

    def keep(start: int, stop: int) -> Kept:
        assert stop - start == BLOCK
        new.append(stop)
        return tuple(tokens[:stop])

    index.add(regime, tokens, keep, room)
    return new


def found(index: PrefixIndex[Kept], tokens: list[int], regime: Regime = Regime.SHORT) -> int:
    """How many tokens are found, having checked that they are the right ones."""
    kept = index.find(regime, tokens)
    assert kept == [tuple(tokens[:stop]) for stop in range(BLOCK, len(kept) * BLOCK + 1, BLOCK)]
    return len(kept) * BLOCK


@pytest.mark.parametrize(
    ("kept", "asked", "expected"),
    [
        pytest.param(SYSTEM, SYSTEM, 2 * BLOCK, id="the same"),
        pytest.param(SYSTEM + [2] * 5, SYSTEM + [3] * 50, 2 * BLOCK, id="whole blocks that both begin with"),
        pytest.param(SYSTEM, SYSTEM[:-1], BLOCK, id="a prompt that ends within a block"),
        pytest.param(SYSTEM, [2, *SYSTEM], 0, id="the same later on is another text"),
        pytest.param([2] * BLOCK + SYSTEM, SYSTEM, 0, id="a block after another block is another block"),
        pytest.param(SYSTEM[: BLOCK - 1], SYSTEM, 0, id="less than a block is not kept"),
        pytest.param(SYSTEM, [], 0, id="nothing"),
    ],
)
def test_what_is_found(kept: list[int], asked: list[int], expected: int) -> None:
    index: PrefixIndex[Kept] = PrefixIndex()
    add(index, kept)
    assert found(index, asked) == expected


def test_only_what_is_new_is_kept_anew() -> None:
    index: PrefixIndex[Kept] = PrefixIndex()
    assert add(index, SYSTEM) == [BLOCK, 2 * BLOCK]
    assert add(index, SYSTEM + [2] * BLOCK) == [3 * BLOCK]
    assert index.cells == 3 * BLOCK


def test_regimes_share_nothing() -> None:
    index: PrefixIndex[Kept] = PrefixIndex()
    add(index, SYSTEM)
    assert found(index, SYSTEM, Regime.LONG) == 0
    assert add(index, SYSTEM, regime=Regime.LONG) == [BLOCK, 2 * BLOCK]


def test_the_end_of_what_was_used_longest_ago_goes_first() -> None:
    index: PrefixIndex[Kept] = PrefixIndex()
    old, new = [2] * (2 * BLOCK), [3] * (2 * BLOCK)
    add(index, old)
    add(index, new)
    assert found(index, old) == 2 * BLOCK  # and is now the newer one
    index.shrink(3 * BLOCK)
    assert (found(index, new), found(index, old)) == (BLOCK, 2 * BLOCK)
    index.shrink(BLOCK)
    assert (found(index, new), found(index, old)) == (0, BLOCK)


def test_where_there_is_little_room_the_beginning_is_kept() -> None:
    index: PrefixIndex[Kept] = PrefixIndex()
    add(index, [2] * BLOCK)
    assert add(index, SYSTEM + [3] * BLOCK, room=2 * BLOCK + 1) == [BLOCK, 2 * BLOCK]
    assert (found(index, [2] * BLOCK), found(index, SYSTEM)) == (0, 2 * BLOCK)


@pytest.mark.parametrize("room", [0, -5, BLOCK - 1])
def test_without_room_nothing_is_kept(room: int) -> None:
    index: PrefixIndex[Kept] = PrefixIndex()
    assert add(index, SYSTEM, room=room) == []
    assert index.cells == 0


def test_what_cannot_be_kept_leaves_what_was_kept_before_it() -> None:
    index: PrefixIndex[Kept] = PrefixIndex()

    def fail(start: int, _: int) -> Kept:
        if start:
            raise MemoryError
        return tuple(SYSTEM[:BLOCK])

    with pytest.raises(MemoryError):
        index.add(Regime.SHORT, SYSTEM, fail, ROOM)
    assert found(index, SYSTEM) == index.cells == BLOCK


PROMPTS = st.lists(st.integers(0, 1), max_size=4).map(
    lambda blocks: [token for token in blocks for _ in range(BLOCK)]
)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), PROMPTS, st.integers(0, 8 * BLOCK)),
        st.tuples(st.just("find"), PROMPTS, st.just(0)),
        st.tuples(st.just("shrink"), st.just([]), st.integers(0, 8 * BLOCK)),
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(actions=ACTIONS)
def test_in_any_order_it_keeps_to_its_room_and_everything_kept_can_be_found(
    actions: list[tuple[str, list[int], int]],
) -> None:
    index: PrefixIndex[Kept] = PrefixIndex()
    added: set[Kept] = set()
    for action, tokens, room in actions:
        before = index.cells
        if action == "add":
            add(index, tokens, room)
            added |= {tuple(tokens[:stop]) for stop in range(BLOCK, len(tokens) + 1, BLOCK)}
            assert index.cells <= max(room, before)
        elif action == "find":
            found(index, tokens)
        else:
            index.shrink(room)
            assert index.cells <= room
        reachable = sum(
            len(index.find(Regime.SHORT, list(prompt))) * BLOCK == len(prompt) for prompt in added
        )
        assert reachable * BLOCK == index.cells
