"""Runs a program that must not outlive its parent: `launcher.py PARENT_PID PROGRAM ARGUMENT...`.

On Linux the kernel then kills the program when the parent ends, however it ends. Elsewhere the guard process does
that (`guard.py`). Started by file with `-I -S`, so that it costs a few hundredths of a second and imports nothing.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # from linux/prctl.h


def main(arguments: list[str]) -> None:
    """Become the program; exit 127 when it cannot be executed, as a shell does."""
    parent, program = int(arguments[0]), arguments[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            # The parent died before the call above could be heard of.
            os._exit(1)
    # The interpreter ignores this signal and an exec would hand that on: programs expect the default.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvp(program[0], program)  # noqa: S606 - the very purpose
    except OSError as error:
        sys.stderr.write(f"{program[0]}: {error.strerror}\n")
        os._exit(127)


if __name__ == "__main__":
    main(sys.argv[1:])
