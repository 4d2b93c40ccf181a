"""The keys that clients may present: read from files at the start, and again while the server runs."""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Callable
from pathlib import Path

from berth_inference.errors import LoadError, LoadFailure

_log = logging.getLogger(__name__)

# Seconds between two looks at the files. The kubelet itself takes up to a minute to bring a changed Secret.
_LOOK_SECONDS = 1.0


class ApiKeys:
    """Keys from a file with one a line, or from a folder of such files, which is how a Secret is mounted.

    Several keys are valid at once, so that clients can change over from one to the next. The files are
    read again rather than compared by their times: they are as small as the comparison, and a time can
    stay the same. Files that have become unusable leave the last keys valid. Raises `LoadError` where
    there is no key at the start.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._keys = read_keys(path)
        self._looked = clock()
        self._problem = ""

    def accept(self, key: bytes) -> bool:
        """Whether this is one of the keys. Takes the same time whichever it is, or nearly is."""
        if self._clock() - self._looked >= _LOOK_SECONDS:
            self._look()
        matches = [hmac.compare_digest(key, known) for known in self._keys]
        return any(matches)

    def _look(self) -> None:
        self._looked = self._clock()
        try:
            keys = read_keys(self._path)
        except LoadError as error:
            if not self._problem:
                _log.error("%s; the keys read before stay valid", error)
            self._problem = str(error)
            return
        self._problem = ""
        if keys != self._keys:
            self._keys = keys
            _log.info("API keys read anew: %d valid", len(keys))


def read_keys(path: Path) -> tuple[bytes, ...]:
    """The keys in a file or folder, in order. Raises `LoadError` where there is none, or no such thing."""
    try:
        if path.is_dir():
            # A mounted Secret holds its data twice: as ..data, and as links into it by their names.
            files = [item for item in sorted(path.iterdir()) if not item.name.startswith("..")]
            lines = [line for item in files if item.is_file() for line in item.read_bytes().splitlines()]
        elif path.is_file() or not path.exists():
            lines = path.read_bytes().splitlines()
        else:
            raise _unusable(path, "it is neither a file nor a folder")
    except OSError as error:
        raise _unusable(path, error.strerror or type(error).__name__) from None
    keys = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not keys:
        raise _unusable(path, "it holds no key; put one into it, one a line")
    return keys


def _unusable(path: Path, why: str) -> LoadError:
    return LoadError(f"the API keys cannot be read from {path}: {why}", LoadFailure.NO_API_KEYS)
