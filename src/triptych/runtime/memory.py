"""A memory of patterns without PyTorch: q <- X' softmax(beta X q), once or until it rests.

Letters in shapes: B cues, N stored patterns, D pattern width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from triptych.decoding.contract import Array
from triptych.errors import DataError, RunError, ShapeError, TriptychError
from triptych.runtime.folder import Exported

SCORES_AT_ONCE = 1 << 24  # N x B is never larger than this: 64 MiB


@dataclass(frozen=True)
class Retrieval:
    """The pattern recalled from each cue.

    Attributes:
        state: where each row ended, on the scale of the stored patterns. Shape (B, D).
        steps: updates each row took, >= 1. Shape (B,).
        converged: True where the last update moved the row by no more than the tolerance. Shape (B,).
    """

    state: Array
    steps: Array
    converged: Array


@dataclass(frozen=True)
class Memory:
    """Stored patterns and the update towards them.

    Methods raise ShapeError, DataError or TriptychError where an argument breaks its rule.

    Args:
        session: of the exported update.
        count: N.
        width: D.
        beta: inverse temperature of the update, for the reader.
        normalisation: what patterns were brought to before they were stored: "none", "unit" or "centred-unit".
        centre: what "centred-unit" subtracts. Shape (D,).
    """

    session: Any
    count: int
    width: int
    beta: float
    normalisation: str = "none"
    centre: Array | None = None

    def scaled(self, cue: ArrayLike) -> Array:
        """Cues on the scale of the stored patterns. Shapes: (B, D) to (B, D)."""
        rows = self._checked(cue)
        if self.normalisation == "none":
            return rows
        exact = rows.astype(np.float64)  # in which no square overflows or vanishes
        moved = exact if self.centre is None else exact - self.centre
        length = np.linalg.norm(moved, axis=1, keepdims=True)
        if not (length > 0).all():
            what = "has only zeros" if self.centre is None else "equals the patterns' mean"
            row = int(np.nonzero(length[:, 0] == 0)[0][0])
            message = f"Row {row} of cue {what}, so it has no direction."
            raise DataError(message, field="cue", value=row, hint="Remove the row.")
        scaled: Array = (moved / length).astype(np.float32)
        return scaled

    def update(self, state: ArrayLike, *, steps: int = 1) -> Array:
        """The state after some updates q <- X' softmax(beta X q).

        Args:
            state: q, on the scale of the stored patterns, as `scaled` gives it. Shape (B, D), finite.
            steps: >= 1.
        Returns:
            Shape (B, D), float32, within the patterns' convex hull.
        """
        rows = self._checked(state)
        _check_steps("steps", steps)
        return self._updated(rows, steps)

    def retrieve(self, cue: ArrayLike, *, max_steps: int = 100, tolerance: float = 1e-5) -> Retrieval:
        """Follow the update from each cue to a fixed point, as `triptych.recall.retrieval.retrieve` does.

        Args:
            cue: where to start, as patterns were given. Shape (B, D), finite.
            max_steps: updates at most, >= 1.
            tolerance: a row rests when an update moves it by at most this times the largest norm it has had since its
                first update, >= 0.
        """
        state = self.scaled(cue).copy()
        _check_steps("max_steps", max_steps)
        if not tolerance >= 0:
            hint = "Use 0 to stop only where an update changes nothing."
            raise TriptychError(field="tolerance", value=tolerance, expected="a number >= 0", hint=hint)
        steps = np.zeros(len(state), dtype=np.int64)
        converged = np.zeros(len(state), dtype=bool)
        scale = np.zeros(len(state), dtype=np.float32)
        going = np.arange(len(state))
        for _ in range(max_steps):
            if not len(going):
                break
            before = state[going]
            after = self._updated(before, 1)
            scale[going] = np.maximum(scale[going], np.linalg.norm(after, axis=1))
            state[going] = after
            steps[going] += 1
            converged[going] = np.linalg.norm(after - before, axis=1) <= tolerance * scale[going]
            going = going[~converged[going]]
        return Retrieval(state, steps, converged)

    def _updated(self, rows: Array, steps: int) -> Array:
        at_once = max(1, SCORES_AT_ONCE // self.count)
        parts = [
            self.session.run(["after"], {"state": rows[begin : begin + at_once], "steps": np.array(steps)})[0]
            for begin in range(0, len(rows), at_once)
        ]
        return np.concatenate(parts) if parts else rows

    def _checked(self, values: ArrayLike) -> Array:
        rows = np.ascontiguousarray(values, dtype=np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.width:
            message, hint = f"state has shape {rows.shape}", "Use state[None] for a single one."
            expected = f"(B, {self.width}), as wide as the patterns"
            raise ShapeError(message, field="state", value=rows.shape, expected=expected, hint=hint)
        if not np.isfinite(rows).all():
            row, column = (int(place[0]) for place in np.nonzero(~np.isfinite(rows)))
            message = f"state is {rows[row, column]} in row {row}, column {column}"
            raise DataError(message, field="state", value=rows[row, column], expected="finite numbers")
        return rows


def load(exported: Exported, *, threads: int = 1) -> Memory:
    """The memory of an exported folder; RunError where its description is damaged."""
    model = exported.model
    try:
        centre = model.get("centre")
        return Memory(
            exported.session(model["update"], threads=threads),
            count=int(model["patterns"]),
            width=int(model["width"]),
            beta=float(model["beta"]),
            normalisation=str(model.get("normalisation", "none")),
            centre=None if centre is None else np.array(centre, dtype=np.float32).reshape(int(model["width"])),
        )
    except (KeyError, TypeError, ValueError) as error:
        message = f"the description of the memory is damaged ({error})."
        raise RunError(message, hint="Export it again.", path=exported.manifest) from None


def _check_steps(name: str, steps: int) -> None:
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise TriptychError(field=name, value=steps, expected="an integer >= 1", hint="Use 1 for a single update.")
