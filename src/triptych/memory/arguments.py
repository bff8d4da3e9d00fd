"""Patterns, values and cues as a memory takes them: tensors, arrays or lists, of any layout and precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from triptych.errors import ShapeError
from triptych.recall.checks import check_finite, shape_error


def as_tensor(rows: Any, *, name: str) -> Tensor:
    """A tensor of numbers, or an array or list as one; ShapeError where it is neither."""
    try:
        found = rows if isinstance(rows, Tensor) else torch.as_tensor(np.ascontiguousarray(rows))
    except (TypeError, ValueError, RuntimeError):
        found = None
    if found is None or found.is_complex() or found.dtype == torch.bool:
        kind = type(rows).__name__ if found is None else f"dtype {found.dtype}"
        expected = "a matrix of real numbers"
        raise ShapeError(f"{name} is of type {kind}", field=name, value=kind, expected=expected)
    return found


def checked_rows(rows: Any, width: int | None, *, name: str) -> Tensor:
    """Rows as float32, side by side in memory, of that width. Shape (n, D).

    ShapeError where it is not such a matrix, DataError where a value is not finite.
    """
    given = as_tensor(rows, name=name)
    if given.ndim != 2 or (width is not None and given.shape[1] != width):
        expected = "(rows, columns)" if width is None else f"(rows, {width})"
        single = "unsqueeze(1) for one number per row" if name == "values" else "unsqueeze(0) for one row"
        raise shape_error(name, given, expected, hint=f"Use {name}.{single}." if given.ndim == 1 else "")
    found = given.detach().to("cpu", torch.float32).contiguous()
    check_finite(found, name=name)
    return found


def as_mask(mask: Any) -> Tensor:
    """A mask as a tensor; its shape and type are checked where it is used."""
    return mask if isinstance(mask, Tensor) else torch.as_tensor(np.ascontiguousarray(mask))
