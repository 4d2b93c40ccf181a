"""Whatever arrives, ends or is cancelled, in whatever order: the scheduler keeps its promises, and so does what is kept
of prompts."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from berth_inference.engine.batch.prefix_index import BLOCK, PrefixIndex
from berth_inference.engine.batch.scheduler import BatchLimits, Chunk, Demand, Regime, Scheduler, cells

LIMITS = st.builds(
    BatchLimits,
    max_rows=st.integers(1, 6),
    cells=st.integers(300, 3000),
    step_tokens=st.integers(1, 40),
    boundary=st.none() | st.integers(5, 150),
)


@dataclass(frozen=True)
class _Shape:
    """A prompt that begins with `shared` tokens which all of its `family` begin with."""

    family: int
    shared: int
    own: int
    rows: int
    new_tokens: int

    def tokens(self, key: int) -> list[int]:
        return [self.family] * self.shared + [1000 + key] * self.own

    def demand(self, key: int) -> Demand:
        return Demand(key=key, prompt=self.shared + self.own, rows=self.rows, new_tokens=self.new_tokens)


SHAPES = st.lists(
    st.builds(
        _Shape,
        family=st.integers(0, 1),
        shared=st.integers(0, 100),
        own=st.integers(1, 50),
        rows=st.integers(1, 4),
        new_tokens=st.integers(1, 60),
    ),
    min_size=1,
    max_size=12,
)


class _Machine:
    """Plays the runner: reads what it is told to read, and gives every joined row a token a step."""

    def __init__(self, limits: BatchLimits, shapes: list[_Shape]) -> None:
        self.limits = limits
        self.scheduler = Scheduler(limits)
        self.index: PrefixIndex[tuple[Regime, tuple[int, ...]]] = PrefixIndex()
        fitting = {
            key: shape for key, shape in enumerate(shapes) if self.scheduler.fits_alone(shape.demand(key))
        }
        self.prompts = {key: shape.tokens(key) for key, shape in fitting.items()}
        self.demands = {key: shape.demand(key) for key, shape in fitting.items()}
        self.left = {key: [demand.new_tokens] * demand.rows for key, demand in self.demands.items()}
        self.read: dict[int, int] = {}
        self.joined: set[int] = set()
        self.admitted: list[int] = []
        self.done: list[int] = []
        for demand in self.demands.values():
            self.scheduler.add(demand)

    @property
    def room(self) -> int:
        return self.limits.cells - self.scheduler.cells

    def step(self) -> None:
        self.admitted += self.scheduler.admit()
        self.index.shrink(self.room)
        reserved = [self.demands[key] for key in self.admitted if key in self.left]
        assert self.scheduler.cells + self.index.cells <= self.limits.cells
        assert self.scheduler.rows <= self.limits.max_rows
        assert self.scheduler.cells <= cells(reserved, self.limits.boundary)
        running = set(self.joined)
        planned = 0
        for chunk in self.scheduler.chunks(self._known):
            planned += chunk.stop - chunk.start
            self._read(chunk)
        assert planned <= self.limits.step_tokens
        for key in sorted(running):
            self._token(key)

    def _known(self, key: int) -> int:
        assert key not in self.read
        prompt = self.prompts[key]
        found = self.index.find(self.scheduler.regime(key), prompt[:-1])
        for number, kept in enumerate(found, 1):
            assert kept == (self.scheduler.regime(key), tuple(prompt[: number * BLOCK]))
        self.read[key] = len(found) * BLOCK
        assert self.read[key] < len(prompt)
        return self.read[key]

    def _read(self, chunk: Chunk) -> None:
        assert chunk.start < chunk.stop
        regime, prompt = self.scheduler.regime(chunk.key), self.prompts[chunk.key]
        first = self.left[chunk.key][0] == self.demands[chunk.key].new_tokens
        self.scheduler.read(chunk)
        if first:
            assert chunk.start == self.read[chunk.key]
            self.read[chunk.key] = chunk.stop
            if chunk.last:
                self.index.add(regime, prompt, lambda _, stop: (regime, tuple(prompt[:stop])), self.room)
        if chunk.last:
            self.joined.add(chunk.key)
            self._token(chunk.key)

    def _token(self, key: int) -> None:
        self.left[key] = [tokens - 1 for tokens in self.left[key]]
        for _ in range(self.left[key].count(0)):
            if self.scheduler.row_ended(key):
                self.done.append(key)
        self.left[key] = [tokens for tokens in self.left[key] if tokens]
        if not self.left[key]:
            del self.left[key]
            self.joined.discard(key)
        elif self.scheduler.advanced(key):
            self.joined.discard(key)

    def cancel(self, key: int) -> None:
        self.scheduler.remove(key)
        self.left.pop(key, None)
        self.joined.discard(key)


@settings(max_examples=200, deadline=None)
@given(limits=LIMITS, shapes=SHAPES, cancelled=st.lists(st.integers(0, 11), max_size=4))
def test_every_request_that_can_run_ends_in_order_of_arrival_and_nothing_is_left(
    limits: BatchLimits, shapes: list[_Shape], cancelled: list[int]
) -> None:
    machine = _Machine(limits, shapes)
    keys = set(machine.left)
    # One token at a time of every row of every request, twice where it crosses the boundary.
    for step in range(12 * 4 * (210 + 2 * 210)):
        if not machine.left:
            break
        machine.step()
        if step % 7 == 3 and cancelled:
            machine.cancel(cancelled.pop())
    assert not machine.left
    assert machine.admitted == sorted(machine.admitted)
    assert set(machine.done) <= keys
    assert (machine.scheduler.waiting, machine.scheduler.running, machine.scheduler.rows) == (0, 0, 0)
    assert machine.scheduler.cells == 0
    assert machine.index.cells <= limits.cells
