"""What containers print: written to files with a time before each line, bounded in size, and read back."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

from berth_local.agent.plan.objects import Key, Object, key_of, parse_time
from berth_local.apiserver import LogOptions

FILE_BYTES = 10 * 2**20
"""A log file is started anew beyond this, and one older file is kept: the kubelet's default for one file."""

LINE_BYTES = 16 * 2**10
"""A line longer than this is cut, as container runtimes do."""

POLL_SECONDS = 0.2
"""How often a followed log is looked at: a person reading does not notice it."""

TAIL_BYTES, TAIL_LINES = 2048, 80
"""What a termination message may hold at most, as Kubernetes bounds it."""


class LogFile:
    """The log of one run of a container."""

    def __init__(self, path: Path, limit: int = FILE_BYTES) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._limit = path, limit
        self._file = path.open("ab")

    async def pump(self, output: asyncio.StreamReader) -> None:
        """Copy what the program prints, line by line, until it closes its output."""
        rest = b""
        while chunk := await output.read(2**16):
            *lines, rest = (rest + chunk).split(b"\n")
            while len(rest) > LINE_BYTES:
                lines.append(rest[:LINE_BYTES])
                rest = rest[LINE_BYTES:]
            self._write(lines)
        if rest:
            self._write([rest])

    def close(self) -> None:
        """Close the file; nothing is written after."""
        self._file.close()

    def _write(self, lines: list[bytes]) -> None:
        if not lines:
            return
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ ").encode()
        self._file.write(b"".join(stamp + line + b"\n" for line in lines))
        self._file.flush()
        if self._file.tell() > self._limit:
            self._file.close()
            self._path.replace(older(self._path))
            self._file = self._path.open("ab")


def older(path: Path) -> Path:
    """Return where the part of a log goes that is past the size limit."""
    return path.with_suffix(".1.log")


def tail(path: Path) -> str:
    """Return the last lines of a log, without times: what a failed container says as its last words."""
    lines = [line.partition(b" ")[2] for line in _stored(path)][-TAIL_LINES:]
    return b"\n".join(lines)[-TAIL_BYTES:].decode(errors="replace")


class PodLogs:
    """Finds and reads the logs of the pods that run here."""

    def __init__(self) -> None:
        self._folders: dict[Key, Path] = {}

    def add(self, key: Key, folder: Path) -> None:
        """Say where a pod keeps its logs: `<folder>/<container>/<restarts>.log`."""
        self._folders[key] = folder

    def remove(self, key: Key, folder: Path) -> None:
        """Forget a pod's logs, unless another pod bears its name by now."""
        if self._folders.get(key) == folder:
            del self._folders[key]

    def path(self, key: Key, container: str, previous: bool = False) -> Path | None:
        """Return the log of a container's present or previous run, or None when there is none."""
        folder = self._folders.get(key)
        if folder is None or "/" in container or container in ("", ".", ".."):
            return None
        runs = sorted(
            (path for path in (folder / container).glob("*.log") if path.stem.isdecimal()),
            key=lambda path: int(path.stem),
        )
        place = -2 if previous else -1
        return runs[place] if len(runs) >= -place else None

    async def read(self, pod: Object, wanted: LogOptions) -> AsyncIterator[bytes]:
        """Yield a container's log; following, until the pod is gone. LookupError when there is none to begin with."""
        key, container = key_of(pod), wanted.container
        path = self.path(key, container, wanted.previous)
        if path is None and not wanted.follow:
            raise LookupError(_no_log(pod, wanted))
        left = wanted.limit_bytes
        async for line in self._lines(key, path, wanted):
            shown = line if wanted.timestamps else line.partition(b" ")[2]
            if left is not None and len(shown) >= left:
                yield shown[:left]
                return
            left = None if left is None else left - len(shown)
            yield shown

    async def _lines(self, key: Key, path: Path | None, wanted: LogOptions) -> AsyncIterator[bytes]:
        position = 0
        if path is not None:
            position, stored = _snapshot(path)
            lines = [line for line in stored if _recent(line, wanted.since)]
            first = 0 if wanted.tail_lines is None else max(len(lines) - wanted.tail_lines, 0)
            for line in lines[first:]:
                yield line + b"\n"
        while wanted.follow and not wanted.previous and key in self._folders:
            await asyncio.sleep(POLL_SECONDS)
            latest = self.path(key, wanted.container)
            if latest is None:
                continue
            if latest != path:
                path, position = latest, 0
            position, fresh = _after(latest, position)
            for line in fresh:
                yield line


def _no_log(pod: Object, wanted: LogOptions) -> str:
    name = pod["metadata"]["name"]
    if wanted.previous:
        return f'previous terminated container "{wanted.container}" in pod "{name}" not found'
    status = pod.get("status") or {}
    entries = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    states = [one.get("state") or {} for one in entries if one.get("name") == wanted.container]
    reason = next((state["waiting"].get("reason", "") for state in states if "waiting" in state), "")
    why = f": {reason}" if reason else ""
    return f'container "{wanted.container}" in pod "{name}" is waiting to start{why}'


def _stored(path: Path, end: int | None = None) -> Iterator[bytes]:
    """The lines of a log, those past the size limit first, up to a position in its present file."""
    for part in (older(path), path):
        if part.exists():
            with part.open("rb") as file:
                yield from file.read(-1 if end is None or part != path else end).splitlines()


def _snapshot(path: Path) -> tuple[int, list[bytes]]:
    """The length of a log's present file, and the lines up to it."""
    end = path.stat().st_size
    return end, list(_stored(path, end))


def _after(path: Path, position: int) -> tuple[int, list[bytes]]:
    """The whole lines after a position, or all where the file was started anew, and the position after them."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) < position:
            position = 0
        file.seek(position)
        fresh = file.read()
    whole = fresh[: fresh.rfind(b"\n") + 1]
    return position + len(whole), whole.splitlines(keepends=True)


def _recent(line: bytes, since: datetime | None) -> bool:
    if since is None:
        return True
    written = parse_time(line.partition(b" ")[0].decode(errors="replace"))
    return written is None or written >= since
