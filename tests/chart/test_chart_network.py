"""The network policies: whom they select, what they let through, and that the default ones break nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from berth_operator.api.names import LABEL_GROUP, LABEL_WORKSPACE, SERVER_PORT
from chart.variants import VARIANTS

Render = Callable[..., list[dict[str, Any]]]
DNS = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}
HTTPS = {"ports": [{"port": 443, "protocol": "TCP"}]}


def policies(render: Render, values: dict[str, Any] | None = None) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (m["metadata"]["namespace"], m["metadata"]["name"]): m["spec"]
        for m in render(values)
        if m["kind"] == "NetworkPolicy"
    }


def test_by_default_nothing_reaches_the_operator_and_the_operator_reaches_everything(render: Render) -> None:
    [deployment] = [m for m in render() if m["kind"] == "Deployment"]
    assert policies(render) == {
        ("berth-system", "berth"): {
            "podSelector": {"matchLabels": deployment["spec"]["selector"]["matchLabels"]},
            "policyTypes": ["Ingress"],
            "ingress": [],
        }
    }


def test_a_bounded_operator_reaches_dns_and_the_api_server(render: Render) -> None:
    [spec] = policies(render, VARIANTS["egress of the operator bounded"]).values()
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["egress"] == [
        DNS,
        {
            "ports": [{"port": 6443, "protocol": "TCP"}],
            "to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}, {"ipBlock": {"cidr": "fd00::1/128"}}],
        },
    ]


def test_fenced_models_answer_at_their_port_to_those_who_may_ask_and_to_the_smoke_test(
    render: Render,
) -> None:
    values = VARIANTS["models fenced in"]
    found = policies(render, values)
    assert set(found) == {
        ("berth-system", "berth"),
        *(
            (team, f"berth-{fence}")
            for team in ("team-a", "team-b")
            for fence in ("inference", "inference-groups")
        ),
    }
    spec = found["team-a", "berth-inference"]
    assert spec["podSelector"] == {"matchExpressions": [{"key": LABEL_WORKSPACE, "operator": "Exists"}]}
    [rule] = spec["ingress"]
    assert rule["ports"] == [{"port": SERVER_PORT, "protocol": "TCP"}]
    asked = values["networkPolicy"]["inference"]
    assert rule["from"][:-1] == asked["allowFrom"]
    [pod] = [m for m in render(values) if m["kind"] == "Pod"]
    peer = rule["from"][-1]
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "berth-system"}
    assert peer["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert spec["egress"] == [DNS, HTTPS, *asked["extraEgress"]]


@pytest.mark.parametrize(
    ("inference", "types", "egress"),
    [
        ({}, ["Ingress", "Egress"], [DNS, HTTPS]),
        ({"egress": "none"}, ["Ingress", "Egress"], []),
        ({"egress": "none", "extraEgress": [HTTPS]}, ["Ingress", "Egress"], [DNS, HTTPS]),
        ({"egress": "any"}, ["Ingress"], None),
    ],
    ids=["the hub", "nothing", "a mirror by name", "anything"],
)
def test_what_models_reach_is_a_value(
    render: Render, inference: dict[str, Any], types: list[str], egress: list[Any] | None
) -> None:
    spec = policies(render, {"networkPolicy": {"inference": {"enabled": True, **inference}}})[
        "berth-system", "berth-inference"
    ]
    assert (spec["policyTypes"], spec.get("egress")) == (types, egress)
    # Without a list of who may ask, whoever reaches the pods may.
    assert "from" not in spec["ingress"][0]


@pytest.mark.parametrize(
    ("egress", "types"),
    [("hub", ["Ingress", "Egress"]), ("none", ["Ingress", "Egress"]), ("any", ["Ingress"])],
)
def test_pods_that_hold_a_model_together_reach_each_other_and_are_reached_by_nobody_else(
    render: Render, egress: str, types: list[str]
) -> None:
    found = policies(render, {"networkPolicy": {"inference": {"enabled": True, "egress": egress}}})
    spec = found["berth-system", "berth-inference-groups"]
    members = {"matchExpressions": [{"key": LABEL_GROUP, "operator": "Exists"}]}
    assert spec["podSelector"] == members
    assert spec["policyTypes"] == types
    # Without a namespace, the policy's own is meant.
    assert spec["ingress"] == [{"from": [{"podSelector": members}]}]
    assert spec.get("egress") == ([{"to": [{"podSelector": members}]}, DNS] if "Egress" in types else None)


def test_models_are_fenced_where_the_operator_serves(render: Render) -> None:
    assert ("team-a", "berth-inference") in policies(render, VARIANTS["models that reach nothing"])


def test_both_are_one_value_away_from_gone(render: Render) -> None:
    assert policies(render, VARIANTS["no network policies"]) == {}
