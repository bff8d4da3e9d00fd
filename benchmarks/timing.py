"""Speeds set against each other within one run: interleaved repeats, medians, peak memory, a table or JSON."""

from __future__ import annotations

import json
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

Task = Callable[[], float]
"""Does some work and returns the seconds that count."""

Parameters = ParamSpec("Parameters")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Result:
    """One ratio.

    Attributes:
        name: what is compared.
        ratio: how many times faster ours is than the other.
        target: the least that it should be, or None where nothing was promised.
        details: figures behind it, units in their names.
    """

    name: str
    ratio: float
    target: float | None
    details: Mapping[str, float | int | str]

    @property
    def verdict(self) -> str:
        """Whether the ratio reaches the target."""
        if self.target is None:
            return ""
        return "met" if self.ratio >= self.target else "not met"


def timed(work: Callable[[], object]) -> Task:
    """A task whose whole wall-clock time counts."""

    def task() -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return task


def interleaved(tasks: Mapping[str, Task], repeats: int) -> dict[str, list[float]]:
    """Seconds of every task in every repeat.

    Each repeat runs every task once, so that a machine that slows down for a while slows all of them; every other
    repeat goes through them backwards, so that none always follows the same one.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for repeat in range(repeats):
        for name in list(tasks) if repeat % 2 == 0 else reversed(list(tasks)):
            print(f"repeat {repeat + 1}/{repeats}: {name}", file=sys.stderr, flush=True)
            seconds[name].append(tasks[name]())
    return seconds


def speedup(other: Sequence[float], ours: Sequence[float]) -> float:
    """The median over repeats of the other's seconds divided by ours of the same repeat."""
    return statistics.median(theirs / mine for theirs, mine in zip(other, ours, strict=True))


def spread(other: Sequence[float], ours: Sequence[float]) -> str:
    """The smallest and the largest ratio that a repeat gave."""
    ratios = [theirs / mine for theirs, mine in zip(other, ours, strict=True)]
    return f"{min(ratios):.2f}-{max(ratios):.2f}"


def peak_memory_mib() -> float:
    """The most memory that this process has held so far, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # unlike getrusage, not inflated by the process that started this one
        lines = status.read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1024**2 if sys.platform == "darwin" else most / 1024


def in_fresh_process(
    function: Callable[Parameters, Value], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Value:
    """The function's value, from a process that has done nothing else."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args, **kwargs).result()


def show(results: Sequence[Result], *, as_json: bool) -> None:
    """Print one JSON object, or a table, on standard output."""
    if as_json:
        told = {
            result.name: {"ratio": round(result.ratio, 3), "target": result.target, **result.details}
            for result in results
        }
        print(json.dumps(told, allow_nan=False))
        return
    rows = [("comparison", "ratio", "target", "", "details")]
    for result in results:
        details = ", ".join(f"{name} {value}" for name, value in result.details.items())
        target = "-" if result.target is None else f"{result.target:g}"
        rows.append((result.name, f"{result.ratio:.2f}", target, result.verdict, details))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for name, ratio, target, verdict, details in rows:
        print(f"{name:<{widths[0]}}  {ratio:>{widths[1]}}  {target:>{widths[2]}}  {verdict:<{widths[3]}}  {details}")
