"""Weights come from the hub whole, checked and once, and what keeps them from coming is told in one line."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from berth_inference.errors import LoadError, LoadFailure
from berth_inference.hub import find_model
from berth_inference.hub.download import download
from berth_inference.hub.source import Hub
from berth_inference.progress import LoadProgress
from server.conftest import ServerFactory, wait_until_ready
from server.fake_hub import COMMIT, FakeHub, serve_hub

pytestmark = pytest.mark.thorough

WEIGHTS = "model.safetensors"


@pytest.fixture
def hub(model_folder: Path, tmp_path: Path) -> Iterator[FakeHub]:
    folder = shutil.copytree(model_folder, tmp_path / "tiny")
    (folder / "pytorch_model.bin").write_bytes(b"unwanted")
    with serve_hub(folder) as hub:
        yield hub


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "hub"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's library pauses before it tries again; here it does not."""
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)


def source(hub: FakeHub, cache: Path, **changes: Any) -> Hub:
    return replace(Hub(cache, hub.url), **changes)


def get(hub: FakeHub, cache: Path, revision: str | None = COMMIT, **changes: Any) -> Path:
    return download("acme/tiny", revision, LoadProgress(), source(hub, cache, **changes))


def refused(hub: FakeHub, cache: Path, model: str = "acme/tiny", **changes: Any) -> LoadError:
    with pytest.raises(LoadError) as raised:
        download(model, COMMIT, LoadProgress(), source(hub, cache, **changes))
    assert "\n" not in str(raised.value)
    return raised.value


def leftovers(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.name.endswith((".incomplete", ".lease"))]


def test_what_is_fetched_is_what_the_hub_has_without_code_or_pickles(hub: FakeHub, cache: Path) -> None:
    folder = get(hub, cache)
    assert (folder / WEIGHTS).read_bytes() == (hub.folder / WEIGHTS).read_bytes()
    assert not (folder / "pytorch_model.bin").exists()
    assert not leftovers(cache)


def test_a_second_start_asks_the_hub_nothing(hub: FakeHub, cache: Path) -> None:
    folder = get(hub, cache)
    asked = hub.asked
    assert get(hub, cache) == folder
    assert hub.asked == asked


def test_a_branch_is_asked_for_again_and_its_files_are_not_downloaded_again(
    hub: FakeHub, cache: Path
) -> None:
    folder = get(hub, cache, revision="main")
    downloaded = list(hub.downloaded)
    assert folder.name == COMMIT
    assert get(hub, cache, revision="main") == get(hub, cache, revision=None) == folder
    assert hub.downloaded == downloaded


@pytest.mark.usefixtures("at_once")
def test_a_connection_that_is_cut_is_resumed_where_it_broke(
    hub: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 500)
    hub.cut = [1000, 2000]
    folder = get(hub, cache)
    assert (folder / WEIGHTS).read_bytes() == (hub.folder / WEIGHTS).read_bytes()
    assert hub.ranges == ["bytes=1000-", "bytes=3000-"]


@pytest.mark.usefixtures("at_once")
def test_a_connection_that_never_brings_anything_is_told(hub: FakeHub, cache: Path) -> None:
    hub.cut = [0] * 50
    assert "check the network" in str(refused(hub, cache))
    assert not leftovers(cache)


