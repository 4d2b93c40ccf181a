"""Looks at vLLM again and again: whether it is healthy, and how full its memory is."""

from __future__ import annotations

import asyncio
import logging

from berth_inference.engine.interface import Occupancy
from berth_inference.engine.remote.gauges import memory
from berth_inference.engine.remote.upstream import Upstream

_log = logging.getLogger(__name__)

# Seconds between two looks: as often as Kubernetes may look at us.
_EVERY = 1.0


class Watch:
    """What the last look showed. Written on the connections' event loop, read from any thread."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self.outage: str | None = None
        """Why vLLM can answer nothing at present, in words; None if it can."""
        self.memory = Occupancy()
        """Without the requests, which are counted where they are."""

    async def forever(self) -> None:
        """Look, until this is cancelled."""
        while True:
            try:
                await self._look()
            except Exception:
                _log.exception("a look at vLLM failed")
            await asyncio.sleep(_EVERY)

    async def _look(self) -> None:
        outage = await self._upstream.unhealthy()
        if outage != self.outage:
            _log.warning("%s", outage or "vLLM answers again")
        self.outage = outage
        if outage is None:
            self.memory = memory(await self._upstream.metrics())
