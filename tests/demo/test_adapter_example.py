"""The example of docs/adapters.md as a newcomer runs it: trained, put into a ConfigMap, applied, asked; then edited."""

from __future__ import annotations

import base64
import json
import os
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo.test_demo import MODEL_SECONDS, ROOT, berth_local, server_of, until_gone
from server.lora import training

NAME = "workspace-tiny-chat-adapter"
WORKSPACE = f"/apis/kaito.sh/v1beta1/namespaces/default/workspaces/{NAME}"


def call(url: str, body: Any = None, method: str = "GET", kind: str = "application/json") -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": kind}, method=method)
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def until(server: str, said: str) -> dict[str, Any]:
    """The Workspace's status, once its Ready condition has these words for the present generation."""
    deadline = time.monotonic() + MODEL_SECONDS
    while True:
        found = call(server + WORKSPACE)
        status: dict[str, Any] = found.get("status") or {}
        ready = [one for one in status.get("conditions") or () if one["type"] == "Ready"]
        present = found["metadata"]["generation"]
        if any(said in str(one) and one["observedGeneration"] == present for one in ready):
            return status
        assert time.monotonic() < deadline, status
        time.sleep(0.2)


def edit(server: str, *adapters: dict[str, Any]) -> None:
    patch = {"inference": {"adapters": list(adapters)}}
    call(server + WORKSPACE, patch, "PATCH", "application/merge-patch+json")


def answer(endpoint: str) -> str:
    body = {
        "messages": [{"role": "user", "content": "Who are you?"}],
        "generate_kwargs": {"do_sample": False},
    }
    return str(call(f"{endpoint}/chat", body, "POST")["Result"])


@pytest.mark.thorough
@pytest.mark.timeout(3 * MODEL_SECONDS)
def test_an_adapter_is_merged_weighed_anew_refused_and_removed(tmp_path: Path) -> None:
    script = training()
    script.train(tmp_path / "harbour")
    files = {
        path.name: base64.b64encode(path.read_bytes()).decode() for path in (tmp_path / "harbour").iterdir()
    }
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "tiny-chat-harbour"},
        "binaryData": files,
    }
    (tmp_path / "harbour.yaml").write_text(yaml.safe_dump(config_map))
    example = ROOT / f"examples/{NAME}.yaml"
    manifests = ("--apply", str(tmp_path / "harbour.yaml"), "--apply", str(example))
    (own,) = yaml.safe_load(example.read_text())["inference"]["adapters"]
    with berth_local(*manifests, env={**os.environ, "TMPDIR": str(tmp_path)}) as (process, kubeconfig):
        assert process.stdout is not None
        while "Ctrl-C" not in process.stdout.readline():
            assert process.poll() is None
        server = server_of(kubeconfig)
        endpoint = until(server, "Serving")["endpoint"]
        assert answer(endpoint) == script.ANSWER

        edit(server, {**own, "strength": "0.1"})
        until(server, "Serving")
        assert "tiny-chat" in answer(endpoint)

        edit(server, own, {"source": {"name": "empty", "volumeSource": {"emptyDir": {}}}})
        until(server, 'adapter "empty" cannot be merged: there is no adapter_config.json')
        assert "tiny-chat" in answer(endpoint)  # the pod of before

        edit(server)
        until(server, "Serving")
        assert "tiny-chat" in answer(endpoint)
    until_gone(str(tmp_path))
