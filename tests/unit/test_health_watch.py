"""What servers say of their start is asked off every reconcile's path, boundedly, and told only when it changed."""

from __future__ import annotations

from typing import Any

import pytest

from berth_operator.observe.health import AT_ONCE, EVERY_SECONDS, HealthWatch
from berth_operator.plan.progress import ServerReport, read_report, seconds_left
from unit.cluster_objects import pod, runs

KEY = ("ns", "ws")


class Servers:
    """Pods that answer as told, at a time that the test sets."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.now = 0.0
        self.woken: list[tuple[str, str]] = []
        self.watch = HealthWatch(self.woken.append, self._fetch, lambda: self.now)

    async def _fetch(self, url: str) -> Any:
        self.asked.append(url)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def after(self, seconds: float) -> None:
        self.now += seconds
        await self.watch.ask_due()


def starting(name: str = "ws-new-1", ip: str | None = "10.0.0.9") -> dict[str, Any]:
    return pod(name, containerStatuses=[runs()], **({"podIP": ip} if ip else {}))


def loading(done: int | None = None, total: int = 1000, phase: str = "downloading") -> dict[str, Any]:
    body: dict[str, Any] = {"status": "loading", "phase": phase, "message": "m"}
    return body if done is None else {**body, "bytes_done": done, "bytes_total": total}


async def test_a_change_wakes_the_workspace_and_no_change_does_not() -> None:
    servers = Servers(loading(phase="loading"))
    servers.watch.follow(KEY, [starting()])
    await servers.after(0)
    await servers.after(EVERY_SECONDS)
    assert servers.woken == [KEY]
    assert servers.asked == ["http://10.0.0.9:5000/health"] * 2
    assert servers.watch.reports(KEY) == {"uid-ws-new-1": ServerReport("loading", "m")}
    servers.answer = loading(phase="warming_up")
    await servers.after(EVERY_SECONDS)
    assert servers.woken == [KEY, KEY]


async def test_the_time_left_follows_from_what_was_downloaded_since_the_first_answer() -> None:
    servers = Servers(loading(100))
    servers.watch.follow(KEY, [starting()])
    await servers.after(0)
    assert servers.watch.reports(KEY)["uid-ws-new-1"].seconds_left is None
    servers.answer = loading(200)
    await servers.after(10)
    report = servers.watch.reports(KEY)["uid-ws-new-1"]
    assert (report.percent, report.seconds_left) == (20, 80)


@pytest.mark.parametrize(
    "failure",
    [OSError("no route"), TimeoutError(), ValueError("no JSON")],
    ids=["refused", "silent", "not ours"],
)
async def test_a_pod_that_cannot_be_reached_is_asked_less_and_less_and_says_nothing(
    failure: Exception,
) -> None:
    servers = Servers(failure)
    servers.watch.follow(KEY, [starting()])
    for _ in range(600):
        await servers.after(1)
    assert len(servers.asked) < 20
    assert servers.woken == []
    assert servers.watch.reports(KEY) == {}


async def test_one_lost_answer_takes_nothing_back() -> None:
    servers = Servers(loading(phase="loading"))
    servers.watch.follow(KEY, [starting()])
    await servers.after(0)
    servers.answer = OSError()
    await servers.after(EVERY_SECONDS)
    assert servers.watch.reports(KEY)


async def test_a_pod_that_is_no_longer_starting_is_asked_no_more() -> None:
    servers = Servers(loading())
    servers.watch.follow(KEY, [starting()])
    await servers.after(0)
    servers.watch.follow(KEY, [])
    await servers.after(100)
    assert len(servers.asked) == 1
    assert servers.watch.reports(KEY) == {}


async def test_a_pod_without_an_address_is_not_asked_and_one_of_ipv6_is() -> None:
    servers = Servers(loading())
    servers.watch.follow(KEY, [starting(ip=None), starting("b", "fd00::9")])
    await servers.after(0)
    assert servers.asked == ["http://[fd00::9]:5000/health"]


async def test_many_pods_are_asked_no_more_often_than_a_bounded_rate() -> None:
    servers = Servers(loading(phase="loading"))
    for number in range(400):
        servers.watch.follow(("ns", f"w{number}"), [starting(f"p{number}", f"10.0.1.{number}")])
    for _ in range(100):
        await servers.after(1)
    assert len(servers.asked) <= 400 + 400 * 100 / 20 + AT_ONCE


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (None, None),
        ([], None),
        ({"status": "Healthy"}, None),
        ({"status": "loading"}, None),
        ({"status": "loading", "phase": 3}, None),
        (loading(5, 10), ServerReport("downloading", "m", 5, 10)),
        (loading(5, 0), ServerReport("downloading", "m")),
        ({**loading(5, 10), "bytes_done": True}, ServerReport("downloading", "m", None, 10)),
        ({**loading(5, 10), "bytes_done": -1}, ServerReport("downloading", "m", None, 10)),
        ({"status": "loading", "phase": "p" * 900}, ServerReport("p" * 64, "")),
    ],
    ids=[
        "nothing",
        "a list",
        "ready",
        "no phase",
        "a number",
        "bytes",
        "no total",
        "a truth",
        "negative",
        "long",
    ],
)
def test_whatever_a_pod_answers_is_read_or_left_aside(body: Any, expected: ServerReport | None) -> None:
    assert read_report(body) == expected


@pytest.mark.parametrize(
    ("first", "last", "total", "left"),
    [
        ((0.0, 0), (10.0, 500), 1000, 10),
        ((0.0, 0), (10.0, 0), 1000, None),
        ((5.0, 0), (5.0, 100), 1000, None),
        ((0.0, 0), (10.0, 2000), 1000, None),
    ],
    ids=["half done", "nothing moved", "no time passed", "more than there is"],
)
def test_an_estimate_is_made_only_of_what_moved(
    first: tuple[float, int], last: tuple[float, int], total: int, left: int | None
) -> None:
    assert seconds_left(first, last, total) == left


def test_a_report_stands_in_the_status_with_the_numbers_that_are_known() -> None:
    assert ServerReport("downloading", "", 5, 10, 3).as_status() == {
        "phase": "Downloading",
        "percent": 50,
        "bytesDone": 5,
        "bytesTotal": 10,
        "secondsLeft": 3,
    }
    assert ServerReport("of tomorrow").as_status() == {"phase": "Loading"}
