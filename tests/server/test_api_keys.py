"""Who is let in: with which keys, to what, and how keys are exchanged while the server runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient

from berth_inference.api_keys import ApiKeys, read_keys
from berth_inference.app import create_app
from berth_inference.authentication import OPEN_PATHS, bearer_token
from berth_inference.engine import Engine
from berth_inference.errors import LoadError
from berth_inference.progress import LoadProgress
from berth_inference.settings import Settings
from server.conftest import RunningServer, ServerFactory, wait_until_ready

KEY, OTHER = "sk-CANARYdonotleakCANARY", "sk-another"


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def mount(folder: Path, generation: int, **files: str) -> Path:
    """What the kubelet makes of a Secret, and what it does when the Secret changes."""
    data = folder / f"..{generation}"
    data.mkdir(parents=True)
    for name, text in files.items():
        (data / name).write_text(text)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    (folder / "..new").symlink_to(data.name)
    (folder / "..new").rename(folder / "..data")
    return folder


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


# --- the files


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("a\n", (b"a",)),
        ("a", (b"a",)),
        ("  a \r\n\n b\n", (b"a", b"b")),
        ("a\na\n", (b"a",)),
        ("Schlüssel\n", ("Schlüssel".encode(),)),
    ],
    ids=["one", "no line end", "spaces and empty lines", "twice", "not ASCII"],
)
def test_a_file_holds_one_key_a_line(tmp_path: Path, text: str, keys: tuple[bytes, ...]) -> None:
    (tmp_path / "keys").write_text(text, encoding="utf-8")
    assert read_keys(tmp_path / "keys") == keys


def test_a_mounted_secret_is_read_once_by_the_names_of_its_keys(tmp_path: Path) -> None:
    assert read_keys(mount(tmp_path, 1, new="b\n", old="a")) == (b"b", b"a")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "No such file or directory"),
        (lambda path: path.write_text(" \n"), "it holds no key"),
        (lambda path: path.mkdir(), "it holds no key"),
        (lambda path: path.symlink_to("/dev/null"), "neither a file nor a folder"),
    ],
    ids=["missing", "empty file", "empty folder", "device"],
)
def test_a_server_without_a_key_to_ask_for_does_not_start(
    tmp_path: Path, make: Callable[[Path], object], said: str
) -> None:
    make(tmp_path / "keys")
    with pytest.raises(LoadError) as raised:
        ApiKeys(tmp_path / "keys")
    assert said in str(raised.value)
    assert str(tmp_path / "keys") in str(raised.value)


def test_files_are_looked_at_once_a_second_at_most(tmp_path: Path) -> None:
    clock = Clock()
    keys = ApiKeys(mount(tmp_path, 1, key="a"), clock)
    mount(tmp_path, 2, key="a\nb")
    clock.now = 0.9
    assert not keys.accept(b"b")
    clock.now = 1.0
    assert keys.accept(b"b")
    assert keys.accept(b"a")
    mount(tmp_path, 3, key="b")
    clock.now = 2.0
    assert not keys.accept(b"a")


def test_keys_that_become_unreadable_stay_valid_and_the_log_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, path = Clock(), tmp_path / "keys"
    path.write_text("a")
    keys = ApiKeys(path, clock)
    path.write_text("")
    for now in (1, 2, 3):
        clock.now = now
        assert keys.accept(b"a")
    (line,) = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert line.endswith("it holds no key; put one into it, one a line; the keys read before stay valid")
    path.write_text("b")
    clock.now = 4
    assert keys.accept(b"b")
    assert not keys.accept(b"a")


# --- the header


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ([(b"authorization", b"Bearer k")], b"k"),
        ([(b"authorization", b"bearer  k ")], b"k"),
        ([(b"authorization", b"Basic k")], b""),
        ([(b"authorization", b"k")], b""),
        ([(b"authorization", b"Bearer")], b""),
        ([(b"authorization", b"Basic x"), (b"authorization", b"Bearer k")], b""),
        ([(b"x-api-key", b"k")], b""),
        ([], b""),
    ],
    ids=["bearer", "any case", "basic", "bare", "no token", "two headers", "another header", "none"],
)
def test_only_a_bearer_token_is_a_key(headers: list[tuple[bytes, bytes]], token: bytes) -> None:
    assert bearer_token(headers) == token


# --- the routes


def never(_: Settings, __: LoadProgress) -> Engine:
    raise LoadError("there is no model")


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[TestClient]:
    (tmp_path / "keys").write_text(f"{OTHER}\n{KEY}\n")
    settings = Settings(model="m", api_key_file=str(tmp_path / "keys"))
    with TestClient(create_app(settings, never)) as client:
        yield client


def requests_of(client: TestClient) -> list[tuple[str, str]]:
    found = []
    for route in iter_route_contexts(client.app.routes):  # type: ignore[attr-defined]
        path = str(route.path).replace("{", "").replace("}", "")
        found += [(method, path) for method in route.methods or ()]
    return found


def test_every_route_but_those_of_health_asks_for_a_key(guarded: TestClient) -> None:
    asked = requests_of(guarded)
    assert {("POST", "/chat"), ("GET", "/metrics"), ("GET", "/openapi.json"), ("GET", "/")} <= set(asked)
    for method, path in [*asked, ("GET", "/nowhere"), ("POST", "/health/"), ("OPTIONS", "/chat")]:
        for headers in ({}, bearer("sk-wrong"), {"x-api-key": KEY}):
            refused = guarded.request(method, path, headers=headers, follow_redirects=False)
            assert (refused.status_code == 401) is (path not in OPEN_PATHS), (method, path, headers)
        for key in (KEY, OTHER):
            answered = guarded.request(method, path, headers=bearer(key), follow_redirects=False)
            assert answered.status_code != 401, (method, path)


def test_a_refusal_says_what_to_send_in_the_usual_shape(guarded: TestClient) -> None:
    missing, wrong = guarded.post("/chat"), guarded.post("/chat", headers=bearer(KEY + "x"))
    assert missing.json() == {
        "detail": "An API key is needed: send Authorization: Bearer <key>.",
        "code": "unauthorized",
        "param": None,
    }
    assert wrong.json()["detail"] == "The API key is not valid: send Authorization: Bearer <key>."
    for refused in (missing, wrong):
        assert refused.headers["www-authenticate"] == "Bearer"
        assert refused.headers["x-request-id"]


def test_a_body_is_not_read_before_the_key_is_seen(guarded: TestClient) -> None:
    too_large = {"Content-Length": str(10**9)}
    assert guarded.post("/chat", headers=too_large, content=b"{").status_code == 401
    assert guarded.post("/chat", headers=too_large | bearer(KEY), content=b"{").status_code == 413


def test_no_key_is_asked_for_unless_one_is_set() -> None:
    with TestClient(create_app(Settings(model="m"), never)) as client:
        assert client.post("/chat", json={"prompt": "a"}).status_code == 503


# --- the process


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mount(tmp_path_factory.mktemp("secret"), 1, key=KEY)


@pytest.fixture(scope="module")
def locked(start_server: ServerFactory, model_folder: Path, key_file: Path) -> RunningServer:
    server = start_server("--model", str(model_folder), "--device", "cpu", BERTH_API_KEY_FILE=str(key_file))
    with httpx2.Client(base_url=server.url) as http:
        wait_until_ready(http)
    return server


def ask(server: RunningServer, key: str, **body: Any) -> httpx2.Response:
    return httpx2.post(
        f"{server.url}/chat",
        json={"prompt": "hello", "generate_kwargs": {"max_new_tokens": 2}, **body},
        headers=bearer(key),
        timeout=30,
    )


def test_a_key_shows_nowhere(locked: RunningServer) -> None:
    seen = [
        ask(locked, KEY).text,
        ask(locked, KEY, prompt=None).text,
        ask(locked, f"{KEY}x").text,
        httpx2.get(f"{locked.url}/nowhere", headers=bearer(KEY)).text,
        httpx2.get(f"{locked.url}/metrics", headers=bearer(KEY)).text,
        Path(f"/proc/{locked.process.pid}/cmdline").read_text(),
        Path(f"/proc/{locked.process.pid}/environ").read_text(),
    ]
    assert 'berth_http_requests_total{code="401",path="other"}' in seen[4]
    assert "status=401" in locked.log
    for text in [*seen, locked.log]:
        assert KEY not in text


def test_keys_are_exchanged_without_a_restart(locked: RunningServer, key_file: Path) -> None:
    assert ask(locked, KEY).status_code == 200
    assert ask(locked, OTHER).status_code == 401
    mount(key_file, 2, key=f"{KEY}\n{OTHER}\n")
    _until(lambda: ask(locked, OTHER).status_code == 200)
    assert ask(locked, KEY).status_code == 200
    mount(key_file, 3, key=OTHER)
    _until(lambda: ask(locked, KEY).status_code == 401)
    assert ask(locked, OTHER).status_code == 200
    assert locked.process.poll() is None
    mount(key_file, 4, key=KEY)
    _until(lambda: ask(locked, KEY).status_code == 200)


def test_a_start_without_keys_is_one_line_and_exit_code_1(
    start_server: ServerFactory, tmp_path: Path
) -> None:
    server = start_server("--model", "m", "--api-key-file", str(tmp_path))
    assert server.wait() == 1
    assert server.log == (
        f"berth_inference: error: the API keys cannot be read from {tmp_path}: "
        "it holds no key; put one into it, one a line\n"
    )


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
