"""What all routes share: the models, the bounds, and the threads that compute."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Request, Response

from triptych.serve.catalogue import Catalogue
from triptych.serve.limits import Limits
from triptych.serve.metrics import Metrics
from triptych.serve.schemas import ErrorAnswer
from triptych.serve.worker import Worker, result_of

Payload = TypeVar("Payload")
Result = TypeVar("Result")

WORDS = {
    400: "The body is not JSON.",
    401: "The key is missing or wrong.",
    403: "Not allowed from there, or on this server.",
    404: "There is no such run, memory or pattern.",
    408: "The request was not complete in time.",
    413: "Beyond a bound of the server, which the message names.",
    422: "A value breaks its rule, which the message names.",
    503: "Too many requests; Retry-After says when to try again.",
    504: "It took too long.",
}
REFUSALS: dict[int | str, dict[str, object]] = {
    status: {"model": ErrorAnswer, "description": words} for status, words in WORDS.items()
}


@dataclass(frozen=True)
class Studio:
    """One server's insides.

    Attributes:
        catalogue: runs and memories.
        limits: bounds.
        metrics: counters.
        worker: the one thread that PyTorch runs in.
        drawer: the one thread that pictures are drawn in.
        decoders: two threads that uploaded images are decoded in, so that no more than two are in memory whole.
        may_add: whether patterns may be added to memories.
    """

    catalogue: Catalogue
    limits: Limits
    metrics: Metrics
    worker: Worker
    drawer: Worker
    decoders: ThreadPoolExecutor
    may_add: bool = False

    async def compute(
        self,
        payload: Payload,
        work: Callable[[Sequence[Payload]], Sequence[Result]],
        *,
        key: Hashable = None,
        size: int = 1,
    ) -> Result:
        """Have PyTorch work; see `Worker.submit`."""
        return await result_of(self.worker.submit(payload, work, key=key, size=size), self.limits.timeout_s)

    def close(self) -> None:
        """Finish what is queued and end the threads."""
        self.worker.close()
        self.drawer.close()
        self.decoders.shutdown()

    async def draw(self, picture: Callable[[], bytes]) -> Response:
        """A picture as an answer."""

        def work(_: Sequence[None]) -> list[bytes]:
            return [picture()]

        content = await result_of(self.drawer.submit(None, work), self.limits.timeout_s)
        return Response(content, media_type="image/png")


def start_studio(catalogue: Catalogue, limits: Limits, *, may_add: bool = False) -> Studio:
    """The threads for a catalogue."""
    metrics = Metrics()
    worker = Worker(
        "triptych-torch",
        queue_size=limits.queue_size,
        max_batch=limits.max_batch,
        batch_wait_s=limits.batch_wait_ms / 1000,
        watcher=metrics,
    )
    drawer = Worker("triptych-pictures", queue_size=limits.queue_size, max_batch=1, batch_wait_s=0)
    metrics.watch_queue(lambda: worker.waiting)
    decoders = ThreadPoolExecutor(2, thread_name_prefix="triptych-decoder")
    return Studio(catalogue, limits, metrics, worker, drawer, decoders, may_add)


def _studio_of(request: Request) -> Studio:
    studio = request.app.state.studio
    assert isinstance(studio, Studio), "build_app sets it"
    return studio


Here = Annotated[Studio, Depends(_studio_of)]


class PngResponse(Response):
    """For the OpenAPI document: the answer is a picture."""

    media_type = "image/png"
