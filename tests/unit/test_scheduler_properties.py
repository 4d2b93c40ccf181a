"""Whatever arrives, ends or is cancelled, in whatever order: the scheduler keeps its promises."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from berth_inference.engine.batch.scheduler import BatchLimits, Chunk, Demand, Scheduler, cells

LIMITS = st.builds(
    BatchLimits,
    max_rows=st.integers(1, 6),
    cells=st.integers(300, 3000),
    step_tokens=st.integers(1, 40),
    boundary=st.none() | st.integers(5, 150),
)
DEMANDS = st.lists(
    st.tuples(st.integers(1, 120), st.integers(1, 4), st.integers(1, 60)), min_size=1, max_size=12
)


class _Machine:
    """Plays the runner: reads what it is told to read, and gives every joined row a token a step."""

    def __init__(self, limits: BatchLimits, demands: list[Demand]) -> None:
        self.scheduler = Scheduler(limits)
        self.demands = {demand.key: demand for demand in demands}
        self.left = {demand.key: [demand.new_tokens] * demand.rows for demand in demands}
        self.joined: set[int] = set()
        self.admitted: list[int] = []
        self.done: list[int] = []
        for demand in demands:
            self.scheduler.add(demand)

    def step(self, limits: BatchLimits) -> None:
        self.admitted += self.scheduler.admit()
        reserved = [self.demands[key] for key in self.admitted if key in self.left]
        assert self.scheduler.cells <= limits.cells
        assert self.scheduler.rows <= limits.max_rows
        assert self.scheduler.cells <= cells(reserved, limits.boundary)
        running = set(self.joined)
        chunks = self.scheduler.chunks()
        assert sum(chunk.stop - chunk.start for chunk in chunks) <= limits.step_tokens
        for chunk in chunks:
            self._read(chunk)
        for key in sorted(running):
            self._token(key)

    def _read(self, chunk: Chunk) -> None:
        assert chunk.start < chunk.stop
        self.scheduler.read(chunk)
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
@given(limits=LIMITS, shapes=DEMANDS, cancelled=st.lists(st.integers(0, 11), max_size=4))
def test_every_request_that_can_run_ends_in_order_of_arrival_and_nothing_is_left(
    limits: BatchLimits, shapes: list[tuple[int, int, int]], cancelled: list[int]
) -> None:
    possible = Scheduler(limits)
    demands = [
        Demand(key=key, prompt=prompt, rows=rows, new_tokens=new)
        for key, (prompt, rows, new) in enumerate(shapes)
    ]
    machine = _Machine(limits, [demand for demand in demands if possible.fits_alone(demand)])
    keys = set(machine.left)
    for step in range(20_000):
        if not machine.left:
            break
        machine.step(limits)
        if step % 7 == 3 and cancelled:
            machine.cancel(cancelled.pop())
    assert not machine.left
    assert machine.admitted == sorted(machine.admitted)
    assert set(machine.done) <= keys
    assert (machine.scheduler.waiting, machine.scheduler.running, machine.scheduler.rows) == (0, 0, 0)
    assert machine.scheduler.cells == 0
