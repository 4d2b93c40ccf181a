"""An engine whose every request is measured, whichever route it comes from."""

from __future__ import annotations

import time

from berth_inference.engine import (
    Codec,
    Engine,
    Event,
    EventStream,
    Finished,
    FinishReason,
    GenerationRequest,
)
from berth_inference.engine.events import SequenceFinished, TokenEvent
from berth_inference.engine.grammar import Grammar
from berth_inference.engine.interface import ModelInfo, Occupancy
from berth_inference.errors import BerthError
from berth_inference.metrics import Metrics
from berth_inference.request_record import RequestRecord, current_record


class ObservedEngine:
    """Passes everything on. Times are taken on the event loop, where the routes receive tokens."""

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics

    @property
    def info(self) -> ModelInfo:
        """What is served."""
        return self._engine.info

    @property
    def codec(self) -> Codec:
        """The model's tokenizer."""
        return self._engine.codec

    @property
    def occupancy(self) -> Occupancy:
        """How busy it is."""
        return self._engine.occupancy

    @property
    def stuck_seconds(self) -> float:
        """How long the step under way has taken, where the engine says so."""
        return float(getattr(self._engine, "stuck_seconds", 0.0))

    @property
    def outage(self) -> str | None:
        """Why the engine can answer nothing at present, where it says so."""
        outage: str | None = getattr(self._engine, "outage", None)
        return outage

    def prepare(self, grammar: Grammar) -> None:
        """Find out whether a grammar can be enforced."""
        self._engine.prepare(grammar)

    def submit(self, request: GenerationRequest) -> EventStream:
        """Queue a request, and watch its stream."""
        submitted = time.monotonic()
        stream = self._engine.submit(request)
        record = current_record.get() or RequestRecord("")
        stream.observer = _Observation(request, stream, submitted, self._metrics, record)
        return stream

    async def drain(self, seconds: float) -> None:
        """Admit nothing more, and end what was admitted."""
        await self._engine.drain(seconds)

    def close(self) -> None:
        """End the engine."""
        self._engine.close()


class _Observation:
    """One generation, told of its events in order."""

    def __init__(
        self,
        request: GenerationRequest,
        stream: EventStream,
        submitted: float,
        metrics: Metrics,
        record: RequestRecord,
    ) -> None:
        self._request = request
        self._stream = stream
        self._submitted = submitted
        self._metrics = metrics
        self._record = record
        self._last: dict[int, float] = {}  # when each sequence got its latest token
        self._reasons: set[FinishReason] = set()
        self._tokens = 0
        self._ended = False
        record.prompt_tokens += len(request.prompt)

    def __call__(self, event: Event | BerthError) -> None:
        if self._ended:  # an error was told before the engine noticed it
            return
        match event:
            case TokenEvent():
                self._token(event.sequence, len(event.token_ids))
            case SequenceFinished():
                self._reasons.add(event.reason)
            case Finished():
                self._end(_overall(self._reasons))
            case BerthError():
                self._record.error = event.kind
                self._end("error")

    def _token(self, sequence: int, count: int) -> None:
        now = time.monotonic()
        if not self._last:
            self._first(now)
        last = self._last.get(sequence)
        if last is not None:
            self._metrics.tokens.between(now - last)
        self._last[sequence] = now
        self._tokens += count
        self._record.output_tokens += count
        self._metrics.tokens.generated += count

    def _first(self, now: float) -> None:
        waited = now - self._submitted
        if self._record.first_token_seconds is None:
            self._record.first_token_seconds = waited
        self._metrics.first_token.observe(waited)
        self._metrics.prompt_tokens.inc(len(self._request.prompt))
        if self._stream.started_at is not None:
            self._metrics.queue.observe(max(0.0, self._stream.started_at - self._submitted))

    def _end(self, reason: str) -> None:
        self._ended = True
        self._record.finish_reason = reason
        self._metrics.finished[reason].inc()
        if reason not in ("stop", "length"):
            return  # its length and duration say when somebody lost patience, not how the server does
        self._metrics.request.observe(time.monotonic() - self._submitted)
        self._metrics.request_prompt.observe(len(self._request.prompt))
        self._metrics.request_generation.observe(self._tokens)
        self._metrics.request_n.observe(self._request.n)
        self._metrics.request_max_tokens.observe(self._request.max_new_tokens)


def _overall(reasons: set[FinishReason]) -> str:
    """One word for all sequences of a request: the one that says most."""
    if FinishReason.CANCELLED in reasons:
        return "abort"
    return "length" if FinishReason.LENGTH in reasons else "stop"
