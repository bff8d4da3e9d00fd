"""Checks of arguments: ShapeError about tensors, TriptychError about numbers, DataError about NaN and infinities."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

from triptych.errors import DataError, ShapeError, TriptychError


def check_tensor(value: Any, *, name: str) -> None:
    """An argument is a PyTorch tensor, not an array or a list."""
    if not isinstance(value, Tensor):
        message, hint = f"{name} is of type {type(value).__name__}", f"Use torch.as_tensor({name})."
        raise ShapeError(message, field=name, expected="a PyTorch tensor", hint=hint)


def check_patterns(patterns: Tensor) -> None:
    """Patterns are a floating-point matrix with at least one row and one column."""
    check_tensor(patterns, name="patterns")
    if patterns.ndim != 2 or 0 in patterns.shape:
        hint = "Store at least one pattern, one per row."
        raise shape_error("patterns", patterns, "(N, D) with N, D >= 1", hint=hint)
    if not patterns.is_floating_point():
        raise _dtype_error("patterns", patterns, "a floating-point one", hint="Use patterns.float().")


def check_states(patterns: Tensor, states: Tensor, *, name: str) -> None:
    """States are rows as wide as the patterns and of their dtype; `name` is what the caller calls them."""
    check_patterns(patterns)
    check_tensor(states, name=name)
    width = patterns.shape[1]
    if states.ndim != 2 or states.shape[1] != width:
        hint = f"Use {name}.unsqueeze(0) for a single one."
        raise shape_error(name, states, f"(B, {width}), as wide as the patterns", hint=hint)
    if states.dtype != patterns.dtype:
        raise _dtype_error(name, states, f"{patterns.dtype}, the patterns' own", hint=f"Use {name}.to(patterns.dtype).")


def check_values(patterns: Tensor, values: Tensor) -> None:
    """There is one row of values for each pattern, in the patterns' dtype."""
    check_tensor(values, name="values")
    if values.ndim != 2 or len(values) != len(patterns):
        hint = "Use values.unsqueeze(1) for one number per pattern." if values.ndim == 1 else ""
        raise shape_error("values", values, f"({len(patterns)}, V), one row per pattern", hint=hint)
    if values.dtype != patterns.dtype:
        hint = "Use values.to(patterns.dtype)."
        raise _dtype_error("values", values, f"{patterns.dtype}, the patterns' own", hint=hint)


def check_mask(mask: Any, shape: tuple[int, ...], *, name: str, true: str) -> None:
    """A mask of booleans has that shape; `true` is what True means."""
    check_tensor(mask, name=name)
    if mask.shape != shape or mask.dtype != torch.bool:
        found = tuple(mask.shape)
        expected = f"{shape} and torch.bool, True where {true}"
        message = f"{name} has shape {found} and dtype {mask.dtype}"
        raise ShapeError(message, field=name, value=found, expected=expected)


def number(value: Any) -> float:
    """A real number as a float, NaN for anything else: text, None, an array, True."""
    return math.nan if isinstance(value, bool) or not isinstance(value, Real) else float(value)


def check_beta(beta: Any) -> None:
    """An inverse temperature is a finite, positive number."""
    if not 0 < number(beta) < math.inf:
        hint = "A larger one stays closer to one pattern; 1 / sqrt(D) is attention's."
        raise TriptychError(field="beta", value=beta, expected="a finite number > 0", hint=hint)


def check_count(value: Any, *, name: str, least: int = 1, hint: str = "") -> None:
    """A number is an integer of at least that."""
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
        raise TriptychError(field=name, value=value, expected=f"an integer >= {least}", hint=hint)


def check_tolerance(tolerance: Any) -> None:
    """A tolerance is a number of at least 0."""
    if not number(tolerance) >= 0:
        hint = "Use 0 to stop only where an update changes nothing."
        raise TriptychError(field="tolerance", value=tolerance, expected="a number >= 0", hint=hint)


def check_finite(rows: Tensor, *, name: str) -> None:
    """No value of a matrix is NaN or infinite; the message names the first such row."""
    if not _all_finite(rows):
        row, column = (~torch.isfinite(rows)).nonzero()[0].tolist()
        value = rows[row, column].item()
        message = f"{name} is {value} in row {row}, column {column}"
        hint = "Mark it as unknown with known_valid." if name == "cue" else "Remove the row."
        raise DataError(message, field=name, value=value, expected="finite numbers", hint=hint)


def check_result(result: Tensor, patterns: Tensor, states: Tensor, *, name: str, values: Tensor | None = None) -> None:
    """A result is finite; where it is not, the error names the argument that caused it, or says that products overflow.

    A pattern that is not finite makes every result that used it not finite, so a check of B x D numbers saves one of
    N x D; the patterns are read only to find the cause.
    """
    if _all_finite(result):
        return
    check_finite(patterns, name="patterns")
    check_finite(states, name=name)
    if values is not None:
        check_finite(values, name="values")
    raise TriptychError(
        f"The result is not finite in {patterns.dtype}; the products of patterns and states are outside its range.",
        hint="Scale the patterns down, or use float64.",
    )


def _all_finite(rows: Tensor) -> bool:
    """Whether the largest magnitude is finite, which NaN is not: one operation, for batches of one row too."""
    return rows.numel() == 0 or math.isfinite(torch.linalg.vector_norm(rows.detach(), ord=math.inf).item())


def shape_error(name: str, tensor: Tensor, expected: str, *, hint: str = "") -> ShapeError:
    """A tensor has another shape than expected."""
    shape = tuple(tensor.shape)
    return ShapeError(f"{name} has shape {shape}", field=name, value=shape, expected=expected, hint=hint)


def _dtype_error(name: str, tensor: Tensor, expected: str, *, hint: str) -> ShapeError:
    return ShapeError(f"{name} has dtype {tensor.dtype}", field=name, value=tensor.dtype, expected=expected, hint=hint)
