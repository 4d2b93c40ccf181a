"""The thread that owns the model: takes requests in, runs steps, tells what came of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence

import torch

from berth_inference.engine.batch.job import Job, Row
from berth_inference.engine.batch.logprobs import StepLogprobs
from berth_inference.engine.batch.memory import is_out_of_memory
from berth_inference.engine.batch.runner import Runner
from berth_inference.engine.batch.sampler import Sampler
from berth_inference.engine.batch.scheduler import Chunk, Regime, Scheduler
from berth_inference.engine.events import Finished, FinishReason, SequenceFinished
from berth_inference.errors import BerthError, ErrorKind

_log = logging.getLogger(__name__)

Pair = tuple[Job, Row]


class Batches:
    """What runs, and how it goes on by one turn. Called from one thread only.

    `pairs[regime]` names the rows of the runner's batches, in their order there.
    """

    def __init__(
        self, scheduler: Scheduler, runner: Runner, sampler: Sampler, gone: Callable[[int], None]
    ) -> None:
        self._scheduler = scheduler
        self._runner = runner
        self._sampler = sampler
        self._gone = gone
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
        for key in self._scheduler.admit():
            self._jobs[key].start(now)
        for chunk in self._scheduler.chunks():
            # An earlier chunk's request may have ended others, when it found memory short.
            if chunk.key in self._jobs:
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

    def _read(self, chunk: Chunk) -> None:
        job = self._jobs[chunk.key]
        row = job.rows[chunk.row]
        try:
            staging = job.staging or self._runner.stage(row.length)
            tokens = row.tokens[chunk.start : chunk.stop].tolist()
            logits = self._runner.prefill(staging, tokens, self._scheduler.regime(job.key))
            self._scheduler.read(chunk)
            complete = chunk.stop == row.length
            job.staging = None if complete else staging
            if complete:
                job.staged.append((staging, logits))
            if chunk.last:
                self._join(job)
        except Exception as error:
            self._fail_from(job, error, "reading a prompt")

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
            tokens = [row.generated[-1] for _, row in pairs]
            try:
                logits = self._runner.step(regime, tokens, self._scheduler.columns(regime))
            except Exception as error:
                if is_out_of_memory(error):
                    self._shed(regime, error)
                    continue
                _log.exception("a step failed")
                for job in {job.key: job for job, _ in pairs}.values():
                    self.fail(job, _broken())
                return
            running = list(pairs)
            self._settle(running, logits)
            for job in {job.key: job for job, _ in running}.values():
                if job.key in self._jobs and self._scheduler.advanced(job.key):
                    self._take_out(regime, {id(row) for row in job.rows})
            return

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
            elif chosen.error is not None:
                ended.add(index)
                self.fail(job, chosen.error)
            else:
                reason = job.append(row, chosen.token, now)
                job.stream.publish(logprobs.event(index, job, row, chosen.token))
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
        if is_out_of_memory(error):
            _log.error("out of memory in %s: lower --kv-memory or --max-rows, or raise the limit", doing)
            self.fail(job, _no_memory())
            return
        _log.error("%s failed", doing, exc_info=error)
        self.fail(job, _broken())


def too_late() -> BerthError:
    """What a request past its deadline is told."""
    return BerthError(
        ErrorKind.DEADLINE, "The answer was not finished within the server's limit of time for one request."
    )


def _no_memory() -> BerthError:
    return BerthError(
        ErrorKind.UNAVAILABLE,
        "The server ran out of memory on this request; ask for fewer sequences or tokens, or try again.",
        retry_after=1,
    )


def _broken() -> BerthError:
    return BerthError(ErrorKind.INTERNAL, "The generation failed; the server's log says why.")
