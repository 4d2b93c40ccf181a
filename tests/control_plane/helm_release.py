"""The chart installed by Helm's own engine on a bare control plane, and the operator run as its Deployment says."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from berth_operator.cluster_cache import CONFIG_MAPS, DEPLOYMENTS, WORKSPACES
from berth_operator.kube import KubeClient, KubeError, NotFound, Object, Resource
from control_plane.cluster import eventually
from control_plane.operator_process import OperatorProcess, operator_process
from control_plane.own_account import NAMESPACE, RELEASE, account_token, chart
from control_plane.planes import CRDS, NAMESPACES, NODES, TEST_NODE
from control_plane.real_apiserver import RealControlPlane

if TYPE_CHECKING:
    from helm_python import Config

T = TypeVar("T")

OLDER_CHART = Path(__file__).resolve().parents[1] / "data" / "berth-older-chart.tgz"
"""A chart of Berth as it was before it had standby, policies and monitoring, packaged by Helm."""

TEAM = "team-a"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
CRD = "workspaces.kaito.sh"

ORPHANS = (
    *(Resource("v1", kind) for kind in ("configmaps", "serviceaccounts", "services", "pods", "secrets")),
    *(Resource("apps/v1", kind) for kind in ("deployments", "replicasets")),
    *(Resource("rbac.authorization.k8s.io/v1", kind) for kind in ("roles", "rolebindings")),
    *(Resource("rbac.authorization.k8s.io/v1", kind) for kind in ("clusterroles", "clusterrolebindings")),
    *(
        Resource("admissionregistration.k8s.io/v1", kind)
        for kind in ("validatingadmissionpolicies", "validatingadmissionpolicybindings")
    ),
    Resource("networking.k8s.io/v1", "networkpolicies"),
    Resource("policy/v1", "poddisruptionbudgets"),
    Resource("coordination.k8s.io/v1", "leases"),
)
"""Every kind that an installed release can leave behind."""


def run(work: Coroutine[Any, Any, T]) -> T:
    """Wait for something in a thread and loop of its own, so that tests with and without a loop can."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def prepare(kubeconfig: Path) -> None:
    """A node for pods, and namespaces that admit only restricted pods."""

    async def make() -> None:
        async with await KubeClient.connect(str(kubeconfig)) as client:
            await client._request("POST", NODES.path(), None, _named("Node", TEST_NODE))
            for name, labels in ((NAMESPACE, RESTRICTED), (TEAM, RESTRICTED), ("team-b", {}), ("trial", {})):
                await client._request("POST", NAMESPACES.path(), None, _named("Namespace", name, labels))

    run(make())


def _named(kind: str, name: str, labels: Mapping[str, str] | None = None) -> Object:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "labels": dict(labels or {})}}


@contextmanager
def installed(
    plane: RealControlPlane, values: dict[str, Any] | None = None, source: Path | None = None
) -> Iterator[Config]:
    """The chart as a release; its end removes everything, the CRD included."""
    from helm_python import Config

    with Config(kubeconfig_path=plane.kubeconfig, namespace=NAMESPACE) as helm:
        helm.install(source or chart(), RELEASE, values or {}, namespace=NAMESPACE)
        try:
            run(_served(plane))
            yield helm
        finally:
            helm.uninstall(RELEASE, ignore_not_found=True)
            run(_without_crd(plane))


async def _served(plane: RealControlPlane) -> None:
    async with await KubeClient.connect(str(plane.kubeconfig)) as client:

        async def listed() -> str:
            try:
                await client.list_all(WORKSPACES, TEAM)
            except KubeError as error:
                return str(error)
            return ""

        await eventually(listed, lambda failure: not failure, "the API server serves Workspaces")


async def _without_crd(plane: RealControlPlane) -> None:
    async with await KubeClient.connect(str(plane.kubeconfig)) as client:

        async def gone() -> bool:
            if await crd(client) is None:
                return True
            with suppress(NotFound):
                await client._request("DELETE", CRDS.path(name=CRD))
            return False

        await eventually(gone, bool, "the CRD is gone")


async def crd(client: KubeClient) -> Object | None:
    found = await client._request("GET", CRDS.path())
    return next((one for one in found["items"] if one["metadata"]["name"] == CRD), None)


async def _deployed(plane: RealControlPlane) -> tuple[dict[str, str], dict[str, str], str]:
    """What the release's Deployment gives the operator: its environment, the presets by file name, a token."""
    async with await KubeClient.connect(str(plane.kubeconfig)) as client:
        deployment = await client.get(DEPLOYMENTS, NAMESPACE, RELEASE)
        presets = await client.get(CONFIG_MAPS, NAMESPACE, f"{RELEASE}-presets")
        assert deployment is not None
        assert presets is not None
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        settings = {variable["name"]: variable.get("value", "") for variable in container["env"]}
        return settings, presets["data"], await account_token(client, RELEASE)


@contextmanager
def operator_of_release(plane: RealControlPlane, workdir: Path, **settings: str) -> Iterator[OperatorProcess]:
    """The operator under the release's account and with the settings of its Deployment, and those given here."""
    given, presets, token = run(_deployed(plane))
    folder = workdir / "presets"
    folder.mkdir(parents=True)
    for name, text in presets.items():
        (folder / name).write_text(text)
    here = {"BERTH_PRESETS_DIR": str(folder), "BERTH_LIVENESS_PORT": "0"}
    kubeconfig = plane.write_kubeconfig(workdir / "kubeconfig", token)
    with operator_process(kubeconfig, workdir / "process", "", **{**given, **here, **settings}) as running:
        yield running


async def leftovers(client: KubeClient) -> list[str]:
    """What is in the cluster that bears the release's labels or its Helm annotations, the CRD left aside."""
    found = []
    for resource in ORPHANS:
        for one in await client.list_all(resource):
            meta = one["metadata"]
            ours = (meta.get("labels") or {}).get("app.kubernetes.io/instance") == RELEASE
            helms = (meta.get("annotations") or {}).get("meta.helm.sh/release-name") == RELEASE
            records = (meta.get("labels") or {}).get("owner") == "helm"
            if ours or helms or records:
                found.append(f"{resource.plural} {meta.get('namespace', '')}/{meta['name']}")
    return found
