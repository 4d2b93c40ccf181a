"""An engine that answers many requests at once."""

from __future__ import annotations

import asyncio
import itertools
import queue
import threading
import time
from dataclasses import dataclass
from typing import Any

import torch

from berth_inference.engine.batch.capacity import check_size
from berth_inference.engine.batch.forward_lock import ForwardLock
from berth_inference.engine.batch.intake import Intake
from berth_inference.engine.batch.lanes import Lane
from berth_inference.engine.batch.loop import Batches
from berth_inference.engine.batch.memory import budget_cells
from berth_inference.engine.batch.prefix_cache import PrefixCache
from berth_inference.engine.batch.preparation import prepare
from berth_inference.engine.batch.runner import Runner
from berth_inference.engine.batch.sampler import Sampler
from berth_inference.engine.batch.scheduler import BatchLimits, Scheduler
from berth_inference.engine.codec import TokenizerCodec
from berth_inference.engine.constraint import check_combination
from berth_inference.engine.failures import shutting_down, too_late, unfinished
from berth_inference.engine.grammar import Grammar
from berth_inference.engine.interface import ModelInfo, Occupancy
from berth_inference.engine.pipeline import PipelineEngine
from berth_inference.engine.request import GenerationRequest
from berth_inference.engine.stream import EventStream
from berth_inference.errors import BerthError, ErrorKind

# Seconds that close() waits for the step under way, as the other lane does.
_CLOSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """How much may run at once.

    `kv_bytes` is memory for keys and values (None: half of what is free), `step_tokens` how many
    prompt tokens may delay the next token of those who wait for one, `deadline` seconds from
    arrival to the last token, `prefix_share` of the memory (0 to 1) may hold beginnings of prompts, and
    `lookup_tokens` is the most that are drafted for a sequence that runs alone.
    """

    max_queued: int
    max_rows: int = 64
    step_tokens: int = 256
    kv_bytes: int | None = None
    deadline: float | None = None
    prefix_share: float = 0.5
    lookup_tokens: int = 4


