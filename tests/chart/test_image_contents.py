"""The install steps of both Dockerfiles, run in a folder; then their processes, as nobody, on a read-only tree."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psutil
import pytest

from chart.conftest import REPOSITORY
from chart.image_tree import ImageTree, build
from control_plane.planes import embedded

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(900)]

LISTED = """
import json
from importlib.metadata import distributions
print(json.dumps({one.name: one.version for one in distributions()}))
"""


def built(name: str, root: Path) -> Iterator[ImageTree]:
    if os.getuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("is run by root, and needs setpriv to become nobody")
    reach = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", root / "reach", "hatchling"]
    if subprocess.run(reach, capture_output=True).returncode != 0:
        pytest.skip("needs a package index")
    yield build(name, root)
    # Half a gigabyte; what cannot be written to cannot be removed either.
    for path in (root / "opt").rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageTree]:
    yield from built("operator", tmp_path_factory.mktemp("operator"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageTree]:
    yield from built("inference", tmp_path_factory.mktemp("inference"))


def held(tree: ImageTree) -> set[str]:
    """The packages in it, each at the version that constraints.txt names."""
    said = subprocess.run(
        [tree.python, "-c", LISTED], capture_output=True, text=True, check=True, cwd=tree.root
    )
    constraints = (REPOSITORY / "constraints.txt").read_text().lower().replace("_", "-").splitlines()
    found = {name.lower().replace("_", "-"): version for name, version in json.loads(said.stdout).items()}
    for name, version in found.items():
        # What a build of torch for GPUs brings along is tied to it by its own metadata.
        if name != "berth" and not name.startswith(("nvidia-", "cuda-", "triton")):
            assert f"{name}=={version.partition('+')[0]}" in constraints
    return set(found)


def test_the_operator_s_image_holds_exact_versions_and_nothing_it_does_not_need(operator: ImageTree) -> None:
    packages = held(operator)
    assert {"berth", "kopf", "kubernetes"} <= packages
    assert not packages & {
        "pip",
        "setuptools",
        "hatchling",
        "pytest",
        "torch",
        "transformers",
        "fastapi",
        "numpy",
    }
    assert not list(operator.root.rglob("opt/berth/**/berth_inference"))


def test_the_server_s_image_holds_exact_versions_and_nothing_it_does_not_need(server: ImageTree) -> None:
    packages = held(server)
    assert {"berth", "torch", "transformers"} <= packages
    assert not packages & {"pip", "hatchling", "ziglang", "pytest", "kopf", "kubernetes", "aiohttp"}
    assert list(server.root.rglob("berth_inference/models/tiny-chat/model.safetensors"))
    libraries = {path.name for path in server.root.rglob("berth_inference/kernels/*.so")}
    assert libraries == {"libberth-avx2.so", "libberth-avx512.so"}


def test_the_operator_s_image_takes_less_than_200_mb_beyond_the_base(operator: ImageTree) -> None:
    size = sum(path.lstat().st_size for path in (operator.root / "opt").rglob("*"))
    assert size < 200e6


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if httpx2.get(url).status_code == 200:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.02)
    raise AssertionError(f"{url} is not answered\n{log.read_text()}")


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


def end(process: subprocess.Popen[bytes], log: Path) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0, log.read_text()
    assert "Traceback" not in log.read_text()


def test_the_operator_starts_within_two_seconds_as_nobody_on_a_read_only_tree_and_ends_when_told(
    operator: ImageTree, tmp_path: Path
) -> None:
    before = set(operator.root.rglob("*"))
    port, folder = free_port(), tmp_path / "writable"
    with embedded(tmp_path / "plane") as plane:
        settings = {"KUBECONFIG": str(plane.kubeconfig), "BERTH_LIVENESS_PORT": str(port)}
        process = operator.start(folder=folder, **settings)
        wait_for(f"http://127.0.0.1:{port}/healthz", process, folder / "log")
        # Of a CPU: other tests may run beside this one.
        assert cpu_seconds(process) < 2
        end(process, folder / "log")
    assert set(operator.root.rglob("*")) == before


def test_the_server_answers_as_nobody_on_a_read_only_tree_and_ends_when_told(
    server: ImageTree, tmp_path: Path
) -> None:
    before = set(server.root.rglob("*"))
    port, folder = free_port(), tmp_path / "writable"
    settings = {"BERTH_HOST": "127.0.0.1", "BERTH_PORT": str(port)}
    process = server.start("--model", "tiny-chat", folder=folder, **settings)
    wait_for(f"http://127.0.0.1:{port}/health", process, folder / "log")
    answer = httpx2.post(f"http://127.0.0.1:{port}/chat", json={"prompt": "What is Kubernetes?"})
    assert answer.json()["Result"]
    end(process, folder / "log")
    assert set(server.root.rglob("*")) == before
