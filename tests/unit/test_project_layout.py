"""What the repository's layout must keep, which no linter holds."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import berth_operator

REPOSITORY = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]

SERVER_ONLY = {
    "torch",
    "transformers",
    "accelerate",
    "peft",
    "tokenizers",
    "safetensors",
    "fastapi",
    "uvicorn",
}
OPERATOR_ONLY = {"kopf", "kubernetes"}


def tracked_files() -> list[Path]:
    """Every file that git tracks, and every new one that it does not ignore."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("not a git checkout, so nothing says which files belong to the repository")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [path for name in listed.split("\0") if name and (path := REPOSITORY / name).is_file()]


@pytest.mark.parametrize("folder", ["operator", "inference", "presets", "tests"])
def test_a_folder_of_the_root_is_never_a_package(folder: str) -> None:
    # An importable `operator` hides the standard library's, and `import collections` fails with it.
    assert (REPOSITORY / folder).is_dir()
    assert not (REPOSITORY / folder / "__init__.py").exists()


def test_no_module_at_the_top_of_a_folder_can_shadow_the_standard_library() -> None:
    # `python operator/x.py` puts operator/ first on the path; then operator/types.py would be `types`.
    found = [path for folder in ("operator", "inference") for path in (REPOSITORY / folder).glob("*.py")]
    assert found == []


@pytest.mark.parametrize("start", [["-c"], ["-S", "-c"]], ids=["as usual", "with nothing imported early"])
def test_the_standard_operator_module_is_found_from_the_repository_s_root(start: list[str]) -> None:
    program = "import operator, collections; print(operator.add(1, 2), operator.__file__)"
    run = subprocess.run(
        [sys.executable, *start, program], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("3 ")
    assert str(REPOSITORY / "operator") not in run.stdout


def names(extra: str) -> set[str]:
    """The packages that an extra names, extras of this project that it refers to included."""
    found: set[str] = set()
    for text in EXTRAS[extra]:
        requirement = Requirement(text)
        if requirement.name == PROJECT["name"]:
            found |= {name for inner in requirement.extras for name in names(inner)}
        else:
            found.add(canonicalize_name(requirement.name))
    return found


def closure(roots: set[str]) -> set[str]:
    """The roots and everything that they pull in, as the installed packages say."""
    reached: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in reached:
            continue
        reached.add(name)
        try:
            requirements = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            # Not installed: on this platform or Python nothing asks for it.
            continue
        for text in requirements:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(canonicalize_name(requirement.name))
    return reached


@pytest.mark.parametrize(
    ("extra", "foreign"),
    [("operator", SERVER_ONLY), ("inference", OPERATOR_ONLY)],
    ids=["the operator pulls in no torch", "the server pulls in no Kubernetes client"],
)
def test_each_image_s_extra_stays_clear_of_the_other_s(extra: str, foreign: set[str]) -> None:
    assert closure(names(extra)) & foreign == set()


def test_what_the_extras_are_told_apart_by_is_really_there() -> None:
    assert closure(names("inference")) >= SERVER_ONLY
    assert closure(names("operator")) >= OPERATOR_ONLY


def test_installing_without_an_extra_pulls_in_nothing() -> None:
    assert PROJECT["dependencies"] == []


def test_every_pinned_version_is_one_that_the_project_allows() -> None:
    pins = dict(
        line.split("==")
        for line in (REPOSITORY / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    )
    pinned = {canonicalize_name(name): version for name, version in pins.items()}
    for extra in EXTRAS:
        for text in EXTRAS[extra]:
            requirement = Requirement(text)
            if requirement.name != PROJECT["name"]:
                assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), text


def test_package_chart_and_images_have_one_version() -> None:
    chart = yaml.safe_load((REPOSITORY / "charts" / "berth" / "Chart.yaml").read_text())
    images = [
        version
        for name in ("operator", "inference")
        for version in re.findall(
            r"^ARG VERSION=(\S+)$", (REPOSITORY / f"Dockerfile.{name}").read_text(), re.M
        )
    ]
    assert len(images) == 2
    assert {
        PROJECT["version"],
        berth_operator.__version__,
        chart["version"],
        chart["appVersion"],
        *images,
    } == {PROJECT["version"]}


def test_the_licence_is_the_one_that_package_and_chart_name() -> None:
    text = (REPOSITORY / "LICENSE").read_text()
    chart = yaml.safe_load((REPOSITORY / "charts" / "berth" / "Chart.yaml").read_text())
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert PROJECT["license"] == chart["annotations"]["artifacthub.io/license"] == "Apache-2.0"


def test_no_file_carries_a_mark_of_unfinished_work() -> None:
    mark = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"]) + r")\b")
    marked = []
    for path in tracked_files():
        # A model's vocabulary may hold any word.
        if "models" in path.relative_to(REPOSITORY).parts:
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        marked += [
            f"{path.relative_to(REPOSITORY)}:{number}"
            for number, line in enumerate(text.splitlines(), start=1)
            if mark.search(line)
        ]
    assert marked == []


def test_test_files_have_names_of_their_own() -> None:
    seen: dict[str, Path] = {}
    for path in sorted((REPOSITORY / "tests").rglob("test_*.py")):
        assert path.name not in seen, f"{path} and {seen[path.name]} would be told apart by folder only"
        seen[path.name] = path


def test_every_action_of_a_workflow_is_pinned_by_commit() -> None:
    workflows = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
    assert workflows
    for workflow in workflows:
        uses = re.findall(r"uses:\s*(\S+)(.*)", workflow.read_text())
        for action, comment in uses:
            assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", action), action
            assert re.fullmatch(r"\s*# v\d+(\.\d+)*", comment), "the commit's tag goes beside it"


def test_every_workflow_says_which_rights_it_has() -> None:
    for workflow in (REPOSITORY / ".github" / "workflows").glob("*.yml"):
        assert yaml.safe_load(workflow.read_text())["permissions"] == {"contents": "read"}


def test_nothing_that_only_tests_need_makes_every_process_slow_to_start() -> None:
    """jsonschema, which the Kubernetes client finds, takes four seconds to import where this is installed."""
    code = "import sys, berth_operator.process; print('rfc3987_syntax' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
