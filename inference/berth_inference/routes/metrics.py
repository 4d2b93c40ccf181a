"""GET /metrics."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response

from berth_inference.metrics import CONTENT_TYPE, Metrics
from berth_inference.routes.responses import REFUSALS, only

router = APIRouter(tags=["health"])


@router.get("/metrics", response_class=PlainTextResponse, responses=only(REFUSALS, 401))
async def metrics(request: Request) -> Response:
    """Measurements for Prometheus, also while the model loads. Never waits on the model."""
    measured: Metrics = request.app.state.metrics
    return Response(measured.page(), headers={"Content-Type": CONTENT_TYPE})
