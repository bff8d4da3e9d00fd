"""Confidence intervals of measured errors, and paired comparisons of two systems on the same items.

Every measure here is a ratio of sums over items: the character error rate (total edits over total reference length),
and, with denominators of one, any mean over items (share of wrong words, mean error per sentence).

Functions raise DataError for no items, or a number that breaks its rule; ShapeError for lengths that differ; and
TriptychError for samples or a level that break theirs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from triptych.errors import DataError, ShapeError, TriptychError

DEFAULT_SAMPLES = 2000
DEFAULT_LEVEL = 0.95
FEW = 12  # items on which two systems differ; all 4,096 swaps are evaluated

_CELLS_AT_ONCE = 1 << 21  # counts held at a time: 16 MiB
_Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval.

    Attributes:
        low: lower end.
        high: upper end, >= low.
        level: share of repeated experiments whose interval holds the true value, in (0, 1).
    """

    low: float
    high: float
    level: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured value and its confidence interval."""

    value: float
    interval: Interval

    def to_dict(self) -> dict[str, float]:
        """The four numbers, for JSON."""
        return {"value": self.value, **asdict(self.interval)}

    @classmethod
    def from_dict(cls, numbers: Mapping[str, float]) -> Estimate:
        """What `to_dict` wrote."""
        return cls(numbers["value"], Interval(numbers["low"], numbers["high"], numbers["level"]))


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """Error of system a minus error of system b, on the same items: below zero, a is the better one.

    Attributes:
        difference: the ratio of a minus the ratio of b, over all items.
        interval: of the difference.
        p_value: two-sided, in (0, 1].
        wins: items on which a has the smaller error.
        losses: items on which b has.
        ties: items on which the errors are equal.
    """

    difference: float
    interval: Interval
    p_value: float
    wins: int
    losses: int
    ties: int

    def to_dict(self) -> dict[str, float | int]:
        """All numbers, for JSON."""
        numbers = asdict(self)
        return {"difference": numbers.pop("difference"), **numbers.pop("interval"), **numbers}


def share_of(flags: ArrayLike, *, level: float = DEFAULT_LEVEL) -> Estimate:
    """The share of items that have a property, such as accuracy or the rate of wrong words, with Wilson's interval.

    It has a width also where all items agree, and holds for few items, where resampling promises too much.

    Args:
        flags: 0 or 1 per item. Shape (N,), N >= 1.
        level: of the interval, in (0, 1).
    Source: Wilson 1927, Probable Inference, the Law of Succession, and Statistical Inference.
    """
    held = _column("flags", flags)
    _check_rules(level)
    odd = np.flatnonzero(~np.isin(held, (0.0, 1.0)))
    if len(odd):
        raise DataError(field=f"flags[{odd[0]}]", value=float(held[odd[0]]), expected="0 or 1")
    count, share = len(held), float(held.mean())
    z = NormalDist().inv_cdf((1 + level) / 2)
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    low, high = middle - half if share > 0 else 0.0, middle + half if share < 1 else 1.0
    return Estimate(share, Interval(low, high, level))


def bootstrap_ratio(
    numerators: ArrayLike,
    denominators: ArrayLike,
    *,
    samples: int = DEFAULT_SAMPLES,
    level: float = DEFAULT_LEVEL,
    seed: int = 0,
) -> Estimate:
    """sum(numerators) / sum(denominators) with a percentile bootstrap interval over items.

    The interval has width 0 when all items agree (no errors, for example), since every resample is the same.

    Args:
        numerators: one per item. Shape (N,), N >= 1, finite.
        denominators: one per item, > 0. Shape (N,).
        samples: resamples drawn, >= 1.
        level: of the interval, in (0, 1).
        seed: the same seed gives the same interval.
    Returns:
        The ratio over the items themselves, with the interval between the quantiles of the resampled ratios.
    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, section 13.3.
    Checked by tests/test_statistics.py against the normal and Wilson intervals, and by coverage.
    """
    over = _column("numerators", numerators)
    under = _column("denominators", denominators)
    _check_items(("numerators", over), ("denominators", under))
    _check_rules(level, samples)
    sums = _resampled_sums(np.stack([over, under], axis=1), samples, seed)
    return Estimate(float(over.sum() / under.sum()), _percentile_interval(sums[:, 0] / sums[:, 1], level))


def paired_bootstrap(
    a_numerators: ArrayLike,
    b_numerators: ArrayLike,
    denominators: ArrayLike,
    *,
    b_denominators: ArrayLike | None = None,
    samples: int = DEFAULT_SAMPLES,
    level: float = DEFAULT_LEVEL,
    seed: int = 0,
) -> PairedComparison:
    """The difference of two ratios over the same items, each resample drawing the same items for both systems.

    p = 2 (1 + min(#{d* <= 0}, #{d* >= 0})) / (samples + 1), at most 1, where d* are the resampled differences: below
    1 - level when the interval excludes zero. Where the systems differ on few items (up to 12), resampling would claim
    more than those items can show, and p is that of the exact permutation test: the share of all ways to swap the
    systems on these items that give a difference at least as large.

    Args:
        a_numerators: errors of system a, one per item. Shape (N,), N >= 1, finite.
        b_numerators: errors of system b on the same items. Shape (N,).
        denominators: of both systems, > 0. Shape (N,).
        b_denominators: of system b where they differ (the nearest of several references may). Shape (N,).
        samples, level, seed: as in `bootstrap_ratio`.
    Source: Koehn 2004, Statistical Significance Tests for Machine Translation Evaluation, section 4; the p-value
        counts the observed sample as one (Davison and Hinkley 1997, section 4.2). The permutation test: Fisher 1935,
        The Design of Experiments, section 21.
    """
    a_over = _column("a_numerators", a_numerators)
    b_over = _column("b_numerators", b_numerators)
    a_under = _column("denominators", denominators)
    b_under = a_under if b_denominators is None else _column("b_denominators", b_denominators)
    _check_items(
        ("a_numerators", a_over), ("b_numerators", b_over), ("denominators", a_under), ("b_denominators", b_under)
    )
    _check_rules(level, samples)
    columns = np.stack([a_over, a_under, b_over, b_under], axis=1)
    sums = _resampled_sums(columns, samples, seed)
    differences = sums[:, 0] / sums[:, 1] - sums[:, 2] / sums[:, 3]
    rarer = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    differ = (a_over != b_over) | (a_under != b_under)
    a_error, b_error = a_over / a_under, b_over / b_under
    return PairedComparison(
        difference=float(a_over.sum() / a_under.sum() - b_over.sum() / b_under.sum()),
        interval=_percentile_interval(differences, level),
        p_value=_permutation_p(columns, differ) if differ.sum() <= FEW else min(1.0, 2 * (1 + rarer) / (samples + 1)),
        wins=int((a_error < b_error).sum()),
        losses=int((a_error > b_error).sum()),
        ties=int((a_error == b_error).sum()),
    )


def _permutation_p(columns: _Numbers, differ: NDArray[np.bool_]) -> float:
    """The p-value of the exact permutation test of two ratios.

    Args:
        columns: numerator and denominator of system a, then of system b. Shape (N, 4).
        differ: items on which the systems are not alike, K of them. Shape (N,).
    """
    few = columns[differ]
    swaps = (np.arange(2 ** len(few))[:, None] >> np.arange(len(few))) & 1  # (2^K, K)
    change = swaps @ (few[:, 2:] - few[:, :2])  # of numerator and denominator of system a, (2^K, 2)
    a, b = columns[:, :2].sum(axis=0) + change, columns[:, 2:].sum(axis=0) - change
    differences = np.abs(a[:, 0] / a[:, 1] - b[:, 0] / b[:, 1])
    return float((differences >= differences[0] * (1 - 1e-9)).mean())


def _resampled_sums(columns: _Numbers, samples: int, seed: int) -> _Numbers:
    """Column sums over `samples` resamples of the rows, N drawn with replacement. Shapes (N, C) -> (samples, C).

    Equal rows are drawn together: how often each of the U distinct rows comes up is multinomial, so that 100,000 words
    cost no more than the few hundred different pairs of edits and length among them.
    """
    distinct, counts = np.unique(columns, axis=0, return_counts=True)  # (U, C), (U,)
    generator = np.random.default_rng(seed)
    at_once = max(1, _CELLS_AT_ONCE // len(distinct))
    sums = np.empty((samples, columns.shape[1]))
    for begin in range(0, samples, at_once):
        rows = min(at_once, samples - begin)
        draws = generator.multinomial(len(columns), counts / len(columns), size=rows)  # (rows, U)
        sums[begin : begin + rows] = draws @ distinct
    return sums


def _percentile_interval(resampled: _Numbers, level: float) -> Interval:
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level)


def _column(name: str, values: ArrayLike) -> _Numbers:
    """The values as float64, one per item. Shape (N,), N >= 1."""
    column = np.asarray(values, dtype=np.float64)
    if column.ndim != 1:
        raise ShapeError(f"{name} has shape {column.shape}", field=name, expected="one number per item, shape (N,)")
    if column.size == 0:
        hint = "Check that the evaluated split has rows."
        raise DataError(f"{name} is empty", field=name, expected="at least one item", hint=hint)
    if not np.isfinite(column).all():
        item = int(np.flatnonzero(~np.isfinite(column))[0])
        raise DataError(field=f"{name}[{item}]", value=float(column[item]), expected="a finite number")
    return column


def _check_items(*columns: tuple[str, _Numbers]) -> None:
    """Refuse columns of different lengths, and denominators that are not positive."""
    first_name, first = columns[0]
    for name, column in columns:
        if len(column) != len(first):
            message, expected = f"{name} has {len(column)} items", f"{len(first)}, as {first_name} has"
            raise ShapeError(message, field=name, expected=expected, hint="Pass one number per item.")
        if name.endswith("denominators") and column.min() <= 0:
            item = int(column.argmin())
            raise DataError(field=f"{name}[{item}]", value=float(column[item]), expected="a number > 0")


def _check_rules(level: float, samples: int = 1) -> None:
    if samples < 1:
        raise TriptychError(field="samples", value=samples, expected="an integer >= 1")
    if not 0 < level < 1:
        hint = "Use 0.95 for 95 per cent."
        raise TriptychError(field="level", value=level, expected="a number between 0 and 1", hint=hint)
