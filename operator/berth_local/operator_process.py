"""The operator beside the embedded API server: the same process as in a cluster, started again when it dies."""

import asyncio
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from berth_local.agent.host import base_environment
from berth_local.agent.plan.backoff import Backoff, Failures, after_failure
from berth_local.agent.processes import Process, Processes

log = logging.getLogger(__name__)

RESTART = Backoff(first_seconds=1.0, longest_seconds=60.0, forget_seconds=120.0)
"""Quicker than the kubelet's: someone is watching, and the operator costs little to start."""

STOP_SECONDS = 5.0
"""The operator ends within a second; what it leaves undone it does at its next start."""

LOG_BYTES = 10 * 2**20
"""A log that a kept state has grown beyond this is put aside at the next start."""


class OperatorProcess:
    """Keeps `python -m berth_operator run` running against a kubeconfig, its output in a log file."""

    def __init__(
        self, processes: Processes, kubeconfig: Path, log_file: Path, restart: Backoff = RESTART
    ) -> None:
        self._processes, self._kubeconfig, self.log_file = processes, kubeconfig, log_file
        self._restart = restart
        self._process: Process | None = None
        self._stopping = False
        self.restarts = 0
        """How often it was started again."""

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process is not None else None

    async def run(self) -> None:
        """Keep it running until `stop`."""
        if self.log_file.exists() and self.log_file.stat().st_size > LOG_BYTES:
            self.log_file.replace(self.log_file.with_suffix(".1.log"))
        failures = Failures()
        while not self._stopping:
            with self.log_file.open("ab") as output:
                self._process = await self._processes.start(
                    [sys.executable, "-m", "berth_operator", "run"],
                    operator_environment(os.environ, self._kubeconfig),
                    self.log_file.parent,
                    output.fileno(),
                )
            try:
                code = await self._process.wait()
            finally:
                self._process.kill()
                self._process = None
            if self._stopping:
                return
            now = asyncio.get_running_loop().time()
            failures, delay = after_failure(failures, now, self._restart)
            log.warning(
                "the operator ended with exit code %d; starting it again in %g s; see %s",
                code,
                delay,
                self.log_file,
            )
            await asyncio.sleep(delay)
            self.restarts += 1

    async def stop(self) -> None:
        """Ask it to end, and end it when it does not."""
        self._stopping = True
        if (process := self._process) is None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()


def operator_environment(environment: Mapping[str, str], kubeconfig: Path) -> dict[str, str]:
    """Return the operator's environment: its own settings as given, this kubeconfig, and no probe port."""
    own = {name: value for name, value in environment.items() if name.startswith("BERTH_")}
    base = base_environment(kubeconfig.parent)
    return {"BERTH_LIVENESS_PORT": "0", **base, **own, "KUBECONFIG": str(kubeconfig)}