class BatchEngine:
    """Two lanes over one model, which take turns forward by forward.

    The batch lane decodes all its requests together, one token each per step; a request joins at
    the next step and leaves when it is done. Beam search, and models that a test at the start shows
    not to batch exactly, run in the exclusive lane, one at a time, as `generate` does it.
    """

    def __init__(self, pipeline: Any, *, names: tuple[str, ...], settings: BatchSettings) -> None:
        self._model = pipeline.model.eval()
        self._exclusive = PipelineEngine(pipeline, names=names, max_queued=settings.max_queued)
        self._settings = settings
        self._forwards = ForwardLock()
        self._lanes = prepare(self._model, self._forwards)
        rope, batchable = self._lanes.rope, self._lanes.batchable
        limits = BatchLimits(
            max_rows=settings.max_rows,
            cells=budget_cells(self._model, settings.kv_bytes) if batchable else 0,
            step_tokens=settings.step_tokens,
            boundary=rope.boundary if rope.batches_long else None,
        )
        self._scheduler = Scheduler(limits)
        self._prefixes = PrefixCache(int(limits.cells * settings.prefix_share))
        self._batches = Batches(
            self._scheduler,
            Runner(self._model, rope),
            Sampler(self._model.device),
            self._prefixes,
            settings.lookup_tokens,
            self._close_stream,
        )
        self._intake = Intake(self._model, self.codec, self._exclusive.grammars)
        self._keys = itertools.count()
        self._inbox: queue.SimpleQueue[tuple[int, GenerationRequest, EventStream, float | None] | None]
        self._inbox = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._open: dict[int, EventStream] = {}
        self._draining = False
        self._idle = threading.Event()
        self._idle.set()
        self._step_began: float | None = None
        self._thread = threading.Thread(target=self._work, name="batch", daemon=True)
        self._thread.start()

    @property
    def info(self) -> ModelInfo:
        """What is served."""
        return self._exclusive.info

    @property
    def codec(self) -> TokenizerCodec:
        """The model's tokenizer."""
        return self._exclusive.codec

    @property
    def stuck_seconds(self) -> float:
        """How long the step under way has taken in either lane; 0 between steps. Minutes mean that it never ends."""
        began = self._step_began
        turn = 0.0 if began is None else time.monotonic() - began
        return max(turn, self._forwards.held_seconds)

    @property
    def occupancy(self) -> Occupancy:
        """Both lanes together; the memory is that of the batch lane, which alone has a budget."""
        exclusive = self._exclusive.occupancy
        running, cells = self._scheduler.running, self._scheduler.limits.cells
        return Occupancy(
            running=running + exclusive.running,
            # The two are not counted at the same instant.
            waiting=max(0, len(self._open) - running) + exclusive.waiting,
            kv_usage=min(1.0, self._scheduler.cells / cells) if cells else 0.0,
            prefix_queries=self._prefixes.queries,
            prefix_hits=self._prefixes.hits,
            draft_tokens=self._batches.draft_tokens,
            accepted_tokens=self._batches.accepted_tokens,
        )

    def prepare(self, grammar: Grammar) -> None:
        """Raise `BerthError` if a grammar cannot be enforced. Blocks, for seconds the first time."""
        self._exclusive.prepare(grammar)

    def submit(self, request: GenerationRequest) -> EventStream:
        """Queue a request. Raises `BerthError` when draining, when too many wait, or if it never fits."""
        check_combination(request)
        exclusive = self._lanes.lane(request) is Lane.EXCLUSIVE
        check_size(request, self._scheduler, exclusive=exclusive)
        if exclusive:
            return self._submit_exclusive(request)
        key = next(self._keys)
        stream = EventStream(asyncio.get_running_loop())
        with self._lock:
            if self._draining:
                raise shutting_down()
            free_rows = max(0, self._settings.max_rows - self._scheduler.rows)
            waiting = len(self._open) - self._scheduler.running
            if waiting >= self._settings.max_queued + free_rows:
                raise BerthError(
                    ErrorKind.OVERLOADED,
                    f"{waiting} requests are waiting already; try again later.",
                    retry_after=1,
                )
            self._open[key] = stream
            self._idle.clear()
        deadline = self._settings.deadline
        self._inbox.put((key, request, stream, None if deadline is None else time.monotonic() + deadline))
        return stream

    def _submit_exclusive(self, request: GenerationRequest) -> EventStream:
        stream = self._exclusive.submit(request)
        if self._settings.deadline is not None:
            asyncio.get_running_loop().call_later(self._settings.deadline, _expire, stream)
        return stream

    def warm_up(self) -> None:
        """Produce one token, which reads every weight into memory. Raises what the model raises."""
        self._exclusive.warm_up()

    async def drain(self, seconds: float) -> None:
        """Admit nothing more, wait for what was admitted, then end what is left with an error."""
        with self._lock:
            self._draining = True
        _, finished = await asyncio.gather(
            self._exclusive.drain(seconds), asyncio.to_thread(self._idle.wait, seconds)
        )
        if finished:
            return
        with self._lock:
            left = list(self._open.values())
        for stream in left:
            stream.publish(unfinished())
            stream.cancel()

    def close(self) -> None:
        """End both threads after the step they are in."""
        with self._lock:
            self._draining = True
            for stream in self._open.values():
                stream.cancel()
        self._inbox.put(None)
        self._exclusive.close()
        self._thread.join(_CLOSE_SECONDS)

    def _close_stream(self, key: int) -> None:
        with self._lock:
            self._open.pop(key, None)
            if not self._open:
                self._idle.set()

    @torch.inference_mode()
    def _work(self) -> None:
        while self._take_in():
            self._step_began = time.monotonic()
            try:
                self._batches.turn()
            except Exception as error:
                self._batches.fail_from(error)
            self._step_began = None
        self._batches.fail_all(shutting_down())

    def _take_in(self) -> bool:
        """Move what has arrived into the batches; waits where there is nothing else to do. False at the end."""
        while True:
            try:
                item = self._inbox.get(block=not self._batches.busy)
            except queue.Empty:
                return True
            if item is None:
                return False
            key, request, stream, deadline = item
            try:
                self._batches.add(self._intake.job(key, request, stream), deadline)
            except BerthError as error:
                stream.publish(error)
                self._close_stream(key)


def _expire(stream: EventStream) -> None:
    """End a stream past its deadline; nobody reads it any more if it has ended by itself."""
    stream.publish(too_late())
    stream.cancel()
