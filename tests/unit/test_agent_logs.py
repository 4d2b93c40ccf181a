"""Logs: what containers print, kept within bounds and read back."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from berth_local.agent.logs import LINE_BYTES, LogFile, PodLogs, tail
from berth_local.agent.plan.objects import Key, Object
from berth_local.apiserver import LogOptions

KEY = Key("default", "web")
POD: Object = {
    "metadata": {"name": "web", "namespace": "default"},
    "status": {"containerStatuses": [{"name": "main", "state": {"waiting": {"reason": "ErrImagePull"}}}]},
}


async def written(path: Path, data: bytes, limit: int = 2**20) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    file = LogFile(path, limit)
    await file.pump(reader)
    file.close()


async def read(logs: PodLogs, container: str = "main", **wanted: Any) -> bytes:
    return b"".join([line async for line in logs.read(POD, LogOptions(container, **wanted))])


def logs_in(folder: Path) -> PodLogs:
    logs = PodLogs()
    logs.add(KEY, folder)
    return logs


async def test_what_was_printed_is_read_back(tmp_path: Path) -> None:
    await written(tmp_path / "main" / "0.log", b"one\ntwo\xff\n\nend")
    assert await read(logs_in(tmp_path)) == b"one\ntwo\xff\n\nend\n"


async def test_times_are_shown_when_asked_for(tmp_path: Path) -> None:
    await written(tmp_path / "main" / "0.log", b"one\n")
    stamp, _, text = (await read(logs_in(tmp_path), timestamps=True)).partition(b" ")
    assert text == b"one\n"
    assert datetime.now(UTC) - datetime.fromisoformat(stamp.decode()) < timedelta(minutes=1)


async def test_the_tail_and_the_time_limit_the_lines(tmp_path: Path) -> None:
    await written(tmp_path / "main" / "0.log", b"one\ntwo\nthree\n")
    logs = logs_in(tmp_path)
    assert await read(logs, tail_lines=2) == b"two\nthree\n"
    assert await read(logs, tail_lines=0) == b""
    assert await read(logs, tail_lines=9) == b"one\ntwo\nthree\n"
    assert await read(logs, limit_bytes=6) == b"one\ntw"
    assert await read(logs, limit_bytes=4) == b"one\n"
    assert await read(logs, since=datetime.now(UTC) + timedelta(hours=1)) == b""


async def test_the_previous_run_is_the_one_before_the_latest(tmp_path: Path) -> None:
    logs = logs_in(tmp_path)
    with pytest.raises(LookupError, match='container "main" in pod "web" is waiting to start: ErrImagePull'):
        await read(logs)
    with pytest.raises(LookupError, match='previous terminated container "main" in pod "web" not found'):
        await read(logs, previous=True)
    for number in (0, 9, 10):
        await written(tmp_path / "main" / f"{number}.log", f"run {number}\n".encode())
    assert await read(logs) == b"run 10\n"
    assert await read(logs, previous=True) == b"run 9\n"


async def test_a_log_stays_within_twice_its_limit_and_keeps_the_latest(tmp_path: Path) -> None:
    path = tmp_path / "main" / "0.log"
    file = LogFile(path, limit=1000)
    for number in range(200):
        reader = asyncio.StreamReader()
        reader.feed_data(f"line {number}\n".encode())
        reader.feed_eof()
        await file.pump(reader)
    file.close()
    assert sum(part.stat().st_size for part in path.parent.iterdir()) < 2200
    lines = (await read(logs_in(tmp_path))).splitlines()
    assert lines[-1] == b"line 199"
    assert lines == [f"line {number}".encode() for number in range(200 - len(lines), 200)]


async def test_a_line_without_end_is_cut(tmp_path: Path) -> None:
    await written(tmp_path / "main" / "0.log", b"x" * (2 * LINE_BYTES + 5))
    assert [len(line) for line in (await read(logs_in(tmp_path))).splitlines()] == [LINE_BYTES, LINE_BYTES, 5]


async def test_following_shows_new_lines_and_the_next_run_until_the_pod_is_gone(tmp_path: Path) -> None:
    logs, seen = logs_in(tmp_path), asyncio.Queue[bytes]()
    await written(tmp_path / "main" / "0.log", b"one\n")

    async def follow() -> None:
        async for line in logs.read(POD, LogOptions("main", follow=True)):
            seen.put_nowait(line)

    following = asyncio.create_task(follow())
    assert await seen.get() == b"one\n"
    await written(tmp_path / "main" / "0.log", b"two\n")
    assert await seen.get() == b"two\n"
    await written(tmp_path / "main" / "1.log", b"three\n")
    assert await seen.get() == b"three\n"
    logs.remove(KEY, tmp_path)
    await following


async def test_a_container_name_reaches_no_other_folder(tmp_path: Path) -> None:
    await written(tmp_path / "secret" / "0.log", b"no\n")
    logs = PodLogs()
    logs.add(KEY, tmp_path / "pod")
    for name in ("../secret", "..", ".", "", "x/../../secret"):
        with pytest.raises(LookupError):
            await read(logs, container=name)


async def test_last_words_are_short(tmp_path: Path) -> None:
    await written(tmp_path / "0.log", b"".join(b"line %d\n" % number for number in range(1000)))
    words = tail(tmp_path / "0.log")
    assert words.endswith("line 999")
    assert len(words) <= 2048
    assert len(words.splitlines()) <= 80
