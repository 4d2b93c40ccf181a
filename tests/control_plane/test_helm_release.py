"""Install, upgrade, roll back and uninstall through Helm's engine, on a real API server that enforces Pod Security."""

from __future__ import annotations

import base64
import copy
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from berth_operator.api.names import LABEL_WORKSPACE
from berth_operator.cluster_cache import DEPLOYMENTS, EVENTS, PODS, SERVICES, WORKSPACES
from berth_operator.kube import KubeError, Object, Resource
from chart.variants import GOLDEN_VARIANTS
from control_plane.cluster import Cluster, eventually, workspace
from control_plane.fake_nodes import FakeNodes
from control_plane.helm_release import (
    OLDER_CHART,
    ORPHANS,
    TEAM,
    crd,
    installed,
    leftovers,
    operator_of_release,
    prepare,
)
from control_plane.own_account import CHART, NAMESPACE, RELEASE, refusals, rendered
from control_plane.real_apiserver import RealControlPlane, find_assets

SECRETS = Resource("v1", "secrets")
POLICIES = Resource("admissionregistration.k8s.io/v1", "validatingadmissionpolicies")
MANAGED = f"{LABEL_WORKSPACE}=tiny"

pytestmark = pytest.mark.real_apiserver


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealControlPlane]:
    """A control plane without a CRD: it comes with the chart."""
    assets = find_assets()
    if assets is None:
        pytest.skip("needs a control plane of its own: set KUBEBUILDER_ASSETS")
    with RealControlPlane(assets, tmp_path_factory.mktemp("helm"), prepare) as running:
        if not running.has_controller_manager:
            pytest.skip("needs kube-controller-manager beside kube-apiserver")
        yield running


@pytest.fixture
async def team(plane: RealControlPlane) -> AsyncIterator[Cluster]:
    async with await Cluster.connect(str(plane.kubeconfig)) as connected:
        connected.namespace = TEAM
        yield connected


@pytest.fixture
def nodes(team: Cluster) -> FakeNodes:
    return FakeNodes(team, has_controllers=True)


@pytest.fixture
def kubectl(plane: RealControlPlane) -> Any:
    found = shutil.which("kubectl")
    if found is None:
        pytest.skip("needs kubectl on the path")

    def run(*arguments: str, given: Object | None = None) -> str:
        command = [found, "--kubeconfig", str(plane.kubeconfig), *arguments]
        ran = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, timeout=60)
        return ran.stdout + ran.stderr

    return run


@pytest.fixture
def release(plane: RealControlPlane) -> Iterator[Any]:
    with installed(plane) as helm:
        yield helm


@pytest.fixture
def running(plane: RealControlPlane, release: Any, tmp_path: Path) -> Iterator[Any]:
    # An operator under an older chart's rights, in another test, may well have been refused.
    since = plane.audit_log.stat().st_size
    with operator_of_release(plane, tmp_path / "operator", BERTH_RESYNC_SECONDS="1") as operator:
        yield operator
    assert refusals(plane.audit_log, since=since) == []


def tiny() -> Object:
    return workspace(TEAM, "tiny", preset={"name": "tiny-chat"})


async def pod_uids(team: Cluster) -> set[str]:
    return {pod["metadata"]["uid"] for pod in await team.list_all(PODS, TEAM, MANAGED)}


@pytest.mark.usefixtures("release")
async def test_the_operator_s_pod_is_admitted_where_pods_must_be_restricted(team: Cluster) -> None:
    async def pods() -> list[Object]:
        return await team.list_all(PODS, NAMESPACE, "app.kubernetes.io/component=operator")

    [pod] = await eventually(pods, bool, "a pod of the operator")
    assert pod["spec"]["serviceAccountName"] == RELEASE
    # A pod that breaks the standard is refused: the check is on.
    bad = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "bad", "namespace": NAMESPACE},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    with pytest.raises(KubeError, match="violates PodSecurity"):
        await team.create(PODS, bad)


@pytest.mark.usefixtures("running")
async def test_a_model_is_served_where_pods_must_be_restricted_under_the_chart_s_own_account(
    team: Cluster, nodes: FakeNodes
) -> None:
    adapter = {"source": {"name": "a", "image": "example.com/adapter:1"}}
    adapted = workspace(TEAM, "tiny", preset={"name": "tiny-chat"}, adapters=[adapter])
    with_vllm = workspace(TEAM, "fast", preset={"name": "phi-3-mini-4k-instruct"})
    with_vllm["metadata"]["annotations"] = {"kaito.sh/runtime": "vllm"}
    for wanted in (adapted, with_vllm):
        name = wanted["metadata"]["name"]
        await team.create(WORKSPACES, wanted)
        await nodes.serve(name)
        await team.reported(name, "Serving")
        await team.delete(WORKSPACES, name)
        await team.gone(DEPLOYMENTS, name)


