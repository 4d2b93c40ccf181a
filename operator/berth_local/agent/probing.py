"""Probing one run of a container: startup first, then readiness and liveness side by side."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from berth_local.agent.actions import Target, act
from berth_local.agent.plan.probe import KINDS, Probe, Verdict, judge, probe_of

Failed = Callable[[str], Awaitable[None]]
Told = Callable[[bool, bool], None]
Heard = Callable[[str, str], None]


class Prober:
    """Probes a container that was just started, until cancelled or the container fails for good."""

    def __init__(
        self, spec: Mapping[str, Any], target: Target, failed: Failed, told: Told, heard: Heard
    ) -> None:
        """`told(started, ready)` hears each verdict, `heard(kind, why)` each failure, `failed(kind)` the end."""
        self._spec, self._target = spec, target
        self._failed, self._told, self._heard = failed, told, heard
        self._began = asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Probe until cancelled."""
        startup, readiness, liveness = (probe_of(self._spec, kind) for kind in KINDS)
        if startup is not None and not await self._until_settled(startup):
            return
        if readiness is None:
            self._told(True, True)
        async with asyncio.TaskGroup() as group:
            if readiness is not None:
                group.create_task(self._readiness(readiness))
            if liveness is not None:
                group.create_task(self._until_failed(liveness))

    async def _until_settled(self, probe: Probe) -> bool:
        verdict = Verdict()
        await self._initial_delay(probe)
        while verdict.passing is None:
            verdict = await self._once(probe, verdict)
            if verdict.passing is None:
                await asyncio.sleep(probe.period)
        if verdict.passing is False:
            await self._failed(probe.kind)
        return bool(verdict.passing)

    async def _readiness(self, probe: Probe) -> None:
        verdict = Verdict()
        if self._began + probe.initial_delay > asyncio.get_running_loop().time():
            self._told(True, False)
        await self._initial_delay(probe)
        # Else nothing is told before the first result: a server that is up would be called unready for a moment.
        while True:
            verdict = await self._once(probe, verdict)
            self._told(True, verdict.passing is True)
            await asyncio.sleep(probe.period)

    async def _until_failed(self, probe: Probe) -> None:
        verdict = Verdict()
        await self._initial_delay(probe)
        while verdict.passing is not False:
            verdict = await self._once(probe, verdict)
            if verdict.passing is not False:
                await asyncio.sleep(probe.period)
        await self._failed(probe.kind)

    async def _initial_delay(self, probe: Probe) -> None:
        # Counted from the start of the container, also for probes that a startup probe held back.
        await asyncio.sleep(max(self._began + probe.initial_delay - asyncio.get_running_loop().time(), 0.0))

    async def _once(self, probe: Probe, verdict: Verdict) -> Verdict:
        why = await act(probe.action, self._target, probe.timeout)
        if why is not None:
            self._heard(probe.kind, why)
        return judge(verdict, why is None, probe)
