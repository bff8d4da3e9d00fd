"""Settings of decoding with short targets, for tests on models that are tables."""

from __future__ import annotations

from typing import Any

from triptych.config import SpellDecoding
from triptych.decoding import Sources

NO_SOURCES = Sources.of([])


def greedy_settings(factor: float = 1.0, extra: int = 2) -> SpellDecoding:
    """Greedy decoding of at most factor * source length + extra symbols."""
    return SpellDecoding(max_length_factor=factor, max_length_extra=extra)


def beam(beam_size: int, *, factor: float = 1.0, extra: int = 2, **settings: Any) -> SpellDecoding:
    """Beam search of at most factor * source length + extra symbols."""
    return SpellDecoding(
        method="beam", beam_size=beam_size, max_length_factor=factor, max_length_extra=extra, **settings
    )


def samples(count: int = 1, *, factor: float = 1.0, extra: int = 2, **settings: Any) -> SpellDecoding:
    """Sampling of at most factor * source length + extra symbols."""
    return SpellDecoding(method="sample", samples=count, max_length_factor=factor, max_length_extra=extra, **settings)
