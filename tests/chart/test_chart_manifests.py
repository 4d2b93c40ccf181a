"""What every manifest of the chart keeps, whatever the values."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import kubernetes.client
import pytest

from chart.conftest import CHART
from chart.pod_security import restricted_violations
from chart.variants import VARIANTS

Render = Callable[..., list[dict[str, Any]]]

CLUSTER_SCOPED = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}
MODELS = {
    "ServiceAccount": kubernetes.client.V1ServiceAccount,
    "ClusterRole": kubernetes.client.V1ClusterRole,
    "ClusterRoleBinding": kubernetes.client.V1ClusterRoleBinding,
    "Role": kubernetes.client.V1Role,
    "RoleBinding": kubernetes.client.V1RoleBinding,
    "ConfigMap": kubernetes.client.V1ConfigMap,
    "Deployment": kubernetes.client.V1Deployment,
}

each_variant = pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS.keys())


@each_variant
def test_helm_lint_finds_nothing(values: dict[str, Any]) -> None:
    from helm_python import chart

    report = chart.lint(CHART, values, strict=True, namespace="berth-system")
    # Severity 1 is advice; the only one given is that a chart may have an icon.
    findings = [message for message in report["messages"] if message["severity"] > 1]
    assert (report["total_charts_linted"], findings, report["errors"]) == (1, [], [])


@each_variant
def test_every_manifest_carries_the_release_labels(render: Render, values: dict[str, Any]) -> None:
    manifests = render(values, name="prod")
    assert manifests
    for manifest in manifests:
        labels = manifest["metadata"]["labels"]
        assert {key: labels.get(key) for key in labels if "/" in key} == {
            "app.kubernetes.io/name": "berth",
            "app.kubernetes.io/instance": "prod",
            "app.kubernetes.io/component": "operator",
            "app.kubernetes.io/version": "0.1.0",
            "app.kubernetes.io/managed-by": "Helm",
            "app.kubernetes.io/part-of": "berth",
            "helm.sh/chart": "berth-0.1.0",
        }
        assert values.get("commonLabels", {}).items() <= labels.items()


@each_variant
def test_names_are_unique_and_namespaces_are_set_where_they_belong(
    render: Render, values: dict[str, Any]
) -> None:
    manifests = render(values)
    keys = [(m["kind"], m["metadata"].get("namespace"), m["metadata"]["name"]) for m in manifests]
    assert len(keys) == len(set(keys))
    for kind, namespace, _ in keys:
        assert (namespace is None) == (kind in CLUSTER_SCOPED)


@each_variant
def test_every_field_is_one_that_kubernetes_knows(render: Render, values: dict[str, Any]) -> None:
    for manifest in render(values):
        if manifest["kind"] != "CustomResourceDefinition":
            model = MODELS[manifest["kind"]].from_dict(manifest)
            assert model.model_dump(by_alias=True, exclude_none=True) == manifest


@each_variant
def test_the_operator_pod_keeps_the_restricted_pod_security_standard(
    render: Render, values: dict[str, Any]
) -> None:
    [pod] = [m["spec"]["template"]["spec"] for m in render(values) if m["kind"] == "Deployment"]
    assert restricted_violations(pod) == []
    [container] = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True


@each_variant
def test_no_manifest_is_or_holds_a_secret(render: Render, values: dict[str, Any]) -> None:
    for manifest in render(values):
        assert manifest["kind"] != "Secret"
        if manifest["kind"] == "Deployment":
            pod = manifest["spec"]["template"]["spec"]
            assert not [v for v in pod["volumes"] if "secret" in v]
            assert not [e for c in pod["containers"] for e in c["env"] if "valueFrom" in e]


def test_rendering_twice_gives_the_same_text(render_text: Callable[..., dict[str, str]]) -> None:
    assert render_text() == render_text()


def test_two_releases_of_one_name_in_two_namespaces_do_not_collide(render: Render) -> None:
    def cluster_wide(namespace: str) -> set[tuple[str, str]]:
        return {
            (m["kind"], m["metadata"]["name"])
            for m in render({"crds": {"install": False}}, namespace=namespace)
            if m["kind"] in CLUSTER_SCOPED
        }

    assert cluster_wide("one")
    assert cluster_wide("one").isdisjoint(cluster_wide("two"))


def test_managed_clusters_whose_versions_carry_a_suffix_are_in_range(helm_chart: Any) -> None:
    # Helm orders 1.34.1-gke.100 below 1.34.1 and keeps it out of a range that names no suffix itself.
    assert re.fullmatch(r">=1\.\d+\.0-0", helm_chart.metadata["kubeVersion"])
