"""How patterns and cues are brought to one scale before they are compared, and how patterns are brought back.

Softmax attention compares by inner products, which favour long patterns. Rows of length one are compared by their
angle alone; subtracting the patterns' mean first removes what all of them share, so that the differences count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from triptych.errors import DataError, check_choice
from triptych.recall.kernels import blocks

Normalisation = Literal["none", "unit", "centred-unit"]
# Lengths between these are right in float32, whose squares would overflow, or lose digits, outside.
_SHORT, _LONG = 1e-12, 1e18
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Scaling:
    """A normalisation fitted to patterns.

    Attributes:
        kind: "none", "unit" (length one) or "centred-unit" (the mean subtracted, then length one).
        centre: the mean that is subtracted. Shape (D,); None unless kind is "centred-unit".
    """

    kind: Normalisation
    centre: Tensor | None = None

    @classmethod
    def fit(cls, kind: Normalisation, patterns: Tensor) -> Scaling:
        """The normalisation of that kind for patterns of shape (N, D); TriptychError where the kind is not known."""
        check_choice(kind, get_args(Normalisation), field="normalisation")
        return cls(kind, _mean(patterns) if kind == "centred-unit" else None)

    def apply(self, rows: Tensor, *, name: str, known_valid: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Rows on the memory's scale, with their lengths (N,) before; of partial ones the known part gets length one.

        Args:
            rows: Shape (N, D), finite.
            name: what the caller calls them.
            known_valid: True where a coordinate is known; the others become zero. Shape (N, D).
        Returns:
            Rows (N, D), and what each was divided by, or None where nothing was.
        Raises:
            DataError: a row has no direction, because it is zero, or equal to the mean; or it is too long for float32.
        """
        moved = rows if self.centre is None else rows - self.centre
        if known_valid is not None:
            moved = torch.where(known_valid, moved, 0.0)
        if self.kind == "none":
            _check_squares(moved, name)
            return moved, None
        length = torch.linalg.vector_norm(moved, dim=1)
        scaled = moved / length.unsqueeze(1)
        extreme = (~((length > _SHORT) & (length < _LONG))).nonzero().squeeze(1)
        if len(extreme):
            exact = moved[extreme].double()
            exact_length = torch.linalg.vector_norm(exact, dim=1)
            self._check_lengths(exact_length, extreme, name)
            scaled[extreme] = (exact / exact_length.unsqueeze(1)).float()
            length[extreme] = exact_length.float()
        return scaled, length

    def undo(self, rows: Tensor, length: Tensor | None) -> Tensor:
        """Rows as they were given. Shapes: (N, D) and (N,) to (N, D)."""
        found = rows if length is None else rows * length.unsqueeze(1)
        return found if self.centre is None else found + self.centre

    def _check_lengths(self, length: Tensor, rows: Tensor, name: str) -> None:
        """Lengths in float64, shape (n,), of some rows, shape (n,)."""
        for row, value in zip(rows.tolist(), length.tolist(), strict=True):
            if value == 0:
                what = "has only zeros" if self.centre is None else "equals the patterns' mean"
                message = f"Row {row} of {name} {what}, so it has no direction."
                hint = "Remove the row, or use normalisation 'none'."
                raise DataError(message, field=name, value=row, hint=hint)
            if not value <= torch.finfo(torch.float32).max:
                raise _length_error(name, row, value)


def _mean(patterns: Tensor) -> Tensor:
    """The mean row, also where sums overflow float32. Shapes: (N, D) to (D,)."""
    found = patterns.mean(0)
    if bool(found.isfinite().all()):
        return found
    total = found.new_zeros(found.shape, dtype=torch.float64)
    for some in blocks(len(patterns), _ROWS_AT_ONCE):
        total += patterns[some].double().sum(0)
    return (total / len(patterns)).float()


def _check_squares(rows: Tensor, name: str) -> None:
    """Rows that are compared as they are: energies hold their squares, which must be numbers in float32."""
    largest = torch.linalg.vector_norm(rows, ord=math.inf, dim=1)
    for row in ((largest > _LONG) | ((largest > 0) & (largest < 1 / _LONG))).nonzero().squeeze(1)[:1].tolist():
        raise _length_error(name, row, torch.linalg.vector_norm(rows[row].double()).item())


def _length_error(name: str, row: int, length: float) -> DataError:
    return DataError(
        f"Row {row} of {name} has length {length:.3g}, whose square is outside the range of float32.",
        field=name,
        value=length,
        expected="a length whose square float32 can hold",
        hint="Scale the patterns and cues, or use normalisation 'unit'.",
    )
