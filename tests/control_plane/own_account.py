"""The operator's own ServiceAccount, with the chart's rights and no others, on a control plane that tests started."""

from __future__ import annotations

import asyncio
import json
import os
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
"""`group/resource:verb`, as in `apps/deployments:patch` or `/pods:watch`: one right that is left out, to see whether
it is missed. See tools/try_without_each_right.py."""

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
def rendered(values: str = "{}") -> tuple[Object, ...]:
    """The chart's manifests for the release, hooks included; `values` is JSON."""
    from helm_python import Chart

    with Chart.load(CHART) as chart:
        texts = chart.render(json.loads(values), name=RELEASE, namespace=NAMESPACE)
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
                await client._request("POST", path, None, _without(manifest))
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


def _without(role: Object) -> Object:
    left_out = os.environ.get(WITHOUT)
    if not left_out or "rules" not in role:
        return role
    what, _, verb = left_out.rpartition(":")
    group, _, resource = what.partition("/")
    rules = [
        {**rule, "verbs": [one for one in rule["verbs"] if one != verb]}
        if group in rule["apiGroups"] and resource in rule["resources"]
        else rule
        for rule in role["rules"]
    ]
    return {**role, "rules": [rule for rule in rules if rule["verbs"]]}
