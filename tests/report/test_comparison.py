"""Runs are compared on the items they share, with a warning or a refusal where those are not all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.messages import check_message
from triptych.errors import DataError
from triptych.report.comparison import Errors, differences, read_errors, shared_items


def errors(names: Sequence[str], wrong: Sequence[int]) -> Errors:
    return Errors([(name,) for name in names], {"WER": (np.array(wrong, float), np.ones(len(names)))})


def test_runs_of_the_same_items_are_compared_on_all_of_them() -> None:
    names = [str(number) for number in range(40)]
    found = shared_items({"a": errors(names, [0] * 40), "b": errors(names[::-1], [0] * 39 + [1])})
    assert found.warnings == []
    assert [item for (item,) in found.errors["b"].items] == names, "in the first run's order"
    assert found.errors["b"].measures["WER"][0].tolist() == [1.0] + [0.0] * 39


def test_items_that_only_some_runs_have_are_skipped_with_a_warning() -> None:
    names = [str(number) for number in range(100)]
    found = shared_items({"a": errors(names, [0] * 100), "b": errors(names[:60], [1] * 60)})
    assert len(found.errors["a"].items) == len(found.errors["b"].items) == 60
    assert found.warnings == ["compared on the 60 items that all runs predicted (100 of a, 60 of b)."]


def test_few_items_are_warned_of() -> None:
    found = shared_items({"a": errors(["x", "y"], [0, 0]), "b": errors(["x", "y"], [1, 1])})
    (warning,) = found.warnings
    assert warning.startswith("2 items are few")
    assert differences(found.errors["a"], found.errors["b"])["WER"].p_value == 0.5, "of two items none can be surer"


@pytest.mark.parametrize("common", [0, 3, 19])
def test_runs_that_share_some_items_by_accident_are_refused(common: int) -> None:
    first, other = [f"a{n}" for n in range(40)], [f"b{n}" for n in range(1660)]
    with pytest.raises(DataError) as caught:
        shared_items({"p2g": errors(first, [0] * 40), "demo": errors(first[:common] + other[common:], [0] * 1660)})
    if common == 3:
        check_message("comparison.other-data", caught.value)


def test_an_item_that_occurs_twice_is_matched_in_order() -> None:
    found = shared_items({"a": errors("xyx", [0, 0, 1]), "b": errors("xxy", [1, 0, 0])})
    assert found.errors["b"].measures["WER"][0].tolist() == [1.0, 0.0, 0.0]


def test_other_items_are_not_compared() -> None:
    with pytest.raises(DataError) as caught:
        differences(errors("xy", [0, 0]), errors("x", [0]))
    assert (caught.value.value, caught.value.expected) == (1, "2, as in the first run")
    with pytest.raises(DataError) as caught:
        differences(errors("xy", [0, 0]), errors("xz", [0, 0]))
    assert caught.value.value == ("z",)


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.tsv"

    def measure(rows: Sequence[Mapping[str, str]]) -> Errors:
        return errors([row["source"] for row in rows], [int(row["edits"]) for row in rows])

    path.write_text("source\tedits\na\u2028b\x85c\x1cd\t1\n", encoding="utf-8")
    assert read_errors(path, measure).items == [("a\u2028b\x85c\x1cd",)]
    for content in ("source\ta\nx\t1\n", "source\tedits\nx\tmany\n"):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(DataError) as caught:
            read_errors(path, measure)
        assert caught.value.path == path
