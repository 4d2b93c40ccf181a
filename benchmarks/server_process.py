"""A server as a process on a free port of the loopback: its life, and what /proc tells about it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import aiohttp

ROOT = Path(__file__).parents[1]


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ServerProcess:
    """`command` without its `--port`, which is added here."""

    def __init__(
        self, name: str, command: Sequence[str], log: Path | None = None, **environment: str
    ) -> None:
        self.name, port = name, free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._command = [*command, "--port", str(port)]
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("BERTH_")}
        given = {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
        with open(log or os.devnull, "ab") as output:  # noqa: PTH123  devnull is no path of ours
            self._process = subprocess.Popen(
                self._command, env=inherited | given | environment, cwd=ROOT, stdout=output, stderr=output
            )

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    async def ready(self, seconds: float = 600) -> None:
        """Returns once /health says 200; ends the program if it never will."""
        async with asyncio.timeout(seconds), aiohttp.ClientSession() as session:
            while self._process.poll() is None:
                try:
                    async with session.get(f"{self.url}/health") as response:
                        if response.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.02)
        raise SystemExit(f"{self.name} ended: {' '.join(self._command)}")

    def pause(self) -> None:
        """Take no processor time: some servers poll while they have nothing to do."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on."""
        self._process.send_signal(signal.SIGCONT)

    def terminate(self) -> None:
        """Ask it to stop."""
        self._process.terminate()

    async def wait(self, seconds: float = 60) -> int | None:
        """Its exit code; None if it is still there after that time."""
        try:
            return await asyncio.to_thread(self._process.wait, seconds)
        except subprocess.TimeoutExpired:
            return None

    def end(self) -> None:
        """Stop it, whatever it is doing."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def status(self, field: str) -> int:
        """A number from /proc: Threads, or VmRSS and VmHWM in KiB."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(f"{field}:")).split()[1])

    def open_files(self) -> int:
        """Descriptors that the process holds."""
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())

    def forget_peak(self) -> None:
        """Let VmHWM begin anew."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")


def berth(model: str, *arguments: str, log: Path | None = None) -> ServerProcess:
    """Berth's server of a model."""
    command = [sys.executable, "-m", "berth_inference", "serve", "--host", "127.0.0.1", "--model", model]
    return ServerProcess("berth", [*command, *arguments], log)
