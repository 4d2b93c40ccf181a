"""Which request runs when. Pure state logic: no torch, no threads, no clock of its own."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

# Columns and rows are allocated in these steps, so that a buffer is not copied for every token or row.
COLUMN_STEP = 128
ROW_STEP = 4

# The least share of a step that begins a prompt which it does not end: a forward reads all weights, so few tokens in
# one of their own cost more each. Of the default it is 64 tokens, with which a CPU computes for longer than it reads.
_SMALLEST_SHARE = 1 / 4


class Regime(IntEnum):
    """Rows that may share a forward. Some models rotate positions differently beyond a boundary."""

    SHORT = 0
    LONG = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """What may run at once.

    `cells` counts positions of the key-value buffers (rows times columns, over all layers at once).
    `step_tokens` is how many prompt tokens are read between two tokens of the requests that run.
    `boundary` is the longest sequence in the SHORT regime; None where a model has one regime.
    """

    max_rows: int
    cells: int
    step_tokens: int
    boundary: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """A request as the scheduler sees it; lengths in tokens, the deadline on the caller's clock."""

    key: int
    prompt: int
    rows: int
    new_tokens: int
    deadline: float | None = None

    @property
    def total(self) -> int:
        """The longest that each row can become."""
        return self.prompt + self.new_tokens


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens `start` to `stop` of row `row` of a request, to be read now. Row 0 stands for all at first."""

    key: int
    row: int
    start: int
    stop: int
    last: bool
    """Whether the request's rows can join their batch after it."""


@dataclass(slots=True)
class _Admitted:
    demand: Demand
    rows: int  # that have not ended
    length: int  # tokens of each row: all rows of a request advance together
    target: int  # tokens to read before the rows join
    read: int = 0
    begun: bool = False
    refilled: int = 0  # rows that have been read anew after crossing the boundary
    crossed: bool = False
    joined: bool = False


def cells(demands: Iterable[Demand], boundary: int | None) -> int:
    """Positions that these requests can come to occupy together, at most.

    Rows of one regime are aligned at their ends in one rectangle, so each costs the longest one's
    columns. One prompt at a time is read into a buffer of its own first.
    """
    demands = list(demands)
    total = sum(math.prod(_rectangle(demands, regime, boundary)) for regime in Regime)
    return total + max((demand.total for demand in demands), default=0)


def _rectangle(demands: Iterable[Demand], regime: Regime, boundary: int | None) -> tuple[int, int]:
    """Rows and columns that the requests in a regime can come to occupy together."""
    lengths = [(demand.rows, _longest(demand, regime, boundary)) for demand in demands]
    rows = sum(rows for rows, length in lengths if length)
    return round_rows(rows), round_columns(max((length for _, length in lengths), default=0))


def _longest(demand: Demand, regime: Regime, boundary: int | None) -> int:
    """Columns of a request's rows in a regime; 0 where they never get there."""
    if boundary is None:
        return demand.total if regime is Regime.SHORT else 0
    if regime is Regime.SHORT:
        return min(demand.total, boundary) if demand.prompt <= boundary else 0
    return demand.total if demand.total > boundary else 0


