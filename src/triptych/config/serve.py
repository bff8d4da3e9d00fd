"""Limits of a server: the only declaration of each, from which options, errors and the documentation are made."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import Field

from triptych.config.common import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Table
from triptych.config.loading import check_table, parse_value
from triptych.errors import RecipeError


class ServeLimits(Table):
    """Limits of a server, and how it gathers requests into batches."""

    max_body_bytes: PositiveInt = Field(default=8_000_000, description="bytes of one request's body")
    max_sources: PositiveInt = Field(default=64, description="sources in one request to a speller")
    max_source_symbols: PositiveInt = Field(default=128, description="symbols of one source")
    max_n_best: PositiveInt = Field(default=16, description="candidates of one source, and hypotheses of a beam")
    max_samples: PositiveInt = Field(default=16, description="samples drawn for one source")
    max_image_pixels: PositiveInt = Field(default=16_000_000, description="width times height of an uploaded image")
    max_cues: PositiveInt = Field(default=64, description="cues, or patterns to add, in one request to a memory")
    max_steps: PositiveInt = Field(default=100, description="updates of one retrieval")
    max_trace_numbers: PositiveInt = Field(
        default=2_000_000, description="numbers in the states of a traced retrieval: cues x (max_steps + 1) x width"
    )
    max_stored: PositiveInt = Field(default=1_000_000, description="patterns in a memory that accepts new ones")
    timeout_s: PositiveFloat = Field(default=30.0, description="seconds for a request to arrive, and for its answer")
    idle_timeout_s: PositiveFloat = Field(
        default=15.0, description="seconds that an open connection may take to send a request's headers"
    )
    max_connections: NonNegativeInt = Field(
        default=0, description="open connections; 0 is as many as the process's limit of open files allows"
    )
    queue_size: PositiveInt = Field(default=256, description="requests in progress; more get 503 with Retry-After")
    max_batch: PositiveInt = Field(default=64, description="items computed together")
    batch_wait_ms: NonNegativeFloat = Field(
        default=2.0, description="milliseconds that the first request of a batch waits for others"
    )


def load_limits(file: Path | None = None, settings: Iterable[str] = ()) -> ServeLimits:
    """Limits from a TOML file, with `NAME=VALUE` settings on top; the defaults for the rest.

    Raises:
        RecipeError: the file cannot be read, a name is unknown, or a value breaks its rule.
    """
    tree: dict[str, Any] = {}
    if file is not None:
        try:
            tree = tomllib.loads(file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
            raise RecipeError(f"not readable as TOML: {error}.", path=file) from None
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name.strip():
            raise RecipeError(
                field="--limit", value=setting, expected="NAME=VALUE", hint="For example: --limit timeout_s=60"
            )
        tree[name.strip()] = parse_value(value.strip())
    return check_table(ServeLimits, tree, "--limit" if file is None else f"{file} and --limit")


def describe_limits(limits: ServeLimits) -> str:
    """All limits as TOML that `load_limits` reads, each with its description."""
    lines = []
    for name, field in ServeLimits.model_fields.items():
        setting = f"{name} = {getattr(limits, name)!r}"
        lines.append(f"{setting:32}  # {field.description}")
    return "\n".join(lines)
