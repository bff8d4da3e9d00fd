"""State of the app that all routes share: the models, the limits, and the threads that compute."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, TypeVar

from fastapi import Depends, Request

from triptych.api.serving import Catalogue, ServedClassifier, ServedMemory, ServedSpeller, ServeLimits
from triptych.serve.access import Access
from triptych.serve.gate import CLIENT
from triptych.serve.metrics import Metrics
from triptych.serve.refusals import not_served
from triptych.serve.schemas import ErrorAnswer
from triptych.serve.worker import Worker, result_of

Payload = TypeVar("Payload")
Result = TypeVar("Result")
Served = TypeVar("Served")

STATUS_TEXTS = {
    400: "The body cannot be read as JSON.",
    401: "The API key is missing or wrong.",
    403: "Not allowed from there, or on this server.",
    404: "The run, memory or pattern does not exist.",
    408: "The request was not complete in time.",
    409: "Other processes are changing the memory.",
    413: "More than a limit of the server, which the message names.",
    422: "A value breaks its rule, which the message names.",
    429: "Too many requests with wrong API keys.",
    503: "Too many requests; try again after the time in Retry-After.",
    504: "It took too long.",
}
REFUSALS: dict[int | str, dict[str, object]] = {
    status: {"model": ErrorAnswer, "description": text} for status, text in STATUS_TEXTS.items()
}


class AppState:
    """State that the routes of one server share; its threads run until `close`.

    Args:
        catalogue: runs and memories.
        limits: of requests.
        access: who may send them.
        may_add: whether patterns may be added to memories.

    Attributes:
        metrics: counters.
        worker: the one thread that PyTorch runs in.
        decoders: two threads that decode uploaded images, so that no more than two are in memory whole.
    """

    def __init__(self, catalogue: Catalogue, limits: ServeLimits, access: Access, *, may_add: bool) -> None:
        self.catalogue, self.limits, self.access, self.may_add = catalogue, limits, access, may_add
        self.metrics = Metrics()
        self.worker = Worker(
            "triptych-torch",
            queue_size=limits.queue_size,
            max_batch=limits.max_batch,
            batch_wait_s=limits.batch_wait_ms / 1000,
            on_batch=self.metrics.batch,
        )
        self.metrics.watch_queue(lambda: self.worker.waiting)
        self.decoders = ThreadPoolExecutor(2, thread_name_prefix="triptych-decoder")

    def speller(self, name: str) -> ServedSpeller:
        """A spell run."""
        return _found("run", name, self.catalogue.spellers)

    def classifier(self, name: str) -> ServedClassifier:
        """A see run."""
        return _found("run", name, self.catalogue.classifiers)

    def memory(self, name: str) -> ServedMemory:
        """A memory."""
        return _found("memory", name, self.catalogue.memories)

    async def compute(
        self,
        payload: Payload,
        work: Callable[[Sequence[Payload]], Sequence[Result]],
        *,
        key: Hashable = None,
        size: int = 1,
    ) -> Result:
        """Run a job in PyTorch's thread; see `Worker.submit`."""
        job = self.worker.submit(payload, work, key=key, size=size, client=CLIENT.get())
        return await result_of(job, self.limits.timeout_s)

    async def compute_alone(self, work: Callable[[], Result]) -> Result:
        """Run a job in PyTorch's thread, together with no other."""
        return await self.compute(None, lambda _: [work()])

    def close(self) -> None:
        """Finish what is queued and end the threads."""
        self.worker.close()
        self.decoders.shutdown()


def _found(what: str, name: str, known: Mapping[str, Served]) -> Served:
    if name in known:
        return known[name]
    raise not_served(what, name, list(known))


def _state_of(request: Request) -> AppState:
    state = request.app.state.triptych
    assert isinstance(state, AppState), "build_app sets it"
    return state


State = Annotated[AppState, Depends(_state_of)]
