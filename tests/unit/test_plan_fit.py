"""Whether a model fits, before any pod is made: the arithmetic in words, and the smallest machine that would do."""

from __future__ import annotations

from typing import Any

import pytest

from berth_operator.api.workspace import parse_workspace
from berth_operator.plan.instance_types import CLOUDS, INSTANCE_TYPES, smallest
from berth_operator.plan.metadata import ANNOTATION_RENDERED
from berth_operator.plan.observed import Observed
from berth_operator.plan.reasons import Finding, Reason
from berth_operator.plan.workload import Workload, plan_workload
from berth_operator.presets import load_presets
from berth_operator.quantity import GIB
from berth_operator.settings import Settings
from unit.cluster_objects import node

CATALOGUE = load_presets()
MEDIUM = "phi-3-medium-4k-instruct"  # 30.5 GiB
A10 = {"nvidia.com/gpu.memory": "24576", "nvidia.com/gpu.count": "1", "nvidia.com/gpu.product": "NVIDIA-A10"}
A100 = {"nvidia.com/gpu.memory": "81920", "nvidia.com/gpu.count": "1"}
TYPE = "node.kubernetes.io/instance-type"


def planned(
    *nodes: dict[str, Any],
    preset: str = MEDIUM,
    instance_type: str = "",
    annotations: dict[str, str] | None = None,
    deployment: dict[str, Any] | None = None,
    readable: bool = True,
) -> Workload | Finding:
    raw = {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": "ws", "namespace": "ns", "annotations": annotations or {}},
        "resource": {"instanceType": instance_type},
        "inference": {"preset": {"name": preset}},
    }
    observed = Observed(deployment=deployment, nodes=nodes if readable else None)
    return plan_workload(parse_workspace(raw), CATALOGUE, Settings(), observed=observed)


def test_a_model_too_large_for_every_matching_node_is_refused_with_the_arithmetic() -> None:
    found = planned(node(labels=A10))
    assert isinstance(found, Finding)
    assert found.reason is Reason.DOES_NOT_FIT
    assert (
        "26.0 GiB weights + 0.8 GiB KV cache at 4096 tokens + 3.7 GiB overhead = 30.5 GiB on 1 GPU"
        in found.message
    )
    assert 'the largest matching node "n1" has 1 x 24 GiB (NVIDIA-A10)' in found.message
    assert "Standard_NC24ads_A100_v4" in found.message
    assert "kaito.sh/bypass-resource-checks" in found.message
    assert found.terminal


def test_an_instance_type_that_is_too_small_is_refused_before_there_is_a_node() -> None:
    found = planned(instance_type="Standard_NV36ads_A10_v5", readable=False)
    assert isinstance(found, Finding)
    assert "instance type Standard_NV36ads_A10_v5 has 1 x 24 GiB (A10)" in found.message
    assert "use Standard_NC24ads_A100_v4 (1 x 80 GiB)," in found.message
    assert "g5" not in found.message, "another cloud's types are no help"


@pytest.mark.parametrize(
    ("nodes", "instance_type"),
    [
        pytest.param((node(labels=A10), node("n2", labels=A100)), "", id="one node is large enough"),
        pytest.param(
            (), "Standard_NC24ads_A100_v4", id="a known type is large enough, in any case of letters"
        ),
        pytest.param((), "standard_nc24ADS_a100_v4", id="whatever the case of its letters"),
        pytest.param(
            (node(labels={TYPE: "a2-highgpu-1g"}),), "", id="a node's type tells, without GPU labels"
        ),
    ],
)
def test_a_model_that_fits_is_planned_and_its_fit_is_known(
    nodes: tuple[Any, ...], instance_type: str
) -> None:
    found = planned(*nodes, instance_type=instance_type)
    assert isinstance(found, Workload), found
    assert found.fit is not None
    assert found.fit.fits is True


@pytest.mark.parametrize(
    ("nodes", "more"),
    [
        pytest.param((), {}, id="there are no nodes yet"),
        pytest.param((), {"readable": False}, id="nodes may not be read"),
        pytest.param((), {"instance_type": "Standard_NC_of_tomorrow"}, id="a type that is not known"),
        pytest.param((node(labels=A10), node("n2")), {}, id="a GPU node that says nothing of its memory"),
        pytest.param((node(gpus=0),), {}, id="nodes without GPUs, which the scheduler judges"),
        pytest.param(
            (node(labels={**A10, "nvidia.com/gpu.memory": "lots"}),), {}, id="a label that is no number"
        ),
    ],
)
def test_what_cannot_be_judged_is_not_refused(nodes: tuple[Any, ...], more: dict[str, Any]) -> None:
    found = planned(*nodes, **more)
    assert isinstance(found, Workload), found
    assert found.fit is not None
    assert found.fit.fits is None


