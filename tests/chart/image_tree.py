"""What a Dockerfile's install steps leave, without a container: run in a folder, then made read-only."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from chart.conftest import REPOSITORY
from chart.dockerfile import Dockerfile, parse

USER = 65532


@dataclass(frozen=True)
class ImageTree:
    """The folder that stands for an image's root, and how its process is started."""

    dockerfile: Dockerfile
    root: Path

    @property
    def python(self) -> Path:
        return self.root / "opt" / "berth" / "bin" / "python"

    def start(self, *arguments: str, folder: Path, **environment: str) -> subprocess.Popen[bytes]:
        """The image's process, as a user who is not root; `folder` is all that it may write to."""
        final = self.dockerfile.final
        places = {"/tmp": folder, "/var/cache/berth": folder}
        given = {name: str(places.get(value, value)) for name, value in final.environment.items()}
        given["PATH"] = f"{self.python.parent}:/usr/bin:/bin"
        entrypoint, command = final.last("ENTRYPOINT").exec_form, final.last("CMD").exec_form
        assert entrypoint is not None
        assert command is not None
        folder.mkdir()
        if os.getuid() == 0:
            os.chown(folder, USER, USER)
        with (folder / "log").open("wb") as log:
            return subprocess.Popen(
                [*as_nobody(), *entrypoint, *command, *arguments],
                env=given | environment,
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )


def as_nobody() -> list[str]:
    """What starts a command as the images' user, where we are root. It may read folders that are root's alone."""
    if os.getuid() != 0:
        return []
    identity = [f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs"]
    return ["setpriv", *identity, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]


def build(name: str, root: Path) -> ImageTree:
    """Run the build stage of an image's Dockerfile below `root`, with this Python in the place of the base's.

    torch and what it needs, transformers and the compiler are not installed a second time, for that takes gigabytes and
    minutes: they are linked to, from this environment. Indexes are those that pip is set up with.
    """
    dockerfile = parse(REPOSITORY / f"Dockerfile.{name}")
    stage = dockerfile.stages[0]
    base, source = root / "base", root / "src"
    subprocess.run([sys.executable, "-m", "venv", base], check=True)
    link(base, [metadata.distribution("ziglang")])
    arguments = dict(argument.value.partition("=")[::2] for argument in stage.all("ARG"))
    environment = {
        **{key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}},
        **{key: value for key, value in arguments.items() if "INDEX_URL" not in key},
        **stage.environment,
        "PATH": f"{base / 'bin'}:/usr/bin:/bin",
    }
    source.mkdir()
    for step in stage.instructions:
        if step.name == "COPY":
            copy(step.value, source)
        elif step.name == "RUN" and "VARIANT" in step.value:
            link(root / "opt" / "berth", large())
        elif step.name == "RUN":
            script = placed(step.value, root)
            subprocess.run(["/bin/sh", "-c", script], cwd=source, env=environment, check=True, timeout=600)
    for path in (root / "opt").rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o222)
    return ImageTree(dockerfile, root)


def placed(script: str, root: Path) -> str:
    """A step's script with the image's folders below `root`."""
    if script.startswith("--mount"):
        script = script.partition(" ")[2]
    for folder in ("/opt/berth", "/opt/models", "/wheels"):
        script = script.replace(f" {folder}", f" {root}{folder}")
    return script


def copy(value: str, source: Path) -> None:
    *paths, target = value.split()
    for path in paths:
        origin = REPOSITORY / path
        if origin.is_dir():
            shutil.copytree(origin, source / target, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        else:
            shutil.copy(origin, source / target)


def link(environment: Path, distributions: Iterable[metadata.Distribution]) -> None:
    [packages] = environment.glob("lib/python*/site-packages")
    for distribution in distributions:
        for file in distribution.files or []:
            top = file.parts[0]
            if top not in {"..", "bin"} and not (packages / top).exists():
                (packages / top).symlink_to(distribution.locate_file(top))


def large() -> Iterator[metadata.Distribution]:
    """torch and what it needs, with the libraries of CUDA where its build is for GPUs, and transformers."""
    names = {"torch", "transformers", "triton", "numpy", "sympy", "mpmath", "networkx"}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"].lower()
        if name in names or name.startswith(("nvidia-", "cuda-")):
            yield distribution
