"""Server processes that a test starts, waits for by a URL, and that never outlive it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

# A loaded two-core machine needs 10 s for the slowest; envtest allows each process 20 s.
START_SECONDS = 60.0
# Tests throw the data away, so a process that is slow to end loses nothing when killed.
STOP_SECONDS = 5.0
POLL_SECONDS = 0.05
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


class ChildProcesses:
    """Named processes, each in a process group of its own, with its output in `<workdir>/<name>.log`.

    On Linux the kernel kills a process when the thread that started it is gone: start it from a thread that
    lives as long as it should.
    """

    def __init__(self, workdir: Path) -> None:
        self._workdir = workdir
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, program: Path, flags: Mapping[str, object]) -> None:
        """Start a program with `--flag=value` arguments; raises OSError where it cannot be executed."""
        command = [str(program), *(f"--{flag}={value}" for flag, value in flags.items())]
        with self.log(name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                command,
                cwd=self._workdir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent(),
            )

    def wait_for(
        self, name: str, request: urllib.request.Request, trust: ssl.SSLContext | None = None
    ) -> None:
        """Return once the request is answered with success.

        Raises RuntimeError, with the end of the process's log, when it ends first or START_SECONDS pass.
        """
        # A proxy that the environment names cannot reach this machine's loopback address.
        handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust)]
        opener = urllib.request.build_opener(*handlers)
        process, deadline = self._running[name], time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(OSError), opener.open(request, timeout=5):
                return
            time.sleep(POLL_SECONDS)
        code = process.poll()
        state = f"not ready after {START_SECONDS:.0f} s" if code is None else f"ended with exit status {code}"
        end = "\n".join(self.log(name).read_text(errors="replace").splitlines()[-15:])
        raise RuntimeError(f"{name}: {state}. The end of {self.log(name)}:\n{end}")

    def log(self, name: str) -> Path:
        """Where the output of the process goes."""
        return self._workdir / f"{name}.log"

    def pid(self, name: str) -> int:
        """The process's id, which is also its process group's; raises KeyError where it does not run."""
        return self._running[name].pid

    def stop(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """Signal the process if it runs, and kill what is left of its group within STOP_SECONDS."""
        if (process := self._running.pop(name, None)) is None:
            return
        try:
            process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def stop_all(self) -> None:
        """Kill every process, the last started first; no state of theirs is worth an orderly end."""
        for name in reversed(list(self._running)):
            self.stop(name, signal.SIGKILL)


def _die_with_parent() -> Callable[[], None] | None:
    """What a child runs before exec so that the kernel kills it with its parent; None off Linux."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl  # found before the fork: little is safe between fork and exec
    parent = os.getpid()

    def tie() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the call above
            os._exit(1)

    return tie
