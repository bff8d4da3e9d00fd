"""The application: routes for what is served, errors as sentences, one gate in front of everything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

import triptych
from triptych.api.serving import Catalogue, ServeLimits, TriptychError, explain_invalid
from triptych.serve import memory_routes, see_routes, service_routes, spell_routes
from triptych.serve.access import Access
from triptych.serve.gate import Gate, error_content
from triptych.serve.page import page_router
from triptych.serve.queries import check_query
from triptych.serve.refusals import RefusedError, printable
from triptych.serve.state import REFUSALS, AppState


def build_app(
    catalogue: Catalogue,
    limits: ServeLimits | None = None,
    access: Access | None = None,
    *,
    may_add: bool = False,
    root_path: str = "",
) -> FastAPI:
    """An ASGI application for a catalogue; its threads run until its lifespan ends.

    Args:
        catalogue: runs and memories, loaded.
        limits: of requests; the defaults if None.
        access: who may send requests; everybody if None.
        may_add: whether patterns may be added to memories.
        root_path: the path that a proxy serves it under, such as `/models`.
    """
    access = access or Access()
    state = AppState(catalogue, limits or ServeLimits(), access, may_add=may_add)
    bearer = [] if access.key is None else [Depends(HTTPBearer(auto_error=False))]  # for the OpenAPI document
    app = FastAPI(
        title="Triptych",
        version=triptych.__version__,
        summary="Trained runs and memories.",
        openapi_url=None,  # service_routes has one that knows about keys
        docs_url=None,  # these pages would load scripts from elsewhere
        redoc_url=None,
        lifespan=_lifespan,
        dependencies=[Depends(check_query), *bearer],
        responses={422: REFUSALS[422]},
    )
    app.state.triptych = state
    app.state.documents = {}  # OpenAPI, with names and without
    app.include_router(service_routes.router)
    app.include_router(page_router())
    if catalogue.spellers:
        app.include_router(spell_routes.router)
    if catalogue.classifiers:
        app.include_router(see_routes.router)
    if catalogue.memories:
        app.include_router(memory_routes.router)
    app.add_exception_handler(TriptychError, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_status)
    app.add_middleware(Gate, access=access, limits=state.limits, metrics=state.metrics, root_path=root_path)
    if access.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(access.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["Retry-After"],
        )
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    state: AppState = app.state.triptych
    await asyncio.to_thread(state.close)


async def _answer_error(_request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, RefusedError):
        return JSONResponse(error_content(error), error.status, error.headers)
    return JSONResponse(error_content(error), 422)


async def _answer_invalid(request: Request, error: Exception) -> JSONResponse:
    """The first thing that is wrong, with at most a few letters of what was sent."""
    assert isinstance(error, RequestValidationError), "registered for it"
    first: Any = error.errors()[0]
    if first["type"] == "json_invalid":
        return _unreadable(f"The body is not valid JSON: {printable(str(first['ctx']['error']))[1:-1]}.", 422)
    if len(first["loc"]) == 1:
        found = "empty or null" if first.get("input") is None else "not a JSON object"
        return _unreadable(f"The body is {found}; expected a JSON object, sent as Content-Type: application/json.", 422)
    place = [str(part)[:80] for part in first["loc"][1:]]
    body = getattr(request.scope["route"], "body_field", None)
    schema = BaseModel if body is None else body.field_info.annotation
    details: Any = {**first, "loc": tuple(place), "input": _short(first.get("input"))}
    message = explain_invalid(schema, [details])
    return JSONResponse({"error": message, "field": printable(".".join(place))[1:-1]}, 422)


class _Plain(str):
    """A text that a message shows without quotes."""

    def __repr__(self) -> str:
        return str(self)


def _short(value: Any) -> Any:
    """A value from outside as a message may show it."""
    if isinstance(value, str):
        return value if len(value) <= 60 else f"{value[:60]}..."
    if isinstance(value, int) and abs(value) > 10**30:
        return _Plain("a number with more than 30 digits")
    if isinstance(value, list | dict) and value:
        return _Plain(f"a {'list' if isinstance(value, list) else 'table'} with {len(value)} entries")
    return value


async def _answer_status(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException), "registered for it"
    if error.status_code == 400:  # Starlette's only one: the body's JSON could not be parsed
        match error.__cause__:
            case RecursionError():
                return _unreadable("The body's JSON is nested too deeply.", 400)
            case UnicodeDecodeError():
                return _unreadable("The body is not UTF-8; expected JSON in UTF-8.", 400)
            case ValueError():
                return _unreadable("The body has an integer with too many digits.", 400)
    texts = {404: "Not found.", 405: "Method not allowed."}
    text = texts.get(error.status_code, str(error.detail))
    return JSONResponse({"error": text}, error.status_code, error.headers)


def _unreadable(message: str, status: int) -> JSONResponse:
    return JSONResponse({"error": message, "field": "body"}, status)
