"""Reads a model's weights into the page cache while the libraries that will want them are imported."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

# Large enough that a network volume is read at its full rate.
_BLOCK = 16 * 2**20


def read_ahead(folder: Path, progress: Callable[[int, int], None]) -> None:
    """Begin in a thread; `progress` is told bytes read and bytes in all.

    Errors are left to the loading that follows, which reads the same files and names what is wrong. What
    does not fit into memory is not harmed by it: the kernel drops the pages that were read first.
    """
    files = sorted(folder.glob("*.safetensors"))
    threading.Thread(target=_read, args=(files, progress), name="read-ahead", daemon=True).start()


def _read(files: Sequence[Path], progress: Callable[[int, int], None]) -> None:
    buffer = bytearray(_BLOCK)
    done = 0
    try:
        total = sum(file.stat().st_size for file in files)
        for file in files:
            with file.open("rb", buffering=0) as stream:
                while count := stream.readinto(buffer):
                    done += count
                    progress(done, total)
    except OSError:
        return
