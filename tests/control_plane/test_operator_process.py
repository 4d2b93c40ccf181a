"""The operator's process refuses to start, in one line, where it cannot work."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(None, id="no kubeconfig at all"),
        pytest.param("just words", id="a kubeconfig that is only words"),
        pytest.param("{unclosed", id="a kubeconfig that is not YAML"),
        pytest.param("apiVersion: v1\nkind: Config\ncurrent-context: x\n", id="a context that is not there"),
    ],
)
def test_without_a_cluster_it_ends_with_one_line_that_says_so(content: str | None, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    if content is not None:
        kubeconfig.write_text(content, encoding="utf-8")
    environment = {"KUBECONFIG": str(kubeconfig), "HOME": str(tmp_path), "BERTH_LIVENESS_PORT": "0"}
    result = subprocess.run(
        [sys.executable, "-m", "berth_operator", "run"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    last = result.stderr.splitlines()[-1]
    assert last.startswith("berth_operator: no usable kubeconfig and not in a cluster: ")
    assert (f"{kubeconfig} is no file" in last) is (content is None)


def test_a_stop_while_it_still_waits_for_the_api_server_is_no_failure(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    nobody = "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: 'http://127.0.0.1:9'}}]\n"
    kubeconfig.write_text(
        nobody + "contexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {}}]\n",
        encoding="utf-8",
    )
    environment = {"KUBECONFIG": str(kubeconfig), "HOME": str(tmp_path), "BERTH_LIVENESS_PORT": "0"}
    with subprocess.Popen(
        [sys.executable, "-m", "berth_operator", "run"], env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        said = ""
        while "cannot list" not in said:
            said += process.stderr.readline()
        process.terminate()
        said += process.stderr.read()
        assert process.wait(30) == 0
    assert "Traceback" not in said
