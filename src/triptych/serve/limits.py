"""What the server takes at most, and how it gathers requests: each a setting, and each named by its error."""

from __future__ import annotations

from dataclasses import dataclass, fields

from triptych.errors import TriptychError


@dataclass(frozen=True)
class Limits:
    """Bounds of one server. The option of a field is `--` and its name with hyphens.

    Attributes:
        max_body_bytes: of one request.
        max_sources: texts to spell in one request.
        max_source_symbols: of one text.
        max_n_best: candidates of one text, and hypotheses of the beam.
        max_samples: drawn for one text.
        max_image_pixels: width times height of an image before it is resized.
        max_cues: cues to recall from, or patterns to add, in one request.
        max_steps: updates of one recall.
        max_trace_numbers: numbers in a memory, patterns times width, whose recall is traced step by step.
        max_stored: patterns in one memory that may be added to.
        timeout_s: seconds until a request is given up, from its first byte on.
        queue_size: requests at once, waiting or being answered.
        max_batch: items that are computed together.
        batch_wait_ms: milliseconds that the first request of a batch waits for others.
    Raises:
        TriptychError: a number out of range.
    """

    max_body_bytes: int = 8_000_000
    max_sources: int = 64
    max_source_symbols: int = 128
    max_n_best: int = 16
    max_samples: int = 16
    max_image_pixels: int = 16_000_000
    max_cues: int = 64
    max_steps: int = 100
    max_trace_numbers: int = 20_000_000
    max_stored: int = 1_000_000
    timeout_s: float = 30.0
    queue_size: int = 256
    max_batch: int = 64
    batch_wait_ms: float = 2.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name == "batch_wait_ms" else 1 if isinstance(field.default, int) else 1e-3
            if not least <= value < float("inf"):
                raise TriptychError(f"{option(field.name)} is {value}; expected a number >= {least:g}.")


def option(name: str) -> str:
    """The command line's option of a field."""
    return f"--{name.replace('_', '-')}"
