"""What a memory answers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Confidence:
    """How close a state is to something that is stored.

    Attributes:
        energy: E, 0 at best and low where patterns are near. Shape (B,).
        entropy: of the attention over patterns, in nats: 0 for one pattern, log N for all alike. Shape (B,).
        nearest: id of the nearest pattern by Euclidean distance; of equally near ones the lowest. Shape (B,), int64.
        label: of that pattern, or None. One per row.
        distance: to that pattern, both normalised. Shape (B,).
    """

    energy: Tensor
    entropy: Tensor
    nearest: Tensor
    label: tuple[str | None, ...]
    distance: Tensor


@dataclass(frozen=True)
class Trace:
    """The way from each cue to where it came to rest; a row that has come to rest repeats.

    Attributes:
        states: the cue first, each row on the scale of the pattern it ended at, as that was given. Shape
            (steps + 1, B, D).
        energies: E of those states, for partial cues of their known part; it never rises by more than the rounding of
            float32. Shape (steps + 1, B).
    """

    states: Tensor
    energies: Tensor


@dataclass(frozen=True)
class Recall:
    """What a memory recalled from each cue.

    Attributes:
        value: what is recalled: the average of values, or of patterns as they were given. Shape (B, V) or (B, D).
        state: where the cue came to rest, among the normalised patterns. Shape (B, D).
        steps: updates each row took. Shape (B,), int64.
        converged: True where the last update moved the row by no more than the tolerance. Shape (B,).
        confidence: of that state.
        trace: the way there, where it was asked for.
    """

    value: Tensor
    state: Tensor
    steps: Tensor
    converged: Tensor
    confidence: Confidence
    trace: Trace | None = None


@dataclass(frozen=True)
class Nearest:
    """The stored patterns nearest to each cue, nearest first; of equally near ones the lowest ids.

    Attributes:
        ids: Shape (B, k), int64, with k at most N.
        label: of each, or None. B rows of k.
        distance: Euclidean, of normalised cues and patterns. Shape (B, k).
    """

    ids: Tensor
    label: tuple[tuple[str | None, ...], ...]
    distance: Tensor


@dataclass(frozen=True)
class StoredPattern:
    """One pattern of a memory.

    Attributes:
        id: its number.
        label: or None.
        pattern: as it was given. Shape (D,).
        value: what it recalls. Shape (V,) or (D,).
    """

    id: int
    label: str | None
    pattern: Tensor
    value: Tensor
