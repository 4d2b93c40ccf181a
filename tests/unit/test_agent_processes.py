"""Processes: started with what they are given, and ended with whoever started them."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from berth_local.agent.processes import Process, Processes, StartError

WAIT_SECONDS = 20.0


@pytest.fixture
async def processes() -> AsyncIterator[Processes]:
    made = Processes()
    yield made
    made.close()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        # A zombie that nobody reaps is dead for our purposes.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def until_dead(*pids: int) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, f"still alive: {[pid for pid in pids if alive(pid)]}"
        time.sleep(0.02)


async def output(process: Process) -> str:
    text = await process.output.read()
    await process.wait()
    return text.decode()


async def test_a_program_gets_its_environment_folder_and_nothing_else(
    processes: Processes, tmp_path: Path
) -> None:
    code = "import os; print(sorted(os.environ), os.getcwd(), os.getpgrp() == os.getpid())"
    process = await processes.start(
        [sys.executable, "-I", "-c", code], {"A": "1", "LC_CTYPE": "C.UTF-8"}, tmp_path
    )
    assert await output(process) == f"['A', 'LC_CTYPE'] {tmp_path} True\n"


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [("pass", 0), ("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137)],
    ids=["success", "failure", "death by SIGKILL"],
)
async def test_the_exit_code_is_that_of_a_shell(
    processes: Processes, tmp_path: Path, code: str, exit_code: int
) -> None:
    process = await processes.start([sys.executable, "-I", "-c", code], {}, tmp_path)
    assert await process.wait() == exit_code


@pytest.mark.parametrize("program", ["no-such-program", "/no/such/program"])
async def test_a_program_that_is_not_there_is_named(
    processes: Processes, tmp_path: Path, program: str
) -> None:
    with pytest.raises(StartError, match=program):
        await processes.start([program], {"PATH": "/bin"}, tmp_path)


async def test_what_a_program_leaves_in_its_group_ends_with_it(processes: Processes, tmp_path: Path) -> None:
    process = await processes.start(
        ["sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!"], {"PATH": "/bin:/usr/bin"}, tmp_path
    )
    child = int(await output(process))
    await asyncio.to_thread(until_dead, child)


async def test_kill_ends_a_program_that_ignores_being_asked(processes: Processes, tmp_path: Path) -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 1; done"
    process = await processes.start(["sh", "-c", script], {"PATH": "/bin:/usr/bin"}, tmp_path)
    assert await process.output.readline() == b"ready\n"
    process.terminate()
    process.kill()
    assert await process.wait() == 137


PARENT = """
import asyncio, sys
from pathlib import Path
from berth_local.agent.processes import Processes

async def main():
    processes = Processes(Path(sys.argv[1]))
    script = "trap '' TERM HUP; sleep 600 & echo $$ $!; wait"
    process = await processes.start(["sh", "-c", script], {"PATH": "/bin:/usr/bin"}, Path("/"))
    print((await process.output.readline()).decode(), flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_whatever_kills_the_parent_ends_its_programs_and_their_children(
    tmp_path: Path, number: signal.Signals
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    command = [sys.executable, "-c", textwrap.dedent(PARENT), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        program, child = (int(pid) for pid in parent.stdout.readline().split())
        assert alive(program)
        assert alive(child)
        parent.send_signal(number)
    until_dead(program, child)
    deadline = time.monotonic() + WAIT_SECONDS
    while folder.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_program_whose_parent_died_before_it_began_does_not_run(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux has the death signal that this is about")
    launcher = Path(sys.modules["berth_local.agent.processes"].__file__ or "").with_name("launcher.py")
    marker = tmp_path / "ran"
    command = [sys.executable, "-I", "-S", str(launcher), "1", "touch", str(marker)]
    assert subprocess.run(command, check=False).returncode == 1
    assert not marker.exists()
