"""Are the files of a download the ones that the hub describes? Told once, and remembered beside them."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

# Large enough that a network volume is read at its full rate.
_BLOCK = 16 * 2**20

_SHA1 = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file as the hub describes it: large ones by their SHA-256, others by git's own hash of a blob."""

    path: str
    size: int
    sha256: str | None = None
    git_id: str | None = None


def wrong_files(folder: Path, files: Sequence[HubFile], moved: Callable[[int, int], None]) -> list[HubFile]:
    """The files that are missing or not what the hub describes; `moved` is told bytes read and bytes in all."""
    total, done = sum(file.size for file in files), 0
    wrong = []

    def read(count: int) -> None:
        nonlocal done
        done += count
        moved(min(done, total), total)

    for file in files:
        if not _is_intact(folder / file.path, file, read):
            wrong.append(file)
    return wrong


def named_by_its_blob(folder: Path, file: HubFile) -> HubFile:
    """The file with the checksum that the hub's library names it by in its cache, where no other is known."""
    name = (folder / file.path).resolve().name
    return replace(file, sha256=name, git_id=name)


def _is_intact(path: Path, file: HubFile, read: Callable[[int], None]) -> bool:
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    if file.sha256 is not None and _SHA256.fullmatch(file.sha256):
        return _digest(path, hashlib.sha256(), read) == file.sha256
    if file.git_id is not None and _SHA1.fullmatch(file.git_id):
        blob = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
        return _digest(path, blob, read) == file.git_id
    return True  # a mirror that gives no checksums leaves the size


def _digest(path: Path, digest: hashlib._Hash, read: Callable[[int], None]) -> str:
    buffer = bytearray(_BLOCK)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as stream:
        while count := stream.readinto(buffer):
            digest.update(view[:count])
            read(count)
    return digest.hexdigest()


def remove(folder: Path, files: Iterable[HubFile]) -> None:
    """Remove files, and what they point to, so that they are downloaded anew."""
    for file in files:
        path = folder / file.path
        for one in (path.resolve(), path):
            one.unlink(missing_ok=True)


def remember(repository: Path, commit: str, files: Iterable[HubFile]) -> None:
    """Note that a commit's files are intact. Raises OSError."""
    note = _note(repository, commit)
    note.parent.mkdir(exist_ok=True)
    written = note.with_name(f"{note.name}.{os.getpid()}")
    written.write_text(json.dumps({file.path: file.size for file in files}), encoding="utf-8")
    written.replace(note)


def is_known_intact(repository: Path, commit: str) -> bool:
    """Whether a commit's files were found intact, and are there still in their full size. Asks nobody."""
    try:
        sizes: dict[str, int] = json.loads(_note(repository, commit).read_text(encoding="utf-8"))
        folder = repository / "snapshots" / commit
        return bool(sizes) and all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return False


def _note(repository: Path, commit: str) -> Path:
    return repository / "verified" / f"{commit}.json"
