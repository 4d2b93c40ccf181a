"""Two hundred damaged Workspaces: each is refused at once or told what is wrong, and none disturbs the operator."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from berth_operator.cluster_cache import WORKSPACES
from berth_operator.kube import KubeError, Object
from control_plane.cluster import Cluster, condition, eventually, workspace
from control_plane.fake_nodes import FakeNodes
from control_plane.mutations import Mutant, mutants
from control_plane.operator_process import OperatorProcess

SEED = 20261120
COUNT = 200
MEMORY_MIB = 250
"""About 100 MiB is the process with its libraries; the rest is room for what it was sent."""

UNDER_WAY = {"Deploying", "Starting", "RollingOut", "Stopped"}
REMEDY = re.compile(
    r"\b(use|set|remove|rename|delete|change|write|name|put|add|keep|give|choose|correct|accept|look|see)\b",
    re.I,
)


def valid(namespace: str) -> tuple[Object, ...]:
    """Workspaces with much to damage: every field that a user may set stands in one of them."""
    by_preset = workspace(namespace, "valid")
    by_preset["metadata"].update(
        annotations={"kaito.sh/enablelb": "True", "berth.dev/accelerator": "nvidia"},
        labels={"team": "search"},
    )
    by_preset["resource"].update(
        instanceType="Standard_NC24ads_A100_v4",
        preferredNodes=["node-1"],
        labelSelector={
            "matchLabels": {"apps": "phi-3"},
            "matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}],
        },
    )
    by_preset["inference"]["preset"].update(accessMode="public", presetOptions={"modelAccessSecret": "hub"})
    private = workspace(namespace, "valid")
    private["inference"]["preset"].update(
        accessMode="private",
        presetOptions={"image": "registry.example.com/phi:1", "imagePullSecrets": ["pull"]},
    )
    container = {
        "name": "server",
        "image": "example.com/server:1",
        "command": ["serve"],
        "env": [
            {"name": "A", "value": "1"},
            {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        ],
        "ports": [{"containerPort": 5000, "name": "http"}],
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
        "readinessProbe": {"httpGet": {"path": "/", "port": 5000}},
    }
    affinity = {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "gpu", "operator": "Exists"}]}]
            }
        }
    }
    template = {
        "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
        "spec": {
            "containers": [container],
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "affinity": affinity,
            "volumes": [{"name": "v", "emptyDir": {}}],
        },
    }
    # Twice: what a template holds is looked at by nobody before the operator.
    return by_preset, private, *(workspace(namespace, "valid", template=template) for _ in range(2))


async def test_every_mutant_is_refused_or_told_and_the_operator_goes_on(
    operator: OperatorProcess, cluster: Cluster, nodes: FakeNodes, name: str
) -> None:
    accepted: dict[str, Mutant] = {}
    for mutant in mutants(SEED, COUNT, valid(cluster.namespace)):
        if (live := await _apply(cluster, mutant)) is not None:
            accepted[live["metadata"]["name"]] = mutant
    assert len(accepted) > COUNT / 10, "most damage should not be caught by the API server alone"

    async def untold() -> list[str]:
        live = {
            item["metadata"]["name"]: item for item in await cluster.list_all(WORKSPACES, cluster.namespace)
        }
        return [
            f"{mutant.number}: {mutant.damage}" for one, mutant in accepted.items() if not _is_told(live[one])
        ]

    await eventually(untold, lambda left: not left, "a condition on every accepted mutant")
    told = {
        item["metadata"]["name"]: condition(item)
        for item in await cluster.list_all(WORKSPACES, cluster.namespace)
    }
    without_remedy = [
        f"{accepted[one].damage}: {ready['message']}"
        for one, ready in told.items()
        if ready["reason"] not in UNDER_WAY and not REMEDY.search(ready["message"])
    ]
    assert without_remedy == []

    # And what is sound is served as promptly as ever.
    await cluster.create_workspace(name)
    await cluster.exposed(name)
    await nodes.serve(name)
    await cluster.reported(name, "Serving")
    assert "Traceback" not in operator.log, operator.log[-8000:]
    assert _resident_mib(operator.pid) < MEMORY_MIB


async def _apply(cluster: Cluster, mutant: Mutant) -> Object | None:
    """Apply a mutant; None where the API server refuses it, as a fault of the sender's."""
    try:
        return await cluster.send(WORKSPACES, mutant.body)
    except KubeError as error:
        if 400 <= error.status < 500:
            return None
        raise AssertionError(f"{mutant.number}, {mutant.damage}: {error}") from error


def _resident_mib(pid: int) -> float:
    """The memory that a process holds; 0 where the system does not say so in /proc."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return 0
    return int(re.findall(r"VmRSS:\s+(\d+) kB", status.read_text())[0]) / 1024


def _is_told(live: Object) -> bool:
    told = condition(live)
    return bool(told) and told["observedGeneration"] == live["metadata"]["generation"]


@pytest.mark.parametrize("seed", [SEED])
def test_a_mutant_can_be_made_again_from_its_number(seed: int) -> None:
    start = valid("default")
    first, second = list(mutants(seed, 20, start)), list(mutants(seed, 20, start))
    assert first == second
