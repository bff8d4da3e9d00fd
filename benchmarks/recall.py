"""How fast `recall` is, as ratios measured in one run.

python benchmarks/recall.py                      100,000 patterns, 1,000 cues; an index over 1,000,000 patterns
python benchmarks/recall.py --quick              fewer patterns and repeats: a look, not a result
python benchmarks/recall.py --json --threads 2   one JSON object on standard output; two threads

The floor is the two matrix products of an update, into buffers that are ready.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from entmax import entmax15, sparsemax
from timing import Result, Task, in_fresh_process, interleaved, peak_memory_mib, show, speedup, spread, timed
from torch import Tensor

from triptych.errors import TriptychError
from triptych.memory.index import Index
from triptych.memory.memory import Memory
from triptych.recall.energy import energy, largest_norm
from triptych.recall.separation import SPARSEMAX, Entmax
from triptych.recall.update import step, update

Details = dict[str, float | int | str]


@dataclass(frozen=True)
class Size:
    """How much to measure: patterns and cues of an update, patterns and cues of the index, repeats."""

    patterns: int = 100_000
    cues: int = 1_000
    indexed: int = 1_000_000
    queries: int = 1_000
    repeats: int = 5


QUICK = Size(patterns=10_000, cues=200, indexed=50_000, queries=200, repeats=3)


def problem(count: int, rows: int, width: int) -> tuple[Tensor, Tensor, float]:
    """Patterns (N, D), cues (B, D) near some of them, and attention's inverse temperature."""
    generator = torch.Generator().manual_seed(0)
    patterns = torch.randn(count, width, generator=generator)
    cue = patterns[torch.randint(count, (rows,), generator=generator)]
    return patterns, cue + 0.3 * torch.randn(rows, width, generator=generator), width**-0.5


def plain_update(patterns: Tensor, cue: Tensor, beta: float) -> Tensor:
    """The formula as it is written, with all N x B scores at once."""
    return torch.softmax(beta * cue @ patterns.T, dim=1) @ patterns


def floor_of(patterns: Tensor, cue: Tensor) -> Callable[[], object]:
    """The two matrix products of an update, into buffers that are ready."""
    scores = torch.randn(cue.shape[0], patterns.shape[0])
    out = torch.empty_like(cue)

    def work() -> None:
        torch.mm(cue, patterns.T, out=scores)
        torch.mm(scores, patterns, out=out)

    return work


def extra_memory_mib(which: str, count: int, rows: int, width: int, threads: int) -> float:
    """Peak memory of one update beyond what its arguments need, in a process of its own."""
    torch.set_num_threads(threads)
    patterns, cue, beta = problem(count, rows, width)
    few = patterns[:64].clone()
    (plain_update if which == "plain" else _update)(few, cue[:8], beta)
    before = peak_memory_mib()
    (plain_update if which == "plain" else _update)(patterns, cue, beta)
    return peak_memory_mib() - before


def _update(patterns: Tensor, cue: Tensor, beta: float) -> Tensor:
    return update(patterns, cue, beta=beta)


def repeated(work: Callable[[], object], times: int) -> Task:
    """A task of many short calls."""

    def many() -> None:
        for _ in range(times):
            work()

    many()
    return timed(many)


def compared(name: str, other: Sequence[float], ours: Sequence[float], target: float | None, more: Details) -> Result:
    """Our speed over another's."""
    details: Details = {
        "milliseconds": round(1000 * statistics.median(ours), 3),
        "other_milliseconds": round(1000 * statistics.median(other), 3),
        "spread": spread(other, ours),
        "threads": torch.get_num_threads(),
    }
    return Result(name, speedup(other, ours), target, details | more)


def update_results(size: Size, width: int) -> list[Result]:
    """One exact update of many cues; its energy; bfloat16."""
    patterns, cue, beta = problem(size.patterns, size.cues, width)
    norm, half = largest_norm(patterns), patterns.bfloat16()
    tasks: dict[str, Callable[[], object]] = {
        "update": lambda: update(patterns, cue, beta=beta),
        "plain": lambda: plain_update(patterns, cue, beta),
        "floor": floor_of(patterns, cue),
        "step": lambda: step(patterns, cue, beta=beta, norm=norm),
        "energy": lambda: energy(patterns, cue, beta=beta, norm=norm),
        "bfloat16": lambda: update(half, cue.bfloat16(), beta=beta),
    }
    update(patterns[:64], cue, beta=beta)
    seconds = interleaved({f"D={width} {name}": timed(work) for name, work in tasks.items()}, size.repeats)
    took = {name: seconds[f"D={width} {name}"] for name in tasks}
    sizes = (size.patterns, size.cues, width, torch.get_num_threads())
    ours, plain = (in_fresh_process(extra_memory_mib, which, *sizes) for which in ("ours", "plain"))
    memory: Details = {"extra_mib": round(ours, 1), "other_extra_mib": round(plain, 1)}
    exact = plain_update(patterns, cue[:16], beta)
    lost = (update(half, cue[:16].bfloat16(), beta=beta).float() - exact).abs().max() / exact.abs().max()
    at = f"N={size.patterns} B={size.cues} D={width}"
    return [
        compared(f"update over plain, {at}", took["plain"], took["update"], 1.0 if width == 512 else 1.5, {}),
        compared(f"update over floor, {at}", took["floor"], took["update"], 0.9, {}),
        Result(f"plain extra memory over ours, {at}", plain / max(ours, 0.1), 20.0, memory),
        compared(f"update over update with energy, {at}", took["update"], took["step"], 1 / 1.1, {}),
        compared(f"energy alone over update, {at}", took["update"], took["energy"], 1.0, {}),
        compared(f"bfloat16 over float32, {at}", took["update"], took["bfloat16"], None,
                 {"relative_error": round(lost.item(), 5)}),
    ]  # fmt: skip


