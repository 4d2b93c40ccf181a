"""ServiceMonitor, alerts and dashboard: they find the models' Services, and ask for metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from berth_inference.engine.interface import Occupancy
from berth_inference.metrics import Metrics
from berth_operator.api.names import PORT_NAME
from berth_operator.api.workspace import parse_workspace
from berth_operator.plan.service import render_service
from chart.variants import VARIANTS

Render = Callable[..., list[dict[str, Any]]]

METRICS = {
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    "vllm:request_success_total",
    "vllm:time_to_first_token_seconds_bucket",
    "vllm:inter_token_latency_seconds_bucket",
    "vllm:e2e_request_latency_seconds_bucket",
    "vllm:prompt_tokens_total",
    "vllm:generation_tokens_total",
}
"""vLLM's names, from its page of production metrics, for what Berth's server and vLLM both report."""


def reported() -> set[str]:
    metrics = Metrics("m")
    metrics.watch(Occupancy, lambda: True)
    return {sample.name for family in metrics.registry.collect() for sample in family.samples}


def one(render: Render, kind: str, name: str, variant: str = "monitoring") -> dict[str, Any]:
    [found] = [m for m in render(VARIANTS[variant]) if m["kind"] == kind and m["metadata"]["name"] == name]
    return found


def rules(render: Render) -> list[dict[str, Any]]:
    [group] = one(render, "PrometheusRule", "berth")["spec"]["groups"]
    return group["rules"]


def panels(render: Render) -> list[dict[str, Any]]:
    text = one(render, "ConfigMap", "berth-dashboard")["data"]["berth-models.json"]
    return json.loads(text)["panels"]


def expressions(render: Render) -> list[str]:
    queries = [target["expr"] for panel in panels(render) for target in panel["targets"]]
    return [rule["expr"] for rule in rules(render)] + queries


def test_nothing_of_it_is_there_unless_asked_for(render: Render) -> None:
    assert not [
        m
        for m in render()
        if m["apiVersion"].startswith("monitoring.") or "dashboard" in m["metadata"]["name"]
    ]


def test_the_monitor_finds_the_services_that_the_operator_makes(render: Render) -> None:
    spec = one(render, "ServiceMonitor", "berth")["spec"]
    workspace = parse_workspace(
        {
            "metadata": {"name": "w", "namespace": "n", "uid": "u", "generation": 1},
            "resource": {"labelSelector": {"matchLabels": {"a": "b"}}},
            "inference": {"preset": {"name": "tiny-chat"}},
        }
    )
    service = render_service(workspace)
    labels = service["metadata"]["labels"]
    assert spec["selector"]["matchLabels"].items() <= labels.items()
    assert {e["key"] for e in spec["selector"]["matchExpressions"]} <= labels.keys()
    [endpoint] = spec["endpoints"]
    assert (endpoint["port"], endpoint["path"], endpoint["interval"]) == (PORT_NAME, "/metrics", "15s")
    assert PORT_NAME in {port["name"] for port in service["spec"]["ports"]}


@pytest.mark.parametrize(
    ("variant", "selector"),
    [
        ("monitoring", {"any": True}),
        ("monitoring of one namespace", {"matchNames": ["berth-system"]}),
    ],
)
def test_it_looks_where_the_operator_serves(render: Render, variant: str, selector: dict[str, Any]) -> None:
    assert one(render, "ServiceMonitor", "berth", variant)["spec"]["namespaceSelector"] == selector


def test_models_that_ask_for_a_key_are_scraped_with_one(render: Render) -> None:
    [endpoint] = one(render, "ServiceMonitor", "berth", "monitoring of one namespace")["spec"]["endpoints"]
    assert endpoint["authorization"] == {"credentials": {"name": "scraper", "key": "api-key"}}
    [endpoint] = one(render, "ServiceMonitor", "berth")["spec"]["endpoints"]
    assert "authorization" not in endpoint


def test_labels_that_prometheus_and_grafana_select_by_are_set(render: Render) -> None:
    assert one(render, "ServiceMonitor", "berth")["metadata"]["labels"]["release"] == "prometheus"
    assert one(render, "PrometheusRule", "berth")["metadata"]["labels"]["release"] == "prometheus"
    metadata = one(render, "ConfigMap", "berth-dashboard")["metadata"]
    assert metadata["labels"]["grafana_dashboard"] == "1"
    assert metadata["annotations"] == {"grafana_folder": "LLM"}


def test_alerts_and_panels_ask_for_metrics_that_the_server_reports(render: Render) -> None:
    asked = {name for expression in expressions(render) for name in re.findall(r"vllm:\w+", expression)}
    assert asked == METRICS
    assert reported() >= METRICS


def test_what_they_group_by_is_what_the_monitor_sets(render: Render) -> None:
    [endpoint] = one(render, "ServiceMonitor", "berth")["spec"]["endpoints"]
    assert {"workspace", "job"} == {relabeling["targetLabel"] for relabeling in endpoint["relabelings"]}
    job = next(r["replacement"] for r in endpoint["relabelings"] if r["targetLabel"] == "job")
    for expression in expressions(render):
        for grouped in re.findall(r"by \(([^)]*)\)", expression):
            assert {"namespace", "workspace"} <= set(grouped.split(", "))
        if expression.startswith(("up", "sum by (namespace, workspace) (up")):
            assert f'job="{job}"' in expression


def test_every_alert_says_what_and_what_to_do(render: Render) -> None:
    for rule in rules(render):
        assert rule["alert"].startswith("Berth")
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert {"summary", "description"} == rule["annotations"].keys()
        assert "$labels.workspace" in rule["annotations"]["summary"]


def test_every_panel_has_a_place_of_its_own(render: Render) -> None:
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels(render)]
    assert len(places) == len(set(places)) == len({p["id"] for p in panels(render)})


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("needs promtool, which comes with Prometheus, on the path")
    return found


def test_prometheus_accepts_the_rules_and_fires_them_when_it_should(
    render: Render, promtool: str, tmp_path: Path
) -> None:
    spec = one(render, "PrometheusRule", "berth")["spec"]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(spec))
    labels = '{job="berth",namespace="n",workspace="w",pod="p"'
    firing = {
        "BerthModelDown": ({f"up{labels}}}": "0x30"}, "critical", True),
        "BerthRequestsQueue": ({f"vllm:num_requests_waiting{labels}}}": "3x30"}, "warning", False),
        "BerthRequestsStuck": (
            {
                f"vllm:num_requests_running{labels}}}": "1x30",
                f"vllm:generation_tokens_total{labels}}}": "100x30",
            },
            "critical",
            False,
        ),
        "BerthFirstTokenSlow": (
            {
                f'vllm:time_to_first_token_seconds_bucket{labels},le="10"}}': "0x30",
                f'vllm:time_to_first_token_seconds_bucket{labels},le="20"}}': "0+10x30",
                f'vllm:time_to_first_token_seconds_bucket{labels},le="+Inf"}}': "0+10x30",
            },
            "warning",
            False,
        ),
    }
    assert set(firing) == {rule["alert"] for rule in spec["groups"][0]["rules"]}

    def case(alert: str, series: dict[str, str], expected: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "alert_rule_test": [{"eval_time": "25m", "alertname": alert, "exp_alerts": expected}],
        }

    tests = []
    for rule in spec["groups"][0]["rules"]:
        series, severity, with_pod = firing[rule["alert"]]
        tests.append(case(rule["alert"], {name: "0x30" for name in series if "up{" not in name}, []))
        found = {"namespace": "n", "workspace": "w", "severity": severity}
        said = {
            key: text.replace("{{ $labels.workspace }}", "w")
            .replace("{{ $labels.namespace }}", "n")
            .replace("{{ $labels.pod }}", "p")
            .replace("{{ $value | humanizeDuration }}", "19.5s")
            for key, text in rule["annotations"].items()
        }
        extra = {"job": "berth", "pod": "p"} if with_pod else {}
        tests.append(case(rule["alert"], series, [{"exp_labels": found | extra, "exp_annotations": said}]))
    (tmp_path / "test.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": tests}))
    for command in (["check", "rules", "rules.yaml"], ["test", "rules", "test.yaml"]):
        ran = subprocess.run([promtool, *command], cwd=tmp_path, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_panel_s_query_is_promql(render: Render, promtool: str, tmp_path: Path) -> None:
    queries = [target["expr"] for panel in panels(render) for target in panel["targets"]]
    recorded = [
        {"record": f"q{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(queries)
    ]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}))
    ran = subprocess.run(
        [promtool, "check", "rules", tmp_path / "rules.yaml"], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
