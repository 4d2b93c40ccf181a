"""kopf's watches, kept for as long as the operator runs: what ends them is a reason to start them over.

kopf runs in a thread with an event loop of its own. At its end it cancels every task that it finds in its loop,
whoever made it, and waits without limit for its own: a watch whose connection it closed first takes the cancellation
for that of its connection and goes on for ever. In a thread, neither is anyone else's trouble.
"""

import asyncio
import contextlib
import logging
import threading
from typing import Any

import kopf

from berth_operator.controller import Controller
from berth_operator.handlers import watch_registry, watch_settings
from berth_operator.kube import Object, Resource
from berth_operator.settings import Settings

log = logging.getLogger(__name__)

RETRY_SECONDS = 3.0

KOPF_LOGGERS = tuple(f"kopf._core.reactor.{part}" for part in ("observation", "orchestration", "running"))
"""Where kopf tells of a watch that fails: each of them with a traceback, and then that all have."""

ENDING_SECONDS = 1.0
"""Watches that are told to stop end within milliseconds, unless they never do."""


async def keep_watching(controller: Controller, settings: Settings) -> None:
    """Keep the watches until cancelled.

    An error that the API server sends on one of them, other than that its moment is too far back, ends kopf as a
    whole; what the controller holds, and its workers, go on. When a kind may be read again that might not, they are
    started over with it.
    """
    for name in KOPF_LOGGERS:
        logging.getLogger(name).addFilter(_shortened)
    while True:
        controller.readable_again.clear()
        watches = _Watches(controller, settings)
        waiting = [
            asyncio.ensure_future(event.wait()) for event in (watches.ending, controller.readable_again)
        ]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waiting:
                one.cancel()
            await watches.stop()
        if not controller.readable_again.is_set():
            log.error("the watches have ended, again in %.0f s", RETRY_SECONDS)
            await asyncio.sleep(RETRY_SECONDS)


def _shortened(record: logging.LogRecord) -> bool:
    """Leave out the way through kopf's own code: the message holds the error, and a failure is one line."""
    record.exc_info = None
    # kopf says at each start that no signal reaches a thread, which is as it should be.
    return "not in the main thread" not in record.getMessage()


class _Watches:
    """One run of kopf. `ending` is set once it is about to end, whether or not it then manages to."""

    def __init__(self, controller: Controller, settings: Settings) -> None:
        self.ending = asyncio.Event()
        self._controller = controller
        self._settings = settings
        self._home = asyncio.get_running_loop()
        self._loop = asyncio.new_event_loop()
        self._kopf: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name="watches", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Tell kopf to end, and leave it behind if it does not."""
        with contextlib.suppress(RuntimeError):  # it has ended, and its loop is closed
            self._loop.call_soon_threadsafe(lambda: self._kopf and self._kopf.cancel())
        await asyncio.to_thread(self._thread.join, ENDING_SECONDS)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._watch())
        except asyncio.CancelledError:
            pass
        except Exception:  # kopf has logged what it is and where it comes from
            log.debug("kopf has ended", exc_info=True)
        finally:
            self._tell(self.ending.set)

    async def _watch(self) -> None:
        self._kopf = asyncio.current_task()
        registry = watch_registry(self._seen, self._controller.unreadable)

        async def ending(**_: Any) -> None:
            self._tell(self.ending.set)

        kopf.on.cleanup(id="ending", registry=registry)(ending)
        await kopf.operator(
            registry=registry,
            settings=watch_settings(),
            standalone=True,
            clusterwide=not self._settings.watch_namespaces,
            namespaces=self._settings.watch_namespaces,
        )

    def _seen(self, resource: Resource, event_type: str | None, obj: Object) -> None:
        self._tell(self._controller.seen, resource, event_type, obj)

    def _tell(self, callback: Any, *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the operator has ended meanwhile
            self._home.call_soon_threadsafe(callback, *arguments)
