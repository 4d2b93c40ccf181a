"""kopf's watches, kept for as long as the operator runs: what ends them is a reason to start them over."""

import asyncio
import logging
from typing import Any

import kopf

from berth_operator.controller import Controller
from berth_operator.handlers import watch_registry, watch_settings
from berth_operator.settings import Settings
from berth_operator.stopping import unless_stopped

log = logging.getLogger(__name__)

RETRY_SECONDS = 3.0

ENDING_SECONDS = 1.0
"""What has been cancelled ends within milliseconds, unless the cancellation was lost."""


async def keep_watching(controller: Controller, settings: Settings) -> None:
    """Keep the watches until told to stop.

    An error that the API server sends on one of them, other than that its moment is too far back, ends kopf as a
    whole; what the controller holds, and its workers, go on.
    """
    while True:
        ending = asyncio.Event()
        registry = watch_registry(controller)

        async def tell(ending: asyncio.Event = ending, **_: Any) -> None:
            ending.set()

        kopf.on.cleanup(id="ending", registry=registry)(tell)
        insisting = asyncio.create_task(_insist(ending), name="end of watches")
        try:
            await kopf.operator(
                registry=registry,
                settings=watch_settings(),
                standalone=True,
                clusterwide=not settings.watch_namespaces,
                namespaces=settings.watch_namespaces,
            )
            return
        except Exception as error:  # whatever it is, kopf has logged where it comes from
            log.error("the watches have ended, again in %.0f s: %s", RETRY_SECONDS, error)
        finally:
            insisting.cancel()
        if not await unless_stopped(asyncio.sleep(RETRY_SECONDS)):
            return


async def _insist(ending: asyncio.Event) -> None:
    """Cancel again what has been cancelled and goes on, once kopf is ending.

    kopf cancels its watches once and waits for them without limit. One whose connection kopf has closed before
    takes the cancellation for that of its connection, and then waits for credentials that nobody fetches any more.
    """
    await ending.wait()
    while True:
        await asyncio.sleep(ENDING_SECONDS)
        for task in asyncio.all_tasks():
            if task.cancelling():
                task.cancel()
