"""The rights the chart grants, compared with the whole list of what the operator may do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from chart.conftest import CHART, is_smoke_test
from chart.variants import VARIANTS

Render = Callable[..., list[dict[str, Any]]]

# (API group, resource, narrowed to one name): verbs. A right that the operator comes to need is added here, and with
# its reason to rights.yaml, or not at all.
OPERATOR = {
    ("kaito.sh", "workspaces", False): {"get", "list", "watch"},
    ("kaito.sh", "workspaces/status", False): {"patch"},
    ("kaito.sh", "workspaces/finalizers", False): {"update"},
    ("apps", "deployments", False): {"get", "list", "watch", "create", "patch"},
    ("apps", "statefulsets", False): {"get", "list", "watch", "create", "patch"},
    ("", "services", False): {"get", "list", "watch", "create", "patch"},
    ("", "pods", False): {"list", "watch"},
    ("apps", "replicasets", False): {"list", "watch"},
    ("", "events", False): {"create", "get", "list", "patch"},
    ("", "configmaps", False): {"get"},
}
# What a Role cannot grant, so that an operator of single namespaces goes without.
CLUSTER_ONLY: dict[tuple[str, str, bool], set[str]] = {("", "nodes", False): {"list", "watch"}}
LEADER = {
    ("coordination.k8s.io", "leases", False): {"create"},
    ("coordination.k8s.io", "leases", True): {"get", "patch"},
}
SMOKE_TEST = {
    ("kaito.sh", "workspaces", False): {"create"},
    ("kaito.sh", "workspaces", True): {"get", "delete"},
}
RIGHTS = yaml.safe_load((CHART / "rights.yaml").read_text())

each_variant = pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS.keys())


def granted(role: dict[str, Any]) -> dict[tuple[str, str, bool], set[str]]:
    """A role's rules as {(group, resource, named): verbs}; the same triple twice would hide a verb."""
    rights: dict[tuple[str, str, bool], set[str]] = {}
    for rule in role["rules"]:
        assert rule.keys() - {"resourceNames"} == {"apiGroups", "resources", "verbs"}
        named = "resourceNames" in rule
        assert not named or len(rule["resourceNames"]) == 1
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                assert (group, resource, named) not in rights
                rights[group, resource, named] = set(rule["verbs"])
    return rights


@each_variant
def test_every_role_grants_its_list_and_nothing_else(render: Render, values: dict[str, Any]) -> None:
    roles = [m for m in render(values) if m["kind"] in {"Role", "ClusterRole"}]
    assert bool(roles) == values.get("rbac", {}).get("create", True)
    for role in roles:
        if is_smoke_test(role):
            expected = SMOKE_TEST
        elif role["metadata"]["name"].endswith("-leader"):
            expected = LEADER
        else:
            expected = OPERATOR | (CLUSTER_ONLY if role["kind"] == "ClusterRole" else {})
        assert granted(role) == expected


@each_variant
def test_a_lease_is_granted_only_where_operators_share_one(render: Render, values: dict[str, Any]) -> None:
    leaders = [m for m in render(values) if m["kind"] == "Role" and m["metadata"]["name"].endswith("-leader")]
    assert len(leaders) == int(values.get("replicas", 1) > 1)


def test_the_lists_have_no_wildcard_no_secret_and_no_way_to_more_rights() -> None:
    for (group, resource, named), verbs in [
        *OPERATOR.items(),
        *CLUSTER_ONLY.items(),
        *LEADER.items(),
        *SMOKE_TEST.items(),
    ]:
        assert "*" not in {group, resource, *verbs}
        assert resource.split("/")[0] not in {"secrets", "serviceaccounts"}
        assert resource not in {"pods/exec", "pods/attach", "pods/portforward", "pods/proxy", "nodes/proxy"}
        assert group != "rbac.authorization.k8s.io"
        assert not verbs & {"escalate", "bind", "impersonate", "deletecollection"}
        # The smoke test deletes the one Workspace that it made.
        assert "delete" not in verbs or (named and resource == "workspaces")


@pytest.mark.parametrize(
    ("values", "kinds", "namespaces"),
    [
        ({}, {"ClusterRole", "ClusterRoleBinding"}, [None, None]),
        ({"scope": "namespace"}, {"Role", "RoleBinding"}, ["berth-system"] * 2),
        (
            {"scope": "namespace", "namespaces": ["team-b", "team-a"]},
            {"Role", "RoleBinding"},
            ["team-a"] * 2 + ["team-b"] * 2,
        ),
    ],
    ids=[
        "cluster scope grants cluster-wide",
        "namespace scope grants in the release's",
        "and in each that is named",
    ],
)
def test_rights_reach_as_far_as_the_scope(
    render: Render, values: dict[str, Any], kinds: set[str], namespaces: list[str | None]
) -> None:
    access = [m for m in render(values) if m["apiVersion"].startswith("rbac.") and not is_smoke_test(m)]
    assert {m["kind"] for m in access} == kinds
    assert sorted((m["metadata"].get("namespace") for m in access), key=str) == namespaces


@each_variant
def test_every_binding_ties_its_role_to_the_account_that_the_pod_runs_as(
    render: Render, values: dict[str, Any]
) -> None:
    manifests = render(values)
    [deployment] = [m for m in manifests if m["kind"] == "Deployment"]
    [smoke_test] = [m for m in manifests if m["kind"] == "Pod"]
    accounts = {
        False: deployment["spec"]["template"]["spec"]["serviceAccountName"],
        True: smoke_test["spec"]["serviceAccountName"],
    }
    made = {
        m["metadata"]["name"] for m in manifests if m["kind"] == "ServiceAccount" and not is_smoke_test(m)
    }
    assert made == ({accounts[False]} if values.get("serviceAccount", {}).get("create", True) else set())
    roles = {(m["kind"], m["metadata"].get("namespace"), m["metadata"]["name"]) for m in manifests}
    for binding in (m for m in manifests if m["kind"] in {"RoleBinding", "ClusterRoleBinding"}):
        reference = binding["roleRef"]
        assert (reference["kind"], binding["metadata"].get("namespace"), reference["name"]) in roles
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": accounts[is_smoke_test(binding)], "namespace": "berth-system"}
        ]


def test_every_rule_has_a_reason_which_reaches_the_cluster_s_reviewers_and_the_documentation(
    render_text: Callable[..., dict[str, str]],
) -> None:
    rendered = render_text({"replicas": 2})
    text = " ".join((rendered["rbac.yaml"] + rendered["tests/smoke-test.yaml"]).replace("#", "").split())
    page = (CHART.parents[1] / "docs" / "rbac.md").read_text()
    for role in RIGHTS.values():
        for rule in role["rules"]:
            assert rule["reason"].endswith(".")
            assert " ".join(rule["reason"].split()) in text
            assert rule["reason"] in page


@each_variant
def test_everything_the_smoke_test_needs_goes_when_it_has_ended(
    render: Render, values: dict[str, Any]
) -> None:
    for manifest in render(values):
        if is_smoke_test(manifest):
            policy = set(manifest["metadata"]["annotations"]["helm.sh/hook-delete-policy"].split(","))
            assert {"before-hook-creation", "hook-succeeded"} <= policy
            # A failed test's pod is kept for its logs; its rights are not.
            assert ("hook-failed" in policy) is (manifest["kind"] != "Pod")
