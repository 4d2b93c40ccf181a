"""Objects on disk: one line of JSON per change, appended; read back at start, and then written anew in short form.

A line counts once it is whole. What a crash left half-written at the end is cut off. The file is handed to the
operating system after each change, not forced to the disk: it survives the end of the process, and of the machine
but for the last seconds.
"""

import fcntl
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from berth_local.apiserver.errors import ApiError
from berth_local.apiserver.objects import Object, encode
from berth_local.apiserver.store import Change, Key, Store

_log = logging.getLogger(__name__)

FILE, LOCK = "journal.jsonl", "lock"

COMPACT_LINES = 20_000
"""Lines after which the journal may be written anew, if most of them are overtaken: some 100 MB at the most."""


class StateInUse(Exception):
    """Another server uses the state directory."""


class Journal:
    """The state directory of one server. Raises StateInUse, or OSError where the directory cannot be used."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = folder / FILE
        self._lock = (folder / LOCK).open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise StateInUse(
                f"{folder} is the state of another running server; choose another folder"
            ) from error
        self._file: IO[bytes] | None = None
        self._lines, self._most_lines = 0, COMPACT_LINES
        self._store: Store | None = None

    def load(self, store: Store) -> None:
        """Fill an empty store with what was kept, then keep all that changes in it."""
        objects: dict[tuple[str, Key], Object] = {}
        for line in self._read():
            place = (line["table"], (line["key"][0], line["key"][1]))
            store.revision = max(store.revision, int(line["revision"]))
            if line["object"] is None:
                objects.pop(place, None)
            else:
                objects[place] = line["object"]
        for (table, _), body in objects.items():
            store.load(table, body)
        for loaded in store.tables.values():
            loaded.floor = store.revision
        self._store = store
        self._rewrite()
        store.listeners.append(self._append)

    def close(self) -> None:
        """Write what is pending and let the directory go."""
        if self._store is not None:
            self._store.listeners.remove(self._append)
            self._store = None
        if self._file is not None:
            self._file.close()
            self._file = None
        self._lock.close()

    def _read(self) -> Iterator[Any]:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            for number, text in enumerate(file, start=1):
                try:
                    line = json.loads(text)
                    if not text.endswith(b"\n") or not _is_line(line):
                        raise ValueError("not a whole line")
                except ValueError:
                    _log.warning(
                        "%s is damaged from line %d on; what follows is given up", self._path, number
                    )
                    return
                yield line

    def _append(self, table: str, change: Change) -> None:
        body = None if change.type == "DELETED" else change.new.body
        if self._file is None:
            return
        try:
            self._file.write(_line(table, change.new.key, change.new.revision, body))
            self._file.flush()
        except OSError as error:
            raise ApiError(500, "InternalError", f"cannot write {self._path}: {error}") from error
        self._lines += 1
        if self._lines > self._most_lines:
            self._rewrite()

    def _rewrite(self) -> None:
        """Write the present state alone, beside the old file and then in its place."""
        store = self._store
        if store is None:
            return
        fresh = self._path.with_suffix(".new")
        with fresh.open("wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(_line("", ("", ""), store.revision, None))
            for table, stored in store:
                file.write(_line(table, stored.key, stored.revision, stored.body))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        if self._file is not None:
            self._file.close()
        self._file = self._path.open("ab")
        self._lines, self._most_lines = 0, max(COMPACT_LINES, 4 * sum(1 for _ in store))


def _line(table: str, key: Key, revision: int, body: Object | None) -> bytes:
    return encode({"table": table, "key": key, "revision": revision, "object": body}) + b"\n"


def _is_line(line: Any) -> bool:
    return (
        isinstance(line, dict)
        and line.keys() == {"table", "key", "revision", "object"}
        and isinstance(line["key"], list)
        and len(line["key"]) == 2
        and isinstance(line["revision"], int)
    )
