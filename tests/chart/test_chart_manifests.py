"""What every manifest of the chart keeps, whatever the values."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import kubernetes_validate
import pytest

from berth_operator.versions import NEWEST_KUBERNETES, OLDEST_KUBERNETES
from chart.conftest import CHART, is_smoke_test
from chart.pod_security import restricted_violations
from chart.variants import VARIANTS

Render = Callable[..., list[dict[str, Any]]]

CLUSTER_SCOPED = {
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}
FOREIGN = {"monitoring.coreos.com/v1"}
"""API groups whose schemas are not Kubernetes' own; test_chart_monitoring.py judges these."""

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
            "app.kubernetes.io/component": "smoke-test" if is_smoke_test(manifest) else "operator",
            "app.kubernetes.io/version": "0.1.0",
            "app.kubernetes.io/managed-by": "Helm",
            "app.kubernetes.io/part-of": "berth",
            "helm.sh/chart": "berth-0.1.0",
        }
        assert values.get("commonLabels", {}).items() <= labels.items()


@each_variant
def test_no_selector_of_the_operator_finds_the_smoke_test(render: Render, values: dict[str, Any]) -> None:
    manifests = render(values)
    [pod] = [m for m in manifests if m["kind"] == "Pod"]
    [deployment] = [m for m in manifests if m["kind"] == "Deployment"]
    assert not deployment["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


@each_variant
def test_names_are_unique_and_namespaces_are_set_where_they_belong(
    render: Render, values: dict[str, Any]
) -> None:
    manifests = render(values)
    keys = [(m["kind"], m["metadata"].get("namespace"), m["metadata"]["name"]) for m in manifests]
    assert len(keys) == len(set(keys))
    for kind, namespace, _ in keys:
        assert (namespace is None) == (kind in CLUSTER_SCOPED)


@pytest.mark.parametrize("version", [OLDEST_KUBERNETES, NEWEST_KUBERNETES])
@each_variant
def test_every_manifest_is_valid_on_the_oldest_and_the_newest_supported_kubernetes(
    render: Render, values: dict[str, Any], version: str
) -> None:
    for manifest in render(values):
        # The CRD's own schema is judged where the CRD is made; it is the same in every variant.
        if manifest["kind"] != "CustomResourceDefinition" and manifest["apiVersion"] not in FOREIGN:
            _validate(json.dumps(manifest), version)


@functools.cache
def _validate(manifest: str, version: str) -> None:
    """Once for each manifest: most are the same in most variants."""
    kubernetes_validate.validate(json.loads(manifest), version, strict=True)


@each_variant
def test_both_pods_keep_the_restricted_pod_security_standard(render: Render, values: dict[str, Any]) -> None:
    manifests = render(values)
    [operator] = [m["spec"]["template"]["spec"] for m in manifests if m["kind"] == "Deployment"]
    [smoke_test] = [m["spec"] for m in manifests if m["kind"] == "Pod"]
    for pod in (operator, smoke_test):
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


def test_the_oldest_supported_kubernetes_is_the_chart_s_and_suffixes_of_managed_clusters_are_in_range(
    helm_chart: Any,
) -> None:
    # Helm orders 1.34.1-gke.100 below 1.34.1 and keeps it out of a range that names no suffix itself. There is no
    # upper end: a cluster's upgrade must not make the next `helm upgrade` impossible.
    assert helm_chart.metadata["kubeVersion"] == f">={OLDEST_KUBERNETES}.0-0"