@pytest.mark.usefixtures("release")
async def test_an_unknown_preset_is_refused_when_it_is_applied_with_nothing_but_the_api_server_up(
    team: Cluster, kubectl: Any
) -> None:
    def applied(name: str, inference: Object, version: str = "v1beta1") -> str:
        body = {**workspace(TEAM, name, **inference), "apiVersion": f"kaito.sh/{version}"}
        return str(kubectl("create", "--dry-run=server", "-f", "-", given=body))

    async def refused() -> str:
        # The API server takes up to a few seconds to read a new policy.
        return applied("w-unknown", {"preset": {"name": "phi-5"}})

    def wanted(said: str) -> bool:
        return 'there is no preset "phi-5"; presets: gemma-2-9b-it, ' in said and "extraPresets" in said

    await eventually(refused, wanted, "the policy refuses it")
    assert "phi-5" in applied("w-alpha", {"preset": {"name": "phi-5"}}, "v1alpha1")
    for name, inference in {
        "by-name": {"preset": {"name": "tiny-chat"}},
        "by-hub-id": {"preset": {"name": "microsoft/Phi-3-mini-4k-instruct"}},
        "by-hub-id-in-another-case": {"preset": {"name": "Microsoft/phi-3-mini-4K-instruct"}},
        "by-template": {"template": {"spec": {"containers": [{"name": "c", "image": "example.com/i:1"}]}}},
    }.items():
        assert "created" in applied(name, inference)
    policy = next(one for one in await team.list_all(POLICIES) if "berth" in one["metadata"]["name"])
    assert not ((policy.get("status") or {}).get("typeChecking") or {}).get("expressionWarnings")


async def test_a_workspace_whose_preset_is_no_more_can_still_be_edited_and_deleted(
    plane: RealControlPlane, team: Cluster, kubectl: Any
) -> None:
    with installed(plane, {"admissionPolicy": {"enabled": False}}) as helm:
        await team.create(WORKSPACES, workspace(TEAM, "old", preset={"name": "gone"}))
        helm.upgrade(CHART, RELEASE, {}, namespace=NAMESPACE)
        edited = await team.edit(
            WORKSPACES, "old", {"metadata": {"labels": {"a": "b"}}, "resource": {"count": 2}}
        )
        assert edited["resource"]["count"] == 2
        assert "deleted" in kubectl("delete", "workspace", "old", "-n", TEAM, "--timeout=20s")


async def test_an_upgrade_from_an_older_chart_restarts_no_model_and_can_be_rolled_back(
    plane: RealControlPlane, team: Cluster, nodes: FakeNodes, tmp_path: Path
) -> None:
    with installed(plane, source=OLDER_CHART) as helm:
        with operator_of_release(plane, tmp_path / "older"):
            await team.create(WORKSPACES, tiny())
            await nodes.serve("tiny")
            await team.reported("tiny", "Serving")
        before, pods = await team.deployed("tiny"), await pod_uids(team)
        assert len(pods) == 1
        for step, change in enumerate(
            (
                lambda: helm.upgrade(CHART, RELEASE, {}, namespace=NAMESPACE),
                lambda: helm.upgrade(CHART, RELEASE, {"replicas": 2, "workers": 4}, namespace=NAMESPACE),
                lambda: helm.rollback(RELEASE, version=2),
                lambda: helm.rollback(RELEASE, version=1),
            )
        ):
            change()
            with operator_of_release(plane, tmp_path / str(step), BERTH_RESYNC_SECONDS="1") as operator:
                await operator.looked_again()
            after = await team.deployed("tiny")
            assert after["metadata"]["generation"] == before["metadata"]["generation"]
            assert await pod_uids(team) == pods
            await team.reported("tiny", "Serving")
        assert [one["revision"] for one in helm.history(RELEASE)] == [1, 2, 3, 4, 5]
        await team.delete(WORKSPACES, "tiny")
        # Before the CRD goes: the garbage collector is slow to judge owners of a kind that is no more.
        await team.gone(DEPLOYMENTS, "tiny")
        await team.gone(SERVICES, "tiny")


@pytest.mark.parametrize("keep", [True, False], ids=["the CRD and its models stay", "everything goes"])
async def test_uninstalling_leaves_no_orphan_and_no_stuck_workspace(
    plane: RealControlPlane, team: Cluster, nodes: FakeNodes, kubectl: Any, tmp_path: Path, keep: bool
) -> None:
    with installed(plane, {"crds": {"keep": keep}, "replicas": 2}) as helm:
        with operator_of_release(plane, tmp_path / "operator"):
            await team.create(WORKSPACES, tiny())
            await nodes.serve("tiny")
            await team.reported("tiny", "Serving")
        pods = await pod_uids(team)
        helm.uninstall(RELEASE)

        async def left() -> list[str]:
            # The Lease is the operators', not Helm's: it is said to stay.
            return await leftovers(team)

        await eventually(left, lambda found: not found, "nothing of the release is left")
        if keep:
            assert await crd(team) is not None
            assert await pod_uids(team) == pods, "the model goes on serving"
            assert "deleted" in kubectl("delete", "workspace", "tiny", "-n", TEAM, "--timeout=20s")
        else:

            async def kind() -> Object | None:
                return await crd(team)

            await eventually(kind, lambda found: found is None, "the CRD is gone")
        await team.gone(DEPLOYMENTS, "tiny")
        await team.gone(SERVICES, "tiny")


