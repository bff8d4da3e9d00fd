"""Counters and times in Prometheus's format."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counters of one server, in a registry of their own, so that one process may run several servers."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "triptych_requests", "Requests answered.", ["method", "route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "triptych_request_seconds",
            "From the first byte of a request to the last byte of its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._in_flight = Gauge("triptych_requests_in_flight", "Requests being answered.", registry=self.registry)
        self._batch_jobs = Histogram(
            "triptych_batch_requests", "Requests computed together.", buckets=_SIZES, registry=self.registry
        )
        self._batch_seconds = Histogram(
            "triptych_batch_seconds", "Time of one batch.", buckets=_SECONDS, registry=self.registry
        )

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a response; `route` is a template, never a path from outside."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def in_flight(self, count: int) -> None:
        """Requests being answered now."""
        self._in_flight.set(count)

    def batch(self, jobs: int, seconds: float) -> None:
        """Count a batch."""
        self._batch_jobs.observe(jobs)
        self._batch_seconds.observe(seconds)

    def watch_queue(self, length: Callable[[], int]) -> None:
        """Report the length of a queue, taken when metrics are read."""
        Gauge("triptych_queue_length", "Requests waiting to be computed.", registry=self.registry).set_function(length)

    def text(self) -> bytes:
        """All of them in Prometheus's text format."""
        return generate_latest(self.registry)
