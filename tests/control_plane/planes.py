"""The API servers that tests run against: a real one started here, somebody's cluster, or the embedded one."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from berth_operator.api.crd import workspace_crd
from berth_operator.cluster_cache import WORKSPACES
from berth_operator.kube import KubeClient, KubeError, NotFound, Object, Resource
from control_plane.cluster import eventually
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
    """A kube-apiserver of our own, with one node, which nothing but tests speaks for."""
    with RealControlPlane(assets, workdir) as real:
        asyncio.run(_prepare(real.kubeconfig, register_node=real.has_controller_manager))
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
