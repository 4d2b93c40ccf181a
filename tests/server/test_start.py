"""What the server does while it starts: reads weights ahead, and keeps the search for garbage small."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from berth_inference.garbage import keep_what_is_loaded, let_imports_be, search_the_rest
from berth_inference.read_ahead import read_ahead


def _read(folder: Path) -> list[tuple[int, int]]:
    told: list[tuple[int, int]] = []
    read_ahead(folder, lambda done, total: told.append((done, total)))
    for thread in threading.enumerate():
        if thread.name == "read-ahead":
            thread.join(10)
    return told


def test_weights_are_read_ahead_and_nothing_else_is(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"a" * 3)
    (tmp_path / "b.safetensors").write_bytes(b"b" * 4)
    (tmp_path / "notes.txt").write_bytes(b"c" * 5)
    assert _read(tmp_path) == [(3, 7), (7, 7)]


def test_files_that_cannot_be_read_ahead_are_left_to_the_loading(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").mkdir()
    assert _read(tmp_path) == []


@pytest.fixture
def collector() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


@pytest.mark.usefixtures("collector")
def test_garbage_is_searched_again_once_the_libraries_are_there() -> None:
    let_imports_be()
    assert not gc.isenabled()
    search_the_rest()
    assert gc.isenabled()
    frozen = gc.get_freeze_count()
    assert frozen > 1000
    kept = [[number] for number in range(1000)]
    keep_what_is_loaded()
    # Some of what was frozen before may have gone since, with the threads of other tests.
    assert gc.get_freeze_count() > frozen + len(kept) // 2
