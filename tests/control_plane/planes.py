"""The API servers that tests run against: a real one started here, somebody's cluster, or the embedded one."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from berth_operator.api.crd import workspace_crd
from berth_operator.cluster_cache import WORKSPACES
from berth_operator.kube import KubeClient, KubeError, NotFound, Object, Resource
from control_plane.cluster import eventually
from control_plane.own_account import own_account
from control_plane.real_apiserver import RealControlPlane

CRDS = Resource("apiextensions.k8s.io/v1", "customresourcedefinitions")
NAMESPACES = Resource("v1", "namespaces")
NODES = Resource("v1", "nodes")
TEST_NODE = "berth-test-node"


@dataclass(frozen=True)
class ControlPlane:
    """An API server with the Workspace CRD. `real` is None unless it was started here and is kube-apiserver."""

    kubeconfig: Path
    is_real: bool
    has_controllers: bool
    real: RealControlPlane | None = None


@contextmanager
def started_here(assets: Path, workdir: Path) -> Iterator[ControlPlane]:
    """A kube-apiserver of our own, with one node, which nothing but tests speaks for.

    Operators run there under an account that has the chart's rights only, and may never be refused.
    """

    def prepare(kubeconfig: Path) -> None:
        asyncio.run(_prepare(kubeconfig, register_node=True))

    with RealControlPlane(assets, workdir, prepare) as real, own_account(real):
        yield ControlPlane(real.kubeconfig, True, real.has_controller_manager, real)


@contextmanager
def external(kubeconfig: Path) -> Iterator[ControlPlane]:
    """Somebody's cluster. It keeps the CRD; everything else is made in namespaces that tests delete."""
    asyncio.run(_prepare(kubeconfig, register_node=False))
    yield ControlPlane(kubeconfig, True, True)


async def _prepare(kubeconfig: Path, *, register_node: bool) -> None:
    async with await KubeClient.connect(str(kubeconfig)) as client:
        await install_crd(client)
        if register_node:
            # Without it the controller manager takes pods bound to it for orphans after 40 s.
            node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": TEST_NODE}}
            await client._request("POST", NODES.path(), None, node)


async def install_crd(client: KubeClient) -> None:
    """Install the Workspace CRD and wait until it is served; a cluster that has another one is refused."""
    wanted = workspace_crd()
    path = CRDS.path(name=wanted["metadata"]["name"])
    try:
        live = await client._request("GET", path)
    except NotFound:
        await client._request("POST", CRDS.path(), None, wanted)
    else:
        if live["spec"]["versions"] != wanted["spec"]["versions"]:
            raise RuntimeError(
                f"this cluster has a CRD {wanted['metadata']['name']} that is not this checkout's (KAITO's, or "
                "another version's): run the tests on a cluster without it"
            )

    async def served() -> bool:
        try:
            await client.list_all(WORKSPACES, "default")
        except KubeError:  # not known yet, or known and its storage not ready
            return False
        return True

    await eventually(served, bool, "the API server serves Workspaces")


@contextmanager
def new_namespace(plane: ControlPlane) -> Iterator[str]:
    """A namespace that nothing else uses; its end takes along what is in it."""
    name = f"berth-test-{uuid.uuid4().hex[:8]}"

    async def write(method: str, path: str, body: Object | None = None) -> None:
        async with await KubeClient.connect(str(plane.kubeconfig)) as client:
            await client._request(method, path, None, body)

    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    asyncio.run(write("POST", NAMESPACES.path(), body))
    yield name
    asyncio.run(write("DELETE", NAMESPACES.path(name=name)))


@contextmanager
def embedded(workdir: Path) -> Iterator[ControlPlane]:
    """The API server of `berth local`, without its node agent: tests play the nodes, and the controllers too."""
    workdir.mkdir(parents=True, exist_ok=True)
    kubeconfig = workdir / "kubeconfig"
    command = [sys.executable, "-m", "berth_local.apiserver", "--kubeconfig", str(kubeconfig)]
    with (workdir / "apiserver.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
    try:
        assert server.stdout is not None
        # Its first line is its address: it serves then.
        if not server.stdout.readline():
            raise RuntimeError((workdir / "apiserver.log").read_text())
        asyncio.run(_prepare(kubeconfig, register_node=False))
        yield ControlPlane(kubeconfig, is_real=False, has_controllers=False)
    finally:
        server.terminate()
        server.communicate()
    logged = (workdir / "apiserver.log").read_text()
    assert "Traceback" not in logged, logged[-8000:]
