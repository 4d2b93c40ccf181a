"""An engine that asks vLLM for every answer."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextlib import aclosing
from dataclasses import dataclass, replace

from berth_inference.engine.events import FinishReason
from berth_inference.engine.failures import broken, shutting_down, too_late, unfinished
from berth_inference.engine.grammar import Grammar
from berth_inference.engine.interface import Codec, ModelInfo, Occupancy
from berth_inference.engine.remote.answers import Answer, UnreadableAnswer
from berth_inference.engine.remote.arguments import completion
from berth_inference.engine.remote.failures import cut_off
from berth_inference.engine.remote.upstream import Upstream
from berth_inference.engine.remote.watch import Watch
from berth_inference.engine.request import GenerationRequest
from berth_inference.engine.stream import EventStream
from berth_inference.errors import BerthError, ErrorKind

_log = logging.getLogger(__name__)

# Seconds that close() waits for connections to end. They are closed and not drained.
_CLOSE_SECONDS = 5.0


@dataclass(eq=False, slots=True)
class _Job:
    request: GenerationRequest
    stream: EventStream
    begun: bool = False
    task: asyncio.Task[None] | None = None


class RemoteEngine:
    """Hands requests to vLLM, which batches them, and its tokens back.

    A thread of its own runs an event loop for the connections, one for each request. Closing one is how vLLM learns
    that nobody wants the rest.
    """

    def __init__(
        self,
        address: str,
        model: str,
        info: ModelInfo,
        codec: Codec,
        *,
        max_queued: int,
        deadline: float | None = None,
    ) -> None:
        self._model, self._info, self._codec = model, info, codec
        self._max_queued, self._deadline = max_queued, deadline
        self._lock = threading.Lock()  # holds for the following two
        self._jobs: set[_Job] = set()
        self._draining = False
        self._idle = threading.Event()
        self._idle.set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="vllm", daemon=True)
        self._thread.start()
        self._upstream = Upstream(address)
        self._watch = Watch(self._upstream)
        self._watching = asyncio.run_coroutine_threadsafe(self._watch.forever(), self._loop)

    @property
    def info(self) -> ModelInfo:
        """What is served."""
        return self._info

    @property
    def codec(self) -> Codec:
        """The model's tokenizer."""
        return self._codec

    @property
    def occupancy(self) -> Occupancy:
        """Requests that have a token, requests that wait for their first, and what vLLM last said of its memory."""
        with self._lock:
            running = sum(job.begun for job in self._jobs)
            waiting = len(self._jobs) - running
        return replace(self._watch.memory, running=running, waiting=waiting)

    @property
    def outage(self) -> str | None:
        """Why vLLM can answer nothing at present, in words; None if it can."""
        return self._watch.outage

    def prepare(self, grammar: Grammar) -> None:
        """Nothing: whether a grammar can be enforced vLLM says when it is asked for an answer."""

    def submit(self, request: GenerationRequest) -> EventStream:
        """Send a request. Raises `BerthError` when draining, or when too many wait for their first token."""
        if self._info.check is not None:
            self._info.check(request)
        stream = EventStream(asyncio.get_running_loop())
        job = _Job(request, stream)
        with self._lock:
            if self._draining:
                raise shutting_down()
            waiting = sum(not job.begun for job in self._jobs)
            if waiting >= self._max_queued:
                raise BerthError(
                    ErrorKind.OVERLOADED,
                    f"{waiting} requests are waiting already; try again later.",
                    retry_after=1,
                )
            self._jobs.add(job)
            self._idle.clear()
        stream.on_cancel = lambda: self._tell(job)
        self._loop.call_soon_threadsafe(self._start, job)
        return stream

    async def warm_up(self) -> None:
        """Have vLLM produce one token. Raises `BerthError`."""
        request = GenerationRequest(prompt=(next(iter(self._info.stop_token_ids), 0),), max_new_tokens=1)
        async for _ in self.submit(request):
            pass

    async def drain(self, seconds: float) -> None:
        """Admit nothing more, wait for what was admitted, then end what is left with an error."""
        with self._lock:
            self._draining = True
        if await asyncio.to_thread(self._idle.wait, seconds):
            return
        with self._lock:
            left = list(self._jobs)
        for job in left:
            job.stream.publish(unfinished())
            job.stream.cancel()

    def close(self) -> None:
        """End all connections, and the thread."""
        with self._lock:
            self._draining = True
        if self._loop.is_closed():
            return
        try:
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(_CLOSE_SECONDS)
        except TimeoutError:
            _log.warning("connections to vLLM did not end in time")
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()

    async def _end(self) -> None:
        """What is left of requests, their connections, and the look at vLLM's health."""
        self._watching.cancel()
        tasks = [job.task for job in self._jobs if job.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._upstream.close()

    def _start(self, job: _Job) -> None:
        job.task = self._loop.create_task(self._run(job))
        if job.stream.cancelled:
            job.task.cancel()

    def _tell(self, job: _Job) -> None:
        """From any thread: nobody wants the rest."""
        with self._lock:
            if job not in self._jobs:
                return
        self._loop.call_soon_threadsafe(lambda: job.task.cancel() if job.task is not None else None)

    async def _run(self, job: _Job) -> None:
        """One request to its end. Whatever goes wrong ends that request alone."""
        answer = Answer(job.request)
        try:
            async with asyncio.timeout(self._deadline):
                await self._answer(job, answer)
        except asyncio.CancelledError:
            for event in answer.end(FinishReason.CANCELLED):
                job.stream.publish(event)
        except TimeoutError:
            job.stream.publish(too_late())
        except BerthError as error:
            job.stream.publish(error)
        except UnreadableAnswer as error:
            _log.error("vLLM's answer cannot be read: %s", error)
            job.stream.publish(broken())
        except Exception:
            _log.exception("a request to vLLM failed")
            job.stream.publish(broken())
        finally:
            with self._lock:
                self._jobs.discard(job)
                if not self._jobs:
                    self._idle.set()

    async def _answer(self, job: _Job, answer: Answer) -> None:
        began, longest = time.monotonic(), job.request.max_seconds
        async with aclosing(self._upstream.completion(completion(job.request, self._model))) as parts:
            async for part in parts:
                for event in answer.events(part):
                    job.stream.publish(event)
                job.begun = job.begun or answer.begun
                if answer.begun and longest is not None and time.monotonic() - began >= longest:
                    break
            else:
                if not answer.complete:
                    raise cut_off()
        for event in answer.end(FinishReason.LENGTH):
            job.stream.publish(event)
