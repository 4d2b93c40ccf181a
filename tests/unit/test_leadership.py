"""Who writes of several operators: decided by a lease, on a clock and a cluster that the test plays."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from berth_operator.kube import Conflict, KubeError, Object
from berth_operator.leadership import (
    DURATION_SECONDS,
    RENEW_WITHIN_SECONDS,
    Leadership,
    LeadershipLost,
    Sighting,
    claim,
    sighted,
    step,
)
from berth_operator.settings import SettingsError, settings_from


def lease(holder: str | None, version: str = "7", **spec: Any) -> Object:
    return {
        "metadata": {"resourceVersion": version},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": DURATION_SECONDS, **spec},
    }


@pytest.mark.parametrize(
    ("seen_lease", "seen", "now", "expected"),
    [
        pytest.param(None, None, 0, "create", id="there is none"),
        pytest.param(lease("me"), None, 0, "renew", id="it is ours"),
        pytest.param(lease(""), None, 0, "take", id="it was given back"),
        pytest.param(lease(None), None, 0, "take", id="it has no holder"),
        pytest.param(lease("other"), None, 0, "wait", id="it is another's, seen for the first time"),
        pytest.param(lease("other"), Sighting("7", 0), 15, "wait", id="unchanged for just its duration"),
        pytest.param(lease("other"), Sighting("7", 0), 15.1, "take", id="unchanged for longer"),
        pytest.param(lease("other"), Sighting("6", 0), 99, "wait", id="renewed since it was seen"),
        pytest.param(
            lease("other", leaseDurationSeconds=60),
            Sighting("7", 0),
            59,
            "wait",
            id="it says how long it holds",
        ),
        pytest.param(
            lease("other", renewTime="1970-01-01T00:00:00Z"),
            None,
            0,
            "wait",
            id="the holder's clock is wrong, and is not asked",
        ),
        pytest.param({"metadata": {"resourceVersion": "7"}}, None, 0, "take", id="it says nothing at all"),
    ],
)
def test_what_to_do_follows_from_the_lease_and_how_long_it_stayed_the_same(
    seen_lease: Object | None, seen: Sighting | None, now: float, expected: str
) -> None:
    assert step(seen_lease, "me", seen, now) == expected


def test_a_version_keeps_the_moment_it_was_first_seen() -> None:
    first = sighted(lease("other", "7"), None, 1.0)
    assert sighted(lease("other", "7"), first, 5.0) == Sighting("7", 1.0)
    assert sighted(lease("other", "8"), first, 5.0) == Sighting("8", 5.0)
    assert sighted(None, first, 5.0) is None


@pytest.mark.parametrize(
    ("before", "renew", "transitions"),
    [
        pytest.param(None, False, 0, id="the first holder"),
        pytest.param(lease("other", leaseTransitions=3), False, 4, id="a new holder is a transition"),
        pytest.param(lease("me", leaseTransitions=3), True, None, id="renewing is none"),
    ],
)
def test_a_claim_counts_changes_of_holder(
    before: Object | None, renew: bool, transitions: int | None
) -> None:
    spec = claim(before, "me", "now", renew=renew)
    assert spec.get("leaseTransitions") == transitions
    assert spec["holderIdentity"] == "me"
    assert ("acquireTime" in spec) is not renew


class Cluster:
    """One lease, with the API server's check of versions; `fail` fails every request; the
    next `unseen` looks find nothing."""

    def __init__(self) -> None:
        self.lease: Object | None = None
        self.version = 0
        self.fail: KubeError | None = None
        self.time = 0.0
        self.unseen = 0

    async def get(self, *_: Any) -> Object | None:
        if self.fail:
            raise self.fail
        self.unseen -= 1
        return self.lease if self.unseen < 0 else None

    async def create(self, _: Any, body: Object) -> Object:
        if self.lease is not None:
            raise Conflict(409, "AlreadyExists", "exists")
        return self._store(body["spec"])

    async def merge(self, _resource: Any, _namespace: str, _name: str, body: Object) -> Object:
        if self.fail:
            raise self.fail
        assert self.lease is not None
        if body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise Conflict(409, "Conflict", "changed")
        return self._store({**self.lease["spec"], **body["spec"]})

    def _store(self, spec: Object) -> Object:
        self.version += 1
        self.lease = {"metadata": {"resourceVersion": str(self.version)}, "spec": spec}
        return self.lease

    def member(self, identity: str) -> Leadership:
        return Leadership(self, ("ns", "berth"), identity, lambda: "now", lambda: self.time)  # type: ignore[arg-type]


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A cluster whose time passes only while somebody sleeps."""
    cluster, real = Cluster(), asyncio.sleep

    async def sleep(seconds: float) -> None:
        cluster.time += seconds
        await real(0)

    monkeypatch.setattr("berth_operator.leadership.asyncio.sleep", sleep)
    return cluster


async def test_the_first_to_come_leads_and_gives_the_lease_back_at_its_end(played: Cluster) -> None:
    first, second = played.member("first"), played.member("second")
    await first.acquire()
    assert first.leads
    await first.release()
    before = played.time
    await second.acquire()
    assert played.time == before, "a lease that was given back need not be waited for"
    assert played.lease is not None
    assert played.lease["spec"]["leaseTransitions"] == 1


async def test_a_standby_takes_over_when_the_holder_is_gone_and_not_before(played: Cluster) -> None:
    first, second = played.member("first"), played.member("second")
    await first.acquire()
    await second.acquire()
    assert DURATION_SECONDS < played.time <= DURATION_SECONDS + 2


async def test_a_holder_that_cannot_renew_stops_before_another_may_start(played: Cluster) -> None:
    member = played.member("me")
    await member.acquire()
    played.fail = KubeError(0, "Unreachable", "no answer")
    began = played.time
    with pytest.raises(LeadershipLost, match="not renewed"):
        await member.keep()
    assert RENEW_WITHIN_SECONDS <= played.time - began < DURATION_SECONDS
    assert not member.leads


async def test_a_holder_whose_lease_was_taken_stops(played: Cluster) -> None:
    member = played.member("me")
    await member.acquire()
    played._store({"holderIdentity": "other"})
    with pytest.raises(LeadershipLost, match="somebody else"):
        await member.keep()


async def test_what_another_holds_is_not_given_back(played: Cluster) -> None:
    member = played.member("me")
    await member.release()
    assert played.lease is None


async def test_of_two_that_create_the_lease_at_once_one_is_refused_and_stands_by(played: Cluster) -> None:
    first, second = played.member("first"), played.member("second")
    await first.acquire()
    # The second one looked just before the first one wrote.
    played.unseen = 1
    await second.acquire()
    assert played.time > DURATION_SECONDS


@pytest.mark.parametrize("value", ["berth", "a/b/c", "/berth", "ns/"])
def test_a_lease_is_named_by_namespace_and_name(value: str) -> None:
    with pytest.raises(SettingsError, match="BERTH_LEADER_ELECTION must be NAMESPACE/NAME"):
        settings_from({"BERTH_LEADER_ELECTION": value})


def test_an_operator_is_alone_unless_told_otherwise() -> None:
    assert settings_from({}).leader_election is None
    assert settings_from({"BERTH_LEADER_ELECTION": "ns/berth"}).leader_election == ("ns", "berth")