def test_files_that_arrived_before_a_failure_are_not_downloaded_again(
    hub: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
        hub.cut = [0] * 50
        refused(hub, cache)
    hub.cut, hub.downloaded[:] = [], []
    get(hub, cache)
    assert hub.downloaded == [WEIGHTS]


def test_a_file_with_a_wrong_checksum_is_downloaded_again(hub: FakeHub, cache: Path) -> None:
    hub.damaged = [b"damaged!"]
    folder = get(hub, cache)
    assert (folder / WEIGHTS).read_bytes() == (hub.folder / WEIGHTS).read_bytes()
    assert hub.downloaded.count(WEIGHTS) == 2


def test_a_file_that_stays_wrong_is_refused_and_not_kept(hub: FakeHub, cache: Path) -> None:
    hub.damaged = [b"damaged!", b"damaged?"]
    said = str(refused(hub, cache))
    assert WEIGHTS in said
    assert "another checksum" in said
    assert "mirror" in said
    assert not list(cache.rglob(WEIGHTS))
    assert get(hub, cache).is_dir()


def test_a_file_that_is_damaged_before_it_was_checked_is_downloaded_again(hub: FakeHub, cache: Path) -> None:
    folder = get(hub, cache)
    shutil.rmtree(folder.parents[1] / "verified")
    (folder / WEIGHTS).resolve().write_bytes(b"x" * (hub.folder / WEIGHTS).stat().st_size)
    get(hub, cache)
    assert (folder / WEIGHTS).read_bytes() == (hub.folder / WEIGHTS).read_bytes()


def test_a_file_that_is_gone_is_downloaded_again(hub: FakeHub, cache: Path) -> None:
    folder = get(hub, cache)
    (folder / WEIGHTS).resolve().unlink()
    get(hub, cache)
    assert (folder / WEIGHTS).read_bytes() == (hub.folder / WEIGHTS).read_bytes()


def test_weights_that_do_not_fit_are_refused_before_the_first_byte(hub: FakeHub, cache: Path) -> None:
    hub.sizes = {WEIGHTS: 2**60}
    error = refused(hub, cache)
    assert error.reason is LoadFailure.DISK_FULL
    assert "GiB to download" in str(error)
    assert not hub.downloaded


def test_a_disk_that_fills_up_meanwhile_is_told(
    hub: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.file_download.http_get", write)
    error = refused(hub, cache)
    assert error.reason is LoadFailure.DISK_FULL
    assert "give the cache volume more" in str(error)
    assert not leftovers(cache)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    ("status", "token", "reason", "said"),
    [
        (401, None, LoadFailure.ACCESS_DENIED, "give a token"),
        (401, "hf_secret", LoadFailure.ACCESS_DENIED, "make a new token"),
        (403, None, LoadFailure.ACCESS_DENIED, "give a token"),
        (403, "hf_secret", LoadFailure.ACCESS_DENIED, "make a new token"),
        (404, None, LoadFailure.MODEL_UNAVAILABLE, "check its name"),
        (429, None, LoadFailure.MODEL_UNAVAILABLE, "too many requests from here: wait, give a token"),
        (
            429,
            "hf_secret",
            LoadFailure.MODEL_UNAVAILABLE,
            "too many requests from here: wait, or use a mirror",
        ),
        (503, None, LoadFailure.MODEL_UNAVAILABLE, "the hub answered 503"),
    ],
)
def test_what_the_hub_answers_is_told_with_its_remedy(
    hub: FakeHub, cache: Path, status: int, token: str | None, reason: LoadFailure, said: str
) -> None:
    hub.refusal = status
    error = refused(hub, cache, token=token)
    assert error.reason is reason
    assert said in str(error)
    assert "hf_secret" not in str(error)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    ("model", "reason", "said"),
    [
        ("acme/gated", LoadFailure.ACCESS_DENIED, "accept its licence"),
        ("acme/none", LoadFailure.MODEL_UNAVAILABLE, "is not on the hub, or is private"),
    ],
)
def test_a_model_that_is_not_to_be_had_is_told(
    hub: FakeHub, cache: Path, model: str, reason: LoadFailure, said: str
) -> None:
    error = refused(hub, cache, model)
    assert error.reason is reason
    assert said in str(error)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("revision", [COMMIT, "main", None])
def test_a_hub_that_cannot_be_reached_is_told(hub: FakeHub, cache: Path, revision: str | None) -> None:
    with pytest.raises(LoadError, match="cannot be reached"):
        get(hub, cache, revision, endpoint="http://127.0.0.1:1")


def test_a_model_without_safetensors_is_refused_before_the_first_byte(hub: FakeHub, cache: Path) -> None:
    (hub.folder / WEIGHTS).unlink()
    assert "no weights in safetensors" in str(refused(hub, cache))
    assert not hub.downloaded


