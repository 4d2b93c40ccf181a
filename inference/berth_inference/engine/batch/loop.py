"""The thread that owns the model: takes requests in, runs steps, tells what came of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import torch

from berth_inference.engine.batch.job import Job, Row
from berth_inference.engine.batch.logprobs import StepLogprobs
from berth_inference.engine.batch.prefix_cache import PrefixCache
from berth_inference.engine.batch.runner import Runner
from berth_inference.engine.batch.sampler import Sampler
from berth_inference.engine.batch.scheduler import Chunk, Regime, Scheduler
from berth_inference.engine.events import Finished, FinishReason, SequenceFinished
from berth_inference.engine.failures import broken, out_of_memory, too_late
from berth_inference.engine.out_of_memory import is_out_of_memory
from berth_inference.errors import BerthError

_log = logging.getLogger(__name__)

Pair = tuple[Job, Row]
Result = TypeVar("Result")


class Batches:
    """What runs, and how it goes on by one turn. Called from one thread only.

    `pairs[regime]` names the rows of the runner's batches, in their order there. `draft_tokens` counts tokens that
    were drafted, at most `lookup_tokens` in a step, and `accepted_tokens` those of them that were right.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        runner: Runner,
        sampler: Sampler,
        prefixes: PrefixCache,
        lookup_tokens: int,
        gone: Callable[[int], None],
    ) -> None:
        self._scheduler = scheduler
        self._runner = runner
        self._prefixes = prefixes
        self._sampler = sampler
        self._lookup_tokens = lookup_tokens
        self._gone = gone
        self.draft_tokens = self.accepted_tokens = 0
        self._jobs: dict[int, Job] = {}
        self._pairs: dict[Regime, list[Pair]] = {regime: [] for regime in Regime}

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._jobs)

    def add(self, job: Job, deadline: float | None) -> None:
        """Queue a request that fits."""
        self._jobs[job.key] = job
        self._scheduler.add(job.demand(deadline))

    def turn(self) -> None:
        """One step: a bounded share of the waiting prompts is read, then every row gets a token."""
        now = time.monotonic()
        for job in [job for job in self._jobs.values() if job.stream.cancelled]:
            self._end(job, FinishReason.CANCELLED)
        for key in self._scheduler.expired(now):
            self.fail(self._jobs[key], too_late())
        self._admit(now)
        for chunk in self._scheduler.chunks(self._begin):
            self._read(chunk)
        for regime in Regime:
            self._step(regime)

    def fail(self, job: Job, error: BerthError) -> None:
        """End a request with an error."""
        job.stream.publish(error)
        self._forget(job)

    def fail_all(self, error: BerthError) -> None:
        """End every request with an error."""
        for job in list(self._jobs.values()):
            self.fail(job, error)

    def fail_from(self, error: Exception) -> None:
        """End every request because of what a turn has raised."""
        for job in list(self._jobs.values()):
            self._fail_from(job, error, "a turn")

    def _admit(self, now: float) -> None:
        admitted = self._scheduler.admit()
        for key in admitted:
            self._jobs[key].start(now)
        if admitted:  # what has just been promised to them may still be held for nobody
            for regime in Regime:
                self._runner.batch(regime).trim(*self._scheduler.rectangle(regime))
            self._prefixes.shrink(self._room())

    def _room(self) -> int:
        """Positions that neither requests nor their buffers take."""
        excess = sum(
            self._runner.batch(regime).excess(*self._scheduler.rectangle(regime)) for regime in Regime
        )
        return self._scheduler.limits.cells - self._scheduler.cells - excess

    def _begin(self, key: int) -> int:
        """A place to read a prompt into; returns how much of the prompt is there already."""
        job = self._jobs[key]
        try:
            job.staging = self._runner.stage(job.rows[0].length)
            self._prefixes.load(self._scheduler.regime(key), job.request.prompt, job.staging)
            return job.staging.columns
        except Exception as error:
            self._fail_from(job, error, "reusing a prompt's beginning")
            return 0

    def _read(self, chunk: Chunk) -> None:
        job = self._jobs[chunk.key]
        row = job.rows[chunk.row]
        try:
            staging = job.staging = job.staging or self._runner.stage(row.length)
            tokens = row.tokens[chunk.start : chunk.stop].tolist()
            regime = self._scheduler.regime(job.key)
            logits = self._relieved(self._runner.prefill, staging, tokens, regime)
            self._scheduler.read(chunk)
            if chunk.stop == row.length:
                job.staging = None
                job.staged.append((staging, logits))
                if not row.generated:
                    self._prefixes.store(regime, job.request.prompt, staging, self._room())
            if chunk.last:
                self._join(job)
        except Exception as error:
            self._fail_from(job, error, "reading a prompt")

    def _relieved(self, repeatable: Callable[..., Result], *arguments: Any) -> Result:
        """Do it; where memory is short, once more without the prefixes that are kept for later."""
        try:
            return repeatable(*arguments)
        except Exception as error:
            if not (is_out_of_memory(error) and self._prefixes.clear()):
                raise
        return repeatable(*arguments)

    def _join(self, job: Job) -> None:
        """All rows of a request have been read: choose their next tokens, and let them run."""
        staged, job.staged = job.staged, []
        if len(staged) < len(job.rows):  # the prompt was read once for all
            staged = staged * len(job.rows)
        pairs = [(job, row) for row in job.rows]
        ended = self._settle(pairs, torch.cat([logits for _, logits in staged]))
        if job.key not in self._jobs or self._scheduler.advanced(job.key):
            return
        regime = self._scheduler.regime(job.key)
        for index, (pair, (staging, _)) in enumerate(zip(pairs, staged, strict=True)):
            if index not in ended:
                self._runner.batch(regime).insert(staging, bound=self._scheduler.columns(regime))
                self._pairs[regime].append(pair)

    def _step(self, regime: Regime) -> None:
        """One token for each row of a batch."""
        while pairs := self._pairs[regime]:
            bound = self._scheduler.columns(regime)
            first = pairs[0][1]
            draft = self._draft(first, bound) if len(pairs) == 1 else []
            tokens = [[row.generated[-1], *draft] for _, row in pairs]
            try:
                logits = self._relieved(self._runner.step, regime, tokens, bound)
            except Exception as error:
                if is_out_of_memory(error):
                    self._shed(regime, error)
                    continue
                _log.exception("a step failed")
                for job in {job.key: job for job, _ in pairs}.values():
                    self.fail(job, broken())
                return
            self._advance(regime, logits[:, 0])
            if draft:
                self._accept(regime, first, draft, logits[:, 1:])
            return

    def _advance(self, regime: Regime, logits: torch.Tensor) -> None:
        """Choose the next token of each row of a batch."""
        running = list(self._pairs[regime])
        self._settle(running, logits)
        for job in {job.key: job for job, _ in running}.values():
            if job.key in self._jobs and self._scheduler.advanced(job.key):
                self._take_out(regime, {id(row) for row in job.rows})

    def _draft(self, row: Row, bound: int) -> list[int]:
        """What may follow the newest token of a batch's only row."""
        # That token has no column yet, and the last one that a row can come to never needs one.
        most = min(self._lookup_tokens, bound - row.length - 1)
        return row.lookup.draft(row.tokens[: row.length], most)

    def _accept(self, regime: Regime, row: Row, draft: Sequence[int], logits: torch.Tensor) -> None:
        """Go on while a draft is what was chosen. `logits` are those after its tokens, (1, count, vocabulary)."""
        self.draft_tokens += len(draft)
        accepted = 0
        for place, token in enumerate(draft):
            if not self._pairs[regime] or row.generated[-1] != token:
                break
            accepted += 1
            self.accepted_tokens += 1
            self._runner.batch(regime).advance()
            self._advance(regime, logits[:, place])
        row.lookup.learn(accepted)

    def _settle(self, pairs: Sequence[Pair], logits: torch.Tensor) -> set[int]:
        """Choose and publish the next token of each row; returns the indices of rows that have ended."""
        now = time.monotonic()
        logprobs = StepLogprobs(logits, pairs)
        ended: set[int] = set()
        for index, ((job, row), chosen) in enumerate(
            zip(pairs, self._sampler.choose(logits, pairs), strict=True)
        ):
            if job.key not in self._jobs:  # another of its rows has failed
                ended.add(index)
                continue
            try:
                if chosen.error is not None:
                    raise chosen.error
                reason = job.append(row, chosen.token, now)
                job.stream.publish(logprobs.event(index, job, row, chosen.token))
            except Exception as error:
                ended.add(index)
                self._fail_from(job, error, "taking a token")
            else:
                if reason is not None:
                    ended.add(index)
                    self._end_row(job, row, reason)
        return ended

    def _end_row(self, job: Job, row: Row, reason: FinishReason) -> None:
        job.stream.publish(SequenceFinished(row.index, reason))
        job.rows = [other for other in job.rows if other is not row]
        for regime in Regime:
            self._take_out(regime, {id(row)})
        if self._scheduler.row_ended(job.key):
            job.stream.publish(Finished(len(job.request.prompt), job.published))
            self._forget(job)

    def _end(self, job: Job, reason: FinishReason) -> None:
        for row in job.rows:
            job.stream.publish(SequenceFinished(row.index, reason))
        job.stream.publish(Finished(len(job.request.prompt), job.published))
        self._forget(job)

    def _forget(self, job: Job) -> None:
        """Free all that a request holds."""
        self._jobs.pop(job.key, None)
        self._scheduler.remove(job.key)
        for regime in Regime:
            self._take_out(regime, {id(row) for row in job.rows})
        job.rows, job.staged, job.staging = [], [], None
        self._gone(job.key)

    def _take_out(self, regime: Regime, rows: Iterable[int]) -> None:
        """Remove rows, given by identity, from a batch."""
        pairs, batch = self._pairs[regime], self._runner.batch(regime)
        leaving = set(rows)
        for index in reversed(range(len(pairs))):
            if id(pairs[index][1]) in leaving:
                batch.remove(index)
                pairs[index] = pairs[-1]
                pairs.pop()
        if not pairs:
            batch.empty()

    def _shed(self, regime: Regime, error: Exception) -> None:
        """Memory is short: the request of this batch that came last makes room for the others."""
        newest = max((job for job, _ in self._pairs[regime]), key=lambda job: job.key)
        self._fail_from(newest, error, "a step")

    def _fail_from(self, job: Job, error: Exception, doing: str) -> None:
        if isinstance(error, BerthError):
            self.fail(job, error)
        elif is_out_of_memory(error):
            _log.error("out of memory in %s: lower --kv-memory or --max-rows, or raise the limit", doing)
            self.fail(job, out_of_memory())
        else:
            _log.error("%s failed", doing, exc_info=error)
            self.fail(job, broken())
