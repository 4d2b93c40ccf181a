"""The step of Dockerfile.inference that bakes weights in, run here against a local hub, and a server of its result."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import yaml

from chart.dockerfile import parse
from server.conftest import ServerFactory, wait_until_ready
from server.fake_hub import COMMIT, FakeHub, serve_hub

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.thorough


@pytest.fixture
def hub(model_folder: Path, tmp_path: Path) -> Iterator[FakeHub]:
    folder = shutil.copytree(model_folder, tmp_path / "tiny")
    (folder / "vocabulary.tiktoken").write_text("YQ== 0\n")
    (folder / "modeling.py").write_text("raise SystemExit\n")
    with serve_hub(folder) as hub:
        yield hub


def baked(hub: FakeHub, folder: Path, token: str | None) -> subprocess.CompletedProcess[str]:
    """What the step leaves below `folder` in the place of the image's root; a preset there names the model."""
    [step] = [
        run.value
        for run in parse(REPOSITORY / "Dockerfile.inference").stages[0].all("RUN")
        if "MODEL" in run.value
    ]
    mount, script = step.split(maxsplit=1)
    assert mount.startswith("--mount=type=secret,")
    (folder / "presets").mkdir(parents=True)
    model = {"id": "acme/tiny", "revision": COMMIT}
    (folder / "presets" / "mine.yaml").write_text(yaml.safe_dump({"model": model}))
    (folder / "opt").mkdir()
    if token is not None:
        (folder / "hf_token").write_text(token)
    (folder / "site-packages").mkdir()
    for ours, theirs in {
        "/opt/berth/bin/python -m": f"{sys.executable} -m",
        '/opt/berth/bin/python -c "import': f'{sys.executable} -c "import',
        "$(/opt/berth/bin/python -c 'import sysconfig; print(sysconfig.get_path(\"purelib\"))')": str(
            folder / "site-packages"
        ),
        "/opt/models": str(folder / "opt" / "models"),
        "/run/secrets/": f"{folder}/",
    }.items():
        assert ours in script
        script = script.replace(ours, theirs)
    environment = {"PATH": "/usr/bin:/bin", "MODEL": "mine", "HF_ENDPOINT": hub.url, "HOME": str(folder)}
    return subprocess.run(
        ["/bin/sh", "-c", script], cwd=folder, env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize("token", ["hf_secret", None], ids=["with a token", "without one"])
def test_an_image_with_weights_serves_them_without_a_hub(
    hub: FakeHub, tmp_path: Path, start_server: ServerFactory, token: str | None
) -> None:
    ran = baked(hub, tmp_path / "image", token)
    assert ran.returncode == 0, ran.stderr
    assert "hf_secret" not in ran.stdout + ran.stderr
    assert hub.tokens == {f"Bearer {token}" if token else None}
    [left] = (tmp_path / "image" / "opt" / "models").glob("models--*/snapshots/*")
    assert left.name == COMMIT
    kept = {path.name for path in left.iterdir()}
    assert {"config.json", "model.safetensors", "vocabulary.tiktoken"} <= kept
    assert "modeling.py" not in kept
    asked = hub.asked
    server = start_server(
        *("--model", "acme/tiny", "--revision", COMMIT, "--device", "cpu"),
        PYTHONPATH=str(tmp_path / "image" / "site-packages"),
        HF_HOME=str(tmp_path / "cache"),
        HF_ENDPOINT=hub.url,
    )
    with httpx2.Client(base_url=server.url) as http:
        wait_until_ready(http)
        assert http.post("/chat", json={"prompt": "hello"}).status_code == 200
    assert hub.asked == asked


def test_weights_that_cannot_be_had_end_the_build_in_one_line(hub: FakeHub, tmp_path: Path) -> None:
    hub.refusal = 401
    ran = baked(hub, tmp_path / "image", None)
    assert ran.returncode != 0
    assert "give a token" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not (tmp_path / "image" / "site-packages" / "sitecustomize.py").exists()
