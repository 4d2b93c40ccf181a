"""Threads of torch that wait: spinning or asleep."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from berth_inference.engine.batch.spinning import Crowd, Manner, Spinning, ThreadTime, thread_times
from server.conftest import ServerFactory, wait_until_ready

# (seconds that threads ran, seconds that they waited for cores)
_FREE = (0.5, 0.01)
_BESIDE_A_CLIENT = (0.45, 0.07)
_CROWDED = (0.3, 0.3)


@pytest.mark.parametrize(
    ("observed", "spinning"),
    [
        pytest.param([], True, id="at the start threads spin"),
        pytest.param([_FREE] * 10, True, id="on free cores they go on to"),
        pytest.param([_FREE, _CROWDED], False, id="one crowded moment lets them sleep"),
        pytest.param([_BESIDE_A_CLIENT] * 10, True, id="a client on the same machine is no crowd"),
        pytest.param([_CROWDED, _FREE], False, id="one free moment does not wake them"),
        pytest.param([_CROWDED, _FREE, _FREE], True, id="a second of free cores does"),
        pytest.param([_CROWDED, *[_BESIDE_A_CLIENT] * 10], False, id="cores that are half free do not"),
        pytest.param([_CROWDED, _FREE, _CROWDED, _FREE], False, id="free moments have to follow each other"),
        pytest.param(
            [_CROWDED, _FREE, _FREE, _CROWDED, _FREE, _FREE], False, id="the second time takes longer"
        ),
        pytest.param(
            [_CROWDED, _FREE, _FREE, _CROWDED, *[_FREE] * 4], True, id="the second time takes two seconds"
        ),
        pytest.param([*[_CROWDED, *[_FREE] * 70] * 20], True, id="it never takes longer than half a minute"),
        pytest.param(
            [*[_CROWDED, _FREE, _FREE] * 2, *[_FREE] * 80, _CROWDED, _FREE, _FREE],
            True,
            id="half a minute of spinning forgives all",
        ),
    ],
)
def test_threads_spin_while_cores_are_free(observed: list[tuple[float, float]], spinning: bool) -> None:
    manner = Manner()
    for ran, waited in observed:
        manner.observe(ran, waited)
    assert manner.spinning is spinning


def test_the_kernel_tells_how_long_threads_ran_and_waited(tmp_path: Path) -> None:
    for thread, line in {"7": "1500 250 3\n", "8": "0 0 0\n"}.items():
        (tmp_path / thread).mkdir()
        (tmp_path / thread / "schedstat").write_text(line)
    (tmp_path / "9").mkdir()  # has just ended
    assert thread_times(tmp_path) == {"7": ThreadTime(1500, 250), "8": ThreadTime(0, 0)}


def test_a_kernel_that_tells_nothing_is_no_error(tmp_path: Path) -> None:
    assert thread_times(tmp_path / "none") == {}


class _Threads:
    """A process of one thread whose times are told, a clock, and a crowd that only writes down what is asked of it."""

    def __init__(self, tasks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._task = tasks / "7"
        self._task.mkdir()
        self._now, self._ran, self._waited = 0.0, 0, 0
        self.asked: list[str] = []
        monkeypatch.setattr(Crowd, "of_libgomp", lambda: self)
        self.pass_time(0, 0, 0)
        self.spinning = Spinning(tasks=tasks, clock=lambda: self._now)

    def pass_time(self, seconds: float, ran: float, waited: float) -> None:
        """Let some go by."""
        self._now += seconds
        self._ran += int(ran * 1e9)
        self._waited += int(waited * 1e9)
        (self._task / "schedstat").write_text(f"{self._ran} {self._waited} 1\n")

    def look(self) -> list[str]:
        """What this look asks of the crowd."""
        self.asked.clear()
        self.spinning.look()
        return self.asked

    def gather(self) -> None:
        """Stands for the crowd's."""
        self.asked.append("gather")

    def dismiss(self) -> None:
        """Stands for the crowd's."""
        self.asked.append("dismiss")


