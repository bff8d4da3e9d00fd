"""A memory to store patterns in, query, change and keep.

    memory = Memory(patterns, labels=names)
    recall = memory.retrieve(cues)
    recall.value, recall.confidence.label, recall.confidence.energy
    memory.save("store")
    memory = Memory.load("store")

Patterns are normalised as the memory's setting says, kept at its precision, and compared by X q with the inverse
temperature beta. What is recalled is the values, or the patterns as they were given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from triptych.errors import ShapeError, TriptychError
from triptych.memory import folder as folders
from triptych.memory.blockwise import Neighbours, look, neighbours, read_values, rows_at
from triptych.memory.entries import Contents, Labels
from triptych.memory.normalisation import Normalisation, Scaling
from triptych.memory.novelty import Score, Threshold, calibrate, check_score
from triptych.memory.shards import Precision, Shard, check_precision
from triptych.recall.checks import check_beta, check_finite
from triptych.recall.retrieval import Moved, come_to_rest
from triptych.recall.separation import SOFTMAX, Separation
from triptych.recall.temperature import TemperatureSearch, noisy_cues, tune_beta

_TUNED_ON = 8192  # patterns: log N moves the best beta little


@dataclass(frozen=True)
class Confidence:
    """How much a state looks like something that is stored.

    Attributes:
        energy: E, 0 at best and low where patterns are near. Shape (B,).
        entropy: of the attention over patterns, in nats: 0 for one pattern, log N for all alike. Shape (B,).
        nearest: id of the nearest pattern by Euclidean distance. Shape (B,), int64.
        label: of that pattern, or None. One per row.
        distance: to that pattern, both normalised. Shape (B,).
    """

    energy: Tensor
    entropy: Tensor
    nearest: Tensor
    label: tuple[str | None, ...]
    distance: Tensor


@dataclass(frozen=True)
class Recall:
    """What a memory made of each cue.

    Attributes:
        value: what is recalled: the average of values, or of patterns as they were given. Shape (B, V) or (B, D).
        state: where the cue came to rest, among the normalised patterns. Shape (B, D).
        steps: updates each row took. Shape (B,), int64.
        converged: True where the last update moved the row by no more than the tolerance. Shape (B,).
        confidence: of that state.
    """

    value: Tensor
    state: Tensor
    steps: Tensor
    converged: Tensor
    confidence: Confidence


@dataclass(frozen=True)
class Nearest:
    """The stored patterns nearest to each cue, nearest first.

    Attributes:
        ids: Shape (B, k), int64, with k at most N.
        label: of each, or None. B rows of k.
        distance: Euclidean, of normalised cues and patterns. Shape (B, k).
    """

    ids: Tensor
    label: tuple[tuple[str | None, ...], ...]
    distance: Tensor


class Memory:
    """Patterns with labels and values, and what a cue recalls of them. Methods take and give float32 on the CPU.

    Args:
        patterns: one per row; finite. Shape (N, D), N >= 1.
        labels: one per pattern, or None for none.
        values: what each pattern recalls, where it is not the pattern itself. Shape (N, V).
        ids: a different integer >= 0 for each pattern; by default from 0 on. Shape (N,).
        beta: inverse temperature, > 0; by default tuned, as by `tune_beta()`.
        normalisation: "unit" compares by angle, "centred-unit" by angle around the patterns' mean, "none" as they are.
        precision: "float32", "float16", "bfloat16" or "int8" (127 steps of each row's largest magnitude).
    Raises:
        ShapeError, DataError, TriptychError: an argument breaks its rule; the message says which.
    Checked by tests/memory/test_memory.py.
    """

    def __init__(
        self,
        patterns: Tensor,
        *,
        labels: Labels = None,
        values: Tensor | None = None,
        ids: Sequence[int] | None = None,
        beta: float | None = None,
        normalisation: Normalisation = "unit",
        precision: Precision = "float32",
    ) -> None:
        check_precision(precision)
        if beta is not None:
            check_beta(beta)
        rows = _checked(patterns, None, name="patterns")
        if not rows.shape[0] or not rows.shape[1]:
            raise ShapeError(f"patterns has shape {tuple(rows.shape)}; expected at least one row and one column.")
        self.contents = Contents(
            scaling=Scaling.fit(normalisation, rows),
            precision=precision,
            width=rows.shape[1],
            value_width=None if values is None else values.shape[-1],
        )
        self.beta = 1.0 if beta is None else beta
        self.threshold: Threshold | None = None
        self.place: folders.Place | None = None
        self.add(rows, labels=labels, values=values, ids=ids)
        if beta is None:
            self.tune_beta()

    def __len__(self) -> int:
        """N, patterns stored."""
        return self.contents.count

    @property
    def shards(self) -> Sequence[Shard]:
        """Where the patterns are kept."""
        return self.contents.shards

    @property
    def width(self) -> int:
        """D."""
        return self.contents.width

    @property
    def ids(self) -> Tensor:
        """Ids of all patterns, in the order they were added. Shape (N,)."""
        return torch.cat([shard.ids[shard.kept()] for shard in self.shards])

    def add(
        self,
        patterns: Tensor,
        *,
        labels: Labels = None,
        values: Tensor | None = None,
        ids: Sequence[int] | None = None,
    ) -> Tensor:
        """Store more patterns, on the scale of the first ones.

        Args:
            patterns: Shape (n, D).
            labels: one per pattern, or None for none.
            values: where the memory has values, and only there. Shape (n, V).
            ids: different from all that are stored; by default the next free ones. Shape (n,).
        Returns:
            The ids, shape (n,).
        Raises:
            ShapeError, DataError: an argument breaks its rule; nothing is stored then.
        """
        rows = _checked(patterns, self.width, name="patterns")
        found = None if values is None else _checked(values, self.contents.value_width, name="values")
        return self.contents.add(rows, labels=labels, values=found, ids=ids)

    def remove(self, ids: Sequence[int]) -> None:
        """Forget patterns. On disk their rows stay until the memory is saved into another folder.

        Raises:
            DataError: an id is not stored, or no pattern would be left.
        """
        self.contents.remove(ids)

    @torch.no_grad()
    def retrieve(
        self,
        cue: Tensor,
        *,
        max_steps: int = 20,
        tolerance: float = 1e-4,
        separation: Separation = SOFTMAX,
        known_valid: Tensor | None = None,
    ) -> Recall:
        """Follow the update from each cue until it rests, and say what is found there and how sure that is.

        Args:
            cue: as patterns were given. Shape (B, D).
            max_steps: updates at most, >= 1.
            tolerance: a row rests when an update moves it by at most this times the largest norm it has had, >= 0.
            separation: what takes softmax's place; sparse ones recall one pattern exactly.
            known_valid: True where the cue is known; what it holds elsewhere is not looked at. Shape (B, D).
        Raises:
            ShapeError, DataError, TriptychError: an argument breaks its rule.
        """
        start = self.scaled(cue, known_valid=known_valid)

        def move(queries: Tensor, _norm: Tensor | None) -> Moved:
            return Moved(look(self.shards, queries, beta=self.beta, separation=separation).average)

        rest = come_to_rest(move, start, max_steps=max_steps, tolerance=tolerance, known_valid=known_valid)
        value = read_values(self.shards, rest.state, self.contents.scaling, beta=self.beta, separation=separation)
        return Recall(value, rest.state, rest.steps, rest.converged, self.confidence_of(rest.state, separation))

    def confidence(self, cue: Tensor, *, separation: Separation = SOFTMAX) -> Confidence:
        """Energy, entropy and nearest pattern of cues as they are, without an update. Shape (B, D)."""
        return self.confidence_of(self.scaled(cue), separation)

    @torch.no_grad()
    def confidence_of(self, state: Tensor, separation: Separation = SOFTMAX) -> Confidence:
        """As `confidence`, of states that are normalised already. Shape (B, D)."""
        seen = look(self.shards, state, beta=self.beta, separation=separation)
        near = self.describe(neighbours(self.shards, state, k=1))
        return Confidence(
            energy=self._energy(state, seen.potential),
            entropy=seen.entropy,
            nearest=near.ids[:, 0],
            label=tuple(row[0] for row in near.label),
            distance=near.distance[:, 0],
        )

    @torch.no_grad()
    def nearest(self, cue: Tensor, *, k: int = 1) -> Nearest:
        """The k patterns nearest to each cue, or all where there are fewer. Shape (B, D).

        Raises:
            ShapeError, DataError, TriptychError: an argument breaks its rule.
        """
        if k < 1:
            raise TriptychError(f"k is {k}; expected an integer >= 1.")
        return self.describe(neighbours(self.shards, self.scaled(cue), k=k))

    @torch.no_grad()
    def novelty(self, cue: Tensor, *, score: Score | None = None) -> Tensor:
        """How unlike the stored patterns each cue is; larger is more novel. Shapes: (B, D) to (B,).

        Args:
            cue: Shape (B, D).
            score: "energy" or "distance" to the nearest pattern; by default the calibrated one, or else energy.
        """
        chosen = score or ("energy" if self.threshold is None else self.threshold.score)
        check_score(chosen)
        state = self.scaled(cue)
        if chosen == "distance":
            return neighbours(self.shards, state, k=1).distance[:, 0]
        return self._energy(state, look(self.shards, state, beta=self.beta, separation=SOFTMAX).potential)

    def calibrate(self, cue: Tensor, *, score: Score = "energy", false_alarm_rate: float = 0.05) -> Threshold:
        """Set the threshold of `is_novel` from held-out cues that do belong; it is saved with the memory.

        Args:
            cue: of the patterns' kind, but not among them. Shape (n, D), n >= 1 / false_alarm_rate - 1.
            score: "energy" or "distance".
            false_alarm_rate: probability, at most, that a further such cue is called novel.
        """
        self.threshold = calibrate(self.novelty(cue, score=score), score=score, false_alarm_rate=false_alarm_rate)
        return self.threshold

    def is_novel(self, cue: Tensor) -> Tensor:
        """True where a cue scores above the calibrated threshold. Shapes: (B, D) to (B,).

        Raises:
            TriptychError: the memory has no threshold.
        """
        if self.threshold is None:
            raise TriptychError(
                "the memory's threshold is None; expected a calibrated one. Call calibrate(cues) first."
            )
        return self.threshold.is_novel(self.novelty(cue, score=self.threshold.score))

    def tune_beta(
        self, *, noise: float = 0.5, n_cues: int = 256, seed: int = 0, candidates: Sequence[float] | None = None
    ) -> TemperatureSearch:
        """Choose beta on noisy versions of stored patterns; see `triptych.recall.temperature`.

        Among at most 8,192 of the patterns; where there are more, beta is raised by log N / log 8,192, since the others
        weigh the more the more they are. A calibrated threshold of the energy no longer holds, and is dropped.

        Args:
            noise: expected length of the noise as a share of the pattern's, > 0.
            n_cues: how many patterns to try, >= 1.
            seed: of the noise and of the choice of patterns.
            candidates: inverse temperatures to try.
        Raises:
            TriptychError: a number breaks its rule, or all patterns are zero.
        """
        if not noise > 0 or n_cues < 1:
            raise TriptychError(f"noise is {noise} and n_cues is {n_cues}; expected a number > 0 and an integer >= 1.")
        sample = self.contents.sample(_TUNED_ON, seed=seed)
        cue, target = noisy_cues(sample, noise=noise, n_cues=n_cues, seed=seed)
        if self.contents.scaling.kind != "none":
            cue = torch.nn.functional.normalize(cue, dim=1)
        found = tune_beta(sample, cue, target, candidates=candidates)
        if len(self) > sample.shape[0]:
            found = replace(found, beta=found.beta * math.log(len(self)) / math.log(sample.shape[0]))
        self.beta = found.beta
        if self.threshold is not None and self.threshold.score == "energy":
            self.threshold = None
        return found

    def save(self, path: Path | str) -> None:
        """Keep the memory in a folder: a new one, or its own, where only what is new is written.

        Raises:
            DataError: the folder is there already and is not this memory's, or another process has changed it.
        """
        self.place = folders.save(self.contents, folders.Settings(self.beta, self.threshold), Path(path), self.place)

    @classmethod
    def load(cls, path: Path | str) -> Memory:
        """The memory of a folder, its tensors mapped from disk.

        Raises:
            DataError: the folder holds no memory, or not all of one.
        """
        memory = cls.__new__(cls)
        memory.contents, settings, memory.place = folders.load(Path(path))
        memory.beta, memory.threshold = settings.beta, settings.threshold
        return memory

    def scaled(self, cue: Tensor, *, known_valid: Tensor | None = None) -> Tensor:
        """Cues on the scale of the stored patterns. Shape (B, D)."""
        rows = cue
        if known_valid is not None:
            if known_valid.shape != cue.shape or known_valid.dtype != torch.bool:
                raise ShapeError(
                    f"known_valid has shape {tuple(known_valid.shape)} and dtype {known_valid.dtype}; expected "
                    f"{tuple(cue.shape)} and torch.bool, True where the cue is known."
                )
            rows = torch.where(known_valid, cue, 0.0)
        rows = _checked(rows, self.width, name="cue")
        return self.contents.scaling.apply(rows, name="cue", known_valid=known_valid).rows

    def describe(self, found: Neighbours) -> Nearest:
        """Ids and labels of patterns found by their places."""
        ids, label = self.contents.named(found.places)
        return Nearest(ids, label, found.distance)

    def keys(self) -> Tensor:
        """All patterns as they are compared, in one tensor. Shape (N, D)."""
        return rows_at(self.shards, self.contents.places())

    def _energy(self, state: Tensor, potential: Tensor) -> Tensor:
        norm = max(shard.largest_norm for shard in self.shards)
        return 0.5 * state.square().sum(1) + 0.5 * norm**2 - potential


def _checked(rows: Tensor, width: int | None, *, name: str) -> Tensor:
    """Rows as float32, of that width, with finite values only."""
    if rows.ndim != 2 or (width is not None and rows.shape[1] != width):
        expected = "(rows, columns)" if width is None else f"(rows, {width})"
        raise ShapeError(f"{name} has shape {tuple(rows.shape)}; expected {expected}. "
                         "Use x.unsqueeze(0) for a single row.")  # fmt: skip
    if rows.is_complex() or rows.dtype == torch.bool:
        raise ShapeError(f"{name} has dtype {rows.dtype}; expected real numbers.")
    found = rows.detach().to("cpu", torch.float32).contiguous()
    check_finite(found, name=name)
    return found