@pytest.mark.usefixtures("at_once")
def test_whole_weights_of_a_branch_are_served_while_the_hub_is_down(hub: FakeHub, cache: Path) -> None:
    folder = get(hub, cache, revision="main")
    hub.refusal = 503
    assert get(hub, cache, revision="main") == folder
    shutil.rmtree(folder.parents[1] / "verified")
    assert get(hub, cache) == folder
    (folder / WEIGHTS).resolve().write_bytes(b"x" * (hub.folder / WEIGHTS).stat().st_size)
    assert "the hub answered 503" in str(refused(hub, cache))


def test_offline_nothing_is_asked_and_what_is_missing_is_told(hub: FakeHub, cache: Path) -> None:
    assert "HF_HUB_OFFLINE forbids" in str(refused(hub, cache, offline=True))
    folder = get(hub, cache)
    asked = hub.asked
    assert get(hub, cache, offline=True) == folder
    assert hub.asked == asked


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_cache_that_cannot_be_written_to_serves_what_it_has(
    hub: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def make(self: Path, *_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number), str(self))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "mkdir", make)
        said = str(refused(hub, cache))
    assert f"{cache} cannot be written to by user {os.getuid()}" in said
    assert "fsGroup" in said
    folder = get(hub, cache)
    shutil.rmtree(folder.parents[1] / "verified")
    asked = hub.asked
    monkeypatch.setattr(Path, "mkdir", make)
    assert get(hub, cache) == folder
    assert hub.asked == asked


