"""The `berth` command: what it takes, and one line for what it cannot do."""

import io
import socket
from pathlib import Path

import pytest

from berth_local.agent.plan.backoff import Backoff
from berth_local.manifests import ManifestError, read_manifests
from berth_local.operator_process import RESTART, operator_environment
from berth_local.tables import render
from berth_operator.cli import main
from berth_operator.cli.demo import Progress, example
from berth_operator.cli.terminal import BOLD, RED, styled


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["local", "--port", "70000"], "'70000' is not a port"),
        (["local", "--node-label", "apps"], "'apps' is not a label: KEY=VALUE"),
        (["lokal"], "invalid choice: 'lokal'"),
        ([], "COMMAND"),
    ],
)
def test_wrong_usage_is_refused_with_its_reason(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_a_file_that_cannot_be_applied_is_told_in_one_line_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "none.yaml"
    assert main(["local", "--apply", str(missing)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"berth local: {missing}: No such file or directory\n"


def test_a_state_folder_that_cannot_be_made_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["local", "--state", str(tmp_path / "file" / "state")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith(f"berth local: cannot write to {tmp_path}/file/state: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", r"line 1: not YAML"),
        ("- 1\n", "document 1: not an object"),
        ("kind: Pod\n", "document 1: apiVersion is missing"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {}\n", "document 1: metadata.name is missing"),
        ("---\n", "holds no object"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\n[]\n", "document 2: not an object"),
    ],
)
def test_a_manifest_that_is_none_is_told_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ManifestError, match=message) as error:
        read_manifests(path)
    assert "\n" not in str(error.value)


def test_lists_and_several_documents_are_taken_apart(tmp_path: Path) -> None:
    one = "{apiVersion: v1, kind: Pod, metadata: {name: %s}}"
    path = tmp_path / "x.yaml"
    path.write_text(f"apiVersion: v1\nkind: List\nitems: [{one % 'a'}, {one % 'b'}]\n---\n{one % 'c'}\n")
    assert [found["metadata"]["name"] for found in read_manifests(path)] == ["a", "b", "c"]


def test_the_demo_finds_its_example() -> None:
    (workspace,) = read_manifests(example().resolve())
    assert workspace["kind"] == "Workspace"
    assert workspace["inference"]["preset"]["name"] == "tiny-chat"


def test_the_operator_gets_its_own_settings_and_this_control_planes_kubeconfig() -> None:
    mine = {
        "BERTH_WORKERS": "2",
        "KUBECONFIG": "/mine",
        "HF_TOKEN": "mine",
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
    }
    made = operator_environment(mine, Path("/state/kubeconfig"))
    assert made["BERTH_WORKERS"] == "2"
    assert made["KUBECONFIG"] == "/state/kubeconfig"
    assert made["BERTH_LIVENESS_PORT"] == "0"
    assert set(made) == {"BERTH_WORKERS", "BERTH_LIVENESS_PORT", "KUBECONFIG", "PATH", "HOME", "LANG"}
    assert isinstance(RESTART, Backoff)


def test_a_table_is_laid_out_in_columns() -> None:
    answer = {
        "columnDefinitions": [{"name": "Name"}, {"name": "Ready"}, {"name": "Endpoint", "priority": 1}],
        "rows": [{"cells": ["a-long-name", True, "http://x"]}, {"cells": ["b", None, ""]}],
    }
    assert render(answer) == "NAME          READY\na-long-name   True\nb"
    assert render(answer, wide=True).splitlines()[1] == "a-long-name   True    http://x"


def test_progress_prints_a_line_for_each_change_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = Progress()
    for seconds, text in ((0.0, "starting"), (1.0, "starting"), (12.0, "ready")):
        progress.show(text, seconds)
    progress.finish()
    assert capsys.readouterr().out == "   0 s  starting\n  12 s  ready\n"


def test_a_port_that_is_taken_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["local", "--port", str(port)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"berth local: cannot start with port {port}: Address already in use\n"


class Terminal(io.StringIO):
    def __init__(self, *, is_one: bool) -> None:
        super().__init__()
        self._is_one = is_one

    def isatty(self) -> bool:
        return self._is_one


@pytest.mark.parametrize(
    ("is_one", "environment", "shown"),
    [
        pytest.param(True, {"TERM": "xterm"}, "\x1b[1;31mno\x1b[0m", id="a terminal"),
        pytest.param(True, {"TERM": "dumb"}, "no", id="a terminal without abilities"),
        pytest.param(True, {"TERM": "xterm", "NO_COLOR": "1"}, "no", id="somebody who wants none"),
        pytest.param(False, {"TERM": "xterm"}, "no", id="a pipe"),
    ],
)
def test_colours_are_for_terminals_that_show_them(
    is_one: bool, environment: dict[str, str], shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert styled("no", BOLD, RED, stream=Terminal(is_one=is_one)) == shown
