"""What the functions of this package ask of their arguments, said once."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from triptych.errors import DataError, ShapeError, TriptychError


def check_patterns(patterns: Tensor) -> None:
    """Patterns are a floating-point matrix with at least one row and one column.

    Raises:
        ShapeError: they are not.
    """
    if patterns.ndim != 2 or 0 in patterns.shape:
        raise ShapeError(
            f"patterns has shape {tuple(patterns.shape)}; expected (N, D) with N, D >= 1. "
            "Store at least one pattern, one per row."
        )
    if not patterns.is_floating_point():
        raise ShapeError(f"patterns has dtype {patterns.dtype}; expected a floating-point one. Use patterns.float().")


def check_states(patterns: Tensor, states: Tensor, *, name: str) -> None:
    """States are rows as wide as the patterns and of their dtype; `name` is what the caller calls them.

    Raises:
        ShapeError: the patterns, or the states, are not of that form.
    """
    check_patterns(patterns)
    width = patterns.shape[1]
    if states.ndim != 2 or states.shape[1] != width:
        raise ShapeError(
            f"{name} has shape {tuple(states.shape)}; expected (B, {width}), as wide as the patterns. "
            f"Use {name}.unsqueeze(0) for a single one."
        )
    if states.dtype != patterns.dtype:
        raise ShapeError(
            f"{name} has dtype {states.dtype}; expected {patterns.dtype}, the patterns' own. "
            f"Use {name}.to(patterns.dtype)."
        )


def check_beta(beta: float) -> None:
    """An inverse temperature is finite and positive.

    Raises:
        TriptychError: it is not.
    """
    if not (math.isfinite(beta) and beta > 0):
        raise TriptychError(
            f"beta is {beta}; expected a finite number > 0. A larger one stays closer to one pattern; "
            "1 / sqrt(D) is attention's."
        )


def check_finite(rows: Tensor, *, name: str) -> None:
    """Every value of a matrix is a number.

    Raises:
        DataError: a row holds NaN or an infinity; the message names the first such row.
    """
    if not _all_finite(rows):
        bad = (~torch.isfinite(rows)).nonzero()[0].tolist()
        raise DataError(
            f"{name} is {rows[tuple(bad)].item()} in row {bad[0]}, column {bad[1]}; expected finite numbers. "
            + ("Mark it as unknown with known_valid." if name == "cue" else "Leave the row out.")
        )


def check_result(result: Tensor, patterns: Tensor, states: Tensor, *, name: str) -> None:
    """A result is finite; where it is not, say which argument was to blame.

    A pattern that is not finite makes every result that used it not finite, so looking at B x D numbers spares a look
    at N x D; the patterns are read only to name the culprit.

    Raises:
        DataError: a pattern or a state is not finite.
        TriptychError: they are, and their products overflow.
    """
    if _all_finite(result):
        return
    check_finite(patterns, name="patterns")
    check_finite(states, name=name)
    raise TriptychError(
        f"the result is not finite in {patterns.dtype}; expected products within its range. "
        "Scale the patterns down, or use float64."
    )


def _all_finite(rows: Tensor) -> bool:
    """Whether the largest magnitude is finite, which NaN is not: one operation, for batches of one row too."""
    return rows.numel() == 0 or math.isfinite(torch.linalg.vector_norm(rows.detach(), ord=math.inf).item())
