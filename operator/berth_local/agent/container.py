"""One container: waits for what it needs, runs, is probed, and is started again after it ended."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from berth_local.agent.actions import Target, act
from berth_local.agent.logs import LogFile, tail
from berth_local.agent.oom import oom_kills
from berth_local.agent.plan.backoff import Failures, after_failure
from berth_local.agent.plan.environment import ConfigError
from berth_local.agent.plan.images import Image, find_image, refusal
from berth_local.agent.plan.pod_status import (
    Facts,
    Running,
    State,
    Terminated,
    Waiting,
    grace_seconds,
    restarts,
)
from berth_local.agent.plan.probe import unsupported
from berth_local.agent.probing import Prober
from berth_local.agent.processes import Process, StartError
from berth_local.agent.setup import PodContext, set_up

CONFIG_RETRY_SECONDS = 10.0
"""How often a container whose spec cannot be made is tried again, besides when a Secret or ConfigMap changes."""

START_ERROR_EXIT = 128
"""The exit code that container runtimes give a program that could not be started."""

KILLED_EXIT = 137

OUTPUT_SECONDS = 2.0
"""How long after its end a program's output may stay open: what it left running elsewhere may hold it forever."""

HOOK_SECONDS = 30.0
"""What a postStart hook may take: Kubernetes gives it no limit, and a hang should show as an Event."""


