"""Query parameters: one that a route does not take is refused."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import Request
from fastapi.dependencies.models import Dependant

from triptych.api.serving import RecipeError, did_you_mean
from triptych.serve.refusals import printable

_LONGEST = 100  # letters of a name that are compared with the known ones


async def check_query(request: Request) -> None:
    """Check that a route takes every query parameter it is given; a dependency of all routes.

    The page and the health checks pass, since links and probes add parameters of their own.

    Raises:
        RecipeError: it does not take one; the message names it, and the nearest known one or all of them.
    """
    route = request.scope["route"]
    if not route.path.startswith("/v1/"):
        return
    known = sorted(set(_taken(route.dependant)))
    for name in request.query_params:
        if name not in known:
            rule = f"one that this address takes. {did_you_mean(name[:_LONGEST], known)}" if known else "none here."
            raise RecipeError(f"the query parameter is {printable(name)}; expected {rule}", field="query")


def _taken(dependant: Dependant) -> Iterator[str]:
    """Names of the query parameters that a route and its dependencies declare."""
    for parameter in dependant.query_params:
        yield parameter.alias
    for inner in dependant.dependencies:
        yield from _taken(inner)
