"""Berth's server, which on SIGUSR1 writes the names of its unfinished asyncio tasks to a file.

`python -m benchmarks.soak.watched_server FILE serve ...`
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from berth_inference.__main__ import main


def _report(*_: object) -> None:
    # The handler runs on the event loop's thread, between two of its callbacks.
    names = sorted(getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks())
    unfinished = _FILE.with_suffix(".new")
    unfinished.write_text("\n".join(names))
    unfinished.rename(_FILE)


if __name__ == "__main__":
    _FILE = Path(sys.argv.pop(1))
    signal.signal(signal.SIGUSR1, _report)
    code = main()
    sys.stderr.flush()
    os._exit(code)  # as the server's own entry does, for its reasons
