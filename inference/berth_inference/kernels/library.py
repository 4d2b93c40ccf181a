"""What is compiled from the C beside this file, called in the threads that torch's operators run in."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

import torch

from berth_inference.kernels import libgomp

_FOLDER = Path(__file__).parent
# By what torch calls the instructions of this processor, so that torch's own switch holds here, too.
_FILES = {"AVX2": "libberth-avx2.so", "AVX512": "libberth-avx512.so"}

# `struct team` in team.h: the first fields of every job.
TEAM_FIELDS = [(name, ctypes.c_void_p) for name in ("thread", "threads", "barrier")]


class Unavailable(Exception):
    """Why this process cannot use it."""


class Library:
    """The functions of `library`, run by teams of `runtime`."""

    def __init__(self, library: ctypes.CDLL, runtime: ctypes.CDLL) -> None:
        self._library = library
        members = (runtime.omp_get_thread_num, runtime.omp_get_num_threads, runtime.GOMP_barrier)
        # What TEAM_FIELDS hold.
        self.team = tuple(ctypes.cast(member, ctypes.c_void_p).value for member in members)
        self._in_parallel = runtime.GOMP_parallel
        self._in_parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        self._in_parallel.restype = None

    def function(self, name: str) -> ctypes.c_void_p:
        """One that takes a pointer to its job, and that every thread of a team calls."""
        return ctypes.cast(getattr(self._library, name), ctypes.c_void_p)

    def run(self, function: ctypes.c_void_p, job: ctypes.Structure, alone: bool = False) -> None:
        """Returns when the whole team has, which is this thread if `alone`, else as many as torch's."""
        self._in_parallel(function, ctypes.addressof(job), 1 if alone else torch.get_num_threads(), 0)


@functools.cache
def load() -> Library:
    """Raises Unavailable."""
    file = _FILES.get(torch.backends.cpu.get_cpu_capability())
    if file is None:
        raise Unavailable("this processor has no AVX2")
    runtime = libgomp.loaded()
    if runtime is None:
        raise Unavailable("torch's threads are not libgomp's")
    try:
        return Library(ctypes.CDLL(str(_FOLDER / file)), runtime)
    except (OSError, AttributeError) as error:
        raise Unavailable(f"{file} cannot be loaded: {error}") from error
