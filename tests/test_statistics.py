"""Bootstrap intervals against closed forms and against their own promise, coverage."""

from __future__ import annotations

import itertools
import math
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest, permutation_test

from triptych import statistics
from triptych.errors import DataError, ShapeError, TriptychError
from triptych.statistics import Interval, bootstrap_ratio, paired_bootstrap, share_of

Z = NormalDist().inv_cdf(0.975)


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson's score interval for a proportion, level 0.95 (Wilson 1927)."""
    p, z2 = successes / n, Z**2
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n**2))
    return middle - half, middle + half


def test_a_proportion_agrees_with_wilson() -> None:
    errors = np.repeat([1.0, 0.0], [719, 281])
    estimate = bootstrap_ratio(errors, np.ones(1000), samples=20_000, seed=3)
    assert estimate.value == 0.719
    assert (estimate.interval.low, estimate.interval.high) == pytest.approx(wilson(719, 1000), abs=0.002)
    assert estimate.interval.level == 0.95


@pytest.mark.parametrize(("wrong", "count"), [(0, 18), (18, 18), (13, 13), (0, 1), (1, 3), (719, 1000)])
def test_a_share_has_wilsons_interval(wrong: int, count: int) -> None:
    errors = np.repeat([1.0, 0.0], [wrong, count - wrong])
    for level in (0.9, 0.95):
        estimate = share_of(errors, level=level)
        expected = binomtest(wrong, count).proportion_ci(level, "wilson")
        assert (estimate.value, estimate.interval.level) == (wrong / count, level)
        assert (estimate.interval.low, estimate.interval.high) == pytest.approx((expected.low, expected.high))
        assert 0 <= estimate.interval.low <= estimate.value <= estimate.interval.high <= 1


def test_flags_are_0_or_1() -> None:
    with pytest.raises(DataError) as caught:
        share_of([0, 2])
    assert (caught.value.field, caught.value.value) == ("flags[1]", 2)


def test_a_ratio_of_sums_agrees_with_the_delta_method() -> None:
    generator = np.random.default_rng(7)
    lengths = generator.integers(3, 15, 3000)
    edits = generator.binomial(lengths, 0.2)
    estimate = bootstrap_ratio(edits, lengths, samples=20_000)
    ratio = edits.sum() / lengths.sum()
    half = Z * (edits - ratio * lengths).std() / lengths.mean() / math.sqrt(3000)
    assert estimate.value == pytest.approx(ratio)
    assert (estimate.interval.low, estimate.interval.high) == pytest.approx((ratio - half, ratio + half), abs=half / 20)
    assert estimate.value != pytest.approx((edits / lengths).mean(), abs=1e-6)


def test_intervals_cover_the_true_value_as_often_as_they_say() -> None:
    generator = np.random.default_rng(11)
    covered = {0.95: 0, 0.6: 0}
    for repeat in range(250):
        lengths = generator.integers(3, 15, 200)
        edits = generator.binomial(lengths, 0.3)
        for level in covered:
            interval = bootstrap_ratio(edits, lengths, samples=300, level=level, seed=repeat).interval
            covered[level] += interval.low <= 0.3 <= interval.high
    assert covered[0.95] / 250 == pytest.approx(0.94, abs=0.03)
    assert covered[0.6] / 250 == pytest.approx(0.6, abs=0.07)


def test_the_seed_settles_the_interval_and_more_items_narrow_it() -> None:
    errors = np.random.default_rng(0).random(500)
    first = bootstrap_ratio(errors, np.ones(500), seed=1)
    assert first == bootstrap_ratio(errors, np.ones(500), seed=1)
    assert first.interval != bootstrap_ratio(errors, np.ones(500), seed=2).interval
    more = bootstrap_ratio(np.tile(errors, 16), np.ones(8000), seed=1)
    width, narrower = (e.interval.high - e.interval.low for e in (first, more))
    assert narrower == pytest.approx(width / 4, rel=0.15)


def test_the_level_widens_and_samples_refine() -> None:
    errors = np.random.default_rng(0).random(100)
    wide, narrow = (bootstrap_ratio(errors, np.ones(100), level=level).interval for level in (0.99, 0.5))
    assert wide.low < narrow.low < narrow.high < wide.high
    one = bootstrap_ratio(errors, np.ones(100), samples=1).interval
    assert one.low == one.high