EVERYWHERE = "Standard_NC24ads_A100_v4 (1 x 80 GiB) or g6e.xlarge (1 x 44 GiB) or a2-highgpu-1g (1 x 40 GiB)"


@pytest.mark.parametrize(
    ("more", "use"),
    [
        pytest.param({}, EVERYWHERE, id="a cluster that does not say where it is"),
        pytest.param({"provider": "azure:///x"}, "Standard_NC24ads_A100_v4 (1 x 80 GiB)", id="Azure"),
        pytest.param({"provider": "aws:///x"}, "g6e.xlarge (1 x 44 GiB)", id="AWS"),
        pytest.param({"provider": "gce://x"}, "a2-highgpu-1g (1 x 40 GiB)", id="Google"),
        pytest.param({"provider": "kind://x"}, EVERYWHERE, id="none of the three"),
    ],
)
def test_the_smallest_types_of_the_cloud_that_the_nodes_are_in_are_suggested(
    more: dict[str, Any], use: str
) -> None:
    found = planned(node(labels=A10, **more))
    assert isinstance(found, Finding)
    assert found.remedy.startswith(f"use {use}, or a smaller preset")


def test_a_node_whose_type_is_known_counts_before_its_device_plugin_runs() -> None:
    found = planned(node(gpus=0, labels={TYPE: "g5.xlarge"}))
    assert isinstance(found, Finding)
    assert 'the largest matching node "n1" has 1 x 24 GiB (A10G)' in found.message


def test_nodes_that_the_selector_excludes_do_not_count() -> None:
    raw_type = {TYPE: "g5.xlarge"}
    found = planned(node(labels=A100), node("n2", labels=raw_type), instance_type="g5.xlarge")
    assert isinstance(found, Finding)
    assert "1 x 24 GiB" in found.message
    assert "g6e.xlarge" in found.message


def test_whoever_insists_gets_a_warning_and_their_pods() -> None:
    found = planned(node(labels=A10), annotations={"kaito.sh/bypass-resource-checks": "true"})
    assert isinstance(found, Workload)
    (warning,) = found.warnings
    assert warning.reason is Reason.DOES_NOT_FIT
    assert "it is tried all the same" in warning.message
    assert not warning.terminal


def test_what_runs_and_serves_already_fits_whatever_the_arithmetic_says() -> None:
    fits = planned()
    assert isinstance(fits, Workload)
    stamp = {ANNOTATION_RENDERED: fits.deployment["metadata"]["annotations"][ANNOTATION_RENDERED]}
    live = {"metadata": {"name": "ws", "annotations": stamp}, "status": {"readyReplicas": 1}}
    assert isinstance(planned(node(labels=A10), deployment=live), Workload)
    # An edit of it is judged anew.
    other = {**live, "metadata": {"name": "ws", "annotations": {ANNOTATION_RENDERED: "another"}}}
    assert isinstance(planned(node(labels=A10), deployment=other), Finding)


def test_a_preset_that_needs_no_gpu_is_not_judged_by_gpus() -> None:
    found = planned(node(labels=A10), preset="tiny-chat")
    assert isinstance(found, Workload)
    assert found.fit is None


def test_the_smallest_type_is_the_one_with_the_least_memory_that_is_enough() -> None:
    assert {cloud: smallest(30 * GIB, 1, cloud).name for cloud in CLOUDS} == {  # type: ignore[union-attr]
        "azure": "Standard_NC24ads_A100_v4",
        "aws": "g6e.xlarge",
        "gcp": "a2-highgpu-1g",
    }
    assert smallest(1000 * GIB, 1, "aws") is None
    two = smallest(30 * GIB, 2, "azure")
    assert two is not None
    assert (two.name, two.gpus) == ("Standard_NV72ads_A10_v5", 2)


def test_every_preset_with_a_gpu_has_a_type_in_every_cloud_that_holds_it() -> None:
    for preset in CATALOGUE.values():
        if preset.needs_gpu:
            for cloud in CLOUDS:
                assert smallest(preset.memory_need().total, preset.resources.gpu, cloud) is not None, (
                    preset.name
                )


def test_types_are_listed_once() -> None:
    assert all(entry.gpus >= 1 and entry.gpu_gib >= 16 for entry in INSTANCE_TYPES.values())
    assert len({entry.name for entry in INSTANCE_TYPES.values()}) == len(INSTANCE_TYPES)