class Container:
    """One container of a pod. `run` it once; `stop` ends it for good."""

    def __init__(self, context: PodContext, spec: Mapping[str, Any], *, init: bool = False) -> None:
        self._context, self._spec = context, spec
        policy = context.pod["spec"].get("restartPolicy") or "Always"
        sidecar = init and spec.get("restartPolicy") == "Always"
        # An init container that must be kept up runs on; another is done at its first success.
        self._policy = "Always" if sidecar else "OnFailure" if init and policy == "Always" else policy
        self.facts = Facts(spec["name"], spec.get("image", ""), sidecar=sidecar)
        self.started = asyncio.Event()
        self._init = init
        self._process: Process | None = None
        self._target: Target | None = None
        self._stopping = False
        self._settled = asyncio.Event()
        self._settled.set()

    async def run(self) -> None:
        """Run the container until its restart policy says that it is done, or it is stopped."""
        failures = Failures()
        while True:
            image = await self._find_image()
            line, target = await self._configure(image)
            self._settled.clear()
            try:
                end = await self._run_once(line, target)
                if self._stopping or not restarts(self._policy, end.exit_code):
                    self._set(state=end, ready=self._init and end.exit_code == 0, started=False)
                    return
            finally:
                self._settled.set()
            failures, delay = after_failure(
                failures, end.finished_at.timestamp(), self._context.host.rules.restart
            )
            self._set(state=end, last=end, ready=False, started=False)
            if delay > 0:
                await self._back_off(delay)
            self._set(restarts=self.facts.restarts + 1, last=end)

    async def stop(self, grace: float) -> None:
        """End the container: its preStop hook, SIGTERM, and SIGKILL when `grace` seconds are over."""
        self._stopping = True
        process, target = self._process, self._target
        if process is None or target is None:
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace
        self._context.event("Killing", f"Stopping container {self.facts.name}")
        hook = (self._spec.get("lifecycle") or {}).get("preStop")
        if hook and (failure := await act(hook, target, max(grace, 1.0))):
            self._context.event("FailedPreStopHook", f"PreStopHook failed: {failure}", "Warning")
        await _end(process, max(deadline - loop.time(), 0.0))
        await self._settled.wait()

    async def _find_image(self) -> Image:
        reference, rules = str(self._spec.get("image", "")), self._context.host.rules
        failures = Failures()
        while (image := find_image(reference, rules.images)) is None:
            why = refusal(reference, rules.images)
            self._context.event("Failed", f'Failed to pull image "{reference}": {why}', "Warning")
            self._context.event("Failed", "Error: ErrImagePull", "Warning")
            self._set(state=Waiting("ErrImagePull", why))
            now = asyncio.get_running_loop().time()
            failures, delay = after_failure(failures, now, rules.image_retry)
            await asyncio.sleep(delay / 2)
            if delay > 0:
                self._context.event("BackOff", f'Back-off pulling image "{reference}"')
                text = f'Back-off pulling image "{reference}": ErrImagePull: {why}'
                self._set(state=Waiting("ImagePullBackOff", text))
                await asyncio.sleep(delay / 2)
        self._context.event("Pulled", f'Container image "{reference}" already present on machine')
        return image

    async def _configure(self, image: Image) -> tuple[list[str], Target]:
        while True:
            self._context.sources_changed.clear()
            try:
                if problem := unsupported(self._spec):
                    raise ConfigError(problem)
                return set_up(self._context, self._spec, image)
            except (ConfigError, OSError, ValueError) as error:
                self._context.event("Failed", f"Error: {error}", "Warning")
                self._set(state=Waiting("CreateContainerConfigError", str(error)))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._context.sources_changed.wait(), CONFIG_RETRY_SECONDS)

    async def _run_once(self, line: list[str], target: Target) -> Terminated:
        began, killed_before = datetime.now(UTC), oom_kills()
        name, context = self.facts.name, self._context
        context.event("Created", f"Created container: {name}")
        try:
            process = await context.host.processes.start(line, target.environment, target.folder)
        except StartError as error:
            context.event("Failed", f"Error: {error}", "Warning")
            return Terminated(START_ERROR_EXIT, "StartError", began, datetime.now(UTC), str(error))
        self._process, self._target = process, target
        context.event("Started", f"Started container {name}")
        container_id = f"process://{process.pid}"
        path = context.folder / "logs" / name / f"{self.facts.restarts}.log"
        logs = LogFile(path)
        pump = asyncio.create_task(logs.pump(process.output))
        prober = Prober(self._spec, target, lambda kind: self._fail(process, kind), self._probed, self._heard)
        self._set(state=Running(began), container_id=container_id)
        probing = asyncio.create_task(self._probe(prober, target))
        if self._stopping:
            process.kill()
        try:
            code = await process.wait()
            killed_here = process.killed
        finally:
            process.kill()
            self._process = self._target = None
            probing.cancel()
            try:
                await asyncio.gather(probing, return_exceptions=True)
                await asyncio.wait({pump}, timeout=OUTPUT_SECONDS)
            finally:
                pump.cancel()
                logs.close()
        reason = "Completed" if code == 0 else "Error"
        if code == KILLED_EXIT and not killed_here and oom_kills() > killed_before:
            reason = "OOMKilled"
        said = self._spec.get("terminationMessagePolicy") == "FallbackToLogsOnError" and code != 0
        message = tail(path) if said else ""
        return Terminated(code, reason, began, datetime.now(UTC), message, container_id)

    async def _probe(self, prober: Prober, target: Target) -> None:
        hook = (self._spec.get("lifecycle") or {}).get("postStart")
        if hook and (failure := await act(hook, target, HOOK_SECONDS)):
            self._context.event("FailedPostStartHook", f"PostStartHook failed: {failure}", "Warning")
        await prober.run()

    def _probed(self, started: bool, ready: bool) -> None:
        if started:
            self.started.set()
        self._set(started=started, ready=ready)

    def _heard(self, kind: str, why: str) -> None:
        self._context.event("Unhealthy", f"{kind.capitalize()} probe failed: {why}", "Warning")

    async def _fail(self, process: Process, kind: str) -> None:
        """A startup or liveness probe failed for good: the container is ended; its policy says what follows."""
        self._context.event("Killing", f"Container {self.facts.name} failed {kind} probe, will be restarted")
        self._set(ready=False)
        await _end(process, grace_seconds(self._context.pod))

    async def _back_off(self, delay: float) -> None:
        name, meta = self.facts.name, self._context.pod["metadata"]
        what = f"restarting failed container={name} pod={meta['name']}_{meta['namespace']}({meta['uid']})"
        self._context.event("BackOff", f"Back-off {what}", "Warning")
        self._set(state=Waiting("CrashLoopBackOff", f"back-off {delay:g}s {what}"))
        await asyncio.sleep(delay)

    def _set(self, state: State | None = None, **known: Any) -> None:
        facts = replace(self.facts, state=self.facts.state if state is None else state, **known)
        if facts != self.facts:
            self.facts = facts
            self._context.changed()


async def _end(process: Process, grace: float) -> None:
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), grace)
    except TimeoutError:
        process.kill()
        await process.wait()