def test_a_crowd_is_gathered_when_threads_wait_for_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = _Threads(tmp_path, monkeypatch)
    threads.pass_time(0.3, 0.3, 0.0)
    assert threads.look() == ["dismiss"]
    threads.pass_time(0.3, 0.1, 0.2)
    assert threads.look() == ["gather"]


def test_a_change_is_logged_once_with_its_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    threads = _Threads(tmp_path, monkeypatch)
    for ran, waited in (_FREE, _CROWDED, _CROWDED, (2.0, 0.0), _FREE):
        threads.pass_time(0.3, ran, waited)
        threads.look()
    assert caplog.messages == [
        "threads sleep between operators: 50 % of their time they waited for a core",
        "threads spin between operators: 0 % of their time they waited for a core",
    ]


def test_looks_come_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = _Threads(tmp_path, monkeypatch)
    threads.pass_time(0.1, 0.0, 0.1)
    assert threads.look() == []
    threads.pass_time(0.2, 0.0, 0.2)
    assert threads.look() == ["gather"]


def test_what_little_an_idle_server_does_is_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = _Threads(tmp_path, monkeypatch)
    threads.pass_time(3, 0.1, 0.2)
    assert threads.look() == []
    threads.pass_time(0.3, 0.5, 0.0)
    assert threads.look() == ["dismiss"]
    threads.pass_time(60, 20, 20)  # one forward of a large model
    assert threads.look() == ["gather"]


def test_threads_sleep_where_the_system_does_not_say_how_long_they_waited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = _Threads(tmp_path, monkeypatch)
    threads.asked.clear()
    Spinning(tasks=tmp_path / "none")
    assert threads.asked == ["gather"]


# libgomp reads its environment once, when torch is imported: hence a process of its own. A thread that spins as
# long as this one may, uses the processor for as long as one looks.
_WATCH = """
import time
import torch
from berth_inference.engine.batch.spinning import Crowd, _TASKS, thread_times

torch.set_num_threads(2)
numbers = torch.zeros(1 << 20)
crowd = Crowd.of_libgomp()

def ran_while_waiting():
    numbers.add_(1)
    before = thread_times(_TASKS)
    time.sleep(0.5)
    after = thread_times(_TASKS)
    return sum(after[task].ran - before[task].ran for task in after.keys() & before.keys()) / 1e9

for change in (crowd.dismiss, crowd.gather, crowd.dismiss, crowd.gather):
    change()
    time.sleep(0.3)  # libgomp forgets a team once the thread that called for it is wholly gone
    print(ran_while_waiting())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="torch brings libgomp on Linux only")
def test_no_thread_of_torch_spins_while_there_is_a_crowd() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WATCH],
        env={**os.environ, "OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000000000"},
        capture_output=True,
        text=True,
        check=True,
    )
    alone, crowded, alone_again, crowded_again = map(float, done.stdout.split())
    assert min(alone, alone_again) > 0.05
    assert max(crowded, crowded_again) < 0.05


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="torch brings libgomp on Linux only")
@pytest.mark.skipif(
    os.cpu_count() == 1, reason="on one processor torch has one thread, which waits for no other"
)
def test_a_server_whose_neighbours_want_the_cores_lets_its_threads_sleep_and_answers_the_same(
    start_server: ServerFactory, patient_folder: Path
) -> None:
    # Long answers: whoever wants a core for moments only is given it at once.
    arguments = {"do_sample": False, "min_new_tokens": 100, "max_new_tokens": 100}
    question = {"prompt": "Hello", "generate_kwargs": arguments}
    cpu = ("--dtype", "float32", "--device", "cpu")
    server = start_server("--model", str(patient_folder), *cpu, OMP_NUM_THREADS="2")
    with httpx2.Client(base_url=server.url, timeout=60) as http:
        wait_until_ready(http)
        before = http.post("/chat", json=question).raise_for_status().json()
        with neighbours(os.cpu_count() or 1):
            deadline = time.monotonic() + 60
            while "threads sleep between operators" not in server.log:
                assert time.monotonic() < deadline, server.log
                http.post("/chat", json=question).raise_for_status()
            assert http.post("/chat", json=question).json() == before


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Processes that want a core all the time."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()
