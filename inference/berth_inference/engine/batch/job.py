"""One admitted request while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from berth_inference.engine.batch.choice import Choice
from berth_inference.engine.batch.kv_cache import Staging
from berth_inference.engine.batch.prompt_lookup import PromptLookup
from berth_inference.engine.batch.scheduler import Demand
from berth_inference.engine.events import FinishReason
from berth_inference.engine.observer import StopStrings
from berth_inference.engine.request import GenerationRequest
from berth_inference.engine.stream import EventStream


@dataclass(slots=True, eq=False)
class Row:
    """One sequence of a request. `tokens` has room for the prompt and all new tokens."""

    index: int
    tokens: torch.Tensor
    length: int
    generated: list[int] = field(default_factory=list)
    lookup: PromptLookup = field(default_factory=PromptLookup)

    @property
    def ids(self) -> torch.Tensor:
        """Prompt and generated tokens so far, (1, length): a view."""
        return self.tokens[None, : self.length]


@dataclass(slots=True, eq=False)
class Job:
    """A request, its stream, and its rows that have not ended (`rows`), in order of their index."""

    key: int
    request: GenerationRequest
    stream: EventStream
    choice: Choice
    stop: StopStrings
    generator: torch.Generator | None
    rows: list[Row]
    stop_tokens: frozenset[int]
    ends_at: float | None = None
    staging: Staging | None = None
    staged: list[tuple[Staging, torch.Tensor]] = field(default_factory=list)
    published: int = 0

    def append(self, row: Row, token: int, now: float) -> FinishReason | None:
        """A row's next token. Returns why the row ends with it, if it does."""
        row.tokens[row.length] = token
        row.length += 1
        row.generated.append(token)
        self.published += 1
        if token in self.stop_tokens or (self.request.stop and self.stop.end(row.generated)):
            return FinishReason.STOP
        if len(row.generated) >= self.request.max_new_tokens:
            return FinishReason.LENGTH
        if self.ends_at is not None and now >= self.ends_at:
            return FinishReason.LENGTH
        return None

    def demand(self, deadline: float | None) -> Demand:
        """What the scheduler needs to know. The deadline is on the clock of time.monotonic."""
        return Demand(
            key=self.key,
            prompt=len(self.request.prompt),
            rows=self.request.n,
            new_tokens=self.request.max_new_tokens,
            deadline=deadline,
        )

    def start(self, now: float) -> None:
        """The time that the request gave itself begins when it is admitted."""
        self.stream.started_at = now
        if self.request.max_seconds is not None:
            self.ends_at = now + self.request.max_seconds


def new_rows(request: GenerationRequest) -> list[Row]:
    """The rows of a request before anything is generated."""
    prompt = torch.tensor(request.prompt)
    rows = []
    for index in range(request.n):
        tokens = torch.empty(len(prompt) + request.max_new_tokens, dtype=torch.long)
        tokens[: len(prompt)] = prompt
        rows.append(Row(index, tokens, len(prompt)))
    return rows
