"""The rights the chart grants, compared with the whole list of what the operator may do."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from chart.conftest import CHART
from chart.variants import VARIANTS

Render = Callable[..., list[dict[str, Any]]]

# (API group, resource): verbs. A right that the operator comes to need is added here, with its reason in
# the chart, or not at all.
ALLOWED = {
    ("kaito.sh", "workspaces"): {"get", "list", "watch"},
    ("kaito.sh", "workspaces/status"): {"patch"},
    ("kaito.sh", "workspaces/finalizers"): {"update"},
    ("apps", "deployments"): {"get", "list", "watch", "create", "patch"},
    ("", "services"): {"get", "list", "watch", "create", "patch"},
    ("", "pods"): {"list", "watch"},
    ("", "events"): {"create"},
}


def granted(role: dict[str, Any]) -> dict[tuple[str, str], set[str]]:
    """A role's rules as {(group, resource): verbs}; the same pair twice would hide a verb."""
    rights: dict[tuple[str, str], set[str]] = {}
    for rule in role["rules"]:
        assert rule.keys() == {"apiGroups", "resources", "verbs"}
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                assert (group, resource) not in rights
                rights[group, resource] = set(rule["verbs"])
    return rights


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS.keys())
def test_every_role_grants_the_list_and_nothing_else(render: Render, values: dict[str, Any]) -> None:
    roles = [m for m in render(values) if m["kind"] in {"Role", "ClusterRole"}]
    assert bool(roles) == values.get("rbac", {}).get("create", True)
    for role in roles:
        assert granted(role) == ALLOWED


def test_the_list_itself_has_no_wildcard_no_secret_and_no_way_to_more_rights() -> None:
    for (group, resource), verbs in ALLOWED.items():
        assert "*" not in {group, resource, *verbs}
        assert resource.split("/")[0] not in {"secrets", "serviceaccounts"}
        assert resource not in {"pods/exec", "pods/attach", "pods/portforward", "pods/proxy", "nodes/proxy"}
        assert group != "rbac.authorization.k8s.io"
        assert not verbs & {"escalate", "bind", "impersonate", "delete", "deletecollection"}


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
    access = [m for m in render(values) if m["apiVersion"].startswith("rbac.")]
    assert {m["kind"] for m in access} == kinds
    assert sorted((m["metadata"].get("namespace") for m in access), key=str) == namespaces


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS.keys())
def test_every_binding_ties_its_role_to_the_account_the_pod_runs_as(
    render: Render, values: dict[str, Any]
) -> None:
    manifests = render(values)
    [deployment] = [m for m in manifests if m["kind"] == "Deployment"]
    account = deployment["spec"]["template"]["spec"]["serviceAccountName"]
    made = {m["metadata"]["name"] for m in manifests if m["kind"] == "ServiceAccount"}
    assert made == ({account} if values.get("serviceAccount", {}).get("create", True) else set())
    roles = {(m["kind"], m["metadata"].get("namespace"), m["metadata"]["name"]) for m in manifests}
    for binding in (m for m in manifests if m["kind"] in {"RoleBinding", "ClusterRoleBinding"}):
        reference = binding["roleRef"]
        assert (reference["kind"], binding["metadata"].get("namespace"), reference["name"]) in roles
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": account, "namespace": "berth-system"}
        ]


def test_every_rule_says_why_on_the_lines_above_it(render_text: Callable[..., dict[str, str]]) -> None:
    source = (CHART / "templates" / "_helpers.tpl").read_text()
    rules = re.split(r'define "berth\.rules" -\}\}\n', source)[1].split("{{- end -}}")[0]
    lines = rules.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("- apiGroups")]
    assert len(starts) == len(ALLOWED)
    for number in starts:
        assert number > 0
        assert lines[number - 1].startswith("# ")
    assert lines[starts[0] - 1] in render_text()["rbac.yaml"], (
        "the reasons must reach the cluster's reviewers"
    )
