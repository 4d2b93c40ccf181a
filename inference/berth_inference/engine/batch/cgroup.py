"""What the memory limits of control groups leave, in both versions of Linux's interface."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_SELF = Path("/proc/self/cgroup")


@dataclass(frozen=True, slots=True)
class _Interface:
    """Names of files, and of what in `memory.stat` can be reclaimed: pages of files."""

    limit: str
    used: str
    reclaimable: tuple[str, str]


_V1 = _Interface(
    "memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")
)
_V2 = _Interface("memory.max", "memory.current", ("inactive_file", "active_file"))
# What version 1 says where there is no limit: the largest number of whole pages.
_NO_LIMIT = 2**63 - 2**16


def left_by_limits(root: Path = _ROOT, own: Path = _SELF) -> int | None:
    """Bytes until the first of this process's limits is reached; None where it has none.

    A group's limit holds for the groups within it too, so every group up to the root is asked: a
    pod's may be below the sum of its containers'.
    """
    left = [
        bytes_left
        for interface, folder in _groups(root, own)
        if (bytes_left := _left(interface, folder)) is not None
    ]
    return min(left, default=None)


def _groups(root: Path, own: Path) -> Iterator[tuple[_Interface, Path]]:
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        lines = []
    paths = {controllers: path for _, controllers, path in lines}
    v1 = next((path for names, path in paths.items() if "memory" in names.split(",")), "/")
    for interface, top, path in ((_V1, root / "memory", v1), (_V2, root, paths.get("", "/"))):
        # A container may see its own group as the top while its path is still told as the host sees it.
        inner = top / path.strip("/") if ".." not in path else top
        for folder in (inner, *inner.parents):
            yield interface, folder
            if folder == top:
                break


def _left(interface: _Interface, folder: Path) -> int | None:
    try:
        limit = (folder / interface.limit).read_text().strip()
        used = int((folder / interface.used).read_text())
        statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        if limit == "max" or int(limit) >= _NO_LIMIT:
            return None
        reclaimable = sum(int(statistics.get(name, 0)) for name in interface.reclaimable)
    except (OSError, ValueError):
        return None
    return max(0, int(limit) - used + reclaimable)
