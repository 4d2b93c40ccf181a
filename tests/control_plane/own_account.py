"""The operator's own ServiceAccount, with the chart's rights and no others, on a control plane that tests started."""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import yaml

from berth_operator.kube import Conflict, KubeClient, Object, Resource
from control_plane.real_apiserver import RealControlPlane

CHART = Path(__file__).resolve().parents[2] / "charts" / "berth"
NAMESPACE = "berth-system"
RELEASE = "berth"
LEASE = f"{NAMESPACE}/{RELEASE}"
FILE = "operator-account.kubeconfig"

WITHOUT = "BERTH_TEST_WITHOUT_RIGHT"
"""`role/group/resource:verb`, as in `operator/apps/deployments:patch` or `operator//pods:watch`: one right that is not
granted, to see whether it is missed. See tools/try_without_each_right.py."""

KINDS = {
    "ServiceAccount": Resource("v1", "serviceaccounts"),
    "ClusterRole": Resource("rbac.authorization.k8s.io/v1", "clusterroles"),
    "ClusterRoleBinding": Resource("rbac.authorization.k8s.io/v1", "clusterrolebindings"),
    "Role": Resource("rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": Resource("rbac.authorization.k8s.io/v1", "rolebindings"),
}


def own_kubeconfig(administrator: Path) -> Path:
    """The operator's kubeconfig beside an administrator's, or that one where the operator has none."""
    own = administrator.with_name(FILE)
    return own if own.is_file() else administrator


@contextmanager
def own_account(plane: RealControlPlane) -> Iterator[None]:
    """Give the operator an account of its own while the context lasts; fail at its end if it was ever refused."""
    asyncio.run(_grant(plane))
    yield
    refused = refusals(plane.audit_log)
    assert not refused, "the chart does not grant what the operator asked for:\n" + "\n".join(refused)


def refusals(audit_log: Path, account: str = RELEASE, since: int = 0) -> list[str]:
    """The requests of a service account of the release that the API server's authorizer refused, each once.

    `since` is a position in the log, in bytes.
    """
    user = f"system:serviceaccount:{NAMESPACE}:{account}"
    found = set()
    with audit_log.open(encoding="utf-8") as lines:
        lines.seek(since)
        for line in lines:
            if user in line and '"authorization.k8s.io/decision":"forbid"' in line:
                entry = json.loads(line)
                if entry["user"]["username"] == user:
                    found.add(f"{entry['verb']} {entry['requestURI'].partition('?')[0]}")
    return sorted(found)


@cache
def chart() -> Path:
    """The chart; a copy of it that grants one right less, where the environment names one."""
    left_out = os.environ.get(WITHOUT)
    if not left_out:
        return CHART
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    copy = Path(shutil.copytree(CHART, folder / "berth"))
    rights = yaml.safe_load((CHART / "rights.yaml").read_text())
    role, group, resource, verb = re.fullmatch(r"(\w+)/([^/]*)/(.+):(\w+)", left_out).groups()  # type: ignore[union-attr]
    for rule in rights[role]["rules"]:
        if group in rule["apiGroups"] and resource in rule["resources"] and verb in rule["verbs"]:
            rule["verbs"].remove(verb)
    rights[role]["rules"] = [rule for rule in rights[role]["rules"] if rule["verbs"]]
    (copy / "rights.yaml").write_text(yaml.safe_dump(rights))
    return copy


@cache
def rendered(values: str = "{}") -> tuple[Object, ...]:
    """The chart's manifests for the release, hooks included; `values` is JSON."""
    from helm_python import Chart

    with Chart.load(chart()) as loaded:
        texts = loaded.render(json.loads(values), name=RELEASE, namespace=NAMESPACE)
    manifests = (
        manifest
        for path, text in sorted(texts.items())
        if path.endswith(".yaml")
        for manifest in yaml.load_all(text, Loader=yaml.CSafeLoader)
    )
    return tuple(manifest for manifest in manifests if manifest)


async def _grant(plane: RealControlPlane) -> None:
    async with await KubeClient.connect(str(plane.kubeconfig)) as client:
        namespaces = Resource("v1", "namespaces")
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        with suppress(Conflict):
            await client._request("POST", namespaces.path(), None, body)
        # With a standby, so that the rights of the Lease are among them.
        for manifest in rendered('{"replicas": 2}'):
            if manifest["kind"] in KINDS and "annotations" not in manifest["metadata"]:
                path = KINDS[manifest["kind"]].path(manifest["metadata"].get("namespace"))
                await client._request("POST", path, None, manifest)
        token = await account_token(client, RELEASE)
    plane.write_kubeconfig(plane.kubeconfig.with_name(FILE), token)


async def account_token(client: KubeClient, account: str) -> str:
    """Ask for a token of a service account of the release, as the kubelet does for a pod."""
    path = KINDS["ServiceAccount"].path(NAMESPACE, account, "token")
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 3600},
    }
    answer = await client._request("POST", path, None, body)
    return str(answer["status"]["token"])
