"""What `berth local` and `berth demo` share: a control plane in a folder, its files, and how it is stopped."""

import asyncio
import contextlib
import importlib.util
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from berth_operator.cli.errors import CliError

if TYPE_CHECKING:
    from berth_local.control_plane import ControlPlane

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@contextlib.asynccontextmanager
async def control_plane(
    state: Path | None = None, port: int = 0, labels: Mapping[str, str] | None = None
) -> AsyncIterator["ControlPlane"]:
    """Run a control plane in `state`, or in a folder that goes with it; what fails is told as CliError."""
    if sys.platform == "win32":
        raise CliError("runs on Linux and macOS; on Windows, run it in WSL")
    require("berth_local.control_plane", "aiohttp", "jsonpatch", "jsonschema")
    require("berth_inference", "torch", "transformers")
    from berth_local.agent.host import Rules
    from berth_local.apiserver import StateInUse
    from berth_local.control_plane import ControlPlane

    folder = state if state is not None else Path(tempfile.mkdtemp(prefix="berth-local-"))
    try:
        plane = ControlPlane(
            folder,
            port=port,
            temporary=state is None,
            keep=state is not None,
            rules=Rules(labels=labels or {}),
        )
        with log_to(folder / "control-plane.log"):
            try:
                await plane.start()
            except StateInUse:
                raise CliError(
                    f"{folder} is in use by another berth local; stop it, or name another folder"
                ) from None
            except OSError as error:
                where = f"port {port}" if port else str(folder)
                why = os.strerror(error.errno) if error.errno else str(error)
                raise CliError(f"cannot start with {where}: {why}") from None
            try:
                yield plane
            finally:
                await plane.stop()
    finally:
        if state is None:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Send this process's log to a file, and its warnings to standard error too, as they are for people."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handler = logging.FileHandler(path)
    except OSError as error:
        raise CliError(f"cannot write to {path.parent}: {error.strerror}") from None
    handler.setFormatter(logging.Formatter(LOG_FORMAT))
    warnings = logging.StreamHandler()
    warnings.setLevel(logging.WARNING)
    warnings.setFormatter(_OneLine("berth: %(message)s"))
    root = logging.getLogger()
    level = root.level
    handlers = (handler, warnings)
    for one in handlers:
        root.addHandler(one)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        for one in handlers:
            root.removeHandler(one)
            one.close()
        root.setLevel(level)


class _OneLine(logging.Formatter):
    """Leaves tracebacks to the file."""

    def format(self, record: logging.LogRecord) -> str:
        record.message = record.getMessage()
        return self.formatMessage(record)


def require(*modules: str) -> None:
    """Raise CliError, saying what to install, unless all of these modules are there."""
    for module in modules:
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is None:
            raise CliError(f"needs the Python package {module.partition('.')[0]}: pip install 'berth[local]'")


def run_until_signal(work: Callable[[asyncio.Event], Awaitable[int]]) -> int:
    """Run `work` with an event that Ctrl-C and termination set; a second signal ends it where it is."""

    async def run() -> int:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        task = asyncio.ensure_future(work(stop))

        def signalled() -> None:
            if stop.is_set():
                task.cancel()
            stop.set()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, signalled)
        try:
            return await task
        except asyncio.CancelledError:
            return 130

    return asyncio.run(run())
