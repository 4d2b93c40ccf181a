"""The server among many clients that come, go and misbehave: the long runs of `benchmarks.soak`, in short.

Nothing here is timed for speed: the bounds are far above what an idle machine shows.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# Several servers are started here, and on a busy machine each start takes long.
pytestmark = [pytest.mark.timeout(180), pytest.mark.thorough]

ROOT = Path(__file__).parents[2]


def _run(module: str, *arguments: str) -> str:
    """What it prints; it tells itself what was not right."""
    command = [sys.executable, "-m", module, *arguments]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=170)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_random_requests_over_every_api_are_answered_refused_or_cancelled_and_leave_nothing_behind() -> None:
    # Memory is not flat yet after seconds: each kind of request allocates its own things once.
    said = _run("benchmarks.soak", "--minutes", "0.2", "--health-ms", "5000", "--growth-mib", "200")
    assert "response_format" in said


def test_sigterm_under_load_ends_every_admitted_request_properly_and_exits_0() -> None:
    said = _run("benchmarks.soak.sigterm", "--times", "3")
    assert said.count("exit code 0") == 3


def test_two_hundred_clients_that_go_away_leave_the_server_free_for_the_next(tmp_path: Path) -> None:
    _run("benchmarks.soak.abandoned", "--folder", str(tmp_path), "--seconds", "10", "--health-ms", "5000")