def test_two_that_share_a_cache_download_once(
    hub: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("berth_inference.hub.lease._POLL_SECONDS", 0.05)
    hub.held = threading.Event()
    second = LoadProgress()
    found: list[Path] = []
    threads = [
        threading.Thread(
            target=lambda p=p: found.append(download("acme/tiny", COMMIT, p, source(hub, cache)))
        )
        for p in (LoadProgress(), second)
    ]
    threads[0].start()
    while WEIGHTS not in hub.downloaded:
        threads[0].join(0.01)
        assert threads[0].is_alive()
    threads[1].start()
    while second.report()["phase"] != "waiting":
        threads[1].join(0.01)
        assert threads[1].is_alive()
    assert "waiting for another pod" in second.report()["message"]
    hub.held.set()
    for thread in threads:
        thread.join(60)
    assert found == [found[0]] * 2
    assert hub.downloaded.count(WEIGHTS) == 1


def test_one_that_lost_its_lease_harms_nobody(
    hub: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("berth_inference.hub.download.lease", lambda *_: contextlib.nullcontext())
    (cache / "models--acme--tiny").mkdir(parents=True)
    hub.held = threading.Event()
    found: list[Path] = []
    late = threading.Thread(target=lambda: found.append(get(hub, cache)))
    late.start()
    while WEIGHTS not in hub.downloaded:
        late.join(0.01)
        assert late.is_alive()
    held, hub.held = hub.held, None
    folder = get(hub, cache)
    held.set()
    late.join(60)
    assert found == [folder]
    assert (folder / WEIGHTS).read_bytes() == (hub.folder / WEIGHTS).read_bytes()
    assert not leftovers(cache)


def test_what_was_killed_while_it_downloaded_neither_blocks_nor_fills_the_cache(
    hub: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("berth_inference.hub.lease._LEASE_SECONDS", 0.6)
    monkeypatch.setattr("berth_inference.hub.lease._POLL_SECONDS", 0.05)
    repository = cache / "models--acme--tiny"
    (repository / "blobs").mkdir(parents=True)
    (repository / "blobs" / "abc.1234.incomplete").write_bytes(b"half a file")
    killed = (
        "import os, sys; from filelock import SoftFileLease; "
        "held = SoftFileLease(sys.argv[1], lease_duration=0.6); held.acquire(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", killed, str(repository / "berth.lease")], check=False)
    assert (repository / "berth.lease").exists()
    get(hub, cache)
    assert not leftovers(cache)


def test_a_models_files_right_in_the_cache_folder_are_taken_as_they_are(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(model_folder))
    assert find_model("acme/tiny", COMMIT, LoadProgress()) == model_folder


def fetching(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("BERTH_", "HF_"))}
    return subprocess.Popen(
        [sys.executable, "-m", "berth_inference", "fetch", *arguments],
        env={**inherited, "BERTH_HOST": "127.0.0.1", "BERTH_PORT": "0", **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_command_tells_its_progress_and_ends_when_told(hub: FakeHub, tmp_path: Path) -> None:
    hub.held = threading.Event()
    process = fetching("--model", "acme/tiny", HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path / "home"))
    assert process.stderr is not None
    port = next(line.rsplit(" ", 1)[1].strip() for line in process.stderr if "progress is told" in line)
    report: dict[str, Any] = {}
    while report.get("phase") != "downloading" or "bytes_total" not in report:
        answer = httpx2.get(f"http://127.0.0.1:{port}/health")
        assert answer.status_code == 503
        report = json.loads(answer.text)
        assert report["status"] == "loading"
    assert report["bytes_total"] > (hub.folder / WEIGHTS).stat().st_size
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 128 + signal.SIGTERM
    hub.held.set()
    process.stderr.close()


def test_fetched_weights_are_served_offline_and_nothing_is_written_to_them(
    hub: FakeHub, tmp_path: Path, start_server: ServerFactory
) -> None:
    home = tmp_path / "home"
    environment = {"HF_ENDPOINT": hub.url, "HF_HOME": str(home)}
    process = fetching("--model", "acme/tiny", "--revision", COMMIT, HF_TOKEN="hf_secret", **environment)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "hf_secret" not in said
    assert "Bearer hf_secret" in hub.tokens
    asked, before = hub.asked, {path: path.lstat().st_mtime_ns for path in home.rglob("*")}
    server = start_server(
        *("--model", "acme/tiny", "--revision", COMMIT, "--device", "cpu"), HF_HUB_OFFLINE="1", **environment
    )
    with httpx2.Client(base_url=server.url) as http:
        wait_until_ready(http)
        assert http.post("/chat", json={"prompt": "hello"}).status_code == 200
    assert {path: path.lstat().st_mtime_ns for path in home.rglob("*")} == before
    assert hub.asked == asked


def test_two_processes_that_share_a_cache_download_once(hub: FakeHub, tmp_path: Path) -> None:
    hub.held = threading.Event()
    environment = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
    first = fetching("--model", "acme/tiny", "--revision", COMMIT, **environment)
    assert first.stderr is not None
    assert any("progress is told" in line for line in first.stderr)
    while WEIGHTS not in hub.downloaded:
        assert first.poll() is None
    second = fetching("--model", "acme/tiny", "--revision", COMMIT, **environment)
    assert second.stderr is not None
    assert any("waiting for another process" in line for line in second.stderr)
    hub.held.set()
    for process in (first, second):
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    assert hub.downloaded.count(WEIGHTS) == 1


def test_an_error_that_nobody_foresaw_is_told_in_one_line_too(
    hub: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("a cosmic ray\nand more")

    monkeypatch.setattr("huggingface_hub.file_download.http_get", fail)
    assert "failed: RuntimeError: a cosmic ray: try again" in str(refused(hub, cache))


def test_a_token_in_a_file_of_a_shared_cache_is_not_used(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "token").write_text("hf_of_another_team")
    process = fetching("--model", "acme/tiny", HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path / "home"))
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert hub.tokens == {None}


def test_a_proxy_of_the_environment_is_used(hub: FakeHub, tmp_path: Path) -> None:
    process = fetching(
        *("--model", "acme/tiny"),
        HF_ENDPOINT="http://hub.invalid",
        HTTP_PROXY=hub.url,
        HF_HOME=str(tmp_path / "home"),
    )
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert WEIGHTS in hub.downloaded


def test_a_model_that_comes_with_the_server_needs_no_hub(tmp_path: Path) -> None:
    process = fetching("--model", "tiny-chat", HF_ENDPOINT="http://127.0.0.1:1", HF_HOME=str(tmp_path))
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said


def test_a_refusal_ends_the_command_in_one_line(hub: FakeHub, tmp_path: Path) -> None:
    process = fetching("--model", "acme/gated", HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path / "home"))
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "accept its licence" in said.splitlines()[-1]
    assert "Traceback" not in said


def test_wrong_usage_is_told_without_a_download() -> None:
    process = fetching("--model", "acme/tiny", "--dtype", "float32")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "--dtype" in said
