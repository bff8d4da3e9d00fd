"""Trained runs and memories over HTTP, with a page for people: FastAPI and uvicorn, extra `serve`."""

from __future__ import annotations

import importlib.util

from triptych.errors import MissingExtraError


def need_server() -> None:
    """See that what serving needs is installed.

    Raises:
        MissingExtraError: it is not.
    """
    for package in ("fastapi", "uvicorn", "prometheus_client"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "serve")
