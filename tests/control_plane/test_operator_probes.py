"""The operator's probes, as a kubelet asks them."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import aiohttp

from control_plane.cluster import eventually
from control_plane.operator_process import operator_process
from control_plane.planes import ControlPlane

PROBE_SECONDS = 5.0
"""What the chart's probes allow."""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


async def test_it_is_alive_before_it_is_ready_and_a_process_that_hangs_is_neither(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    port = free_port()
    timeout = aiohttp.ClientTimeout(total=PROBE_SECONDS)

    async with aiohttp.ClientSession(timeout=timeout) as session:

        async def answer(path: str) -> int:
            try:
                async with session.get(f"http://127.0.0.1:{port}/{path}") as answered:
                    return answered.status
            except (TimeoutError, aiohttp.ClientError):
                return 0

        with operator_process(
            control_plane.kubeconfig, tmp_path, namespace, BERTH_LIVENESS_PORT=str(port)
        ) as operator:
            operator.kill()
            operator.proxy.cut()
            operator.start(waits=False)
            await operator.logs("cannot list")
            # A restart would not bring the API server back.
            assert (await answer("healthz"), await answer("readyz")) == (200, 503)
            operator.proxy.mend()
            await eventually(lambda: answer("readyz"), lambda status: status == 200, "ready")
            os.kill(operator.pid, signal.SIGSTOP)
            try:
                assert await answer("healthz") == 0
            finally:
                os.kill(operator.pid, signal.SIGCONT)
            await eventually(lambda: answer("healthz"), lambda status: status == 200, "alive again")
