"""How patterns and cues are brought to one scale before they are compared, and how patterns are brought back.

Softmax attention compares by inner products, which favour long patterns. Rows of length one are compared by their
angle alone; subtracting the patterns' mean first keeps what they all share from hiding what tells them apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from triptych.errors import DataError, TriptychError, did_you_mean

Normalisation = Literal["none", "unit", "centred-unit"]


@dataclass(frozen=True)
class Scaled:
    """Rows after normalisation, and what brings them back.

    Attributes:
        rows: Shape (N, D).
        length: what each row was divided by; None where nothing was. Shape (N,).
    """

    rows: Tensor
    length: Tensor | None


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
        """The normalisation of that kind for patterns of shape (N, D).

        Raises:
            TriptychError: the kind is not known.
        """
        known = get_args(Normalisation)
        if kind not in known:
            raise TriptychError(f"normalisation is {kind!r}; expected one of {', '.join(known)}. "
                                f"{did_you_mean(str(kind), known)}")  # fmt: skip
        return cls(kind, patterns.mean(0) if kind == "centred-unit" else None)

    def apply(self, rows: Tensor, *, name: str, known_valid: Tensor | None = None) -> Scaled:
        """Rows on the memory's scale; of partial ones the known part gets length one and the rest is zero.

        Args:
            rows: Shape (N, D).
            name: what the caller calls them.
            known_valid: True where a coordinate is known. Shape (N, D).
        Raises:
            DataError: a row has no direction, because it is zero, or equal to the mean.
        """
        moved = rows if self.centre is None else rows - self.centre
        if known_valid is not None:
            moved = torch.where(known_valid, moved, 0.0)
        if self.kind == "none":
            return Scaled(moved, None)
        length = torch.linalg.vector_norm(moved, dim=1)
        if not bool((length > 0).all()):
            row = int((~(length > 0)).nonzero()[0])
            what = "zeros only" if self.centre is None else "equal to the patterns' mean"
            raise DataError(
                f"{name} is {what} in row {row}; expected a row with a direction for the normalisation {self.kind!r}. "
                "Leave the row out, or use normalisation 'none'."
            )
        return Scaled(moved / length.unsqueeze(1), length)

    def undo(self, rows: Tensor, length: Tensor | None) -> Tensor:
        """Rows as they were given. Shapes: (N, D) and (N,) to (N, D)."""
        found = rows if length is None else rows * length.unsqueeze(1)
        return found if self.centre is None else found + self.centre
