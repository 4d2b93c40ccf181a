"""A front takes a model's tokenizer from wherever vLLM takes the model, and leaves the weights where they are."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from berth_inference.errors import LoadError
from berth_inference.hub.download import download
from berth_inference.hub.source import Hub
from berth_inference.hub.tokenizer import find_tokenizer
from berth_inference.models import built_in_models
from berth_inference.progress import LoadProgress
from server.fake_hub import COMMIT, FakeHub, serve_hub

WEIGHTS = "model.safetensors"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FakeHub]:
    with serve_hub(shutil.copytree(built_in_models()["tiny-chat"], tmp_path / "tiny")) as hub:
        yield hub


@pytest.fixture
def source(hub: FakeHub, tmp_path: Path) -> Hub:
    return Hub(tmp_path / "cache" / "hub", hub.url)


def test_the_hubs_weights_are_not_downloaded(hub: FakeHub, source: Hub) -> None:
    folder = find_tokenizer("acme/tiny", COMMIT, LoadProgress(), source)
    assert (folder / "tokenizer.json").is_file()
    assert WEIGHTS not in hub.downloaded


def test_what_was_fetched_for_vllm_is_taken_offline(hub: FakeHub, source: Hub) -> None:
    fetched = download("acme/tiny", COMMIT, LoadProgress(), source)
    asked = hub.asked
    assert find_tokenizer("acme/tiny", COMMIT, LoadProgress(), replace(source, offline=True)) == fetched
    assert hub.asked == asked


def test_a_folder_needs_no_hub(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert find_tokenizer(str(tmp_path), None, LoadProgress()) == tmp_path


@pytest.mark.parametrize(
    ("model", "revision", "said"),
    [
        ("acme/tiny", COMMIT, "is not in the cache, and HF_HUB_OFFLINE forbids a download"),
        ("/nowhere", None, "the folder /nowhere does not exist"),
        ("no name", None, "is no built-in model"),
        ("tiny-chat", COMMIT, "leave it out"),
    ],
)
def test_a_tokenizer_that_cannot_be_had_is_told(
    source: Hub, model: str, revision: str | None, said: str
) -> None:
    with pytest.raises(LoadError, match=said):
        find_tokenizer(model, revision, LoadProgress(), replace(source, offline=True))


def test_a_folder_that_is_no_models_is_told(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"has no config\.json"):
        find_tokenizer(str(tmp_path), None, LoadProgress())
