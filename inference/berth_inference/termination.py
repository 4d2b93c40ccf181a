"""The server's last words: why it cannot serve, where Kubernetes and its operators look for them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from berth_inference.errors import LoadError

TERMINATION_LOG = Path("/dev/termination-log")
"""Kubernetes' default `terminationMessagePath`. The kubelet makes the file; elsewhere there is none."""

MESSAGE_CHARACTERS = 900
"""Kubernetes keeps 4096 bytes of it, and a character may take four."""


def fail(error: LoadError) -> int:
    """Say why nothing can be served, to people and to Kubernetes. Returns the exit code."""
    report_failure(error)
    sys.stderr.write(f"berth_inference: error: {error}\n")
    return 1


def report_failure(error: LoadError, path: Path = TERMINATION_LOG) -> None:
    """Write one line of JSON, `reason` and `message`, if there is such a file. Failing to is no failure."""
    line = json.dumps(
        {"reason": error.reason.value, "message": str(error)[:MESSAGE_CHARACTERS]}, ensure_ascii=False
    )
    try:
        if path.exists():
            path.write_text(line + "\n", encoding="utf-8")
    except OSError:
        # The same words are on standard error.
        return