def round_rows(rows: int) -> int:
    """Rows to allocate for this many."""
    return rows if rows <= 2 else -(-rows // ROW_STEP) * ROW_STEP


def round_columns(columns: int) -> int:
    """Columns to allocate for this many."""
    return -(-columns // COLUMN_STEP) * COLUMN_STEP


class Scheduler:
    """First come, first served, within the limits. Every method takes time linear in what is admitted.

    Written by one thread. Others may read the properties: those copy what they count in one step of the
    interpreter, for a dictionary must not change while it is walked through.
    """

    def __init__(self, limits: BatchLimits) -> None:
        self.limits = limits
        self._waiting: deque[Demand] = deque()
        self._admitted: dict[int, _Admitted] = {}  # in order of admission

    @property
    def waiting(self) -> int:
        """Requests that are not admitted yet."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Requests that are admitted."""
        return len(self._admitted)

    @property
    def rows(self) -> int:
        """Rows of admitted requests that have not ended."""
        return sum(entry.rows for entry in list(self._admitted.values()))

    @property
    def cells(self) -> int:
        """Positions reserved for what is admitted."""
        return cells(self._reserved(), self.limits.boundary)

    def fits_alone(self, demand: Demand) -> bool:
        """Whether a request could run on an empty server. Depends on the limits alone."""
        needs = cells([demand], self.limits.boundary)
        return demand.rows <= self.limits.max_rows and needs <= self.limits.cells

    def add(self, demand: Demand) -> None:
        """Queue a request that fits alone."""
        if not self.fits_alone(demand):
            raise ValueError(f"request {demand.key} can never run within {self.limits}")
        self._waiting.append(demand)

    def remove(self, key: int) -> None:
        """Forget a request, wherever it is. What it held is free for the next `admit`."""
        if self._admitted.pop(key, None) is None:
            self._waiting = deque(demand for demand in self._waiting if demand.key != key)

    def expired(self, now: float) -> list[int]:
        """Requests past their deadline."""
        demands = [*(entry.demand for entry in self._admitted.values()), *self._waiting]
        return [demand.key for demand in demands if demand.deadline is not None and now >= demand.deadline]

    def admit(self) -> list[int]:
        """Admit from the head of the queue while it fits. Nobody overtakes a request that waits for room."""
        admitted = []
        while self._waiting:
            demand = self._waiting[0]
            if self.rows + demand.rows > self.limits.max_rows:
                break
            if cells([*self._reserved(), demand], self.limits.boundary) > self.limits.cells:
                break
            self._waiting.popleft()
            self._admitted[demand.key] = _Admitted(demand, demand.rows, demand.prompt, demand.prompt)
            admitted.append(demand.key)
        return admitted

    def chunks(self, known: Callable[[int], int] = lambda _: 0) -> Iterator[Chunk]:
        """What to read in this step: at most `step_tokens`, in the order of admission.

        What is left of them after other prompts begins the next one only if that is a fair share of a step.

        `known` says of a request how many of its prompt's first tokens need not be read. It is asked
        once, right before its first chunk and thus after `read` of all chunks before. Both it and
        whoever reads may remove requests.
        """
        left = self.limits.step_tokens
        for key, entry in list(self._admitted.items()):
            if left <= 0:
                return
            if key not in self._admitted or entry.joined:
                continue
            if not entry.begun:
                entry.begun, entry.read = True, known(key)
            row, read = entry.refilled, entry.read
            rows = entry.rows if entry.crossed else 1
            while left > 0 and row < rows and key in self._admitted:
                stop = min(read + left, entry.target)
                if stop < entry.target and left < self.limits.step_tokens * _SMALLEST_SHARE:
                    return
                last = stop == entry.target and row == rows - 1
                left -= stop - read
                yield Chunk(key, row, read, stop, last)
                if stop < entry.target:
                    return
                row, read = row + 1, 0

    def read(self, chunk: Chunk) -> None:
        """A chunk has been read; after the last one the request's rows are in their batch."""
        entry = self._admitted[chunk.key]
        entry.read = chunk.stop
        if chunk.stop == entry.target and not chunk.last:
            entry.refilled, entry.read = chunk.row + 1, 0
        entry.joined = chunk.last

    def regime(self, key: int) -> Regime:
        """Which batch an admitted request belongs to at its present length."""
        boundary = self.limits.boundary
        length = self._admitted[key].length
        return Regime.LONG if boundary is not None and length > boundary else Regime.SHORT

    def advanced(self, key: int) -> bool:
        """Every row of a request has one more token. Whether it has thereby crossed the boundary.

        A request that crosses leaves its batch, is read anew from its first token, row by row, and
        joins the other batch.
        """
        entry = self._admitted[key]
        before = self.regime(key)
        entry.length += 1
        if self.regime(key) is before:
            return False
        entry.crossed, entry.joined = True, False
        entry.target, entry.read, entry.refilled = entry.length, 0, 0
        return True

    def row_ended(self, key: int) -> bool:
        """One row of a request has ended. Whether it was the last, which also removes the request."""
        entry = self._admitted[key]
        entry.rows -= 1
        if entry.rows == 0:
            del self._admitted[key]
        return entry.rows == 0

    def columns(self, regime: Regime) -> int:
        """The longest that any row of a batch can become: what its buffer may grow to."""
        lengths = [_longest(demand, regime, self.limits.boundary) for demand in self._reserved()]
        return max(lengths, default=0)

    def rectangle(self, regime: Regime) -> tuple[int, int]:
        """Rows and columns that are reserved for a batch."""
        return _rectangle(self._reserved(), regime, self.limits.boundary)

    def _reserved(self) -> list[Demand]:
        return [
            Demand(key=key, prompt=entry.demand.prompt, rows=entry.rows, new_tokens=entry.demand.new_tokens)
            for key, entry in list(self._admitted.items())
        ]
