"""The API server of a run and the operator on it, as the control-plane tests start them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from benchmarks.operator.client import Client  # noqa: E402
from control_plane.api_proxy import ApiProxy, upstream  # noqa: E402
from control_plane.own_account import own_kubeconfig  # noqa: E402
from control_plane.planes import ControlPlane, embedded, started_here  # noqa: E402
from control_plane.real_apiserver import find_assets  # noqa: E402

STOP_SECONDS = 10.0


@contextlib.contextmanager
def plane(workdir: Path, *, real: bool) -> Iterator[ControlPlane]:
    """A kube-apiserver where there is one and it is wanted, else the embedded server."""
    assets = find_assets() if real else None
    with started_here(assets, workdir) if assets else embedded(workdir) as found:
        yield found


@contextlib.asynccontextmanager
async def client(kubeconfig: Path, namespace: str) -> AsyncIterator[Client]:
    """A client of a namespace, which is made."""
    url, session = await upstream(kubeconfig)
    async with session:
        found = Client(url, session, namespace)
        with contextlib.suppress(SystemExit):  # it is there already
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            await found.send("POST", f"{url}/api/v1/namespaces", body)
        yield found


class Operator:
    """The operator as a process, on one namespace; `proxy` counts what it asks, and costs time."""

    def __init__(
        self, plane: ControlPlane, workdir: Path, namespace: str, proxy: ApiProxy | None = None
    ) -> None:
        own = own_kubeconfig(plane.kubeconfig)
        kubeconfig = own if proxy is None else proxy.write_kubeconfig(workdir / "proxy.kubeconfig")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(workdir),
            "KUBECONFIG": str(kubeconfig),
            "BERTH_WATCH_NAMESPACES": namespace,
            "BERTH_LIVENESS_PORT": "0",
        }
        self.log = workdir / "operator.log"
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "berth_operator", "run"], env=environment, stdout=output, stderr=output
            )

    def __enter__(self) -> Operator:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def resident_mb(self) -> float:
        """Its memory in MB of a million bytes, as Linux counts it; 0 elsewhere."""
        status = Path(f"/proc/{self._process.pid}/statm")
        return (
            int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6 if status.exists() else 0.0
        )

    @property
    def processor_seconds(self) -> float:
        """Processor time that it has used."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def wait_until_idle(self, seconds: float = 300.0) -> None:
        """Return once it has used next to no processor for two seconds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise SystemExit(f"the operator ended:\n{self.log.read_text()[-3000:]}")
            before = self.processor_seconds
            time.sleep(2)
            if self.processor_seconds - before < 0.1:
                return
        raise SystemExit(f"the operator is busy for more than {seconds:.0f} s")
