"""How torch's threads wait between two operators: they spin while cores are free, and sleep while others want them.

To wake a thread takes as long as a small operator does, more in a virtual machine, so that two threads that
sleep are hardly faster than one. Threads that spin take the cores from whoever needs them, be it the thread
that they wait for. Which is better depends on the neighbours, and these come and go.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from berth_inference.kernels import libgomp
from berth_inference.processor import MOST_IDLE_THREADS, idle_threads

_log = logging.getLogger(__name__)

_TASKS = Path("/proc/self/task")
# Seconds between two looks, each of which reads a small file for every thread: 0.2 ms for 25.
_LOOK_SECONDS = 0.25
# Of one core, that the threads ran or waited. The thread that owns the model does either all the time while there is
# something to do; of an idle server, a few moments in which a health check was late would say that it is crowded.
_BUSY = 0.5
# Share of the time in which threads could have run that they had no core. Measured on 2 cores: up to 0.04 with
# nobody else; beside one process that wants a core all the time, 0.4 to 0.5 spinning and 0.3 asleep.
_CROWDED = 0.2
_FREE = 0.1
# Seconds of free cores before threads spin again, doubled each time that they then were crowded again.
_SHORTEST_PATIENCE = 1.0
_LONGEST_PATIENCE = 32.0


@dataclass(frozen=True, slots=True)
class ThreadTime:
    """Nanoseconds that a thread has run, and those in which it was ready to and had no core."""

    ran: int
    waited: int


@dataclass(slots=True)
class Manner:
    """Whether threads spin, by how long they have waited for cores lately. Knows no clock."""

    spinning: bool = True
    _patience: float = _SHORTEST_PATIENCE
    _free_seconds: float = 0.0

    def observe(self, ran: float, waited: float) -> None:
        """Seconds of all threads together, since the last time."""
        seconds = ran + waited
        free = waited < (_CROWDED if self.spinning else _FREE) * seconds
        self._free_seconds = self._free_seconds + seconds if free else 0.0
        if self.spinning and not free:
            self.spinning = False
        elif self.spinning and self._free_seconds >= _LONGEST_PATIENCE:
            self._patience = _SHORTEST_PATIENCE
        elif not self.spinning and self._free_seconds >= self._patience:
            self.spinning, self._free_seconds = True, 0.0
            self._patience = min(2 * self._patience, _LONGEST_PATIENCE)


class Spinning:
    """Looks now and then whether others want the cores, and lets this process's threads wait accordingly.

    Does nothing where torch runs in one thread, or in threads that are not libgomp's. They sleep where the system
    does not say how long threads have waited.
    """

    def __init__(self, *, tasks: Path = _TASKS, clock: Callable[[], float] = time.monotonic) -> None:
        self._manner = Manner()
        self._tasks = tasks
        self._clock = clock
        self._looked, self._times = clock(), thread_times(tasks)
        self._crowd = Crowd.of_libgomp()
        if self._crowd is not None and not self._times:
            self._crowd.gather()

    def follow(self, model: Any) -> None:
        """Look before the model's forwards, which take turns."""
        if self._crowd is not None:
            model.register_forward_pre_hook(lambda *_: self.look())

    def look(self) -> None:
        """To be called now and then, by one thread at a time, while there is something to do."""
        now = self._clock()
        seconds = now - self._looked
        if self._crowd is None or not self._times or seconds < _LOOK_SECONDS:
            return
        earlier, times = self._times, thread_times(self._tasks)
        self._looked, self._times = now, times
        common = times.keys() & earlier.keys()
        ran = sum(times[task].ran - earlier[task].ran for task in common) / 1e9
        waited = sum(times[task].waited - earlier[task].waited for task in common) / 1e9
        if ran + waited < _BUSY * seconds:
            return
        before = self._manner.spinning
        self._manner.observe(ran, waited)
        if self._manner.spinning is not before:
            _log.info(
                "threads %s between operators: %.0f %% of their time they waited for a core",
                "spin" if self._manner.spinning else "sleep",
                100 * waited / (ran + waited),
            )
        if self._manner.spinning:
            self._crowd.dismiss()
        else:
            self._crowd.gather()


def thread_times(tasks: Path) -> dict[str, ThreadTime]:
    """By thread of this process; empty where the system does not tell."""
    times = {}
    try:
        for task in tasks.iterdir():
            try:
                ran, waited, _slices = (task / "schedstat").read_text().split()
            except FileNotFoundError:
                continue  # the thread has ended, or the system tells nothing of any
            times[task.name] = ThreadTime(int(ran), int(waited))
    except (OSError, ValueError):
        return {}
    return times


class Crowd:
    """Idle threads that make libgomp count more threads than processors: none of its threads spins then.

    It looks at that count whenever a thread begins to wait, and it is the only thing that it lets be changed
    while it runs. Threads of a team stay until the thread ends that has called for them.
    """

    def __init__(self, runtime: ctypes.CDLL, size: int) -> None:
        self._runtime, self._size = runtime, size
        self._caller: threading.Thread | None = None
        self._there, self._dismissed = threading.Event(), threading.Event()

    @classmethod
    def of_libgomp(cls) -> Crowd | None:
        """As many threads as it takes. None without libgomp, for one thread of torch, or where it takes too many."""
        threads = torch.get_num_threads()
        runtime = libgomp.loaded()
        if runtime is None or threads == 1:
            return None
        size = idle_threads(runtime.omp_get_num_procs(), threads)
        return None if size > MOST_IDLE_THREADS else cls(runtime, size)

    def gather(self) -> None:
        """Be there on return, if not already."""
        if self._caller is None:
            self._there.clear()
            self._dismissed.clear()
            self._caller = threading.Thread(target=self._stay, name="crowd", daemon=True)
            self._caller.start()
            self._there.wait()

    def dismiss(self) -> None:
        """Be gone within a moment of the return."""
        if self._caller is not None:
            self._dismissed.set()
            self._caller.join()
            self._caller = None

    def _stay(self) -> None:
        # Any function that ignores its argument serves as what the team has to do.
        try:
            nothing = ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p)
            self._runtime.GOMP_parallel(nothing, None, self._size, 0)
        finally:  # a forward waits for it
            self._there.set()
        self._dismissed.wait()
