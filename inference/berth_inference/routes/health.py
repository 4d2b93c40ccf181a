"""Is the process alive, and may it be sent requests? Never waits on the model."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from berth_inference.progress import Phase
from berth_inference.routes.dependencies import ServiceDependency
from berth_inference.service import Service, State

router = APIRouter(tags=["health"])

_NOT_READY: dict[int | str, dict[str, Any]] = {503: {"description": "Loading, with progress, or draining"}}


def _readiness(service: Service) -> JSONResponse:
    if service.state is State.READY and service.outage is None:
        return JSONResponse({"status": "Healthy"})
    content: dict[str, Any] = {"status": service.state.value}
    if service.outage is not None:
        content = {"status": State.LOADING.value, "phase": Phase.STARTING.value, "message": service.outage}
    elif service.state is State.LOADING:
        content |= service.progress.report()
    elif service.state is State.FAILED:
        content["message"] = str(service.failure)
    else:
        content["message"] = "finishing what is running before the server stops"
    return JSONResponse(content, status_code=503, headers={"Retry-After": "1"})


@router.get("/health", responses=_NOT_READY)
async def health(service: ServiceDependency) -> JSONResponse:
    """200 once the model has produced a first token; 503 with progress before, and while draining."""
    return _readiness(service)


@router.get("/healthz", responses=_NOT_READY)
async def healthz(service: ServiceDependency) -> JSONResponse:
    """The same as /health, under the name that older clients use."""
    return _readiness(service)


@router.get("/livez", responses={503: {"description": "A step of the model does not end"}})
async def livez(service: ServiceDependency) -> JSONResponse:
    """200 while the process answers at all and the model's steps end; 503 asks for a restart."""
    if service.stuck:
        return JSONResponse({"status": "stuck"}, status_code=503)
    return JSONResponse({"status": "alive"})


@router.get("/")
async def root() -> dict[str, str]:
    """A word to whoever opens the address in a browser."""
    return {"message": "Server is running"}
