"""The web page: four files of the package, which load nothing from anywhere else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import resources

from fastapi import APIRouter, Response

_TYPES = {"index.html": "text/html", "page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}


def page_router() -> APIRouter:
    """Routes of the page; its files are read once, and no others are ever sent."""
    router = APIRouter(include_in_schema=False)
    folder = resources.files("triptych.serve") / "page"
    for name, media_type in _TYPES.items():
        content = (folder / name).read_bytes()
        path = "/" if name == "index.html" else f"/{name}"
        router.add_api_route(path, _answer(content, f"{media_type}; charset=utf-8"), methods=["GET", "HEAD"])
    return router


def _answer(content: bytes, media_type: str) -> Callable[[], Awaitable[Response]]:
    async def send() -> Response:
        return Response(content, media_type=media_type, headers={"cache-control": "no-cache"})

    return send
