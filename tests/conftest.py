"""Options of the whole run."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kubeconfig",
        metavar="FILE",
        default=None,
        help="run the control-plane tests on this cluster, in namespaces of their own; it keeps the CRD",
    )


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
