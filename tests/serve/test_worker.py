"""Jobs that fit together are computed together, and no job can harm another."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence

import pytest

from triptych.serve.refusals import BusyError, StoppingError, TooSlowError
from triptych.serve.worker import Worker, result_of


class Seen:
    """Remembers the batches it was given; the first one waits for `go`."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun, self.go = threading.Event(), threading.Event()

    def work(self, payloads: Sequence[int]) -> list[int]:
        self.batches.append(list(payloads))
        self.begun.set()
        assert self.go.wait(10)
        return [10 * payload for payload in payloads]


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker("test", queue_size=4, max_batch=3, batch_wait_s=0.0)
    yield made
    made.close()


@pytest.fixture
def seen(worker: Worker) -> Seen:
    """A worker's job 0 is under way, so that what follows waits in the queue."""
    made = Seen()
    worker.submit(0, made.work, key="a")
    assert made.begun.wait(10)
    return made


def test_jobs_with_one_key_are_computed_together_up_to_the_largest_batch(worker: Worker, seen: Seen) -> None:
    futures = [worker.submit(number, seen.work, key=key) for number, key in ((1, "a"), (2, "b"), (3, "a"), (4, "a"))]
    seen.go.set()
    assert [future.result(10) for future in futures] == [10, 20, 30, 40]
    assert seen.batches == [[0], [1, 3, 4], [2]]


def test_size_counts_items_not_jobs(worker: Worker, seen: Seen) -> None:
    futures = [worker.submit(number, seen.work, key="a", size=2) for number in (1, 2)]
    seen.go.set()
    assert [future.result(10) for future in futures] == [10, 20]
    assert seen.batches == [[0], [1], [2]]


def test_jobs_without_a_key_are_computed_alone(worker: Worker, seen: Seen) -> None:
    futures = [worker.submit(number, seen.work) for number in (1, 2)]
    seen.go.set()
    assert [future.result(10) for future in futures] == [10, 20]
    assert seen.batches == [[0], [1], [2]]


def test_the_first_of_a_batch_waits_for_others_but_not_for_ever() -> None:
    worker, seen = Worker("test", queue_size=9, max_batch=2, batch_wait_s=0.2), Seen()
    seen.go.set()
    futures = [worker.submit(number, seen.work, key="a") for number in (1, 2, 3)]
    assert [future.result(10) for future in futures] == [10, 20, 30]
    assert seen.batches == [[1, 2], [3]]
    worker.close()


def test_a_full_queue_refuses_and_says_when_to_come_back(worker: Worker, seen: Seen) -> None:
    for number in range(4):
        worker.submit(number, seen.work, key="a")
    with pytest.raises(BusyError) as refused:
        worker.submit(9, seen.work, key="a")
    assert refused.value.field == "queue_size"
    assert refused.value.headers == {"Retry-After": "1"}
    seen.go.set()


def test_jobs_that_were_given_up_make_room_in_the_queue(worker: Worker, seen: Seen) -> None:
    futures = [worker.submit(number, seen.work, key="a") for number in range(1, 5)]
    for future in futures:
        future.cancel()
    last = worker.submit(9, seen.work, key="b")
    assert worker.waiting == 1
    seen.go.set()
    assert last.result(10) == 90
    assert seen.batches == [[0], [9]]


def test_clients_take_turns() -> None:
    worker, seen = Worker("test", queue_size=99, max_batch=2, batch_wait_s=0.0), Seen()
    worker.submit(0, seen.work, client="many")
    assert seen.begun.wait(10)
    futures = [worker.submit(number, seen.work, key=number, client="many") for number in range(1, 6)]
    futures += [worker.submit(number, seen.work, key=number, client="few") for number in (10, 11)]
    futures += [worker.submit(12, seen.work, key=3, client="third")]
    seen.go.set()
    for future in futures:
        future.result(10)
    assert seen.batches == [[0], [10], [12, 3], [1], [11], [2], [4], [5]]
    worker.close()


def test_one_that_fails_does_not_spoil_the_others(worker: Worker, seen: Seen) -> None:
    def work(payloads: Sequence[int]) -> list[int]:
        if 2 in payloads:
            raise ValueError("two")
        return list(payloads)

    futures = [worker.submit(number, work, key="w") for number in (1, 2, 3)]
    seen.go.set()
    assert [futures[0].result(10), futures[2].result(10)] == [1, 3]
    with pytest.raises(ValueError, match="two"):
        futures[1].result(10)


def test_a_job_that_takes_too_long_is_given_up_and_dropped(worker: Worker, seen: Seen) -> None:
    future = worker.submit(1, seen.work, key="a")
    with pytest.raises(TooSlowError) as caught:
        asyncio.run(result_of(future, 0.05))
    assert caught.value.field == "timeout_s"
    seen.go.set()
    assert worker.submit(2, seen.work, key="b").result(10) == 20
    assert [1] not in seen.batches


def test_closing_finishes_what_is_queued_and_takes_nothing_more() -> None:
    worker, seen = Worker("test", queue_size=9, max_batch=1, batch_wait_s=0.0), Seen()
    futures = [worker.submit(number, seen.work, key="a") for number in (1, 2)]
    seen.go.set()
    worker.close()
    assert [future.result(0) for future in futures] == [10, 20]
    assert not worker.alive
    with pytest.raises(StoppingError):
        worker.submit(3, seen.work)
