"""Options of the whole run."""

import gc
import os
from collections.abc import Iterator

import pytest

# Before torch is imported anywhere. The models are so small that a second thread only waits for the first, and takes a
# core from the tests beside this one: half the processor time of the server's ring went there.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kubeconfig",
        metavar="FILE",
        default=None,
        help="run the control-plane tests on this cluster, in namespaces of their own; it keeps the CRD",
    )


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Look for no garbage in what is only being imported: a sixth of the time that each worker takes to begin."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no worker is left with it alone at the end."""
    items.sort(key=lambda item: item.get_closest_marker("thorough") is None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count the pairs of a call of the operator and a fault, of those tests that have one."""
    counts = {
        outcome: [
            str(value)
            for test in terminalreporter.stats.get(outcome, ())
            for name, value in getattr(test, "user_properties", ())
            if name == "faulty call"
        ]
        for outcome in ("passed", "failed")
    }
    if calls := counts["passed"] + counts["failed"]:
        terminalreporter.write_line(
            f"{len(calls)} pairs of a call of the operator and a fault, of {len(set(calls))} calls: "
            f"{len(counts['passed'])} as they should be, {len(counts['failed'])} not"
        )
