"""Where data is: one path, or one for each language."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from tests.messages import check_message
from triptych.data.locations import (
    check_locations,
    describe_location,
    from_plain,
    location_arguments,
    name_of,
    parse_location,
    to_plain,
)
from triptych.errors import DataError, RecipeError

BY_LANGUAGE = {"ady": Path("a"), "dut": Path("b=c")}


def test_one_path_or_one_for_each_language(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_location(None) is None
    assert parse_location(["folder"]) == Path("folder")
    assert parse_location(["ady=a", "dut=b=c"]) == BY_LANGUAGE
    swapped = parse_location(["dut=b", "ady=a"])
    assert isinstance(swapped, dict)
    assert list(swapped) == ["dut", "ady"], "the order is kept"
    assert parse_location(["my data/x=1"]) == Path("my data/x=1"), "what has a slash is not a language"
    Path("seed=1").mkdir()
    assert parse_location(["seed=1"]) == Path("seed=1"), "what exists is a path"


@pytest.mark.parametrize(
    ("texts", "value", "name"),
    [
        (["ady=a", "b"], "b", "without-language"),
        (["a", "b"], "a", "without-language-first"),
        (["ady=a", "dut="], "dut=", "without-path"),
        (["ady=a", "ady=b"], "ady=b", "twice"),
    ],
)
def test_bad_locations_are_one_line(texts: list[str], value: str, name: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_location(texts)
    assert (caught.value.field, caught.value.value) == ("--data", value)
    check_message(f"data.{name}", caught.value)


def test_every_path_must_exist(tmp_path: Path) -> None:
    (tmp_path / "ady").mkdir()
    check_locations({"ady": tmp_path / "ady"})
    with pytest.raises(DataError) as caught:
        check_locations({"ady": tmp_path / "ady", "dut": tmp_path / "adu"})
    assert caught.value.path == tmp_path / "adu"
    assert "Did you mean" in str(caught.value)


@pytest.mark.parametrize("location", [None, Path("some where"), BY_LANGUAGE])
def test_a_location_is_written_and_read_again(
    location: Path | dict[str, Path] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plain = json.loads(json.dumps(to_plain(location)))
    expected = {key: tmp_path / path for key, path in location.items()} if isinstance(location, dict) else None
    assert from_plain(plain) == (expected if expected or location is None else tmp_path / "some where")
    typed = shlex.split(shlex.join(location_arguments(location)))
    assert parse_location(typed[1::2]) == location


def test_names_for_people(tmp_path: Path) -> None:
    assert describe_location(BY_LANGUAGE) == "ady=a dut=b=c"
    assert name_of(BY_LANGUAGE) == "ady-dut"
    assert name_of(tmp_path / "words.tsv") == "words"
