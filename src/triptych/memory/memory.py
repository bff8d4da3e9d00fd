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
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from triptych.errors import DataError, ShapeError, TriptychError, check_choice
from triptych.memory import folder as folders, query
from triptych.memory.blockwise import nearest_rows, rows_at
from triptych.memory.entries import Entries, Labels
from triptych.memory.manifest import ImageSize
from triptych.memory.normalisation import Normalisation, Scaling
from triptych.memory.novelty import Score, Threshold, calibrate, check_score
from triptych.memory.results import Confidence, Nearest, Recall, StoredPattern
from triptych.memory.shards import Precision, Shard
from triptych.recall.checks import check_beta, check_count, check_finite, check_mask, number, shape_error
from triptych.recall.separation import SOFTMAX, Separation
from triptych.recall.temperature import TemperatureSearch, noisy_cues, tune_beta

_TUNED_ON = 8192  # patterns: log N moves the best beta little
_RECALIBRATE = "Calibrate it with cues that belong to the patterns: calibrate(cues)."


class Memory:
    """Patterns with labels and values, and what a cue recalls of them. Methods take and give float32 on the CPU.

    Patterns, values and cues may be tensors or arrays, of any layout; they are copied.

    Args:
        patterns: one per row; finite. Shape (N, D), N >= 1.
        labels: one per pattern, or None for none.
        values: what each pattern recalls, where it is not the pattern itself. Shape (N, V).
        ids: a different integer >= 0 for each pattern; by default from 0 on. Shape (N,).
        beta: inverse temperature, > 0; by default tuned, as by `tune_beta()`.
        normalisation: "unit" compares by angle, "centred-unit" by angle around the patterns' mean, "none" as they are.
        precision: "float32", "float16", "bfloat16" or "int8" (127 steps of each row's largest magnitude).
    Attributes:
        image_size: of the images that the patterns were made from; None where they were not, or it is not known.
    Raises:
        ShapeError, DataError, TriptychError: an argument, here or of a method, breaks its rule; the message says which.
    Checked by tests/memory/test_memory.py.
    """

    def __init__(
        self,
        patterns: Any,
        *,
        labels: Labels = None,
        values: Any = None,
        ids: Iterable[int] | None = None,
        beta: float | None = None,
        normalisation: Normalisation = "unit",
        precision: Precision = "float32",
    ) -> None:
        check_choice(precision, get_args(Precision), field="precision")
        if beta is not None:
            check_beta(beta)
        rows = _checked_rows(patterns, None, name="patterns")
        if not rows.shape[0] or not rows.shape[1]:
            raise shape_error("patterns", rows, "at least one row and one column")
        read = None if values is None else _checked_rows(values, None, name="values")
        self.entries = Entries(
            scaling=Scaling.fit(normalisation, rows),
            precision=precision,
            width=rows.shape[1],
            value_width=None if read is None else read.shape[1],
        )
        self._beta = 1.0 if beta is None else float(beta)
        self._threshold: Threshold | None = None
        self.image_size: ImageSize | None = None
        self.place: folders.Place | None = None
        self.entries.add(rows, labels=labels, values=read, ids=ids)
        if beta is None:
            self.tune_beta()

    def __len__(self) -> int:
        """N, patterns stored."""
        return self.entries.count

    @property
    def shards(self) -> Sequence[Shard]:
        """Where the patterns are kept."""
        return self.entries.shards

    @property
    def width(self) -> int:
        """D."""
        return self.entries.width

    @property
    def value_width(self) -> int | None:
        """V, or None where patterns recall themselves."""
        return self.entries.value_width

    @property
    def normalisation(self) -> Normalisation:
        """How patterns and cues are normalised."""
        return self.entries.scaling.kind

    @property
    def precision(self) -> Precision:
        """How patterns are kept."""
        return self.entries.precision

    @property
    def ids(self) -> Tensor:
        """Ids of all patterns, in the order they were added. Shape (N,)."""
        return torch.cat([shard.ids[shard.kept()] for shard in self.shards])

    @property
    def beta(self) -> float:
        """The inverse temperature; setting it makes a threshold of the energy stale."""
        return self._beta

    @beta.setter
    def beta(self, beta: float) -> None:
        check_beta(beta)
        if beta != self._beta and self._threshold is not None and self._threshold.score == "energy":
            self._threshold = replace(self._threshold, stale=True)
        self._beta = float(beta)

    @property
    def threshold(self) -> Threshold | None:
        """The calibrated threshold of novelty; None where there is none, or it was calibrated for other patterns."""
        return None if self._threshold is None or self._threshold.stale else self._threshold

    @property
    def stale_threshold(self) -> Threshold | None:
        """A threshold that no longer holds, since patterns or beta have changed after its calibration."""
        return self._threshold if self._threshold is not None and self._threshold.stale else None

    def add(
        self, patterns: Any, *, labels: Labels = None, values: Any = None, ids: Iterable[int] | None = None
    ) -> Tensor:
        """Store more patterns, on the scale of the first ones. A calibrated threshold becomes stale.

        Args:
            patterns: Shape (n, D).
            labels: one per pattern, or None for none.
            values: where the memory has values, and only there. Shape (n, V).
            ids: different from all that are stored; by default the next free ones. Shape (n,).
        Returns:
            The ids, shape (n,). Where an argument breaks its rule, nothing is stored.
        """
        rows = _checked_rows(patterns, self.width, name="patterns")
        read = None if values is None else _checked_rows(values, self.value_width, name="values")
        added = self.entries.add(rows, labels=labels, values=read, ids=ids)
        self._patterns_changed(len(added))
        return added

    def remove(self, ids: Iterable[int]) -> None:
        """Forget patterns; at least one must stay. A calibrated threshold becomes stale.

        On disk their rows stay until their shard is joined with another, or the memory is saved into a new folder.
        """
        before = len(self)
        self.entries.remove(ids)
        self._patterns_changed(before - len(self))

    @torch.no_grad()
    def retrieve(
        self,
        cue: Any,
        *,
        max_steps: int = 20,
        tolerance: float = 1e-4,
        separation: Separation = SOFTMAX,
        known_valid: Any = None,
        trace: bool = False,
    ) -> Recall:
        """Follow the update from each cue until it rests, with the confidence of the state it reaches.

        Args:
            cue: as patterns were given. Shape (B, D).
            max_steps: updates at most, >= 1.
            tolerance: a row rests when an update moves it by at most this times the largest norm it has had, >= 0.
            separation: what takes softmax's place; sparse ones recall one pattern exactly.
            known_valid: True where the cue is known; what it holds elsewhere is ignored. Shape (B, D).
            trace: return the states and energies on the way as well.
        """
        known = None if known_valid is None else _as_mask(known_valid)
        start = self.scaled(cue, known_valid=known)
        return query.retrieve(
            self.entries, start, beta=self.beta, max_steps=max_steps, tolerance=tolerance,
            separation=separation, known_valid=known, trace=trace,
        )  # fmt: skip

    @torch.no_grad()
    def confidence(self, cue: Any, *, separation: Separation = SOFTMAX) -> Confidence:
        """Energy, entropy and nearest pattern of cues as they are, without an update. Shape (B, D)."""
        return query.confidence(self.entries, self.scaled(cue), beta=self.beta, separation=separation)[0]

    @torch.no_grad()
    def nearest(self, cue: Any, *, k: int = 1) -> Nearest:
        """The k patterns nearest to each cue, or all where there are fewer; equally near ones by id. Shape (B, D)."""
        check_count(k, name="k")
        return query.describe(self.entries, nearest_rows(self.shards, self.scaled(cue), k=k))

    @torch.no_grad()
    def novelty(self, cue: Any, *, score: Score | None = None) -> Tensor:
        """How unlike the stored patterns each cue is; larger is more novel. Shapes: (B, D) to (B,).

        Args:
            cue: Shape (B, D).
            score: "energy" or "distance" to the nearest pattern; by default the calibrated one, or else energy.
        """
        chosen = score or ("energy" if self._threshold is None else self._threshold.score)
        check_score(chosen)
        state = self.scaled(cue)
        if chosen == "distance":
            return nearest_rows(self.shards, state, k=1).distance[:, 0]
        return query.energy(self.entries, state, beta=self.beta)

    def calibrate(self, cue: Any, *, score: Score = "energy", false_alarm_rate: float = 0.05) -> Threshold:
        """Set the threshold of `is_novel` from held-out cues that do belong; it is saved with the memory.

        It holds for the patterns and the beta of now, and becomes stale when they change.

        Args:
            cue: of the patterns' kind, but not among them. Shape (n, D), n >= 1 / false_alarm_rate - 1.
            score: "energy" or "distance".
            false_alarm_rate: probability, at most, that a further such cue is called novel.
        """
        found = calibrate(self.novelty(cue, score=score), score=score, false_alarm_rate=false_alarm_rate)
        self._threshold = found
        return found

    def is_novel(self, cue: Any) -> Tensor:
        """True where a cue scores above the calibrated threshold, which must not be stale. Shapes: (B, D) to (B,)."""
        if self.threshold is None:
            message = "The memory has no threshold of novelty."
            if self.stale_threshold is not None:
                message = (
                    "The threshold of novelty was calibrated before the patterns or beta changed, and no longer holds."
                )
            raise TriptychError(message, field="threshold", hint=_RECALIBRATE)
        return self.threshold.is_novel(self.novelty(cue))

    def tune_beta(
        self, *, noise: float = 0.5, n_cues: int = 256, seed: int = 0, candidates: Sequence[float] | None = None
    ) -> TemperatureSearch:
        """Choose beta on noisy versions of stored patterns; see `triptych.recall.temperature`.

        Among at most 8,192 of the patterns; where there are more, beta is raised by log N / log 8,192, since the others
        weigh the more the more they are.

        Args:
            noise: expected length of the noise as a share of the pattern's, > 0.
            n_cues: how many patterns to try, >= 1.
            seed: of the noise and of the choice of patterns.
            candidates: inverse temperatures to try.
        """
        if not 0 < number(noise) < math.inf:
            raise TriptychError(field="noise", value=noise, expected="a finite number > 0")
        check_count(n_cues, name="n_cues")
        sample = self.entries.sample(_TUNED_ON, seed=seed)
        cue, target = noisy_cues(sample, noise=noise, n_cues=n_cues, seed=seed)
        if self.normalisation != "none":
            cue = torch.nn.functional.normalize(cue, dim=1)
        found = tune_beta(sample, cue, target, candidates=candidates)
        if len(self) > sample.shape[0]:
            found = replace(found, beta=found.beta * math.log(len(self)) / math.log(sample.shape[0]))
        self.beta = found.beta
        return found

    def save(self, path: Path | str | None = None) -> None:
        """Keep the memory in a folder: a new one, or its own, where only what is new is written.

        Args:
            path: where; the memory's own folder when None.
        Raises:
            ConflictError: another process has changed the memory's folder; nothing is written. See `reload`.
            DataError: the folder exists already and is not this memory's, or cannot be written.
        """
        if path is None and self.place is None:
            raise DataError("The memory has no folder yet.", field="path", hint="Pass one: save(path).")
        target = self.place.folder if path is None and self.place is not None else Path(path or "")
        settings = folders.Settings(self.beta, self._threshold, self.image_size)
        self.place = folders.save(self.entries, settings, target, self.place)

    @classmethod
    def load(cls, path: Path | str) -> Memory:
        """The memory of a folder, its tensors mapped from disk; DataError where that is none, or not all of one."""
        memory = cls.__new__(cls)
        memory._open(Path(path))
        return memory

    def reload(self) -> None:
        """Read the memory's folder again, as another process left it; what was not saved is dropped.

        Where that cannot be read, the memory stays as it is.
        """
        if self.place is None:
            raise DataError("The memory has no folder to read again.", field="path", hint="Save it first.")
        self._open(self.place.folder)

    def pattern(self, id: int) -> StoredPattern:  # noqa: A002 - the word of `ids`
        """One stored pattern, as it was given, with its label and value; DataError where the id is not stored."""
        place = torch.tensor([self.entries.place_of(id)])
        (label,) = self.entries.named(place.unsqueeze(0))[1][0]
        return StoredPattern(id, label, self.entries.patterns_at(place)[0], self.entries.values_at(place)[0])

    def list_patterns(self, *, offset: int = 0, limit: int = 100) -> list[tuple[int, str | None]]:
        """Ids and labels of some patterns, in the order they were added."""
        check_count(offset, name="offset", least=0)
        check_count(limit, name="limit")
        ids, labels = self.entries.named(self.entries.places()[offset : offset + limit].unsqueeze(0))
        return list(zip(ids[0].tolist(), labels[0], strict=True))

    def scaled(self, cue: Any, *, known_valid: Any = None) -> Tensor:
        """Cues on the scale of the stored patterns. Shape (B, D)."""
        rows = _as_tensor(cue, name="cue")
        known = None if known_valid is None else _as_mask(known_valid)
        if known is not None:
            check_mask(known, tuple(rows.shape), name="known_valid", true="the cue is known")
            rows = torch.where(known, rows, 0.0)
        rows = _checked_rows(rows, self.width, name="cue")
        return self.entries.scaling.apply(rows, name="cue", known_valid=known)[0]

    def keys(self) -> Tensor:
        """All patterns as they are compared, in one tensor. Shape (N, D)."""
        return rows_at(self.shards, self.entries.places())

    def _open(self, path: Path) -> None:
        self.entries, settings, self.place = folders.load(path)
        self._beta, self._threshold, self.image_size = settings.beta, settings.threshold, settings.image_size

    def _patterns_changed(self, count: int) -> None:
        if count and self._threshold is not None:
            self._threshold = replace(self._threshold, stale=True)


def _as_tensor(rows: Any, *, name: str) -> Tensor:
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


def _checked_rows(rows: Any, width: int | None, *, name: str) -> Tensor:
    """Rows as float32, side by side in memory, of that width. Shape (n, D).

    ShapeError where it is not such a matrix, DataError where a value is not finite.
    """
    given = _as_tensor(rows, name=name)
    if given.ndim != 2 or (width is not None and given.shape[1] != width):
        expected = "(rows, columns)" if width is None else f"(rows, {width})"
        single = "unsqueeze(1) for one number per row" if name == "values" else "unsqueeze(0) for one row"
        raise shape_error(name, given, expected, hint=f"Use {name}.{single}." if given.ndim == 1 else "")
    found = given.detach().to("cpu", torch.float32).contiguous()
    check_finite(found, name=name)
    return found


def _as_mask(mask: Any) -> Tensor:
    """A mask as a tensor; its shape and type are checked where it is used."""
    return mask if isinstance(mask, Tensor) else torch.as_tensor(np.ascontiguousarray(mask))
