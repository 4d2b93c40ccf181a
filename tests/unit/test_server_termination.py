"""The server's last words reach Kubernetes where there is a place for them, and the operator reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from berth_inference.errors import LoadError, LoadFailure
from berth_inference.termination import report_failure
from berth_operator.plan.diagnosis.ending import SERVER_REASONS, gist, server_report
from berth_operator.plan.reasons import Reason


def test_a_failure_is_one_line_that_the_operator_reads(tmp_path: Path) -> None:
    log = tmp_path / "termination-log"
    log.touch()
    report_failure(LoadError("m does not fit\ninto the GPU", LoadFailure.GPU_OUT_OF_MEMORY), log)
    text = log.read_text()
    assert text.count("\n") == 1
    assert server_report(text) == (Reason.GPU_OUT_OF_MEMORY, "m does not fit\ninto the GPU")


def test_where_kubernetes_made_no_file_none_is_made(tmp_path: Path) -> None:
    report_failure(LoadError("m"), tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    report_failure(LoadError("m"), tmp_path)


def test_a_very_long_failure_fits_into_what_kubernetes_keeps(tmp_path: Path) -> None:
    log = tmp_path / "termination-log"
    log.touch()
    report_failure(LoadError("\N{GRINNING FACE}" * 100_000), log)
    assert len(log.read_bytes()) < 4096
    assert server_report(log.read_text(encoding="utf-8"))[1]


def test_the_operator_knows_every_failure_that_the_server_names() -> None:
    of_groups = {"peer_lost"}  # told by data/run_group.py
    assert set(SERVER_REASONS) - of_groups == {kind.value for kind in LoadFailure} - {
        LoadFailure.INTERNAL.value
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("just one line", "just one line"),
        ("Traceback:\n  File x\nValueError: bad value\n", "ValueError: bad value"),
        ("2026-01-01 10:00:00,123 INFO a: b\nberth_inference: error: no model\n", "error: no model"),
        ("all is well\nbye\n", "bye"),
        ("[1, 2]", "[1, 2]"),
    ],
    ids=["nothing", "one line", "a traceback", "our own error", "no error", "JSON that is no report"],
)
def test_the_gist_of_a_log_is_its_last_line_that_names_an_error(text: str, expected: str) -> None:
    assert gist(text) == expected
