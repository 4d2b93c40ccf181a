"""The release's bill of materials: its own commands, tried on this environment in the place of an image's."""

from __future__ import annotations

import importlib.metadata
import json
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml

from chart.conftest import REPOSITORY

STEPS = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "release.yml").read_text())["jobs"]["images"][
    "steps"
]
HELD = f"lib/python{sys.version_info.major}.{sys.version_info.minor}"


def line(start: str) -> str:
    """The one line of the workflow's scripts that starts so."""
    [found] = [
        one.strip()
        for step in STEPS
        for one in step.get("run", "").splitlines()
        if one.strip().startswith(start)
    ]
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the workflow makes of an image: an environment that holds what is said of packages, and no package."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "held"], check=True)
    if shutil.which("tar") is None:
        pytest.skip("needs tar on the path")
    unpack = line("tar -x").replace("lib/python3.11", HELD)
    packages = Path(sysconfig.get_path("purelib"))
    sent = [f"{packages.name}/{one.name}" for one in packages.glob("*.dist-info")] + [f"{packages.name}/yaml"]
    pack = shlex.join(["tar", "-c", "-C", str(packages.parent), *sent])
    subprocess.run(f"{pack} | {unpack}", shell=True, cwd=tmp_path, check=True)
    assert not list(tmp_path.rglob("yaml"))
    return tmp_path


@pytest.mark.thorough
def test_it_is_valid_and_lists_every_package_with_its_version(folder: Path) -> None:
    # Where `make install` puts it.
    tool = Path(sys.prefix) / "audit" / "bin" / "cyclonedx-py"
    if not tool.exists():
        pytest.skip(f"needs {tool}")
    command = (
        line("tools/bin/cyclonedx-py")
        .replace("tools/bin/cyclonedx-py", str(tool))
        .replace("pyproject.toml", str(REPOSITORY / "pyproject.toml"))
    )
    # It judges what it writes by CycloneDX's schema, and fails where that refuses.
    ran = subprocess.run(f"{command} --validate", shell=True, cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    said = json.loads((folder / "sbom.json").read_text())
    assert (said["bomFormat"], said["metadata"]["component"]["name"]) == ("CycloneDX", "berth")
    listed = {component["name"]: component["version"] for component in said["components"]}
    installed = {one.name: one.version for one in importlib.metadata.distributions()}
    assert listed == {name: version for name, version in installed.items() if name != "berth"}
