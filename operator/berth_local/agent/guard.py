"""A process that outlives `berth local` by a moment: when it dies without a word, what it started is ended.

It reads lines on its standard input: `+PGID` and `-PGID` for process groups that started and ended, `=FOLDER` for
a temporary folder. At the end of input it kills the groups that are left and removes the folder. An orderly stop
leaves it no groups; after a SIGKILL the kernel closes the pipe, on every system.
"""

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Iterable


def guard(lines: Iterable[str]) -> None:
    """Follow the lines to their end, then clean up."""
    groups: set[int] = set()
    folder = ""
    for line in lines:
        sign, text = line[:1], line[1:].strip()
        if sign == "+":
            groups.add(int(text))
        elif sign == "-":
            groups.discard(int(text))
        elif sign == "=":
            folder = text
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    guard(sys.stdin)
