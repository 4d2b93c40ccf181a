"""The application factory. Nothing happens at import."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

from berth_inference.api_keys import ApiKeys
from berth_inference.authentication import RequireKey
from berth_inference.body_limit import BodyLimit
from berth_inference.http_errors import install_error_handlers
from berth_inference.metrics import Metrics
from berth_inference.observed_engine import ObservedEngine
from berth_inference.openapi_page import DocumentedAPI
from berth_inference.request_log import RequestLog
from berth_inference.routes import (
    chat,
    chat_completions,
    completions,
    generate,
    health,
    metrics,
    models,
    tokens,
)
from berth_inference.service import Loader, Service, State
from berth_inference.settings import Settings
from berth_inference.turnstile import Turnstile


def create_app(settings: Settings, load: Loader) -> FastAPI:
    """The server as an ASGI application. `load` is called in a thread once the application starts.

    Raises `LoadError` where API keys are asked for and there are none.
    """
    measured = Metrics(settings.names[0])
    service = Service(settings, lambda given, progress: ObservedEngine(load(given, progress), measured))
    measured.watch(lambda: service.occupancy, lambda: service.state is State.READY and service.outage is None)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await service.close()

    app = DocumentedAPI(
        title="Berth inference server",
        description="One language model over HTTP.",
        lifespan=lifespan,
        # KAITO's server takes a body that does not say its type for JSON, and `kubectl create --raw` sends such ones.
        # A page in a browser can, too; it has no key to add, and cannot read the answer.
        strict_content_type=False,
    )
    app.state.service = service
    app.state.metrics = measured
    # The last one added is the outermost.
    app.add_middleware(BodyLimit, limit=settings.max_body_bytes)
    if settings.api_key_file is not None:
        app.add_middleware(RequireKey, keys=ApiKeys(Path(settings.api_key_file)))
    app.add_middleware(Turnstile)
    app.add_middleware(RequestLog, metrics=measured, log_prompts=settings.log_prompts)
    install_error_handlers(app)
    # /v1/models/info before /v1/models/{name}.
    for routes in (health, metrics, chat, generate, chat_completions, completions, models, tokens):
        app.include_router(routes.router)
    return app
