"""The server itself: its health, what it serves, its counters and its description."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Path, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import PlainTextResponse

import triptych
from triptych.serve.refusals import StoppingError, not_served
from triptych.serve.schemas import ErrorAnswer, Health, ServiceAnswer
from triptych.serve.state import REFUSALS, AppState, State

router = APIRouter(tags=["service"])


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz")
async def healthz() -> Health:
    """The process is alive."""
    return Health(status="ok")


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", responses={503: {"model": ErrorAnswer, "description": "The server is stopping."}})
async def readyz(state: State) -> Health:
    """The models are loaded and requests are computed."""
    if not state.worker.alive:
        raise StoppingError
    return Health(status="ready")


@router.get("/metrics", response_class=PlainTextResponse, responses={401: REFUSALS[401]})
async def metrics(state: State) -> Response:
    """Counters and times, for Prometheus."""
    return Response(state.metrics.text(), media_type="text/plain; version=1.0.0; charset=utf-8")


@router.get("/v1/service", responses={401: REFUSALS[401]})
async def service(state: State) -> ServiceAnswer:
    """Everything that is served, with the limits of requests."""
    memories = [memory.info(may_add=state.may_add) for memory in state.catalogue.memories.values()]
    runs = list(state.catalogue.runs.values())
    return ServiceAnswer(version=triptych.__version__, runs=runs, memories=memories, limits=state.limits)


@router.get("/v1/runs/{run}", responses={status: REFUSALS[status] for status in (401, 404)})
async def run_info(run: Annotated[str, Path(description="a run")], state: State) -> dict[str, Any]:
    """A run: recipe, fingerprints of its data, metrics with intervals, settings."""
    runs = state.catalogue.runs
    if run not in runs:
        raise not_served("run", run, list(runs))
    return runs[run]


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request, state: State) -> dict[str, Any]:
    """The OpenAPI document; it lists the names of runs and memories only to those who have the key."""
    named = state.access.has_key(request.headers)
    documents: dict[bool, dict[str, Any]] = request.app.state.documents
    if named not in documents:
        documents[named] = _document(request.app, request.scope["root_path"])
        if named:
            _add_names(documents[named], state)
    return documents[named]


def _document(app: FastAPI, root_path: str) -> dict[str, Any]:
    servers = [{"url": root_path}] if root_path else None
    return get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes, servers=servers)


def _add_names(document: dict[str, Any], state: AppState) -> None:
    """Allow only the names that are served in the parameters of paths."""
    catalogue = state.catalogue
    names = {
        "a run": list(catalogue.runs),
        "a spell run": list(catalogue.spellers),
        "a see run": list(catalogue.classifiers),
        "a memory": list(catalogue.memories),
    }
    for operations in document["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", []):
                known = names.get(parameter.get("description", ""))
                if parameter["in"] == "path" and known:
                    parameter["schema"]["enum"] = known
