"""How torch should use the processor: set before it is imported, or right after."""

from __future__ import annotations

import math
import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
# Some 0.6 ms: longer than from one operator to the next. Between two steps the threads sleep: it is then that
# what the step has brought is sent.
_TURNS = "10000"
# Idle threads that may be needed to let the others sleep (`engine.batch.spinning`). A container may be allowed few
# processes, and libgomp ends the program where it cannot make one.
MOST_IDLE_THREADS = 128


def share_the_cores() -> None:
    """Say how threads wait, and let texts be tokenised where they are; before importing torch.

    torch's worker threads spin for a moment before they sleep, longer than it takes from one operator to the next;
    and not at all where libgomp counts more threads than processors, of which `engine.batch.spinning` makes use.
    With few threads on a large machine it would take too many of those: they never spin there.
    A tokenizer hands even a single text to a pool of threads: on 2 cores 1000 tokens took 4.5 ms through the pool
    and 1.4 ms without it. What the environment already says of any wins.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["OMP_WAIT_POLICY"] = "passive"
        if idle_threads(allowed_processors(), threads_within_quota()) <= MOST_IDLE_THREADS:
            os.environ["GOMP_SPINCOUNT"] = _TURNS
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def allowed_processors() -> int:
    """Those that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def idle_threads(processors: int, threads: int | None) -> int:
    """How many idle threads libgomp needs beside torch's `threads` to count more of them than processors.

    None for what torch takes without a limit: a thread for each core, which are half of the processors at least.
    """
    return max(2, processors - (threads or processors // 2) + 2)


def threads_within_quota(quota_file: Path = _QUOTA) -> int | None:
    """Threads that the container's CPU limit can run at once; None where no limit is set.

    torch counts the machine's cores, and more threads than the limit are throttled all together.
    """
    try:
        quota, period = quota_file.read_text().split()
    except (OSError, ValueError):
        return None
    if quota == "max":
        return None
    return max(1, math.ceil(int(quota) / int(period)))
