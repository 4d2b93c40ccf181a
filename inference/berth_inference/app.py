"""The application factory. Nothing happens at import."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from berth_inference.body_limit import BodyLimit
from berth_inference.http_errors import install_error_handlers
from berth_inference.routes import (
    chat,
    chat_completions,
    completions,
    generate,
    health,
    models,
    tokens,
)
from berth_inference.service import Loader, Service
from berth_inference.settings import Settings


def create_app(settings: Settings, load: Loader) -> FastAPI:
    """The server as an ASGI application. `load` is called in a thread once the application starts."""

    service = Service(settings, load)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await service.close()

    app = FastAPI(
        title="Berth inference server",
        description="One language model over HTTP.",
        lifespan=lifespan,
    )
    app.state.service = service
    app.add_middleware(BodyLimit, limit=settings.max_body_bytes)
    install_error_handlers(app)
    # /v1/models/info before /v1/models/{name}.
    for routes in (health, chat, generate, chat_completions, completions, models, tokens):
        app.include_router(routes.router)
    return app
