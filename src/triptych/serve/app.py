"""The application: routes for what is served, errors as words, one gate in front of everything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

import triptych
from triptych.errors import TriptychError
from triptych.serve import memory_routes, see_routes, service_routes, spell_routes
from triptych.serve.catalogue import Catalogue, printable
from triptych.serve.gate import Access, Gate
from triptych.serve.limits import Limits
from triptych.serve.page import page_router
from triptych.serve.queries import check_query
from triptych.serve.refusals import RefusedError
from triptych.serve.studio import REFUSALS, Studio, start_studio


def build_app(
    catalogue: Catalogue, limits: Limits | None = None, access: Access | None = None, *, may_add: bool = False
) -> FastAPI:
    """An ASGI application for what a catalogue holds; its threads run until its lifespan ends.

    Args:
        catalogue: runs and memories, loaded.
        limits: bounds of requests; the usual ones by default.
        access: who may ask; everybody by default.
        may_add: whether patterns may be added to memories.
    """
    access = access or Access()
    studio = start_studio(catalogue, limits or Limits(), may_add=may_add)
    bearer = [] if access.key is None else [Depends(HTTPBearer(auto_error=False))]  # tells the document of the key
    app = FastAPI(
        title="Triptych",
        version=triptych.__version__,
        summary="Trained runs and memories.",
        docs_url=None,  # these pages would load scripts from elsewhere
        redoc_url=None,
        lifespan=_lifespan,
        dependencies=[Depends(check_query), *bearer],
        responses={422: REFUSALS[422]},
    )
    app.state.studio = studio
    app.include_router(service_routes.router)
    app.include_router(page_router())
    if catalogue.spellers:
        app.include_router(spell_routes.router)
    if catalogue.classifiers:
        app.include_router(see_routes.router)
    if catalogue.memories:
        app.include_router(memory_routes.router)
    app.add_exception_handler(TriptychError, _say)
    app.add_exception_handler(RequestValidationError, _say_what_is_invalid)
    app.add_exception_handler(HTTPException, _say_status)
    app.add_middleware(Gate, access=access, limits=studio.limits, metrics=studio.metrics)
    app.openapi = lambda: _document(app, catalogue)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    studio: Studio = app.state.studio
    await asyncio.to_thread(studio.close)


async def _say(_request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, RefusedError):
        return JSONResponse({"error": str(error)}, error.status, error.headers)
    return JSONResponse({"error": str(error)}, 422)


async def _say_what_is_invalid(_request: Request, error: Exception) -> JSONResponse:
    """The first thing that is wrong, without repeating what was sent beyond a few letters."""
    assert isinstance(error, RequestValidationError), "registered for it"
    first: Any = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])[:80] or "the body"
    if first["type"] == "json_invalid":
        return JSONResponse({"error": f"the body is no JSON ({printable(str(first['ctx']['error']))})."}, 422)
    given = first.get("input")
    value = f" is {printable(_short(given))}" if isinstance(given, str | int | float | None) else ""
    return JSONResponse({"error": f"{printable(where)[1:-1]}{value}: {first['msg']}."}, 422)


def _short(value: str | int | float | None) -> str:
    return hex(value)[:40] if isinstance(value, int) and abs(value) > 10**30 else str(value)[:80]


async def _say_status(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException), "registered for it"
    words = {404: "There is nothing at this address.", 405: "This method is not answered at this address."}
    return JSONResponse({"error": words.get(error.status_code, str(error.detail))}, error.status_code, error.headers)


def _document(app: FastAPI, catalogue: Catalogue) -> dict[str, Any]:
    """The OpenAPI document, with the names that are served as the only values of their parameters."""
    if app.openapi_schema is not None:
        return app.openapi_schema
    document = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
    names: dict[str, Sequence[str]] = {
        "a run": list(catalogue.cards),
        "a run of spell": list(catalogue.spellers),
        "a run of see": list(catalogue.classifiers),
        "a memory": list(catalogue.memories),
    }
    for operations in document["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", []):
                known = names.get(parameter.get("description", ""))
                if parameter["in"] == "path" and known:
                    parameter["schema"]["enum"] = known
    app.openapi_schema = document
    return document
