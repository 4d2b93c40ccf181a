"""The operator as users run it: a process, with nothing in its environment but its settings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from berth_operator.api.names import FIELD_MANAGER
from control_plane.api_proxy import ApiProxy
from control_plane.cluster import POLL_SECONDS, eventually
from control_plane.own_account import own_kubeconfig

TESTS = Path(__file__).resolve().parents[1]
HASTY = "control_plane.hasty_operator"
"""The module that runs it with short waits."""

START_SECONDS = 60.0
STOP_SECONDS = 5.0
"""A pod that takes longer to stop holds up every rollout of the operator."""

WATCHED = ("workspaces", "deployments", "services", "pods")


class OperatorProcess:
    """`python -m berth_operator run` behind a proxy that notes what it asks of the API server."""

    def __init__(
        self,
        workdir: Path,
        proxy: ApiProxy,
        namespace: str,
        settings: Mapping[str, str],
        module: str = "berth_operator",
    ) -> None:
        self.proxy = proxy
        self._module = module
        self.log_file = workdir / "operator.log"
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(workdir),
            "KUBECONFIG": str(proxy.write_kubeconfig(workdir / "operator.kubeconfig")),
            "BERTH_WATCH_NAMESPACES": namespace,
            "BERTH_LIVENESS_PORT": "0",
            "PYTHONPATH": str(TESTS),
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, waits: bool = True) -> int:
        """Start it and wait until it asks something; return where its requests begin in the proxy's `requests`.

        Raises RuntimeError, with the end of its log, where it never does.
        """
        since = len(self.proxy.requests)
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self._module, "run"],
                env=self._environment,
                cwd=self.log_file.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_SECONDS
        while waits and len(self.proxy.requests) == since:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the operator does not start:\n{self.tail()}")
            time.sleep(POLL_SECONDS)
        return since

    @property
    def pid(self) -> int:
        assert self._process is not None, "the operator does not run"
        return self._process.pid

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    async def logs(self, words: str) -> None:
        """Return once these words stand in its log."""

        async def logged() -> str:
            return self.tail()

        await eventually(logged, lambda _: words in self.log, f'"{words}" in the log')

    @property
    def status(self) -> int | None:
        """Its exit status, None while it runs."""
        assert self._process is not None, "the operator does not run"
        return self._process.poll()

    def kill(self) -> None:
        """End it as a crash of its node would: no signal that it could act on."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def stop(self) -> None:
        """End it as Kubernetes would. Fails if it is slow, ends with an error, or was ever at a loss."""
        process, self._process = self._process, None
        if process is None:
            return
        ended = process.poll()
        assert ended is None, f"the operator ended by itself, with status {ended}:\n{self.tail()}"
        process.terminate()
        try:
            status = process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"still up {STOP_SECONDS:.0f} s after SIGTERM:\n{self.tail()}") from None
        assert status == 0, f"exit status {status}:\n{self.tail()}"
        assert "Traceback (most recent call last)" not in self.log, self.log[-8000:]

    async def watching(self, since: int = 0) -> None:
        """Return once it has opened every watch, by the requests from a position on."""

        async def opened() -> set[str]:
            paths = (request.path for request in self.proxy.requests[since:] if request.is_watch)
            return {path.rpartition("/")[2] for path in paths}

        await eventually(opened, lambda plurals: plurals.issuperset(WATCHED), f"watches; {self.tail()}")

    async def looked_again(self, times: int = 2, since: int | None = None) -> None:
        """Return once it has listed everything that often, from now or from a position in the requests on.

        By then it has acted on the list before the last.
        """
        since = len(self.proxy.requests) if since is None else since

        async def lists() -> int:
            # Pods are listed last. The watches list, too, but under another name than the operator's own.
            return sum(
                (request.method, request.agent, request.path.rpartition("/")[2])
                == ("GET", FIELD_MANAGER, "pods")
                for request in self.proxy.requests[since:]
            )

        await eventually(lists, lambda count: count >= times, f"lists of everything; {self.tail()}")

    def tail(self) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.splitlines()[-25:])


@contextmanager
def operator_process(
    kubeconfig: Path, workdir: Path, namespace: str, *, module: str = "berth_operator", **settings: str
) -> Iterator[OperatorProcess]:
    """Run an operator on a namespace; stop it at the end, and see that it stops as it should."""
    workdir.mkdir(parents=True, exist_ok=True)
    with ApiProxy(own_kubeconfig(kubeconfig)).running() as proxy:
        operator = OperatorProcess(workdir, proxy, namespace, settings, module)
        try:
            operator.start()
            yield operator
        except BaseException:
            operator.kill()
            raise
        operator.stop()
