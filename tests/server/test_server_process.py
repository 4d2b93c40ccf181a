"""The server as Kubernetes meets it: a process with a port, signals and an exit code."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from server.conftest import RunningServer, ServerFactory, wait_until_ready

ONE_AT_A_TIME = ("--max-rows", "1")
"""So that a request which has to wait tells that another one runs."""


def _tokens(number: int) -> dict[str, Any]:
    return {"prompt": "a", "generate_kwargs": {"max_new_tokens": number, "min_new_tokens": number}}


def _started(start_server: ServerFactory, folder: Path, *arguments: str) -> RunningServer:
    server = start_server("--model", str(folder), "--dtype", "float32", "--device", "cpu", *arguments)
    with httpx2.Client(base_url=server.url) as http:
        wait_until_ready(http)
    return server


class Asking(threading.Thread):
    """A request in a thread of its own."""

    def __init__(self, url: str, body: dict[str, Any], timeout: float = 60) -> None:
        super().__init__(daemon=True)
        self._url, self._body, self._timeout = url, body, timeout
        self.response: httpx2.Response | None = None
        self.start()

    def run(self) -> None:
        self.response = httpx2.post(f"{self._url}/chat", json=self._body, timeout=self._timeout)

    def status(self) -> int:
        self.join(60)
        assert self.response is not None
        return self.response.status_code


def test_health_is_answered_before_the_model_is_loaded(server: RunningServer) -> None:
    first = server.first_health
    assert first is not None
    assert first.status_code == 503
    assert first.json()["status"] == "loading"
    assert first.json()["phase"] in ("resolving", "loading")


def test_health_does_not_wait_on_a_generation(server: RunningServer) -> None:
    asking = [Asking(server.url, _tokens(400)) for _ in range(3)]
    with httpx2.Client(base_url=server.url) as http:
        answers = 0
        while any(one.is_alive() for one in asking):
            began = time.monotonic()
            assert http.get("/health").status_code == 200
            assert http.get("/livez").status_code == 200
            assert time.monotonic() - began < 1.0  # the timeout of one probe, for two
            answers += 1
    assert answers > 3
    assert [one.status() for one in asking] == [200, 200, 200]


def test_sigterm_lets_running_requests_finish_refuses_new_ones_and_exits_0(
    start_server: ServerFactory, patient_folder: Path
) -> None:
    server = _started(start_server, patient_folder, *ONE_AT_A_TIME)
    asking = [Asking(server.url, _tokens(900)) for _ in range(2)]
    with httpx2.Client(base_url=server.url) as http:
        _wait_for(lambda: _busy(server.url))
        server.process.terminate()
        _wait_for(lambda: http.get("/health").status_code == 503)
        assert http.get("/health").json()["status"] == "draining"
        assert http.get("/livez").status_code == 200
        refused = http.post("/chat", json={"prompt": "a"})
        assert refused.status_code == 503
        assert "shutting down" in refused.json()["detail"]
        assert refused.headers["retry-after"] == "1"
    assert [one.status() for one in asking] == [200, 200]
    assert server.wait() == 0
    assert "Traceback" not in server.log


def test_a_drain_ends_at_its_time_with_an_error_for_what_is_left(
    start_server: ServerFactory, patient_folder: Path
) -> None:
    server = _started(start_server, patient_folder, "--drain-seconds", "0", *ONE_AT_A_TIME)
    asking = [Asking(server.url, _tokens(4096)) for _ in range(2)]
    _wait_for(lambda: _busy(server.url))
    server.process.terminate()
    for one in asking:
        assert one.status() == 503
        assert one.response is not None
        assert "not finished in time" in one.response.json()["detail"]
    assert server.wait() == 0
    assert "Traceback" not in server.log


def test_sigterm_while_loading_exits_0_at_once(start_server: ServerFactory, model_folder: Path) -> None:
    server = start_server("--model", str(model_folder))
    server.process.terminate()
    assert server.wait(10) == 0


def test_clients_that_go_away_free_the_server(server: RunningServer) -> None:
    def leave() -> None:
        with pytest.raises(httpx2.TimeoutException):
            httpx2.post(f"{server.url}/chat", json=_tokens(4096), timeout=0.2)

    leaving = [threading.Thread(target=leave) for _ in range(20)]
    for one in leaving:
        one.start()
    for one in leaving:
        one.join()
    began = time.monotonic()
    assert httpx2.post(f"{server.url}/chat", json=_tokens(1), timeout=30).status_code == 200
    # Twenty times 4096 tokens would take minutes.
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("/nowhere/at/all", "the folder /nowhere/at/all does not exist"),
        ("not a name!", "is no built-in model"),
    ],
    ids=["missing folder", "impossible name"],
)
def test_a_model_that_cannot_be_loaded_is_one_line_and_exit_code_1(
    start_server: ServerFactory, model: str, said: str
) -> None:
    server = start_server("--model", model)
    assert server.wait() == 1
    last = server.lines[-1]
    assert last.startswith("berth_inference: error: ")
    assert said in last
    assert "Traceback" not in server.log


def test_a_port_that_is_taken_is_one_line_and_exit_code_1(start_server: ServerFactory) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = start_server("--model", "m", BERTH_PORT=str(port))
        assert server.wait() == 1
    assert (
        server.log
        == f"berth_inference: error: cannot listen on 127.0.0.1 port {port}: Address already in use\n"
    )


def _wait_for(condition: Any, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _busy(url: str) -> bool:
    """Whether a request sent now has to wait, because another one runs."""
    try:
        httpx2.post(f"{url}/chat", json=_tokens(1), timeout=0.5)
    except httpx2.TimeoutException:
        return True
    return False


def test_an_upload_over_the_limit_gets_its_answer_even_if_the_client_sends_all_of_it_first(
    server: RunningServer,
) -> None:
    upload = b" " * 30_000_000
    for _ in range(5):
        answer = httpx2.post(f"{server.url}/chat", content=upload, timeout=60)
        assert answer.status_code == 413
        assert answer.json()["code"] == "request_too_large"
