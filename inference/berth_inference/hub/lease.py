"""One download of a model at a time, among all processes and machines that share a cache."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from berth_inference.progress import LoadProgress, Phase

_log = logging.getLogger(__name__)

# Filelock's own default, stated because every process that shares a cache must agree on it.
_LEASE_SECONDS = 30.0

# How often a process that waits looks again: a look is a request to whoever serves the volume.
_POLL_SECONDS = 1.0


@contextmanager
def lease(repository: Path, progress: LoadProgress) -> Iterator[None]:
    """Hold the right to download into a model's folder in the cache, which is made if need be.

    It is a file that its holder keeps touching: unlike flock(2), which many network volumes grant to everyone, that
    works wherever files can be made, and whoever died with it has lost it after half a minute. A holder that was
    merely stopped for so long does no harm when it wakes up: files are moved into place whole. Raises OSError where
    nothing can be written.
    """
    from filelock import SoftFileLease, Timeout

    repository.mkdir(parents=True, exist_ok=True)
    held = SoftFileLease(
        repository / "berth.lease", lease_duration=_LEASE_SECONDS, poll_interval=_POLL_SECONDS, mode=0o664
    )
    try:
        held.acquire(timeout=0)
    except Timeout:
        _log.info("waiting for another process that downloads into %s", repository)
        progress.enter(Phase.WAITING)
        held.acquire()
    try:
        yield
    finally:
        held.release()
