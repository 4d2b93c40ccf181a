"""Which of several operators writes: a Lease that one holds and renews, and the others watch for its end.

The rules are those of Kubernetes' own components: the holder renews well within the lease's duration and stops
working when it could not; a standby takes a lease over only after having seen it unchanged for its whole duration
by its own clock, so that clocks that differ do no harm. Every write names the version it was decided on, so that of
two that take it at once one is refused.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from berth_operator.kube import Conflict, KubeClient, KubeError, Object, Resource

log = logging.getLogger(__name__)

LEASES: Final = Resource("coordination.k8s.io/v1", "leases")

DURATION_SECONDS: Final = 15
"""How long a lease holds unrenewed, and so how long nobody writes after the holder was lost. Kubernetes' own
components have the same."""

RENEW_WITHIN_SECONDS: Final = 10.0
"""A holder that could not renew for this long stops, 5 s before anyone else may start."""

RETRY_SECONDS: Final = 2.0
"""Between two looks at the lease: five tries before the holder gives up."""


class LeadershipLost(Exception):
    """The lease could not be renewed in time, or is somebody else's: this process must not write any more."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A lease as it was seen: `version` is its resourceVersion, `since` when that was first seen (monotonic)."""

    version: str
    since: float


Step = Literal["create", "take", "renew", "wait"]


def step(lease: Object | None, identity: str, seen: Sighting | None, now: float) -> Step:
    """What to do about the lease. Pure: `now` and the sighting are of one monotonic clock, in seconds.

    A lease that nobody holds is free at once; its holder gave it back.
    """
    if lease is None:
        return "create"
    spec = lease.get("spec") or {}
    holder = spec.get("holderIdentity") or ""
    if holder == identity:
        return "renew"
    if not holder:
        return "take"
    duration = float(spec.get("leaseDurationSeconds") or DURATION_SECONDS)
    unchanged = seen is not None and seen.version == lease["metadata"]["resourceVersion"]
    return "take" if unchanged and seen is not None and now - seen.since > duration else "wait"


def sighted(lease: Object | None, seen: Sighting | None, now: float) -> Sighting | None:
    """Remember when this version of the lease was first seen."""
    if lease is None:
        return None
    version = str(lease["metadata"]["resourceVersion"])
    return seen if seen is not None and seen.version == version else Sighting(version, now)


def claim(lease: Object | None, identity: str, now: str, *, renew: bool) -> dict[str, Any]:
    """The `spec` that makes the lease ours at a moment (RFC 3339 with microseconds)."""
    spec: dict[str, Any] = {
        "holderIdentity": identity,
        "leaseDurationSeconds": DURATION_SECONDS,
        "renewTime": now,
    }
    if not renew:
        transitions = ((lease or {}).get("spec") or {}).get("leaseTransitions") or 0
        spec |= {"acquireTime": now, "leaseTransitions": transitions + (lease is not None)}
    return spec


class Leadership:
    """One operator's part in the lease `namespace/name`."""

    def __init__(
        self,
        client: KubeClient,
        lease: tuple[str, str],
        identity: str,
        now: Callable[[], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._namespace, self._name = lease
        self._identity = identity
        self._now = now
        self._clock = clock
        self._seen: Sighting | None = None
        self._renewed = 0.0
        self._lease: Object | None = None
        self.leads = False

    async def acquire(self) -> None:
        """Stand by until the lease is ours."""
        log.info("standing by for lease %s/%s as %s", self._namespace, self._name, self._identity)
        while not self.leads:
            try:
                if not await self._look():
                    await asyncio.sleep(RETRY_SECONDS)
            except KubeError as error:
                # A refused race is no fault; anything else is worth a line.
                level = logging.INFO if isinstance(error, Conflict) else logging.WARNING
                log.log(level, "lease %s/%s: %s", self._namespace, self._name, error)
                await asyncio.sleep(RETRY_SECONDS)
        log.info("leading: lease %s/%s is ours", self._namespace, self._name)

    async def keep(self) -> None:
        """Renew for ever; raise `LeadershipLost` when that fails for too long."""
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            try:
                async with asyncio.timeout(RENEW_WITHIN_SECONDS):
                    if not await self._look():
                        raise self._lost("somebody else holds it")
            except (KubeError, TimeoutError) as error:
                log.warning("lease %s/%s not renewed: %s", self._namespace, self._name, error or "no answer")
            if self._clock() - self._renewed > RENEW_WITHIN_SECONDS:
                raise self._lost(f"not renewed for {RENEW_WITHIN_SECONDS:.0f} s")

    async def release(self) -> None:
        """Give the lease back, so that a standby need not wait for its end."""
        if not self.leads or self._lease is None:
            return
        self.leads = False
        try:
            await self._write({"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._now()})
        except KubeError as error:
            log.warning("lease %s/%s not given back: %s", self._namespace, self._name, error)

    async def _look(self) -> bool:
        """Look at the lease and do what follows; return whether it is ours now."""
        lease = await self._client.get(LEASES, self._namespace, self._name)
        began = self._clock()
        self._seen = sighted(lease, self._seen, began)
        todo = step(lease, self._identity, self._seen, began)
        if todo == "wait":
            return False
        self._lease = lease
        spec = claim(lease, self._identity, self._now(), renew=todo == "renew")
        if todo == "create":
            metadata = {"name": self._name, "namespace": self._namespace}
            body = {"apiVersion": LEASES.api_version, "kind": "Lease", "metadata": metadata, "spec": spec}
            self._lease = await self._client.create(LEASES, body)
        else:
            await self._write(spec)
        # From before the request: the lease runs from when the API server had it, at the latest.
        self._renewed, self.leads = began, True
        return True

    async def _write(self, spec: dict[str, Any]) -> None:
        version = (self._lease or {})["metadata"]["resourceVersion"]
        body = {"metadata": {"resourceVersion": version}, "spec": spec}
        self._lease = await self._client.merge(LEASES, self._namespace, self._name, body)

    def _lost(self, why: str) -> LeadershipLost:
        self.leads = False
        return LeadershipLost(f"lease {self._namespace}/{self._name} is lost: {why}")
