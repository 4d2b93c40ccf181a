"""What health checks say while the model loads, when it is ready, when it fails and when it drains."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from berth_inference.app import create_app
from berth_inference.engine import Engine
from berth_inference.errors import LoadError
from berth_inference.progress import LoadProgress, Phase
from berth_inference.service import Service
from berth_inference.settings import Settings


class HeldLoader:
    """A loader that stays in each phase for as long as the test wants."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.called = threading.Event()
        self.progress: LoadProgress | None = None

    def __call__(self, _: Settings, progress: LoadProgress) -> Engine:
        self.progress = progress
        self.called.set()
        assert self.go_on.wait(30)
        raise LoadError("the model is not there: bring it")


@pytest.fixture
def loader() -> Iterator[HeldLoader]:
    held = HeldLoader()
    yield held
    held.go_on.set()


@pytest.fixture
def loading(loader: HeldLoader) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(model="m"), loader)) as client:
        assert loader.called.wait(10)
        yield client
        loader.go_on.set()


@pytest.mark.parametrize("path", ["/health", "/healthz"])
@pytest.mark.parametrize("phase", list(Phase))
def test_readiness_reports_the_phase_while_loading(
    loading: TestClient, loader: HeldLoader, phase: Phase, path: str
) -> None:
    assert loader.progress is not None
    loader.progress.enter(phase)
    response = loading.get(path)
    assert response.status_code == 503
    assert response.json()["status"] == "loading"
    assert response.json()["phase"] == phase.value
    assert response.json()["elapsed_seconds"] >= 0
    assert response.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("phase", "words"),
    [(Phase.DOWNLOADING, "downloading the weights"), (Phase.LOADING, "loading the weights")],
    ids=["downloading", "reading ahead"],
)
def test_readiness_reports_the_bytes_that_have_moved_and_the_seconds_left(
    loading: TestClient, loader: HeldLoader, phase: Phase, words: str
) -> None:
    assert loader.progress is not None
    loader.progress.enter(phase)
    assert "bytes_done" not in loading.get("/health").json()
    loader.progress.moved(0, 12 * 2**20)
    assert "seconds_left" not in loading.get("/health").json()  # at no rate there is no estimate
    loader.progress.moved(3 * 2**20, 12 * 2**20)
    report = loading.get("/health").json()
    assert (report["bytes_done"], report["bytes_total"]) == (3 * 2**20, 12 * 2**20)
    assert report["message"] == f"{words}: 3 of 12 MiB"
    assert report["seconds_left"] == pytest.approx(3 * report["elapsed_seconds"], abs=3)
    loader.progress.enter(Phase.WARMING_UP)
    assert "bytes_done" not in loading.get("/health").json()


def test_the_process_is_alive_while_it_loads(loading: TestClient) -> None:
    assert loading.get("/livez").status_code == 200
    assert loading.get("/").json() == {"message": "Server is running"}


def test_a_request_that_comes_too_early_is_told_when_to_come_again(loading: TestClient) -> None:
    response = loading.post("/chat", json={"prompt": "hello"})
    assert response.status_code == 503
    assert response.json()["code"] == "unavailable"
    assert "not ready yet" in response.json()["detail"]
    assert int(response.headers["retry-after"]) > 0


def test_a_failed_load_is_told_by_readiness(loading: TestClient, loader: HeldLoader) -> None:
    loader.go_on.set()
    service: Service = loading.app.state.service  # type: ignore[attr-defined]
    loading.portal.call(service.settled.wait)  # type: ignore[union-attr]
    response = loading.get("/health")
    assert response.status_code == 503
    assert response.json() == {"status": "failed", "message": "the model is not there: bring it"}


@pytest.mark.parametrize("path", ["/health", "/healthz"])
def test_a_warm_model_is_healthy(client: Any, path: str) -> None:
    response = client.get(path)
    assert (response.status_code, response.json()) == (200, {"status": "Healthy"})


def test_an_unknown_path_is_a_404_in_the_usual_shape(client: Any) -> None:
    response = client.get("/nowhere")
    assert response.status_code == 404
    assert response.json()["code"] == "not_found"


def test_a_wrong_method_is_a_405(client: Any) -> None:
    response = client.get("/chat")
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"


def test_the_openapi_page_describes_every_argument_of_chat(client: Any) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    for model in ("ChatRequest", "GenerateKwargs"):
        for name, field in schemas[model]["properties"].items():
            if name != "generate_kwargs":
                assert field.get("description"), f"{model}.{name}"
