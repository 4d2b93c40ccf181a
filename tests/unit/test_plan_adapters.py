"""LoRA adapters in the pod: copied out of images, mounted from volumes, and named to the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from berth_inference.adapters import Adapter
from berth_inference.settings import parse_settings
from berth_operator.plan.differences import covers
from berth_operator.settings import Settings
from chart.pod_security import restricted_violations
from unit.test_plan_workload import container, planned, pod_spec, workspace

SQL = {"source": {"name": "sql", "image": "example.com/sql:1", "imagePullSecrets": ["b", "a"]}}
TONE = {
    "source": {"name": "tone", "volumeSource": {"persistentVolumeClaim": {"claimName": "tone"}}},
    "strength": "0.5",
}
BOTH = [SQL, TONE]


def by_name(items: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in items}


def test_an_image_is_copied_into_a_folder_of_its_own_that_the_server_reads() -> None:
    spec = pod_spec(workspace(adapters=BOTH))
    (copier,) = spec["initContainers"]
    assert copier["image"] == "example.com/sql:1"
    assert copier["command"] == ["cp", "-r", "/data/.", "/mnt/adapter/sql"]
    place = {"name": "adapters", "mountPath": "/mnt/adapter/sql", "subPath": "sql"}
    assert copier["volumeMounts"] == [place]
    assert {**place, "readOnly": True} in spec["containers"][0]["volumeMounts"]
    assert by_name(spec["volumes"])["adapters"] == {"name": "adapters", "emptyDir": {}}


def test_a_volume_is_mounted_as_it_is_and_read_only() -> None:
    spec = pod_spec(workspace(adapters=[TONE]))
    assert "initContainers" not in spec
    assert by_name(spec["volumes"])["adapter-tone"] == {
        "name": "adapter-tone",
        "persistentVolumeClaim": {"claimName": "tone"},
    }
    mount = {"name": "adapter-tone", "mountPath": "/mnt/adapter/tone", "readOnly": True}
    assert mount in spec["containers"][0]["volumeMounts"]
    assert "adapters" not in by_name(spec["volumes"])


def test_the_server_is_told_of_every_adapter_with_its_strength() -> None:
    parsed = parse_settings(["serve", *container(workspace(adapters=BOTH))["args"]], {})
    assert parsed.adapter == (
        Adapter("sql", Path("/mnt/adapter/sql")),
        Adapter("tone", Path("/mnt/adapter/tone"), 0.5),
    )


@pytest.mark.parametrize("strength", ["0", "1", "1.", "1.0", "0.5", ".5", "0.123456789"])
def test_every_strength_that_a_workspace_may_have_reaches_the_server(strength: str) -> None:
    args = container(workspace(adapters=[{**SQL, "strength": strength}]))["args"]
    (adapter,) = parse_settings(["serve", *args], {}).adapter
    assert adapter.strength == float(strength)


def test_what_copies_an_adapter_is_as_restricted_as_the_server() -> None:
    spec = pod_spec(workspace(adapters=[SQL]))
    own = spec["initContainers"][0]["securityContext"]
    assert own == {**spec["containers"][0]["securityContext"], "runAsUser": 65532}
    assert restricted_violations(spec) == []


def test_the_registries_of_adapters_are_opened_by_their_secrets() -> None:
    preset = {"preset": {"name": "tiny-chat", "presetOptions": {"imagePullSecrets": ["own"]}}}
    obj = workspace() | {"inference": {**preset, "adapters": BOTH}}
    secrets = pod_spec(obj, Settings(image_pull_secrets=("all", "a")))["imagePullSecrets"]
    assert [secret["name"] for secret in secrets] == ["own", "b", "a", "all"]


def test_without_adapters_a_pod_is_what_it_was() -> None:
    assert planned(workspace(adapters=[])) == planned(workspace())
    assert "/mnt/adapter" not in str(planned(workspace()))


@pytest.mark.parametrize(
    "edited",
    [
        [],
        [SQL],
        [*BOTH, {"source": {"name": "third", "image": "example.com/third:1"}}],
        [SQL, {**TONE, "strength": "0.6"}],
        [{"source": {**SQL["source"], "image": "example.com/sql:2"}}, TONE],
        [SQL, {**TONE, "source": {"name": "tone", "volumeSource": {"nfs": {"server": "s", "path": "/"}}}}],
    ],
    ids=["none left", "one removed", "one added", "a strength", "an image", "a volume"],
)
def test_an_edit_of_adapters_is_an_edit_of_the_pod(edited: list[dict[str, Any]]) -> None:
    before, after = (planned(workspace(adapters=list(found))).deployment for found in (BOTH, edited))
    assert before["metadata"]["annotations"] != after["metadata"]["annotations"]
    assert not covers(before, after)
    assert before["spec"]["template"] != after["spec"]["template"]


def test_the_order_of_adapters_does_not_name_their_parts() -> None:
    names = [set(by_name(pod_spec(workspace(adapters=found))["volumes"])) for found in (BOTH, BOTH[::-1])]
    assert names[0] == names[1]
