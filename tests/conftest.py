"""Options of the whole run."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kubeconfig",
        metavar="FILE",
        default=None,
        help="run the control-plane tests on this cluster, in namespaces of their own; it keeps the CRD",
    )
