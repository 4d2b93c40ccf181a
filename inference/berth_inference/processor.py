"""How torch should use the processor: set before it is imported, or right after."""

from __future__ import annotations

import math
import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
# Some 0.6 ms: longer than from one operator to the next. Between two steps the threads sleep: it is then that
# what the step has brought is sent.
_TURNS = "10000"


def share_the_cores() -> None:
    """Say how threads wait, and let texts be tokenised where they are; before importing torch.

    torch's worker threads spin for a moment before they sleep, longer than it takes from one operator to the next;
    and not at all where libgomp counts more threads than processors, of which `engine.batch.spinning` makes use.
    A tokenizer hands even a single text to a pool of threads: on 2 cores 1000 tokens took 4.5 ms through the pool
    and 1.4 ms without it. What the environment already says of any wins.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["OMP_WAIT_POLICY"] = "passive"
        os.environ["GOMP_SPINCOUNT"] = _TURNS
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


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
