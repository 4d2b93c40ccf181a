"""Whether a pod fits the node, and what is said when it does not."""

from decimal import Decimal
from typing import Any

import pytest

from agent_objects import container, node, pod
from berth_local.agent.plan.resources import pod_requests, qos_class
from berth_local.agent.plan.scheduling import unschedulable

OS_LINUX = {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}
NO_MATCH = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."


def asking(**amounts: str) -> list[dict[str, Any]]:
    return [container(resources={"requests": amounts})]


def affinity(*expressions: dict[str, Any], **term: Any) -> dict[str, Any]:
    terms = [{"matchExpressions": list(expressions), **term}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return {"nodeAffinity": required}


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        pytest.param({}, None, id="a pod that asks for nothing"),
        pytest.param({"containers": asking(cpu="4", memory="8Gi")}, None, id="the whole node"),
        pytest.param(
            {"containers": asking(**{"nvidia.com/gpu": "1"})},
            "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
            id="a GPU",
        ),
        pytest.param(
            {"containers": asking(cpu="4001m", memory="9Gi")},
            "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory.",
            id="more CPU and memory than there is",
        ),
        pytest.param({"nodeSelector": {"kubernetes.io/os": "linux"}}, None, id="a label the node has"),
        pytest.param({"nodeSelector": {"disk": "ssd"}}, NO_MATCH, id="a label it lacks"),
        pytest.param({"affinity": affinity(OS_LINUX)}, None, id="an affinity that holds"),
        pytest.param(
            {"affinity": affinity(OS_LINUX, {"key": "apps", "operator": "Exists"})},
            NO_MATCH,
            id="one that holds by half",
        ),
        pytest.param(
            {"affinity": affinity({"key": "apps", "operator": "DoesNotExist"})},
            None,
            id="a label it must lack",
        ),
        pytest.param(
            {"affinity": affinity({"key": "kubernetes.io/os", "operator": "NotIn", "values": ["linux"]})},
            NO_MATCH,
            id="a value it must not have",
        ),
        pytest.param(
            {"affinity": affinity({"key": "x", "operator": "Gt", "values": ["1"]})},
            NO_MATCH,
            id="a number it lacks",
        ),
        pytest.param(
            {
                "affinity": affinity(
                    matchFields=[{"key": "metadata.name", "operator": "In", "values": ["berth-local"]}]
                )
            },
            None,
            id="the node by name",
        ),
        pytest.param({"affinity": affinity()}, NO_MATCH, id="an empty term, which matches no node"),
        pytest.param(
            {"nodeSelector": {"disk": "ssd"}, "containers": asking(**{"nvidia.com/gpu": "1"})},
            NO_MATCH,
            id="affinity is judged before resources",
        ),
    ],
)
def test_the_schedulers_words(spec: dict[str, Any], why: str | None) -> None:
    assert unschedulable(pod(node="", **spec), node(), []) == why


def test_pods_on_the_node_count_against_it() -> None:
    there = pod(containers=asking(cpu="3"))
    assert unschedulable(pod(node="", containers=asking(cpu="1")), node(), [there]) is None
    why = unschedulable(pod(node="", containers=asking(cpu="2")), node(), [there])
    assert why == "0/1 nodes are available: 1 Insufficient cpu."


def test_a_full_node_takes_no_more_pods() -> None:
    assert unschedulable(pod(node=""), node(pods="1"), [pod()]) == "0/1 nodes are available: 1 Too many pods."


@pytest.mark.parametrize(
    ("tolerations", "fits"),
    [
        pytest.param([], False, id="no toleration"),
        pytest.param([{"operator": "Exists"}], True, id="one for all"),
        pytest.param([{"key": "sku", "operator": "Exists", "effect": "NoSchedule"}], True, id="by key"),
        pytest.param([{"key": "sku", "value": "gpu"}], True, id="by key and value"),
        pytest.param([{"key": "sku", "value": "cpu"}], False, id="another value"),
        pytest.param(
            [{"key": "sku", "operator": "Exists", "effect": "NoExecute"}], False, id="another effect"
        ),
    ],
)
def test_taints_keep_out_pods_without_a_toleration(tolerations: list[dict[str, str]], fits: bool) -> None:
    tainted = node() | {"spec": {"taints": [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}]}}
    assert (unschedulable(pod(node="", tolerations=tolerations), tainted, []) is None) is fits


def test_a_pod_asks_for_the_sum_of_its_containers_or_its_largest_init_container() -> None:
    spec = {
        "containers": [*asking(cpu="500m", memory="1Gi"), container(resources={"limits": {"cpu": "1"}})],
        "initContainers": asking(cpu="1", memory="2Gi"),
    }
    assert pod_requests(spec) == {"cpu": Decimal("1.5"), "memory": Decimal(2**31)}


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}, "Burstable"),
    ],
)
def test_the_quality_of_service_class(resources: dict[str, Any], expected: str) -> None:
    assert qos_class({"containers": [container(resources=resources)]}) == expected
