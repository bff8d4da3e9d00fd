"""Splits: no group torn, sizes, stability when data grows, strata, and exact error texts."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Hashable

import pytest
from hypothesis import given, strategies as st

from tests.messages import check_message
from triptych.data.splits import connected_groups, split_by_fraction
from triptych.errors import DataError, RecipeError

FRACTIONS = {"train": 0.8, "valid": 0.1, "test": 0.1}
KEYS = st.lists(st.one_of(st.text(max_size=2), st.integers(0, 9), st.binary(max_size=1)), min_size=3, max_size=60)


def sizes(split: dict[str, list[int]]) -> dict[str, int]:
    return {name: len(items) for name, items in split.items()}


def split_of(split: dict[str, list[int]]) -> dict[int, str]:
    return {item: name for name, items in split.items() for item in items}


def test_different_keys_are_split_exactly_at_the_fractions() -> None:
    split = split_by_fraction(range(1000), fractions=FRACTIONS, seed=3)
    assert sizes(split) == {"train": 800, "valid": 100, "test": 100}
    assert sorted(item for items in split.values() for item in items) == list(range(1000))
    assert all(items == sorted(items) for items in split.values())


@given(KEYS, st.integers(0, 5))
def test_no_group_is_torn_no_item_lost_and_no_split_empty(keys: list[Hashable], seed: int) -> None:
    if len(set(keys)) < 3:
        return
    split = split_by_fraction(keys, fractions=FRACTIONS, seed=seed)
    assert sorted(item for items in split.values() for item in items) == list(range(len(keys)))
    parts = [{keys[item] for item in items} for items in split.values()]
    assert all(parts)
    assert sum(len(part) for part in parts) == len(set(keys))


@given(KEYS, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(keys: list[Hashable], random: object) -> None:
    if len(set(keys)) < 3:
        return
    shuffled = list(keys)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    first = split_by_fraction(keys, fractions=FRACTIONS, seed=0)
    second = split_by_fraction(shuffled, fractions=FRACTIONS, seed=0)
    for name in FRACTIONS:
        assert Counter(keys[i] for i in first[name]) == Counter(shuffled[i] for i in second[name])


def test_each_group_boundary_is_the_nearest_one() -> None:
    keys = [number // 7 for number in range(7 * 40)]
    split = split_by_fraction(keys, fractions={"a": 0.5, "b": 0.5}, seed=0)
    assert sizes(split) == {"a": 140, "b": 140}
    split = split_by_fraction(keys, fractions=FRACTIONS, seed=0)
    assert sizes(split) == {"train": 224, "valid": 28, "test": 28}
    lumpy = split_by_fraction(["big"] * 50 + list(range(50)), fractions=FRACTIONS, seed=1)
    assert min(sizes(lumpy).values()) >= 1
    for seed in range(20):
        small_first = split_by_fraction(
            ["big"] * 90 + list(range(3)), fractions={"a": 0.1, "b": 0.1, "c": 0.8}, seed=seed
        )
        assert min(sizes(small_first).values()) >= 1


def test_as_many_groups_as_splits_gives_one_to_each() -> None:
    assert sizes(split_by_fraction("abc", fractions=FRACTIONS, seed=0)) == {"train": 1, "valid": 1, "test": 1}


def test_seeds_differ_and_the_python_process_does_not_matter() -> None:
    words = [f"w{number}" for number in range(50)]
    first = split_by_fraction(words, fractions=FRACTIONS, seed=1)
    assert first != split_by_fraction(words, fractions=FRACTIONS, seed=2)
    program = (
        "from triptych.data.splits import split_by_fraction;"
        "words = [f'w{number}' for number in range(50)];"
        f"print(split_by_fraction(words, fractions={FRACTIONS}, seed=1))"
    )
    for hash_seed in ("1", "2"):
        printed = subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert printed.stdout.strip() == str(first)


def test_added_rows_move_only_what_lies_near_a_cut() -> None:
    before = split_of(split_by_fraction(range(1000), fractions=FRACTIONS, seed=0))
    after = split_of(split_by_fraction(range(1050), fractions=FRACTIONS, seed=0))
    assert sum(before[item] != after[item] for item in range(1000)) < 30


def test_strata_have_the_same_share_in_each_split() -> None:
    strata = ["common"] * 800 + ["rare"] * 150 + ["rarest"] * 50
    split = split_by_fraction(range(1000), fractions=FRACTIONS, seed=0, stratify=strata)
    assert sizes(split) == {"train": 800, "valid": 100, "test": 100}
    for name, fraction in FRACTIONS.items():
        counts = Counter(strata[item] for item in split[name])
        for stratum, total in Counter(strata).items():
            assert abs(counts[stratum] - fraction * total) <= 1
    plain = split_by_fraction(range(1000), fractions=FRACTIONS, seed=0)
    assert plain != split


@given(st.lists(st.tuples(st.integers(0, 20), st.sampled_from("ab")), min_size=3, max_size=60))
def test_strata_tear_no_group(rows: list[tuple[int, str]]) -> None:
    keys = [key for key, _ in rows]
    if len(set(keys)) < 3:
        return
    split = split_by_fraction(keys, fractions=FRACTIONS, seed=0, stratify=[stratum for _, stratum in rows])
    assert sorted(item for items in split.values() for item in items) == list(range(len(keys)))
    assert sum(len({keys[item] for item in items}) for items in split.values()) == len(set(keys))


def test_many_small_strata_do_not_all_go_to_train() -> None:
    strata = [number // 3 for number in range(300)]
    split = split_by_fraction(range(300), fractions=FRACTIONS, seed=0, stratify=strata)
    assert sizes(split) == {"train": 240, "valid": 30, "test": 30}


def test_small_strata_beside_a_large_one_get_their_share_too() -> None:
    strata = [number // 2 for number in range(200)] + [1000] * 800
    split = split_by_fraction(range(1000), fractions=FRACTIONS, seed=0, stratify=strata)
    assert sizes(split) == {"train": 800, "valid": 100, "test": 100}
    outside_train = sum(item < 200 for name in ("valid", "test") for item in split[name])
    assert 20 <= outside_train <= 60


def test_rows_that_share_a_key_through_others_are_one_group() -> None:
    rows = [("w:red", "p:rEd"), ("w:read", "p:rEd"), ("w:read", "p:rid"), ("w:reed", "p:rid"), ("w:cat", "p:kat")]
    groups = connected_groups(rows)
    assert len(set(groups[:4])) == 1
    assert groups[4] != groups[0]
    assert connected_groups(rows[::-1]) == groups[::-1]


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(20, 32)), max_size=25))
def test_connected_groups_equal_a_search_of_the_graph(rows: list[tuple[int, int]]) -> None:
    groups = connected_groups(rows)
    for start in range(len(rows)):
        reached, keys = {start}, set(rows[start])
        while more := {i for i, row in enumerate(rows) if keys & set(row)} - reached:
            reached |= more
            keys |= {key for i in more for key in rows[i]}
        assert reached == {i for i in range(len(rows)) if groups[i] == groups[start]}
        assert groups[start] == min(keys)


@pytest.mark.parametrize(
    ("fractions", "field", "value"),
    [
        ({"train": 0.8, "test": 0.1}, "the sum of the fractions", "0.9"),
        ({"train": 1.1, "test": -0.1}, "the fraction of test", -0.1),
        ({"train": 1.0, "test": 0.0}, "the fraction of test", 0.0),
        ({"train": float("nan")}, "the fraction of train", pytest.approx(float("nan"), nan_ok=True)),
        ({}, "the sum of the fractions", "0"),
    ],
)
def test_wrong_fractions_are_refused(fractions: dict[str, float], field: str, value: object) -> None:
    with pytest.raises(RecipeError) as caught:
        split_by_fraction(range(10), fractions=fractions, seed=0)
    assert (caught.value.field, caught.value.value) == (field, value)


def test_data_that_cannot_be_split_is_refused() -> None:
    with pytest.raises(DataError) as caught:
        split_by_fraction(["a", "b", "b"], fractions=FRACTIONS, seed=0)
    check_message("splits.too-few-groups", caught.value)
    with pytest.raises(DataError) as caught:
        split_by_fraction("abc", fractions=FRACTIONS, seed=0, stratify="ab")
    assert (caught.value.field, caught.value.value) == ("the length of stratify", 2)
    with pytest.raises(DataError) as caught:
        split_by_fraction([1.5, 2.5, 3.5], fractions=FRACTIONS, seed=0)
    assert caught.value.value == "float"
    with pytest.raises(DataError) as caught:
        connected_groups([()])
    assert caught.value.value == 0