def single_results(size: Size) -> list[Result]:
    """One cue at a time."""
    patterns, cue, beta = problem(10_000, 1, 64)
    tasks = {
        "B=1 update": repeated(lambda: update(patterns, cue, beta=beta), 200),
        "B=1 floor": repeated(floor_of(patterns, cue), 200),
        "B=1 plain": repeated(lambda: plain_update(patterns, cue, beta), 200),
    }
    seconds = interleaved(tasks, max(5, size.repeats))
    more: Details = {"calls": 200}
    return [
        compared(f"update over {name}, N=10000 B=1 D=64", seconds[f"B=1 {name}"], seconds["B=1 update"], target, more)
        for name, target in (("floor", 0.6), ("plain", None))
    ]


def index_results(size: Size) -> list[Result]:
    """Cues per second through faiss over exact retrieval, at 99 % agreement of the retrieved pattern."""
    patterns, _, _ = problem(size.indexed, 1, 64)
    generator = torch.Generator().manual_seed(1)

    def cues(count: int) -> Tensor:
        chosen = patterns[torch.randint(size.indexed, (count,), generator=generator)]
        return chosen + 0.5 * torch.randn(chosen.shape, generator=generator)

    memory = Memory(patterns)
    index = Index(memory, kind="ivf-pq")
    tuned = index.tune(cues(300), agreement=0.995, max_steps=1)  # a margin, since the asked cues are others
    asked = cues(size.queries)
    same = index.retrieve(asked, max_steps=1).nearest == memory.retrieve(asked, max_steps=1).confidence.nearest
    tasks = {
        "exact": timed(lambda: memory.retrieve(asked, max_steps=1)),
        "index": timed(lambda: index.retrieve(asked, max_steps=1)),
    }
    seconds = interleaved(tasks, size.repeats)
    bound = index.retrieve(asked[:100], max_steps=1).left_out
    mass = index.retrieve(asked[:100], max_steps=1, verify=True).left_out
    details: Details = {
        "agreement": round(same.double().mean().item(), 4),
        "lists": index.lists,
        "searched": tuned.effort,
        "beta": round(memory.beta, 2),
        "queries_per_second": round(size.queries / statistics.median(seconds["index"])),
        "median_bound_on_mass_left_out": round(bound.median().item(), 6),
        "median_mass_left_out": round(mass.median().item(), 6),
    }
    return [compared(f"index over exact, N={size.indexed} D=64", seconds["exact"], seconds["index"], 20.0, details)]


def sparse_results(size: Size) -> list[Result]:
    """Separation functions on the scores of the cues, against the entmax package called as it is."""
    patterns, cue, beta = problem(size.patterns // 10, size.cues, 64)
    scores = beta * cue @ patterns.T
    results = []
    pairs: list[tuple[str, Entmax, Callable[..., Tensor]]] = [
        ("sparsemax", SPARSEMAX, sparsemax), ("entmax 1.5", Entmax(alpha=1.5), entmax15)
    ]  # fmt: skip
    for name, ours, theirs in pairs:
        apart = (ours.weights(scores) - theirs(scores, dim=-1)).abs().max().item()
        tasks = {
            name: timed(lambda ours=ours: ours.weights(scores)),  # type: ignore[misc]
            f"{name} entmax": timed(lambda theirs=theirs: theirs(scores, dim=-1)),  # type: ignore[misc]
        }
        seconds = interleaved(tasks, size.repeats)
        more: Details = {"largest_difference": apart}
        results.append(compared(f"{name} over entmax's own", seconds[f"{name} entmax"], seconds[name], None, more))
    return results


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer patterns and repeats")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--threads", type=int, help="threads of PyTorch and faiss")
    parser.add_argument("--no-index", action="store_true", help="leave the index out")
    options = parser.parse_args()
    size = QUICK if options.quick else Size()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    try:
        results = [*single_results(size), *update_results(size, 64), *update_results(size, 512), *sparse_results(size)]
        if not options.no_index:
            import faiss

            faiss.omp_set_num_threads(torch.get_num_threads())
            results += index_results(size)
    except TriptychError as error:
        sys.exit(f"error: {error}")
    show(results, as_json=options.json)


if __name__ == "__main__":
    main()
