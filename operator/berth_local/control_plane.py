"""The embedded control plane as a whole: API server, node agent and operator, started and stopped together."""

import asyncio
import contextlib
from pathlib import Path
from types import TracebackType
from typing import Self

from berth_local.agent.agent import NodeAgent
from berth_local.agent.client import ApiClient
from berth_local.agent.host import Rules
from berth_local.agent.logs import PodLogs
from berth_local.agent.processes import Processes
from berth_local.apiserver import ApiServer
from berth_local.operator_process import OperatorProcess
from berth_operator.api.crd import workspace_crd

LOOPBACK = "127.0.0.1"


class ControlPlane:
    """A control plane whose files are all in one folder. Use it as an async context manager.

    `temporary` says that the folder goes with it, even when this process is killed. `keep` says whether the
    API's objects outlive it. Raises the API server's StateInUse, or OSError when the port is taken.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        temporary: bool = False,
        keep: bool = True,
        rules: Rules | None = None,
        with_operator: bool = True,
    ) -> None:
        self.folder = folder.absolute()
        self.kubeconfig = self.folder / "kubeconfig"
        self.operator_log = self.folder / "operator.log"
        self.logs = PodLogs()
        self.temporary = temporary
        self._port, self._keep = port, keep
        self._rules, self._with_operator = rules or Rules(), with_operator
        self._closing = contextlib.AsyncExitStack()
        self.url = ""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start everything; when a part does not start, what was started is stopped again."""
        async with contextlib.AsyncExitStack() as closing:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            server = ApiServer(
                LOOPBACK,
                self._port,
                state=self.folder / "objects" if self._keep else None,
                crds=[workspace_crd()],
                pod_logs=self.logs.read,
            )
            await server.start()
            closing.push_async_callback(server.stop)
            self.url = server.url
            server.write_kubeconfig(self.kubeconfig)
            # Only now, as a folder in use was refused above.
            processes = Processes(self.folder if self.temporary else None)
            closing.callback(processes.close)
            agent = NodeAgent(self.url, self.folder / "node", processes, self.logs, self._rules)
            await agent.start()
            closing.push_async_callback(agent.stop)
            if self._with_operator:
                operator = OperatorProcess(processes, self.kubeconfig, self.operator_log)
                closing.push_async_callback(_finished, asyncio.create_task(operator.run()))
                closing.push_async_callback(operator.stop)
            self._closing = closing.pop_all()

    async def stop(self) -> None:
        """Stop everything, the operator first; processes that do not end are killed."""
        await self._closing.aclose()

    def client(self) -> ApiClient:
        """Return a new connection to the API server."""
        return ApiClient(self.url)


async def _finished(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
