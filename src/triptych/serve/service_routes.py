"""What watchers and pages ask a server: how it is, what it serves, what it counted."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from fastapi.responses import PlainTextResponse

import triptych
from triptych.serve.memory_routes import card_of
from triptych.serve.refusals import StoppingError
from triptych.serve.schemas import ErrorAnswer, Health, ServiceAnswer
from triptych.serve.studio import REFUSALS, Here

router = APIRouter(tags=["service"])


@router.get("/healthz")
async def healthz() -> Health:
    """The process answers."""
    return Health(status="ok")


@router.get("/readyz", responses={503: {"model": ErrorAnswer, "description": "It is stopping."}})
async def readyz(studio: Here) -> Health:
    """The models are loaded and requests are computed."""
    if not studio.worker.alive or not studio.drawer.alive:
        raise StoppingError
    return Health(status="ready")


@router.get("/metrics", response_class=PlainTextResponse, responses={401: REFUSALS[401]})
async def metrics(studio: Here) -> Response:
    """Counters and times, for Prometheus."""
    return Response(studio.metrics.text(), media_type="text/plain; version=1.0.0; charset=utf-8")


@router.get("/v1/service", responses={401: REFUSALS[401]})
async def service(studio: Here) -> ServiceAnswer:
    """Everything that is served, with the bounds of requests."""
    memories = [card_of(name, stored, may_add=studio.may_add) for name, stored in studio.catalogue.memories.items()]
    return ServiceAnswer(
        version=triptych.__version__,
        runs=list(studio.catalogue.cards.values()),
        memories=memories,
        limits=asdict(studio.limits),
    )


@router.get("/v1/runs/{run}", responses={status: REFUSALS[status] for status in (401, 404)})
async def model(run: Annotated[str, Path(description="a run")], studio: Here) -> dict[str, Any]:
    """The card of a run: recipe, fingerprints of its data, metrics with intervals, settings."""
    return studio.catalogue.card(run)
