"""Trained runs and memories over HTTP, with a web page: FastAPI and uvicorn, extra `serve`."""

from __future__ import annotations

import importlib.util


def check_installed() -> None:
    """Check that the packages of the extra `serve` are installed.

    Raises:
        MissingExtraError: one is not.
    """
    from triptych.api.serving import MissingExtraError

    for package in ("fastapi", "uvicorn", "prometheus_client"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "serve")
