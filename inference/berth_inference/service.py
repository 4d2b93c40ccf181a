"""The life of the server: loading, ready, draining. What every route shares."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from enum import StrEnum

from berth_inference.engine.admission import Limits
from berth_inference.engine.interface import Engine, Occupancy
from berth_inference.errors import BerthError, ErrorKind, LoadError, LoadFailure
from berth_inference.progress import LoadProgress
from berth_inference.settings import Settings

_log = logging.getLogger(__name__)

Loader = Callable[[Settings, LoadProgress], Engine]

# Seconds after which a client that came too early may try again: about a small model's start.
_RETRY_WHILE_LOADING = 5


class State(StrEnum):
    """Where the server is in its life."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


class Service:
    """Owns the engine from load to close. All methods are called on the event loop's thread."""

    def __init__(self, settings: Settings, load: Loader) -> None:
        self.settings = settings
        self.progress = LoadProgress()
        self.state = State.LOADING
        self.failure: LoadError | None = None
        self.ready_since = 0
        """When the model became ready, in seconds since 1970."""
        self.settled = asyncio.Event()
        """Set once the load has ended, well or badly."""
        self._load = load
        self._engine: Engine | None = None

    def start(self) -> None:
        """Load in a thread of its own: imports and disk take seconds that health checks must not feel."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._load_in_thread, args=(loop,), name="loader", daemon=True).start()

    def _load_in_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        outcome: Engine | LoadError
        try:
            outcome = self._load(self.settings, self.progress)
        except LoadError as error:
            outcome = error
        except Exception as error:
            _log.exception("the loader failed")
            outcome = LoadError(
                f"{self.settings.model} cannot be loaded: {type(error).__name__}; the log above says where",
                LoadFailure.INTERNAL,
            )
        try:
            loop.call_soon_threadsafe(self._loaded, outcome)
        except RuntimeError:
            _log.info("the model was loaded after the server had stopped")

    def _loaded(self, outcome: Engine | LoadError) -> None:
        if isinstance(outcome, LoadError):
            self.state, self.failure = State.FAILED, outcome
        else:
            self._engine = outcome
            if self.state is State.LOADING:
                self.state = State.READY
                self.ready_since = int(time.time())
                info = outcome.info
                adapters = ", ".join(map(str, self.settings.adapter))
                _log.info(
                    "ready: %s%s in %s on %s, context of %d tokens",
                    info.names[0],
                    f" with adapters {adapters}" if adapters else "",
                    info.dtype,
                    info.device,
                    info.context_length,
                )
        self.settled.set()

    @property
    def engine(self) -> Engine:
        """The engine, for a request that needs it now. Raises `BerthError` while there is none."""
        if self.outage is not None:
            raise BerthError(
                ErrorKind.UNAVAILABLE,
                f"The model cannot answer at present: {self.outage}.",
                retry_after=_RETRY_WHILE_LOADING,
            )
        if self.state is State.READY and self._engine is not None:
            return self._engine
        if self.state is State.LOADING:
            words = self.progress.report()["message"]
            raise BerthError(
                ErrorKind.UNAVAILABLE,
                f"The model is not ready yet: {words}.",
                retry_after=_RETRY_WHILE_LOADING,
            )
        raise BerthError(ErrorKind.UNAVAILABLE, "The server is shutting down.", retry_after=1)

    @property
    def outage(self) -> str | None:
        """Why a server that has been ready is not at present, in words; None if it is, or has not been."""
        return getattr(self._engine, "outage", None) if self.state is State.READY else None

    @property
    def limits(self) -> Limits:
        """What one request may ask for."""
        return Limits(
            max_prompt_tokens=self.settings.max_prompt_tokens,
            max_output_tokens=self.settings.max_output_tokens,
            max_beams=self.settings.max_beams,
            max_sequences=self.settings.max_sequences,
        )

    @property
    def occupancy(self) -> Occupancy:
        """How busy the engine is. Never waits."""
        return self._engine.occupancy if self._engine is not None else Occupancy()

    @property
    def stuck(self) -> bool:
        """Whether the engine has been in one step for longer than any step may take."""
        return bool(getattr(self._engine, "stuck_seconds", 0.0) > self.settings.step_seconds)

    async def drain(self, seconds: float) -> None:
        """Not ready from now on; returns when everything admitted has been answered or ended."""
        if self.state is not State.FAILED:
            self.state = State.DRAINING
        if self._engine is not None:
            await self._engine.drain(seconds)

    async def close(self) -> None:
        """End the engine. The server answers nothing more."""
        if self._engine is not None:
            await asyncio.to_thread(self._engine.close)