CANARY = "hf_CANARYdonotleakCANARY"


IN_SECRETS = {
    # Namespace and name: what it holds. Docker's own form is what images are pulled with.
    (TEAM, "hub-token"): {"HF_TOKEN": CANARY},
    (TEAM, "api-keys"): {"first": CANARY},
    (TEAM, "pull"): {".dockerconfigjson": json.dumps({"auths": {"r": {"auth": CANARY}}})},
    (TEAM, "adapter-pull"): {".dockerconfigjson": json.dumps({"auths": {"a": {"auth": CANARY}}})},
    (NAMESPACE, "own-pull"): {".dockerconfigjson": json.dumps({"auths": {"o": {"auth": CANARY}}})},
}


def with_secrets(runtime: str, **inference: Any) -> Object:
    """A Workspace of a preset that is downloaded, which names every Secret that one can."""
    options = {"modelAccessSecret": "hub-token", "imagePullSecrets": ["pull"]}
    preset = {"name": "phi-3-mini-4k-instruct", "presetOptions": options}
    body = workspace(TEAM, runtime, preset=preset, **inference)
    annotations = {"kaito.sh/runtime": runtime, "berth.dev/api-key-secret": "api-keys"}
    body["metadata"]["annotations"] = annotations
    return body


async def test_what_is_in_secrets_shows_nowhere(
    plane: RealControlPlane, team: Cluster, nodes: FakeNodes, tmp_path: Path
) -> None:
    for (namespace, name), data in IN_SECRETS.items():
        kind = "kubernetes.io/dockerconfigjson" if ".dockerconfigjson" in data else "Opaque"
        body = {"apiVersion": "v1", "kind": "Secret", "type": kind, "stringData": data}
        await team.create(SECRETS, {**body, "metadata": {"name": name, "namespace": namespace}})
    adapter = {
        "source": {"name": "a", "image": "example.com/adapter:1", "imagePullSecrets": ["adapter-pull"]}
    }
    names = ("transformers", "vllm")
    values = {"imagePullSecrets": [{"name": "own-pull"}], "inference": {"imagePullSecrets": ["pull"]}}
    since = plane.audit_log.stat().st_size
    with installed(plane, values) as release, operator_of_release(plane, tmp_path / "operator") as running:
        await team.create(WORKSPACES, with_secrets("transformers", adapters=[adapter]))
        await team.create(WORKSPACES, with_secrets("vllm"))
        await nodes.serve(*names)
        for name in names:
            await team.reported(name, "Serving")
        await nodes.crash(*names, message="it ended")
        seen = {"log": running.log, "values": json.dumps(release.get_values(RELEASE))}
        for what in ("cmdline", "environ"):
            seen[what] = Path(f"/proc/{running.pid}/{what}").read_text()  # noqa: ASYNC240 - not a file on a disk
        for resource in (*ORPHANS, WORKSPACES, EVENTS):
            if resource.plural != "secrets":
                seen[resource.plural] = json.dumps(await team.list_all(resource))
        for _, named in IN_SECRETS:
            assert f'"{named}"' in seen["pods"], "the Secret is named"
        for where, text in seen.items():
            assert CANARY not in text, where
            assert base64.b64encode(CANARY.encode()).decode() not in text, where
        # The operator never asked for a Secret at all.
        assert not [request for request in running.proxy.requests if "/secrets" in request.path]
        for name in names:
            await team.delete(WORKSPACES, name)
            await team.gone(DEPLOYMENTS, name)
    assert refusals(plane.audit_log, since=since) == []


@pytest.mark.parametrize("values", GOLDEN_VARIANTS.values(), ids=GOLDEN_VARIANTS.keys())
def test_a_real_api_server_accepts_every_manifest_of_every_golden_variant(
    kubectl: Any, values: dict[str, Any]
) -> None:
    found = [
        copy.deepcopy(one)
        for one in rendered(json.dumps(values))
        if not one["apiVersion"].startswith("monitoring.")
    ]
    assert len(found) > 5
    for manifest in found:
        if manifest["kind"] == "Pod":
            # Its own account is made beside it, which a dry run does not do.
            manifest["spec"]["serviceAccountName"] = "default"
    body = {"apiVersion": "v1", "kind": "List", "items": found}
    said = kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", given=body)
    assert said.count("(server dry run)") == len(found), said