def test_memory_is_bounded_and_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = np.random.default_rng(0).random(64)
    whole = bootstrap_ratio(errors, np.ones(64), samples=50)
    asked: list[int] = []
    default_rng = np.random.default_rng

    class Spy:
        def __init__(self, seed: int) -> None:
            self.generator = default_rng(seed)

        def multinomial(self, n: int, shares: Any, size: int) -> Any:
            asked.append(size * len(shares))
            return self.generator.multinomial(n, shares, size=size)

    monkeypatch.setattr(np.random, "default_rng", Spy)
    monkeypatch.setattr(statistics, "_CELLS_AT_ONCE", 64 * 7)
    assert bootstrap_ratio(errors, np.ones(64), samples=50) == whole
    assert asked == [64 * 7] * 7 + [64]


def test_degenerate_items() -> None:
    all_right = bootstrap_ratio([0, 0, 0], [4, 5, 6])
    assert (all_right.value, all_right.interval) == (0.0, Interval(0.0, 0.0, 0.95))
    single = bootstrap_ratio([3], [4])
    assert (single.value, single.interval) == (0.75, Interval(0.75, 0.75, 0.95))
    above_one = bootstrap_ratio([9, 1], [3, 1])
    assert above_one.interval == Interval(1.0, 3.0, 0.95)
    assert above_one.to_dict() == {"value": 2.5, "low": 1.0, "high": 3.0, "level": 0.95}


