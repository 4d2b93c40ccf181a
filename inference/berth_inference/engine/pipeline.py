"""An engine over `transformers.pipeline`: one generation at a time, first come, first served."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from dataclasses import dataclass
from typing import Any

import torch
from transformers import LogitsProcessorList, StoppingCriteriaList

from berth_inference.engine.arguments import generation_config, model_info, take_defaults
from berth_inference.engine.codec import TokenizerCodec
from berth_inference.engine.constraint import GrammarCompiler, GrammarProcessor, check_combination
from berth_inference.engine.events import Finished, FinishReason, TokenEvent
from berth_inference.engine.grammar import Grammar
from berth_inference.engine.group_beams import search_in_groups
from berth_inference.engine.interface import ModelInfo, Occupancy
from berth_inference.engine.observer import Cancelled, StepObserver, StopStrings, until_end
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
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._admitted: set[_Job] = set()
        self._draining = False
        self._idle = threading.Event()
        self._idle.set()
        self._thread = threading.Thread(target=self._work, name="generation", daemon=True)
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
        admitted = len(self._admitted)
        running = min(admitted, 1)
        return Occupancy(running=running, waiting=admitted - running)

    def prepare(self, grammar: Grammar) -> None:
        """Raise `BerthError` if a grammar cannot be enforced. Blocks, for seconds the first time."""
        self.grammars.check(grammar)

    def submit(self, request: GenerationRequest) -> EventStream:
        """Queue a request. Raises `BerthError` when draining or when too many wait already."""
        check_combination(request)
        job = _Job(request, EventStream(asyncio.get_running_loop()))
        with self._lock:
            if self._draining:
                raise BerthError(ErrorKind.UNAVAILABLE, "The server is shutting down.", retry_after=1)
            # One of the admitted is running, the others wait.
            if len(self._admitted) > self._max_queued:
                raise BerthError(
                    ErrorKind.OVERLOADED,
                    f"{self._max_queued} requests are waiting already; try again later.",
                    retry_after=1,
                )
            self._admitted.add(job)
            self._idle.clear()
        self._jobs.put(job)
        return job.stream

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
        with self._lock:
            self._draining = True
        if await asyncio.to_thread(self._idle.wait, seconds):
            return
        with self._lock:
            left = list(self._admitted)
        for job in left:
            job.stream.publish(
                BerthError(
                    ErrorKind.UNAVAILABLE,
                    "The server is shutting down and the answer was not finished in time.",
                    retry_after=1,
                )
            )
            job.stream.cancel()

    def close(self) -> None:
        """End the thread after the step it is in."""
        with self._lock:
            self._draining = True
            for job in self._admitted:
                job.stream.cancel()
        self._jobs.put(None)
        self._thread.join(_CLOSE_SECONDS)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._run(job)
            finally:
                with self._lock:
                    self._admitted.discard(job)
                    if not self._admitted:
                        self._idle.set()

    def _run(self, job: _Job) -> None:
        """One request to its end. Whatever goes wrong ends that request alone."""
        job.stream.started_at = time.monotonic()
        try:
            self._generate(job.request, job.stream)
        except (MemoryError, torch.OutOfMemoryError):
            _log.exception("out of memory in a generation")
            job.stream.publish(
                BerthError(
                    ErrorKind.UNAVAILABLE,
                    "The server ran out of memory on this request; ask for fewer beams, sequences or tokens.",
                    retry_after=1,
                )
            )
        except BerthError as error:
            job.stream.publish(error)
        except Exception as error:
            if "probability tensor contains" in str(error):
                job.stream.publish(every_token_forbidden())
                return
            _log.exception("a generation failed")
            job.stream.publish(
                BerthError(ErrorKind.INTERNAL, "The generation failed; the server's log says why.")
            )

    @torch.inference_mode()
    def _generate(self, request: GenerationRequest, stream: EventStream) -> None:
        streaming = request.sampling.num_beams == 1 and not request.logprobs
        stop = StopStrings(self._codec, request.stop)
        observer = StepObserver(request, stream, stop, streaming=streaming)
        # torch's generator starts from one constant in every process and keeps the state that a
        # seeded request left behind: without a seed, answers would repeat.
        _ = torch.manual_seed(request.seed) if request.seed is not None else torch.seed()
        try:
            if stream.cancelled:  # while it was waiting
                raise Cancelled
            rows = self._rows(request, observer)
        except Cancelled:
            observer.finish(FinishReason.CANCELLED)
            stream.publish(Finished(len(request.prompt), observer.published))
            return
        if streaming:
            observer.finish(FinishReason.LENGTH)
            stream.publish(Finished(len(request.prompt), observer.published))
            return
        total = 0
        for row, tokens in enumerate(rows):
            sequence, reason = until_end(tokens, request.stop_token_ids, stop)
            scores, top = None, None
            if request.logprobs:
                scores, top = scored_tokens(self._model, request.prompt, sequence, request.top_logprobs)
            stream.publish(TokenEvent(row, tuple(sequence), scores, top))
            observer.finish_row(row, reason)
            total += len(sequence)
        stream.publish(Finished(len(request.prompt), total))

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
