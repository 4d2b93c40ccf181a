"""Starting and ending processes that never outlive this one."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from berth_local.agent import guard, launcher


class StartError(OSError):
    """The program could not be started; the message names it."""


class Process:
    """A running program, the leader of its own session and process group."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child
        self.pid = child.pid
        self.killed = False
        """Whether SIGKILL was sent from here."""

    @property
    def output(self) -> asyncio.StreamReader:
        """What the program writes to its standard output and error."""
        if self._child.stdout is None:
            raise RuntimeError("the process was started without a pipe")
        return self._child.stdout

    async def wait(self) -> int:
        """Wait for the end and return the exit code, 128 + N for a death by signal N."""
        code = await self._child.wait()
        return code if code >= 0 else 128 - code

    def terminate(self) -> None:
        """Ask the program to end (SIGTERM)."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the program and all it started (SIGKILL to the group)."""
        self.killed = True
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


class Processes:
    """Starts processes and sees to it that they end with this one. Use from one event loop; `close` at the end."""

    def __init__(self, temporary_folder: Path | None = None) -> None:
        self._guard = subprocess.Popen(  # noqa: S603 - a module of ours, by this interpreter
            [sys.executable, "-I", "-S", guard.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        if temporary_folder is not None:
            self._tell(f"={temporary_folder}")
        self._waits: set[asyncio.Task[None]] = set()

    async def start(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path, output: int | None = None
    ) -> Process:
        """Start a program in a folder with exactly this environment; output goes to a descriptor, or to a pipe.

        Raises StartError when there is no such program.
        """
        named = str(folder / command[0]) if "/" in command[0] else command[0]
        program = shutil.which(named, path=environment.get("PATH", os.defpath))
        if program is None:
            where = "no such file or directory" if "/" in command[0] else "executable file not found in $PATH"
            raise StartError(f'exec: "{command[0]}": {where}')
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            launcher.__file__,
            str(os.getpid()),
            program,
            *command[1:],
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if output is None else output,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(environment),
            cwd=folder,
            start_new_session=True,
        )
        process = Process(child)
        self._tell(f"+{process.pid}")
        wait = asyncio.create_task(self._forget(process))
        self._waits.add(wait)
        wait.add_done_callback(self._waits.discard)
        return process

    def close(self) -> None:
        """End the guard; processes still running are killed by it, and the temporary folder is removed."""
        if self._guard.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._guard.stdin.close()
        self._guard.wait()

    async def _forget(self, process: Process) -> None:
        await process.wait()
        # Whatever it left behind in its group goes with it, as a container's processes do.
        process._signal(signal.SIGKILL)
        self._tell(f"-{process.pid}")

    def _tell(self, line: str) -> None:
        if self._guard.stdin is not None:
            with contextlib.suppress(BrokenPipeError, ValueError):
                self._guard.stdin.write(f"{line}\n")
                self._guard.stdin.flush()
