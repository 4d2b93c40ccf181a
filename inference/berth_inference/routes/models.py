"""GET /v1/models and GET /v1/models/{id}."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from berth_inference.dialects.models import served_name
from berth_inference.routes.dependencies import ServiceDependency
from berth_inference.routes.responses import OPENAI_REFUSALS, only
from berth_inference.schemas.openai_answers import AdapterCard, ModelCard, ModelList
from berth_inference.service import Service

router = APIRouter(tags=["OpenAI"])


def _card(name: str, service: Service) -> ModelCard:
    info = service.engine.info
    return ModelCard(
        id=name,
        created=service.ready_since,
        root=info.names[0],
        max_model_len=info.context_length,
        adapters=[
            AdapterCard(name=adapter.name, strength=adapter.strength) for adapter in service.settings.adapter
        ],
    )


@router.get("/v1/models", response_model=ModelList, responses=only(OPENAI_REFUSALS, 401, 503))
async def models(service: ServiceDependency) -> ModelList:
    """The names under which the served model answers."""
    return ModelList(data=[_card(name, service) for name in service.engine.info.names])


# A name may be a hub id, which has a slash.
@router.get(
    "/v1/models/{name:path}", response_model=ModelCard, responses=only(OPENAI_REFUSALS, 401, 404, 503)
)
async def model(
    name: Annotated[str, Path(description="A name of the served model; it may hold a slash.")],
    service: ServiceDependency,
) -> ModelCard:
    """One name of the served model."""
    return _card(served_name(name, service.engine.info), service)
