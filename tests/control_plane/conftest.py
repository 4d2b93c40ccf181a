"""The control plane that these tests run against, and the operator that they run on it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest

from control_plane.cluster import Cluster
from control_plane.fake_nodes import FakeNodes
from control_plane.operator_process import OperatorProcess, operator_process
from control_plane.planes import ControlPlane, embedded, external, new_namespace, started_here
from control_plane.real_apiserver import find_assets

NEEDS_A_REAL_ONE = "needs a real kube-apiserver: set KUBEBUILDER_ASSETS"


@pytest.fixture(scope="session")
def control_plane(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """The API server of this run: that of `--kubeconfig`, else kube-apiserver where it is found, else the embedded."""
    named, assets = request.config.getoption("--kubeconfig"), find_assets()
    workdir = tmp_path_factory.mktemp("control-plane")
    if named:
        plane = external(Path(named).resolve())
    elif assets:
        plane = started_here(assets, workdir)
    else:
        plane = embedded(workdir)
    with plane as found:
        yield found


@pytest.fixture(scope="session")
def real_cluster_kubeconfig(control_plane: ControlPlane) -> Path:
    """The kubeconfig of an API server that is Kubernetes' own."""
    if not control_plane.is_real:
        pytest.skip(NEEDS_A_REAL_ONE)
    return control_plane.kubeconfig


@pytest.fixture(autouse=True)
def _only_on_a_real_one(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("real_apiserver") is not None:
        request.getfixturevalue("real_cluster_kubeconfig")


@pytest.fixture(scope="module")
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """A namespace of the module's own, for the operator that its tests share."""
    with new_namespace(control_plane) as name:
        yield name


@pytest.fixture(scope="module")
def operator(
    control_plane: ControlPlane, namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """An operator that the module's tests share; its end is judged as an error of the module."""
    workdir = tmp_path_factory.mktemp("operator")
    with operator_process(control_plane.kubeconfig, workdir, namespace) as running:
        yield running


@pytest.fixture
async def cluster(control_plane: ControlPlane, namespace: str) -> AsyncIterator[Cluster]:
    async with await Cluster.connect(str(control_plane.kubeconfig)) as connected:
        connected.namespace = namespace
        yield connected


@pytest.fixture
def nodes(control_plane: ControlPlane, cluster: Cluster) -> FakeNodes:
    return FakeNodes(cluster, has_controllers=control_plane.has_controllers)


@pytest.fixture
def name() -> str:
    """The name of a Workspace that no other test uses."""
    return f"w-{uuid.uuid4().hex[:8]}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell with a failure what each operator of the test logged last."""
    report = yield
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            for one in value if isinstance(value, tuple) else (value,):
                if isinstance(one, OperatorProcess):
                    report.sections.append((f"log of {name}", one.tail()))
    return report
