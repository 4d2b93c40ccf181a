"""What routes get from the application."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from berth_inference.service import Service


async def _service(request: Request) -> Service:
    # Asynchronous, although it awaits nothing: FastAPI runs plain functions in a thread pool, which
    # long requests could exhaust.
    service: Service = request.app.state.service
    return service


ServiceDependency = Annotated[Service, Depends(_service)]
