"""A preset whose weights come from the hub, from `kubectl apply` to an answer: all of it, but for the cluster."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from berth_inference.models import built_in_models
from demo.test_demo import START_SECONDS, berth_local, server_of
from server.fake_hub import COMMIT, FakeHub, serve_hub

READY_SECONDS = 120.0
"""Importing torch on a loaded two-core machine takes the most of it."""

PRESETS = Path(__file__).resolve().parents[2] / "presets"
WORKSPACE = """
apiVersion: kaito.sh/v1beta1
kind: Workspace
metadata: {name: fetched}
resource: {labelSelector: {}}
inference: {preset: {name: fetched}}
"""


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with serve_hub(built_in_models()["tiny-chat"]) as hub:
        yield hub


@pytest.fixture
def environment(hub: FakeHub, tmp_path: Path) -> dict[str, str]:
    """Of `berth local`: tiny-chat as a preset that has to be downloaded from the hub."""
    preset = yaml.safe_load((PRESETS / "tiny-chat.yaml").read_text())
    preset |= {"name": "fetched", "model": {**preset["model"], "id": "acme/tiny", "revision": COMMIT}}
    folder = tmp_path / "presets"
    folder.mkdir()
    (folder / "fetched.yaml").write_text(yaml.safe_dump(preset))
    (tmp_path / "workspace.yaml").write_text(WORKSPACE)
    given = {"TMPDIR": str(tmp_path), "BERTH_PRESETS_DIR": str(folder), "BERTH_HUB_ENDPOINT": hub.url}
    return {**os.environ, **given}


def status_when(url: str, accept: Callable[[dict[str, Any]], bool], seconds: float) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while True:
        status: dict[str, Any] = {}
        with (
            contextlib.suppress(urllib.error.HTTPError),  # not applied yet
            urllib.request.urlopen(
                f"{url}/apis/kaito.sh/v1beta1/namespaces/default/workspaces/fetched"
            ) as response,
        ):
            status = json.load(response).get("status") or {}
        if accept(status):
            return status
        assert time.monotonic() < deadline, json.dumps(status, indent=1)
        time.sleep(0.1)


def message(status: dict[str, Any]) -> str:
    return next((one["message"] for one in status.get("conditions") or [] if one["type"] == "Ready"), "")


@pytest.mark.timeout(START_SECONDS + 2 * READY_SECONDS)
def test_the_download_is_told_and_the_server_starts_from_it(
    hub: FakeHub, tmp_path: Path, environment: dict[str, str]
) -> None:
    hub.held = threading.Event()
    with berth_local("--apply", str(tmp_path / "workspace.yaml"), env=environment) as (_, kubeconfig):
        url = server_of(kubeconfig)
        status = status_when(
            url, lambda seen: "percent" in (seen.get("progress") or {}), START_SECONDS + READY_SECONDS
        )
        assert status["progress"]["phase"] == "Downloading"
        assert "downloading the weights: " in message(status)
        hub.held.set()
        status = status_when(url, lambda seen: seen.get("state") == "Ready", READY_SECONDS)
        asked = urllib.request.Request(
            f"{status['endpoint']}/chat",
            json.dumps({"prompt": "What is Kubernetes?"}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(asked, timeout=READY_SECONDS) as response:
            assert response.status == 200
    assert hub.downloaded.count("model.safetensors") == 1


@pytest.mark.timeout(START_SECONDS + READY_SECONDS)
def test_what_keeps_weights_from_coming_is_told_in_the_conditions(
    hub: FakeHub, tmp_path: Path, environment: dict[str, str]
) -> None:
    hub.refusal = 403
    with berth_local("--apply", str(tmp_path / "workspace.yaml"), env=environment) as (_, kubeconfig):
        status = status_when(
            server_of(kubeconfig), lambda seen: "403" in message(seen), START_SECONDS + READY_SECONDS
        )
    assert 'init container "fetch-weights"' in message(status)
    assert "give a token that may read it as HF_TOKEN" in message(status)