@pytest.mark.parametrize(
    ("call", "error", "field"),
    [
        (lambda: bootstrap_ratio([], []), DataError, "numerators"),
        (lambda: bootstrap_ratio([1, 2], [1, 0]), DataError, "denominators[1]"),
        (lambda: bootstrap_ratio([1, math.nan], [1, 1]), DataError, "numerators[1]"),
        (lambda: bootstrap_ratio([1], [1], level=95), TriptychError, "level"),
        (lambda: bootstrap_ratio([1], [1], samples=0), TriptychError, "samples"),
        (lambda: paired_bootstrap([], [], []), DataError, "a_numerators"),
        (lambda: paired_bootstrap([1], [1], [1], b_denominators=[-2]), DataError, "b_denominators[0]"),
        (lambda: paired_bootstrap([1], [1], [1], level=0), TriptychError, "level"),
        (lambda: share_of([0, 2]), DataError, "flags[1]"),
        (lambda: share_of([1.0], level=1.0), TriptychError, "level"),
    ],
)
def test_errors_name_the_field(call: Any, error: type[TriptychError], field: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field} is ")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap_ratio([1, 2], [1]), "denominators has 1 items; expected 2, as numerators has."),
        (lambda: bootstrap_ratio([[1]], [1]), "numerators has shape (1, 1); expected one number per item"),
        (lambda: paired_bootstrap([1], [1, 2], [1]), "b_numerators has 2 items; expected 1"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(call: Any, message: str) -> None:
    with pytest.raises(ShapeError) as caught:
        call()
    assert message in str(caught.value)


def test_a_paired_difference_agrees_with_the_normal_interval() -> None:
    generator = np.random.default_rng(5)
    hard = generator.random(2000)
    a, b = (hard < 0.30).astype(float), (hard + generator.normal(0, 0.1, 2000) < 0.33).astype(float)
    compared = paired_bootstrap(a, b, np.ones(2000), samples=20_000)
    difference = (a - b).mean()
    half = Z * (a - b).std() / math.sqrt(2000)
    assert compared.difference == pytest.approx(difference)
    assert (compared.interval.low, compared.interval.high) == pytest.approx(
        (difference - half, difference + half), abs=half / 15
    )
    normal_p = 2 * NormalDist().cdf(-abs(difference) / (half / Z))
    assert compared.p_value == pytest.approx(normal_p, abs=0.01)
    unpaired = bootstrap_ratio(a, np.ones(2000)).interval
    assert compared.interval.high - compared.interval.low < unpaired.high - unpaired.low


def test_wins_losses_and_ties_and_the_sign() -> None:
    compared = paired_bootstrap([0, 1, 2, 3, 0], [1, 2, 3, 3, -1], [1, 2, 4, 5, 6], seed=2)
    assert (compared.wins, compared.losses, compared.ties) == (3, 1, 1)
    assert compared.difference == pytest.approx((6 - 8) / 18)
    swapped = paired_bootstrap([1, 2, 3, 3, -1], [0, 1, 2, 3, 0], [1, 2, 4, 5, 6], seed=2)
    assert (swapped.wins, swapped.losses) == (1, 3)
    assert swapped.difference == -compared.difference


def test_denominators_of_b_may_differ() -> None:
    compared = paired_bootstrap([1, 2], [1, 2], [2, 4], b_denominators=[4, 4])
    assert compared.difference == pytest.approx(3 / 6 - 3 / 8)
    assert (compared.wins, compared.losses, compared.ties) == (0, 1, 1)


def test_p_values_at_the_ends() -> None:
    same = paired_bootstrap([1, 0, 1], [1, 0, 1], [1, 1, 1])
    assert (same.p_value, same.difference, same.interval) == (1.0, 0.0, Interval(0.0, 0.0, 0.95))
    always = paired_bootstrap(np.zeros(50), np.ones(50), np.ones(50), samples=999)
    assert always.p_value == pytest.approx(2 / 1000)
    assert always.to_dict()["wins"] == 50
    assert always.to_dict()["difference"] == -1.0


@pytest.mark.parametrize("count", [1, 2, 3, 6, 12])
def test_a_p_value_of_few_items_is_the_exact_one(count: int) -> None:
    """Where one system is better by the same on every item, the permutation test is the sign test."""
    compared = paired_bootstrap(np.ones(count), np.zeros(count), np.ones(count))
    assert compared.p_value == pytest.approx(binomtest(0, count).pvalue)
    with_ties = paired_bootstrap(np.ones(count + 40), np.r_[np.zeros(count), np.ones(40)], np.ones(count + 40))
    assert with_ties.p_value == compared.p_value


def test_a_p_value_of_few_items_agrees_with_scipy() -> None:
    generator = np.random.default_rng(3)
    for _ in range(20):
        a, b = generator.integers(0, 4, (2, 8)).astype(float)
        lengths = generator.integers(1, 9, 8).astype(float)
        expected = permutation_test(
            (a, b),
            lambda first, second, axis=-1, lengths=lengths: (first - second).sum(axis=axis) / lengths.sum(),
            permutation_type="samples",
            n_resamples=np.inf,
            vectorized=True,
        ).pvalue
        assert paired_bootstrap(a, b, lengths).p_value == pytest.approx(expected)


def test_swaps_exchange_denominators_too() -> None:
    generator = np.random.default_rng(0)
    for _ in range(10):
        a, b = generator.integers(1, 9, (2, 4, 2)).astype(float)  # of each item, edits and length
        found = []
        for swaps in itertools.product((False, True), repeat=4):
            ours = sum(np.where(swap, second, first) for swap, first, second in zip(swaps, a, b, strict=True))
            theirs = a.sum(axis=0) + b.sum(axis=0) - ours
            found.append(abs(ours[0] / ours[1] - theirs[0] / theirs[1]))
        expected = np.mean([difference >= found[0] - 1e-12 for difference in found])
        compared = paired_bootstrap(a[:, 0], b[:, 0], a[:, 1], b_denominators=b[:, 1])
        assert compared.p_value == pytest.approx(expected)


def test_p_values_are_fair_when_there_is_no_difference() -> None:
    generator = np.random.default_rng(13)
    small = 0
    for repeat in range(400):
        a, b = generator.random((2, 150)) < 0.3
        small += paired_bootstrap(a, b, np.ones(150), samples=400, seed=repeat).p_value < 0.1
    assert small / 400 == pytest.approx(0.1, abs=0.045)


def test_level_samples_and_seed_of_a_comparison_change_its_interval_alone() -> None:
    generator = np.random.default_rng(1)
    items = tuple(generator.integers(1, 9, 30) for _ in range(3))
    compared = paired_bootstrap(*items, b_denominators=np.full(30, 2))
    for options in ({"level": 0.5}, {"samples": 11}, {"seed": 5}):
        changed = paired_bootstrap(*items, b_denominators=np.full(30, 2), **options)
        assert changed != compared
        assert changed.difference == compared.difference
