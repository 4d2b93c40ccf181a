"""An engine over `transformers.pipeline`: one generation at a time, first come, first served."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import torch
from transformers import LogitsProcessorList, StoppingCriteriaList

from berth_inference.engine.arguments import generation_config, model_info, take_defaults
from berth_inference.engine.codec import TokenizerCodec
from berth_inference.engine.constraint import GrammarCompiler, GrammarProcessor, check_combination
from berth_inference.engine.events import Finished, FinishReason, SequenceFinished, TokenEvent
from berth_inference.engine.failures import (
    broken,
    out_of_memory,
    shutting_down,
    unfinished,
)
from berth_inference.engine.grammar import Grammar
from berth_inference.engine.group_beams import search_in_groups
from berth_inference.engine.interface import ModelInfo, Occupancy
from berth_inference.engine.observer import Cancelled, StepObserver, StopStrings, until_end
from berth_inference.engine.out_of_memory import is_out_of_memory
from berth_inference.engine.penalties import every_token_forbidden, own_processors
from berth_inference.engine.request import GenerationRequest
from berth_inference.engine.scoring import scored_tokens
from berth_inference.engine.stream import EventStream
from berth_inference.errors import BerthError, ErrorKind

_log = logging.getLogger(__name__)

# Seconds that close() waits for a step that is under way. A step takes far less; the thread is a
# daemon, so that one which is stuck does not keep the process alive.
_CLOSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    request: GenerationRequest
    stream: EventStream


class PipelineEngine:
    """Runs requests on a pipeline's model and tokenizer, in a thread of its own.

    The pipeline loads, places and configures the model; its `generate` is called with token ids
    that were made here rather than through `pipeline(text)`, because the pipeline passes
    `max_length` to the tokenizer too and so truncates long prompts, offers no hook to cancel or to
    stream several sequences, and forwards any keyword to `generate`, some of which run code. In
    float32 the tokens equal those of `model.generate` with the same arguments. Groups of beams, which
    `generate` does not do any more, are searched by `search_in_groups`.
    """

    def __init__(self, pipeline: Any, *, names: tuple[str, ...], max_queued: int) -> None:
        self._model = pipeline.model.eval()
        self._codec = TokenizerCodec(pipeline.tokenizer)
        defaults = take_defaults(pipeline.model.generation_config)
        self._info = model_info(pipeline.model, pipeline.tokenizer, names, defaults, self._codec.tool_format)
        self.grammars = GrammarCompiler(pipeline.tokenizer, self._info)
        self._max_queued = max_queued
        self._changed = threading.Condition()  # holds for all of the following
        self._waiting: deque[_Job] = deque()
        self._running: _Job | None = None
        self._draining = False
        self._closing = False
        self._idle = threading.Event()
        self._idle.set()
        self._thread = threading.Thread(target=self._work, name="generations", daemon=True)
        self._thread.start()

    @property
    def info(self) -> ModelInfo:
        """What is served."""
        return self._info

    @property
    def codec(self) -> TokenizerCodec:
        """The model's tokenizer."""
        return self._codec

    @property
    def occupancy(self) -> Occupancy:
        """One request runs, the others wait."""
        return Occupancy(running=int(self._running is not None), waiting=len(self._waiting))

    def prepare(self, grammar: Grammar) -> None:
        """Raise `BerthError` if a grammar cannot be enforced. Blocks, for seconds the first time."""
        self.grammars.check(grammar)

    def submit(self, request: GenerationRequest) -> EventStream:
        """Queue a request. Raises `BerthError` when draining or when too many wait already."""
        check_combination(request)
        job = _Job(request, EventStream(asyncio.get_running_loop()))
        with self._changed:
            if self._draining:
                raise shutting_down()
            self._forget_cancelled()
            if len(self._waiting) + (self._running is not None) > self._max_queued:
                raise BerthError(
                    ErrorKind.OVERLOADED,
                    f"{self._max_queued} requests are waiting already; try again later.",
                    retry_after=1,
                )
            self._waiting.append(job)
            self._idle.clear()
            self._changed.notify()
        return job.stream

    def _forget_cancelled(self) -> None:
        """What nobody waits for any more takes nobody's place in the queue."""
        for job in [job for job in self._waiting if job.stream.cancelled]:
            self._waiting.remove(job)
            _end_cancelled(job)

    def warm_up(self) -> None:
        """Produce one token, which reads every weight into memory. Raises what the model raises."""
        request = GenerationRequest(
            prompt=(next(iter(self._info.stop_token_ids), 0),),
            max_new_tokens=1,
            pad_token_id=self._info.pad_token_id,
        )
        with torch.inference_mode():
            prompt = torch.tensor([request.prompt], device=self._model.device)
            self._model.generate(
                prompt, attention_mask=torch.ones_like(prompt), generation_config=generation_config(request)
            )

    async def drain(self, seconds: float) -> None:
        """Admit nothing more, wait for what was admitted, then end what is left with an error."""
        with self._changed:
            self._draining = True
        if await asyncio.to_thread(self._idle.wait, seconds):
            return
        for job in self._admitted():
            job.stream.publish(unfinished())
            job.stream.cancel()

    def close(self) -> None:
        """End the thread after the step it is in."""
        with self._changed:
            self._draining = self._closing = True
            for job in self._admitted():
                job.stream.cancel()
            self._changed.notify()
        self._thread.join(_CLOSE_SECONDS)

    def _admitted(self) -> list[_Job]:
        with self._changed:
            return [*self._waiting, *([self._running] if self._running else [])]

    def _work(self) -> None:
        while (job := self._next()) is not None:
            # In a thread that ends with it: torch's threads stay with the thread that they have computed for,
            # and beside a second such team none of them spins (`batch.spinning`).
            worker = threading.Thread(target=self._run, args=(job,), name="generation", daemon=True)
            worker.start()
            worker.join()

    def _next(self) -> _Job | None:
        """The one that is to run now. Waits for it; None once the engine is closed and nothing is left."""
        with self._changed:
            self._running = None
            if not self._waiting:
                self._idle.set()
            while not self._waiting:
                if self._closing:
                    return None
                self._changed.wait()
            self._running = self._waiting.popleft()
            return self._running

    def _run(self, job: _Job) -> None:
        """One request to its end. Whatever goes wrong ends that request alone."""
        job.stream.started_at = time.monotonic()
        try:
            self._generate(job.request, job.stream)
        except BerthError as error:
            job.stream.publish(error)
        except Exception as error:
            if is_out_of_memory(error):
                _log.error(
                    "out of memory in a generation: lower --max-beams, --max-sequences or --kv-memory, "
                    "or raise the limit"
                )
                job.stream.publish(out_of_memory())
            elif "probability tensor contains" in str(error):
                job.stream.publish(every_token_forbidden())
            else:
                _log.exception("a generation failed")
                job.stream.publish(broken())

    @torch.inference_mode()
    def _generate(self, request: GenerationRequest, stream: EventStream) -> None:
        streaming = request.sampling.num_beams == 1 and not request.logprobs
        stop = StopStrings(self._codec, request.stop)
        observer = StepObserver(request, stream, stop, streaming=streaming)
        # torch's generator starts from one constant in every process and keeps the state that a
        # seeded request left behind: without a seed, answers would repeat.
        _ = torch.manual_seed(request.seed) if request.seed is not None else torch.seed()
        try:
            observer.check()  # it may have waited
            rows = self._rows(request, observer)
            if streaming:
                observer.finish(FinishReason.LENGTH)
            else:
                self._publish(
                    request, stream, observer, [until_end(row, request.stop_token_ids, stop) for row in rows]
                )
        except Cancelled:
            observer.finish(FinishReason.CANCELLED)
        stream.publish(Finished(len(request.prompt), observer.published))

    def _publish(
        self,
        request: GenerationRequest,
        stream: EventStream,
        observer: StepObserver,
        sequences: list[tuple[list[int], FinishReason]],
    ) -> None:
        """What was not told token by token. Raises `Cancelled`."""
        for row, (tokens, reason) in enumerate(sequences):
            scores, top = None, None
            if request.logprobs:
                scores, top = scored_tokens(
                    self._model, request.prompt, tokens, request.top_logprobs, observer.check
                )
            stream.publish(TokenEvent(row, tuple(tokens), scores, top))
            observer.published += len(tokens)
            observer.finish_row(row, reason)

    def _processors(self, request: GenerationRequest) -> list[Any]:
        own = own_processors(request.sampling, len(request.prompt), self._model.device)
        if request.grammar is not None:
            followers = self.grammars.followers(request.grammar, request.stop_token_ids, request.n)
            own.append(GrammarProcessor(len(request.prompt), followers))
        return own

    def _rows(self, request: GenerationRequest, observer: StepObserver) -> list[list[int]]:
        """What each sequence got after the prompt, best first, possibly with padding after its end."""
        if request.sampling.num_beam_groups > 1:
            return search_in_groups(self._model, request, observer)
        prompt = torch.tensor([request.prompt], device=self._model.device)
        output = self._model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            generation_config=generation_config(request),
            logits_processor=LogitsProcessorList(self._processors(request)),
            stopping_criteria=StoppingCriteriaList([observer]),
        )
        rows: list[list[int]] = output[:, len(request.prompt) :].tolist()
        return rows


def _end_cancelled(job: _Job) -> None:
    for row in range(job.request.n):
        job.stream.publish(SequenceFinished(row, FinishReason.CANCELLED))
    job.stream.publish(Finished(len(job.request.prompt), 0))
