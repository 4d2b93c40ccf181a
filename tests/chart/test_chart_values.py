"""values.schema.json: what is refused, that it covers every value, and that every value is explained."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from chart.conftest import CHART
from chart.variants import DIGEST, VARIANTS

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES_TEXT = (CHART / "values.yaml").read_text()
VALUES = yaml.safe_load(VALUES_TEXT)


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS.keys())
def test_values_of_real_installations_are_accepted(helm_chart: Any, values: dict[str, Any]) -> None:
    helm_chart.validate_schema(values)


def test_a_quantity_may_be_a_number(helm_chart: Any) -> None:
    helm_chart.validate_schema({"resources": {"limits": {"cpu": 2, "memory": 1e9}, "requests": {"cpu": 0.5}}})


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"replicas": 0}, "replicas"),
        ({"replicas": 4}, "replicas"),
        ({"replicaCount": 1}, "replicaCount"),
        ({"networkPolicy": {"enabled": True}}, "enabled"),
        ({"networkPolicy": {"operator": {"apiServerPorts": [0]}}}, "apiServerPorts"),
        ({"networkPolicy": {"operator": {"apiServerCIDRs": ["10.0.0.1"]}}}, "apiServerCIDRs"),
        ({"networkPolicy": {"inference": {"egress": "some"}}}, "egress"),
        ({"networkPolicy": {"inference": {"allowFrom": [{}]}}}, "allowFrom"),
        ({"networkPolicy": {"inference": {"allowFrom": [{"podselector": {}}]}}}, "podselector"),
        ({"networkPolicy": {"inference": {"extraEgress": [{"from": []}]}}}, "extraEgress"),
        ({"admissionPolicy": {"enabled": "no"}}, "enabled"),
        ({"monitoring": {"serviceMonitor": {"interval": "often"}}}, "interval"),
        ({"monitoring": {"serviceMonitor": {"authorization": {"credentials": {"key": "k"}}}}}, "name"),
        ({"monitoring": {"grafana": {}}}, "grafana"),
        ({"test": {"namespace": "Not_One"}}, "namespace"),
        ({"test": {"timeoutSeconds": 5}}, "timeoutSeconds"),
        ({"image": {"registry": "x"}}, "registry"),
        ({"image": {"tag": 1.2}}, "tag"),
        ({"image": {"tag": "has space"}}, "tag"),
        ({"image": {"digest": "sha256:abc"}}, "digest"),
        ({"image": {"digest": DIGEST.upper()}}, "digest"),
        ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
        ({"image": {"repository": "Upper/Case"}}, "repository"),
        ({"imageRegistry": "https://registry.example.com"}, "imageRegistry"),
        ({"imageRegistry": "registry.example.com/"}, "imageRegistry"),
        ({"imageRegistry": ""}, "imageRegistry"),
        ({"imagePullSecrets": ["name-only"]}, "imagePullSecrets"),
        ({"imagePullSecrets": [{"name": "x", "namespace": "y"}]}, "imagePullSecrets"),
        ({"inference": {"imagePullSecrets": [{"name": "x"}]}}, "imagePullSecrets"),
        ({"inference": {"imagePullSecrets": ["a,b"]}}, "imagePullSecrets"),
        ({"inference": {"digests": {"cpu": "sha256:abc"}}}, "cpu"),
        ({"inference": {"digests": {"rocm": DIGEST}}}, "rocm"),
        ({"vllm": {"image": "vllm/vllm-openai:v1"}}, "image"),
        ({"vllm": {"image": {"tag": ""}}}, "tag"),
        ({"vllm": {"image": {"registry": "https://docker.io"}}}, "registry"),
        ({"vllm": {"image": {"digest": "sha256:abc"}}}, "digest"),
        ({"weights": {"volume": "claim"}}, "volume"),
        ({"weights": {"volume": "node/x"}}, "volume"),
        ({"weights": {"volume": "claim/Not_A_Name"}}, "volume"),
        ({"weights": {"nodePath": "models"}}, "nodePath"),
        ({"weights": {"nodePath": "/models/../etc"}}, "nodePath"),
        ({"weights": {"fsGroup": 0}}, "fsGroup"),
        ({"weights": {"hubEndpoint": "hub.example.com"}}, "hubEndpoint"),
        ({"weights": {"proxy": {"https": "http://user:password@proxy.example.com"}}}, "https"),
        ({"weights": {"proxy": {"noProxy": ["a,b"]}}}, "noProxy"),
        ({"scope": "galaxy"}, "scope"),
        ({"namespaces": ["team-a"]}, "namespaces"),
        ({"scope": "namespace", "namespaces": ["a", "a"]}, "namespaces"),
        ({"scope": "namespace", "namespaces": ["team-*"]}, "namespaces"),
        ({"crds": {"install": "yes"}}, "install"),
        ({"serviceAccount": {"create": False}}, "serviceAccount"),
        ({"serviceAccount": {"annotations": {"a": 1}}}, "annotations"),
        ({"rbac": {"rules": []}}, "rules"),
        ({"resyncSeconds": 0}, "resyncSeconds"),
        ({"resyncSeconds": "5m"}, "resyncSeconds"),
        ({"workers": 0}, "workers"),
        ({"workers": 1.5}, "workers"),
        ({"logFormat": "xml"}, "logFormat"),
        ({"resources": {"requests": {"memory": "1 GB"}}}, "memory"),
        ({"resources": {"claims": []}}, "claims"),
        ({"runAsUser": 0}, "runAsUser"),
        ({"runAsUser": "65532"}, "runAsUser"),
        ({"securityContext": {"privileged": True}}, "securityContext"),
        ({"nodeSelector": {"zone": 1}}, "nodeSelector"),
        ({"tolerations": [{"effect": "NoShedule"}]}, "tolerations"),
        ({"tolerations": {"key": "x"}}, "tolerations"),
        ({"affinity": {"nodeAfinity": {}}}, "nodeAfinity"),
        ({"commonLabels": {"team": "not a label value"}}, "commonLabels"),
        ({"commonLabels": {"app.kubernetes.io/name": "other"}}, "commonLabels"),
        ({"podLabels": {"app.kubernetes.io/instance": "other"}}, "podLabels"),
        ({"podAnnotations": {"scrape": True}}, "podAnnotations"),
        ({"fullnameOverride": "Not_A_Name"}, "fullnameOverride"),
        ({"nameOverride": "n" * 54}, "nameOverride"),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else "",
)
def test_a_bad_value_is_refused_and_named(helm_chart: Any, values: dict[str, Any], named: str) -> None:
    from helm_python.errors import HelmError

    with pytest.raises(HelmError) as refusal:
        helm_chart.render(values, name="berth", namespace="berth-system")
    assert named in str(refusal.value)


def objects_of(schema: dict[str, Any], at: str = "") -> dict[str, dict[str, Any]]:
    """Every schema with named properties, by its dotted path; references and conditions left out."""
    found = {at: schema} if "properties" in schema else {}
    for name, child in schema.get("properties", {}).items():
        found |= objects_of(child, f"{at}.{name}".lstrip("."))
    return found


@pytest.mark.parametrize(
    ("path", "schema"), objects_of(SCHEMA).items(), ids=[path or "root" for path in objects_of(SCHEMA)]
)
def test_no_object_takes_a_key_that_it_does_not_name(path: str, schema: dict[str, Any]) -> None:
    assert schema["additionalProperties"] is False


def test_values_and_schema_name_the_same_keys() -> None:
    def keys(values: dict[str, Any], schema: dict[str, Any], at: str = "") -> None:
        properties = schema["properties"]
        # `global` comes from Helm, never from this chart.
        assert set(values) == set(properties) - {"global"}, at
        for name, value in values.items():
            # Objects with named keys are compared; maps and pass-through objects hold what users put there.
            if isinstance(value, dict) and value and "properties" in properties[name]:
                keys(value, properties[name], f"{at}.{name}")

    keys(VALUES, SCHEMA)
