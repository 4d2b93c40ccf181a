"""berth plan and berth presets: what a Workspace would become and need, and one line for what cannot be."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from berth_operator.cli import kubectl_main, main

EXAMPLES = Path(__file__).parents[2] / "examples"
MEDIUM = EXAMPLES / "workspace-phi-3-medium-4k-instruct.yaml"


def workspace(tmp_path: Path, *documents: str, preset: str = "tiny-chat", **inference: str) -> Path:
    body = {"preset": {"name": preset}, **inference}
    raw = {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": "ws"},
        "inference": body,
    }
    path = tmp_path / "ws.yaml"
    path.write_text("\n---\n".join([yaml.safe_dump(raw), *documents]))
    return path


def test_a_plan_shows_manifests_needs_and_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--offline", str(MEDIUM)]) == 0
    said = capsys.readouterr().out
    assert "26.0 GiB weights + 0.8 GiB KV cache at 4096 tokens + 3.7 GiB overhead = 30.5 GiB on 1 GPU" in said
    assert "fits Standard_NC24ads_A100_v4: 1 x 80 GiB" in said
    assert "\x1b" not in said, "a pipe gets no colours"


def test_a_plan_shows_adapters_with_their_strength_and_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--offline", str(EXAMPLES / "workspace-phi-3-adapters.yaml")]) == 0
    said = capsys.readouterr().out
    assert "sql at strength 0.8 from registry.example.com/adapters/phi-3-sql:1.0" in said
    assert "tone at strength 0.5 from a persistentVolumeClaim volume" in said


def test_a_plan_shows_what_vllm_is_told_and_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--offline", str(EXAMPLES / "workspace-phi-3-mini-vllm.yaml")]) == 0
    said = capsys.readouterr().out
    assert "vllm serve microsoft/Phi-3-mini-4k-instruct --revision" in said
    assert "1 nvidia.com/gpu, image docker.io/vllm/vllm-openai:v" in said
    assert "= 10.5 GiB within 90 % of the memory on 1 GPU" in said


def test_a_plan_shows_the_nodes_that_hold_a_model_together(capsys: pytest.CaptureFixture[str]) -> None:
    path = EXAMPLES / "workspace-phi-3-medium-two-nodes.yaml"
    assert main(["plan", "--offline", str(path)]) == 0
    said = capsys.readouterr().out
    assert "StatefulSet" in said
    assert "one copy of the model over all of them" in said
    assert "--pipeline-parallel-size 2 --nnodes 2" in said
    assert "= 31.5 GiB within 90 % of the memory on 2 nodes of 1 GPU" in said
    assert "fits 2 of Standard_NV36ads_A10_v5: 1 x 24 GiB (A10)" in said
    assert main(["plan", "--offline", "-o", "json", str(path)]) == 0
    objects = json.loads(capsys.readouterr().out)["items"]
    assert [one["kind"] for one in objects] == ["StatefulSet", "Service", "Service"]


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_manifests_alone_go_to_the_pipe(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--offline", "-o", form, str(MEDIUM)]) == 0
    out = capsys.readouterr().out
    objects = list(yaml.safe_load_all(out)) if form == "yaml" else json.loads(out)["items"]
    assert [one["kind"] for one in objects] == ["Deployment", "Service"]


def test_what_is_tried_though_it_does_not_fit_is_told_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = workspace(tmp_path, preset="phi-3-medium-4k-instruct")
    raw = yaml.safe_load(path.read_text())
    raw["resource"] = {"instanceType": "Standard_NC4as_T4_v3"}
    path.write_text(yaml.safe_dump(raw))
    assert main(["plan", "--offline", "-o", "json", str(path)]) == 1
    refused = capsys.readouterr()
    assert json.loads(refused.out)["items"] == []
    assert "refused, DoesNotFit" in refused.err
    raw["metadata"]["annotations"] = {"kaito.sh/bypass-resource-checks": "true"}
    path.write_text(yaml.safe_dump(raw))
    assert main(["plan", "--offline", str(path)]) == 0
    said = capsys.readouterr().out
    assert "does not fit Standard_NC4as_T4_v3: 1 x 16 GiB (T4)" in said
    assert "it is tried all the same" in said


def test_a_refusal_is_told_with_its_reason_and_exit_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "--offline", str(workspace(tmp_path, preset="phi"))]) == 1
    assert "refused, UnknownPreset" in capsys.readouterr().out


def test_a_config_map_of_the_same_file_is_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "cm"},
            "data": {"inference_config.yaml": "transformers:\n  max_beam: 1\n"},
        }
    )
    assert main(["plan", "--offline", str(workspace(tmp_path, config, config="cm"))]) == 1
    assert "did you mean max_beams" in capsys.readouterr().out


@pytest.mark.parametrize("data", [None, [1], "words", {"other": "x"}])
def test_a_config_map_without_its_key_is_told(
    data: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = yaml.safe_dump(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cm"}, "data": data}
    )
    assert main(["plan", "--offline", str(workspace(tmp_path, config, config="cm"))]) == 1
    assert "has no key inference_config.yaml" in capsys.readouterr().out


def test_a_workspace_that_cannot_be_read_is_told_field_by_field(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ws.yaml"
    path.write_text(
        "apiVersion: kaito.sh/v1beta1\nkind: Workspace\nmetadata: {name: ws}\nresource: {count: -1}\n"
    )
    assert main(["plan", "--offline", str(path)]) == 1
    assert "InvalidWorkspace" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "--offline", "/nowhere.yaml"], "berth plan: /nowhere.yaml: No such file or directory"),
        (["presets", "phi3"], 'berth presets: there is no preset "phi3"; did you mean phi-3-'),
        (
            ["explain", "x", "--kubeconfig", "/nowhere"],
            "berth explain: no usable kubeconfig: /nowhere is no file",
        ),
        (["logs", "x", "--kubeconfig", "/nowhere"], "berth logs: no usable kubeconfig: /nowhere is no file"),
        (["chat", "x", "--kubeconfig", "/nowhere"], "berth chat: no usable kubeconfig: /nowhere is no file"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_status_1(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith(message)


def test_a_process_of_its_own_says_no_more_than_that_line() -> None:
    command = [sys.executable, "-m", "berth_operator.cli", "logs", "x", "--kubeconfig", "/nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "berth logs: no usable kubeconfig: /nowhere is no file\n"


def test_presets_are_listed_and_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets"]) == 0
    listed = capsys.readouterr().out
    assert "llama-3.1-8b-instruct" in listed
    assert main(["presets", "microsoft/Phi-3-medium-4k-instruct"]) == 0
    described = capsys.readouterr().out
    assert "26.0 GiB" in described
    assert "Standard_NC24ads_A100_v4" in described
    assert "annotation kaito.sh/runtime: vllm, up to 4,096 tokens" in described
    assert main(["presets", "tiny-chat", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "tiny-chat"


def test_kubectl_has_the_commands_that_concern_a_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    assert kubectl_main(["presets", "tiny-chat"]) == 0
    assert "tiny-chat" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        kubectl_main(["local"])
    assert "invalid choice: 'local'" in capsys.readouterr().err


def test_every_example_is_planned(capsys: pytest.CaptureFixture[str]) -> None:
    for path in sorted(EXAMPLES.glob("workspace-*.yaml")):
        assert main(["plan", "--offline", str(path)]) == 0, capsys.readouterr().out


def test_both_programs_are_installed_under_their_names() -> None:
    project = tomllib.loads((EXAMPLES.parent / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {
        "berth": "berth_operator.cli:main",
        "kubectl-berth": "berth_operator.cli:kubectl_main",
    }
