"""Where a model comes from: the package, a folder, or the hub, and what is refused of each."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from berth_inference.errors import LoadError
from berth_inference.hub import find_model
from berth_inference.loading import load_engine
from berth_inference.progress import LoadProgress
from berth_inference.settings import Settings
from server.conftest import ServerFactory, wait_until_ready
from server.fake_hub import COMMIT, FakeHub, serve_hub


def _refused(model: str, revision: str | None = None) -> str:
    with pytest.raises(LoadError) as raised:
        find_model(model, revision, LoadProgress())
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_folder_is_served_as_it_is(model_folder: Path) -> None:
    assert find_model(str(model_folder), None, LoadProgress()) == model_folder


def test_a_revision_of_a_folder_is_refused(model_folder: Path) -> None:
    assert "leave it out" in _refused(str(model_folder), "main")


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in _refused(str(tmp_path / "no"))


def test_a_folder_without_a_configuration_is_refused(tmp_path: Path) -> None:
    assert "no config.json" in _refused(str(tmp_path))


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    assert "no weights in safetensors" in _refused(str(tmp_path))


@pytest.mark.parametrize("name", ["a/b/c", "sp ace", "../x", "-x", "a//b", "http://host/x"])
def test_a_name_that_is_neither_folder_nor_hub_id_is_refused(name: str) -> None:
    assert _refused(name)


def _load_failure(folder: Path, **changes: str) -> str:
    with pytest.raises(LoadError) as raised:
        load_engine(Settings(model=str(folder), **changes), LoadProgress())
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_model_that_wants_its_own_code_run_is_refused(model_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "m")
    proof = tmp_path / "proof"
    (folder / "code.py").write_text(f"open({str(proof)!r}, 'w').close()\nclass C: ...\n")
    (folder / "config.json").write_text(
        '{"model_type": "mine", "auto_map": {"AutoConfig": "code.C", "AutoModelForCausalLM": "code.C"}}'
    )
    assert "never run here" in _load_failure(folder)
    assert not proof.exists()


def test_weights_that_are_damaged_are_told_in_one_line(model_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "m")
    (folder / "model.safetensors").write_bytes(b"\x00" * 100)
    assert "cannot be loaded" in _load_failure(folder)


def test_a_gpu_that_is_not_there_is_told(model_folder: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU, so asking for one is no mistake")
    assert "torch sees no GPU" in _load_failure(model_folder, device="cuda")


@pytest.fixture(scope="module")
def hub(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHub]:
    folder = shutil.copytree(model_folder, tmp_path_factory.mktemp("hub") / "tiny")
    for unwanted in ("pytorch_model.bin", "modeling_mine.py", "consolidated.safetensors"):
        (folder / unwanted).write_bytes(b"unwanted")
    with serve_hub(folder) as hub:
        yield hub


def test_a_model_of_the_hub_is_downloaded_at_its_revision_without_code_or_pickles(
    hub: FakeHub, start_server: ServerFactory, tmp_path: Path
) -> None:
    server = start_server(
        *("--model", "acme/tiny", "--revision", COMMIT, "--device", "cpu"),
        HF_ENDPOINT=hub.url,
        HF_HOME=str(tmp_path),
        HF_TOKEN="hf_secret",
    )
    with httpx2.Client(base_url=server.url) as http:
        wait_until_ready(http)
        assert http.post("/chat", json={"prompt": "hello"}).status_code == 200
    assert "model.safetensors" in hub.downloaded
    assert not {"pytorch_model.bin", "modeling_mine.py", "consolidated.safetensors"} & set(hub.downloaded)
    assert "Bearer hf_secret" in hub.tokens
    assert "hf_secret" not in server.log


@pytest.mark.parametrize(
    ("model", "revision", "said"),
    [
        ("acme/gated", None, "accept its licence"),
        ("acme/none", None, "is not on the hub, or is private"),
        ("acme/tiny", "nowhere", "has no revision nowhere"),
    ],
    ids=["gated", "missing", "revision"],
)
def test_what_the_hub_refuses_ends_the_server_in_one_line(
    hub: FakeHub, start_server: ServerFactory, tmp_path: Path, model: str, revision: str | None, said: str
) -> None:
    arguments = ["--model", model, *(["--revision", revision] if revision else [])]
    server = start_server(*arguments, HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path))
    assert server.wait(60) == 1
    assert said in server.lines[-1]
    assert "Traceback" not in server.log


def test_a_hub_that_cannot_be_reached_ends_the_server_in_one_line(
    start_server: ServerFactory, tmp_path: Path
) -> None:
    server = start_server("--model", "acme/tiny", HF_ENDPOINT="http://127.0.0.1:1", HF_HOME=str(tmp_path))
    assert server.wait(60) == 1
    assert "cannot be reached" in server.lines[-1]


def test_the_bytes_of_a_download_are_reported() -> None:
    from berth_inference.hub.files import progress_bar
    from berth_inference.progress import Phase

    progress = LoadProgress()
    progress.enter(Phase.DOWNLOADING)
    bar = progress_bar(progress, 100)(total=60, unit="B")
    bar.update(40)
    assert (progress.report()["bytes_done"], progress.report()["bytes_total"]) == (40, 100)
    files = progress_bar(progress, 100)(total=3, unit="it")
    files.update(1)
    assert progress.report()["bytes_done"] == 40
