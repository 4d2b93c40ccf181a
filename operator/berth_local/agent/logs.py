"""What containers print: written to files with a time before each line, bounded in size, and read back."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from berth_local.agent.plan.objects import Key, parse_time

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


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which part of a log is asked for, as `kubectl logs` has it."""

    previous: bool = False
    follow: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since: datetime | None = None


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

    async def read(self, key: Key, container: str, wanted: Wanted) -> AsyncIterator[bytes]:
        """Yield a log line by line; following, until the pod is gone. Nothing is yielded when there is no log."""
        path = self.path(key, container, wanted.previous)
        position = 0
        if path is not None:
            position = path.stat().st_size
            lines = [line for line in _stored(path, position) if _recent(line, wanted.since)]
            count = wanted.tail_lines
            for line in lines if count is None else lines[len(lines) - count if count < len(lines) else 0 :]:
                yield _shown(line, wanted)
        while wanted.follow and key in self._folders:
            await asyncio.sleep(POLL_SECONDS)
            latest = self.path(key, container)
            if latest is None:
                continue
            if latest != path or latest.stat().st_size < position:
                path, position = latest, 0
            with latest.open("rb") as file:
                file.seek(position)
                fresh = file.read()
            whole = fresh[: fresh.rfind(b"\n") + 1]
            position += len(whole)
            for line in whole.splitlines():
                yield _shown(line, wanted)


def _stored(path: Path, end: int | None = None) -> Iterator[bytes]:
    for part in (older(path), path):
        if part.exists():
            with part.open("rb") as file:
                yield from file.read(-1 if end is None or part != path else end).splitlines()


def _recent(line: bytes, since: datetime | None) -> bool:
    if since is None:
        return True
    written = parse_time(line.partition(b" ")[0].decode(errors="replace"))
    return written is None or written >= since


def _shown(line: bytes, wanted: Wanted) -> bytes:
    return (line if wanted.timestamps else line.partition(b" ")[2]) + b"\n"
