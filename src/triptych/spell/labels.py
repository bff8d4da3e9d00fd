"""Short names for how targets are decoded, for the names of evaluations."""

from __future__ import annotations

from triptych.config import SpellDecoding


def decoding_label(decoding: SpellDecoding) -> str:
    """Name of the method with its settings, such as `greedy`, `beam5-best3` or `sample3-p0.8`."""
    return _method(decoding) + ("" if decoding.remembered else "-not-remembered")


def _method(decoding: SpellDecoding) -> str:
    match decoding.method:
        case "beam":
            penalty = f"-length{decoding.length_penalty:g}" if decoding.length_penalty else ""
            best = f"-best{decoding.n_best}" if decoding.n_best > 1 else ""
            return f"beam{decoding.beam_size}{best}{penalty}"
        case "sample":
            parts = [f"sample{decoding.samples}"]
            parts += [f"t{decoding.temperature:g}"] if decoding.temperature != 1 else []
            parts += [f"k{decoding.top_k}"] if decoding.top_k else []
            parts += [f"p{decoding.top_p:g}"] if decoding.top_p < 1 else []
            parts += [f"seed{decoding.seed}"] if decoding.seed else []
            return "-".join(parts)
        case _:
            return "greedy"
