"""One thread that computes for all requests, several at a time where they fit together.

The first job of a batch waits a few milliseconds for others that ask the same of the same model; jobs that came while
the thread was busy are gathered at once. Clients take turns: the next batch begins with the oldest job of the client
that was served longest ago. A job that nobody waits for any more is dropped before it begins.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from triptych.serve.refusals import BusyError, StoppingError, TooSlowError

Payload = TypeVar("Payload")
Result = TypeVar("Result")


@dataclass
class _Job:
    """One request's part of a batch."""

    key: Hashable
    payload: Any
    work: Callable[[Sequence[Any]], Sequence[Any]]
    size: int
    client: str
    future: Future[Any] = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)


class Worker:
    """A thread with a bounded queue.

    Args:
        name: of the thread.
        queue_size: jobs that may wait, >= 1.
        max_batch: items computed together, >= 1; a larger job is computed alone.
        batch_wait_s: seconds that the first job of a batch waits for others, >= 0.
        on_batch: called after every batch with the number of jobs and the seconds they took.
    Checked by tests/serve/test_worker.py.
    """

    def __init__(
        self,
        name: str,
        *,
        queue_size: int,
        max_batch: int,
        batch_wait_s: float,
        on_batch: Callable[[int, float], None] = lambda _jobs, _seconds: None,
    ) -> None:
        self.queue_size, self.max_batch, self.batch_wait_s = queue_size, max_batch, batch_wait_s
        self._on_batch = on_batch
        self._jobs: deque[_Job] = deque()
        self._last_turns: dict[str, int] = {}  # number of the batch that a client last began
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Jobs in the queue."""
        return len(self._jobs)

    @property
    def alive(self) -> bool:
        """Whether jobs are taken."""
        return self._thread.is_alive() and not self._stopping

    def submit(
        self,
        payload: Payload,
        work: Callable[[Sequence[Payload]], Sequence[Result]],
        *,
        key: Hashable = None,
        size: int = 1,
        client: str = "",
    ) -> Future[Result]:
        """Have a job computed.

        Args:
            payload: what `work` gets, in a list with those of other jobs.
            work: gives one result per payload.
            key: jobs with equal keys may be computed together, by the first one's `work`; None is alone.
            size: items in the payload.
            client: whose job it is.
        Raises:
            BusyError: the queue is full.
            StoppingError: the worker was closed.
        """
        job = _Job(object() if key is None else key, payload, work, size, client)
        with self._changed:
            if self._stopping:
                raise StoppingError
            if len(self._jobs) >= self.queue_size:
                self._drop_cancelled()
            if len(self._jobs) >= self.queue_size:
                raise BusyError(self.queue_size)
            self._jobs.append(job)
            self._changed.notify()
        return job.future

    def close(self) -> None:
        """Finish what is queued, take nothing more, and end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def _loop(self) -> None:
        while batch := self._next():
            began = time.monotonic()
            jobs = [job for job in batch if job.future.set_running_or_notify_cancel()]
            if jobs:
                _compute(jobs)
                self._on_batch(len(jobs), time.monotonic() - began)

    def _next(self) -> list[_Job]:
        """The next client's oldest job and those that go with it; empty when the worker is closed and none is left."""
        with self._changed:
            while True:
                self._drop_cancelled()
                if self._jobs:
                    break
                if self._stopping:
                    return []
                self._changed.wait()
            first = self._first()
            until = first.arrived + self.batch_wait_s
            while self._ready(first.key) < self.max_batch and not self._stopping:
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            return self._take(first)

    def _drop_cancelled(self) -> None:
        if any(job.future.cancelled() for job in self._jobs):
            self._jobs = deque(job for job in self._jobs if not job.future.cancelled())

    def _first(self) -> _Job:
        """The oldest job of the client whose last turn is longest ago; turns of clients without jobs are forgotten."""
        waiting = dict.fromkeys(job.client for job in self._jobs)
        self._last_turns = {client: turn for client, turn in self._last_turns.items() if client in waiting}
        client = min(waiting, key=lambda one: self._last_turns.get(one, 0))
        self._last_turns[client] = 1 + max(self._last_turns.values(), default=0)
        return next(job for job in self._jobs if job.client == client)

    def _ready(self, key: Hashable) -> int:
        return sum(job.size for job in self._jobs if job.key == key)

    def _take(self, first: _Job) -> list[_Job]:
        """Remove a job from the queue with those that are computed together with it."""
        taken, rest = [first], deque[_Job]()
        room = self.max_batch - first.size
        for job in self._jobs:
            if job is first:
                continue
            if job.key == first.key and job.size <= room:
                taken.append(job)
                room -= job.size
            else:
                rest.append(job)
        self._jobs = rest
        return taken


def _compute(jobs: Sequence[_Job]) -> None:
    """Set every job's result; where a batch fails, each is tried alone, so that one cannot harm the others."""
    try:
        results = list(zip(jobs, jobs[0].work([job.payload for job in jobs]), strict=True))
    except Exception as error:  # noqa: BLE001 - whatever it is belongs to the request, not to the thread
        if len(jobs) == 1:
            jobs[0].future.set_exception(error)
            return
        for job in jobs:
            _compute([job])
        return
    for job, result in results:
        job.future.set_result(result)


async def result_of(future: Future[Result], timeout_s: float) -> Result:
    """Wait for a job without holding up other requests.

    Raises:
        TooSlowError: it took longer; if it has not begun, it is dropped.
    """
    try:
        return await asyncio.wait_for(asyncio.wrap_future(future), timeout_s)
    except TimeoutError:
        raise TooSlowError(
            f"Timed out after {timeout_s:g} s, the server's limit timeout_s.",
            field="timeout_s",
            hint="Send a smaller request.",
        ) from None
