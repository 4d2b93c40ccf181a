"""Being told to stop while nobody else listens: the first process of a container ignores what it does not handle."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


async def unless_stopped(waiting: Coroutine[Any, Any, Any]) -> bool:
    """Wait for something, or for SIGTERM or SIGINT; return whether it came. kopf takes the signals over later."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(waiting)
    for number in SIGNALS:
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return False
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
    return True
