"""Presets are found by name, and a file that is no preset says why."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from berth_operator.presets import (
    DIRECTORY_VARIABLE,
    PresetCatalogue,
    PresetError,
    default_directory,
    load_preset,
    load_presets,
)

DIRECTORY = Path(__file__).resolve().parents[2] / "presets"
CATALOGUE = load_presets(DIRECTORY)


@pytest.mark.parametrize(
    ("wanted", "first"),
    [
        ("phi-3-mini-4k-instuct", "phi-3-mini-4k-instruct"),
        ("Phi-3-Mini-4K-Instruct", "phi-3-mini-4k-instruct"),
        ("microsoft/Phi-3-mini-4k", "phi-3-mini-4k-instruct"),
        ("phi3", "phi-3-medium-128k-instruct"),
        ("mistral", "mistral-7b"),
        ("mistralai/Mistral-7B-Instruct-v0.3", "mistral-7b-instruct"),
        ("llama-3", "llama-3-8b-instruct"),
        ("tinychat", "tiny-chat"),
    ],
)
def test_the_nearest_name_to_a_wrong_one(wanted: str, first: str) -> None:
    assert CATALOGUE.nearest(wanted)[0] == first


@pytest.mark.parametrize("wanted", ["", "/", "zzz", "---", "\U0001f680", "x" * 10**6])
def test_what_is_like_no_preset_has_no_nearest(wanted: str) -> None:
    assert CATALOGUE.nearest(wanted) == []


@pytest.mark.parametrize("wanted", ["microsoft/Phi-3-mini-4k-instruct", "microsoft/phi-3-mini-4k-instruct"])
def test_a_hub_id_finds_the_preset_of_its_model(wanted: str) -> None:
    assert CATALOGUE.get(wanted) is CATALOGUE["phi-3-mini-4k-instruct"]
    assert wanted not in list(CATALOGUE)


def test_an_unknown_name_finds_nothing() -> None:
    assert CATALOGUE.get("gpt-5") is None
    assert "gpt-5" not in CATALOGUE


def written(folder: Path, **changes: Any) -> Path:
    """A preset in a file, with `model__dtype=...` for `model.dtype`, and None to leave a field out."""
    data = yaml.safe_load((DIRECTORY / "tinyllama-1.1b-chat.yaml").read_text())
    data["name"] = "mine"
    for key, value in changes.items():
        inner = data
        *parents, last = key.split("__")
        for parent in parents:
            inner = inner[parent]
        if value is None:
            inner.pop(last)
        else:
            inner[last] = value
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image": None}, ["image: is missing"]),
        ({"imagge": "x"}, ["imagge: is not a field of a preset"]),
        ({"name": "other"}, ["'other'", "'mine'", "make them the same"]),
        ({"name": "Not A Name"}, ["name:"]),
        ({"model__dtype": "int3"}, ["model.dtype", "bfloat16"]),
        ({"model__layers": "many"}, ["model.layers", "integer"]),
        ({"model__parameters": 7}, ["parameters is 7, but the dimensions make 1100048384"]),
        ({"model__revision": "main"}, ["model.revision"]),
        ({"model__revision": None}, ["revisionNote"]),
        ({"resources__cpu": "four"}, ["resources.cpu", "'four' is not a quantity"]),
        ({"resources__memory": "-1Gi"}, ["resources.memory", "negative"]),
        ({"resources__gpu": 0}, ["gpuMemory must be set where gpu is 1 or more"]),
        ({"resources__gpuMemory": None}, ["gpuMemory must be set where gpu is 1 or more"]),
        ({"readinessTimeout": "soon"}, ["readinessTimeout", "'soon' is not a duration"]),
        ({"readinessTimeout": "0s"}, ["readinessTimeout", "no time at all"]),
        ({"server": {"arguments": []}}, ["server.arguments: is not a field of a preset"]),
    ],
    ids=str,
)
def test_a_faulty_preset_names_the_file_and_the_field(
    tmp_path: Path, changes: dict[str, Any], words: list[str]
) -> None:
    path = written(tmp_path, **changes)
    with pytest.raises(PresetError) as caught:
        load_preset(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: [", "cannot be read as YAML"),
        (b"\xff\xfe\x00", "cannot be read as YAML"),
        (b"- a", "not list"),
        (b"", "NoneType"),
    ],
    ids=["broken YAML", "no text", "a list", "an empty file"],
)
def test_a_file_that_is_no_preset_says_so(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(PresetError, match=re.escape(str(path))) as caught:
        load_presets(tmp_path)
    assert words in str(caught.value)


def test_a_folder_without_presets_is_an_error_that_names_the_variable(tmp_path: Path) -> None:
    with pytest.raises(PresetError, match=DIRECTORY_VARIABLE):
        load_presets(tmp_path)


def test_a_missing_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(PresetError, match="nowhere"):
        load_presets(tmp_path / "nowhere")


def test_presets_of_one_s_own_are_read_from_the_folder_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path)
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path))
    assert list(load_presets()) == ["mine"]


def test_a_configmap_s_mount_is_a_folder_of_presets(tmp_path: Path) -> None:
    """The kubelet mounts links into a hidden, dated folder."""
    data = tmp_path / "..2026_01_01"
    data.mkdir()
    written(data)
    (tmp_path / "..data").symlink_to(data.name)
    (tmp_path / "mine.yaml").symlink_to("..data/mine.yaml")
    assert list(load_presets(tmp_path)) == ["mine"]


def test_without_a_folder_the_shipped_presets_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DIRECTORY_VARIABLE, raising=False)
    assert list(load_presets()) == list(CATALOGUE)
    assert default_directory().is_dir()


def test_a_catalogue_is_in_alphabetical_order() -> None:
    reverse = PresetCatalogue({name: CATALOGUE[name] for name in sorted(CATALOGUE, reverse=True)})
    assert list(reverse) == sorted(CATALOGUE)
    assert len(reverse) == 11
