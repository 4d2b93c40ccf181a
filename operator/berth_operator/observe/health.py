"""What servers say of their start: GET /health of pods that are starting, off the path of every reconcile.

A pod network that the operator cannot reach, or a policy that drops its packets, costs a bounded number of requests of
bounded length, fewer the longer it lasts, and nothing else.
"""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import aiohttp

from berth_operator.api.names import SERVER_PORT
from berth_operator.cluster_cache import Key, Object
from berth_operator.plan.observed import uid
from berth_operator.plan.progress import ServerReport, read_report, seconds_left

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 1.5
"""The server answers /health in milliseconds even while it loads; longer means that it cannot be reached."""

AT_ONCE = 16
"""Requests under way at one time, however many pods start."""

EVERY_SECONDS = 5.0
"""How often a pod is asked, and so how old what a user reads may be."""

PODS_A_SECOND = 20.0
"""However many pods start, no more than these are asked in a second: each answer may be a write of a status."""

SELDOM_SECONDS = 60.0
"""How often a pod is asked that never answers: something may yet let us through."""

BODY_BYTES = 16 * 2**10
"""More than any report has; a body comes from a pod, whose image may be anybody's."""

Fetch = Callable[[str], Awaitable[Any]]
"""Gets the JSON at an address; raises OSError, ValueError or TimeoutError."""


@dataclass(slots=True)
class _Target:
    key: Key
    url: str
    due: float
    every: float = EVERY_SECONDS
    report: ServerReport | None = None
    first: tuple[float, int] | None = None


class HealthWatch:
    """Asks the pods that it was told of, and keeps what they last said."""

    def __init__(
        self,
        changed: Callable[[Key], None],
        fetch: Fetch | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._changed = changed
        self._fetch = fetch
        self._clock = clock
        self._targets: dict[str, _Target] = {}
        self._of: dict[Key, set[str]] = {}

    def follow(self, key: Key, pods: Iterable[Object]) -> None:
        """Ask these pods of a Workspace from now on, and no others of it."""
        wanted = {uid(pod): url for pod in pods if (url := _url(pod)) is not None}
        for gone in self._of.get(key, set()) - wanted.keys():
            self._targets.pop(gone, None)
        for pod, url in wanted.items():
            if pod not in self._targets or self._targets[pod].url != url:
                self._targets[pod] = _Target(key, url, self._clock())
        if wanted:
            self._of[key] = set(wanted)
        else:
            self._of.pop(key, None)

    def reports(self, key: Key) -> Mapping[str, ServerReport]:
        """Return what the pods of a Workspace last said, by the uid of the pod."""
        known = ((pod, self._targets[pod].report) for pod in self._of.get(key, ()))
        return {pod: report for pod, report in known if report is not None}

    async def ask_due(self) -> None:
        """Ask every pod that is due."""
        now = self._clock()
        due = [pod for pod, target in self._targets.items() if target.due <= now]
        limit = asyncio.Semaphore(AT_ONCE)

        async def ask(pod: str) -> None:
            async with limit:
                await self._ask(pod)

        await asyncio.gather(*(ask(pod) for pod in due))

    async def _ask(self, pod: str) -> None:
        target = self._targets.get(pod)
        if target is None or self._fetch is None:
            return
        pause = max(EVERY_SECONDS, len(self._targets) / PODS_A_SECOND)
        try:
            report = read_report(await self._fetch(target.url))
        except (OSError, ValueError, TimeoutError, aiohttp.ClientError):
            report, target.every = None, min(SELDOM_SECONDS, target.every * 2)
        else:
            target.every = pause
        target.due = self._clock() + max(pause, target.every)
        if report is not None:
            report = self._with_estimate(target, report)
        # What was said last stays until something else is said: one lost answer is no news.
        if report is not None and report != target.report:
            target.report = report
            self._changed(target.key)

    def _with_estimate(self, target: _Target, report: ServerReport) -> ServerReport:
        if report.bytes_done is None or report.bytes_total is None:
            target.first = None
            return report
        now = (self._clock(), report.bytes_done)
        if target.first is None or target.first[1] > report.bytes_done:
            target.first = now
        return replace(report, seconds_left=seconds_left(target.first, now, report.bytes_total))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Ask, once a second whoever is due, while the context lasts."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        # trust_env stays False: a proxy of the operator's environment has no business with pods.
        async with aiohttp.ClientSession(timeout=timeout) as session:
            if self._fetch is None:
                self._fetch = lambda url: _get(session, url)
            task = asyncio.create_task(self._keep_asking(), name="health")
            try:
                yield
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _keep_asking(self) -> None:
        while True:
            try:
                await self.ask_due()
            except Exception:
                log.exception("an unforeseen error while asking pods how far they are")
            await asyncio.sleep(1.0)


async def _get(session: aiohttp.ClientSession, url: str) -> Any:
    async with session.get(url, allow_redirects=False) as response:
        return json.loads(await response.content.read(BODY_BYTES))


def _url(pod: Object) -> str | None:
    address = (pod.get("status") or {}).get("podIP")
    if not address:
        return None
    host = f"[{address}]" if ":" in address else address
    return f"http://{host}:{SERVER_PORT}/health"
