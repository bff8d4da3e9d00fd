"""Features as texts and as sets, and the columns that hold them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from tests.messages import check_message
from triptych.errors import DataError, RecipeError
from triptych.text.features import SourceColumns, join_features, split_features
from triptych.text.groups import group_references
from triptych.text.pairs import BadRow, Input, Pair, read_pairs, read_sources
from triptych.text.rows import Columns, Layout, fitting_layout
from triptych.text.symbols import Tokenizer, Vocabularies, Vocabulary

LETTERS = Tokenizer()
COLUMNS = Columns(source=1, target=3, features=2)


@pytest.mark.parametrize(
    ("text", "separator", "found"),
    [
        ("V;PST", ";", ("PST", "V")),
        ("PST; V ;V", ";", ("PST", "V")),
        ("V;NOM(1,SG)", ";", ("NOM", "NOM(1)", "NOM(SG)", "V")),
        ("V;NOM(FORM,2,SG)", ";", ("NOM", "NOM(2)", "NOM(FORM)", "NOM(SG)", "V")),
        ("V;IMP;NOM(1;PL)", ";", ("IMP", "NOM", "NOM(1)", "NOM(PL)", "V")),
        ("N;ABL(PL;PSS(1,PL))", ";", ("ABL", "ABL(PL)", "N", "PSS", "PSS(1)", "PSS(PL)")),
        ("Case=Nom|Number=Sing", "|", ("Case=Nom", "Number=Sing")),
        ("V  PST\tSG", " ", ("PST", "SG", "V")),
        ("V.PTCP", ";", ("V.PTCP",)),
        ("  ", ";", ()),
        ("(1,SG)", ";", ("1", "SG")),
    ],
)
def test_a_text_becomes_a_set(text: str, separator: str, found: tuple[str, ...]) -> None:
    assert split_features(text, separator) == found


def test_a_group_written_in_another_order_is_the_same() -> None:
    assert split_features("V;NOM(FORM,2,SG)") == split_features("NOM(2,SG,FORM);V")


@given(st.lists(st.sampled_from(["V", "PST", "NOM(1,SG)", "ABL(PL;PSS(1,PL))", "DAT(2)", "X(Y)"]), unique=True))
def test_joined_features_are_split_into_the_same(parts: list[str]) -> None:
    features = split_features(";".join(parts))
    assert split_features(join_features(features)) == features
    assert split_features(";".join(features)) == features


def test_joining_groups_what_belongs_together() -> None:
    assert join_features(("NOM", "NOM(1)", "NOM(SG)", "V")) == "NOM(1,SG);V"
    assert join_features(("NOM(1)", "V"), "|") == "NOM(1)|V"  # without its name the group is not one


@pytest.mark.parametrize("text", ["V;NOM(1,SG", "V;NOM)1"])
def test_brackets_that_do_not_pair_are_refused(text: str) -> None:
    with pytest.raises(DataError) as caught:
        split_features(text)
    assert (caught.value.field, caught.value.value) == ("features", text)
    check_message("features.brackets" if "(" in text else "features.bracket-closed", caught.value)


@pytest.mark.parametrize("separator", ["", ";;", "(", "\t"])
def test_a_separator_is_one_character(separator: str) -> None:
    with pytest.raises(RecipeError) as caught:
        split_features("V", separator)
    assert caught.value.field == "features_separator"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def read(path: Path, columns: Columns = COLUMNS, *, skip: bool = False) -> list[Pair]:
    file = read_pairs(
        path, layout=Layout(columns), source_tokenizer=LETTERS, target_tokenizer=LETTERS, skip_bad_rows=skip
    )
    return list(file.pairs)


def test_pairs_have_their_features(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "go\tV;PST\twent\ngo\t\tgo\n")
    assert read(path) == [
        Pair(("g", "o"), tuple("went"), 1, ("PST", "V")),
        Pair(("g", "o"), ("g", "o"), 2, ()),
    ]
    named = write(tmp_path / "b.csv", 'form,tags,lemma\nwent,"V,PST",go\n')
    assert read(named, Columns("lemma", "form", "tags", ",")) == [Pair(("g", "o"), tuple("went"), 2, ("PST", "V"))]


@pytest.mark.parametrize(
    ("name", "row"), [("features.no-target", "go\tV;PST"), ("features.one-column", "go"), ("features.open", "a\tV(\tb")]
)
def test_a_bad_row_is_named_and_can_be_skipped(tmp_path: Path, name: str, row: str) -> None:
    path = write(tmp_path / "a.tsv", f"go\tV;PST\twent\n{row}\n")
    with pytest.raises(DataError) as caught:
        read(path)
    assert (caught.value.path, caught.value.line) == (path, 2)
    check_message(name, caught.value, tmp_path)
    assert [pair.line for pair in read(path, skip=True)] == [1]


def test_a_row_without_its_features_column_is_bad(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "go\twent\n")
    with pytest.raises(DataError) as caught:
        read(path, Columns(1, 2, 3))
    check_message("features.missing-column", caught.value, tmp_path)


def test_two_columns_are_not_taken_for_data_with_features(tmp_path: Path) -> None:
    layout = fitting_layout(write(tmp_path / "a.tsv", "go\twent\n"), Layout(Columns("a", "b", "c")))
    assert layout.columns == Columns("a", "b", "c")


def test_references_belong_to_a_source_with_its_features() -> None:
    def pair(features: str, target: str) -> Pair:
        return Pair(("g", "o"), tuple(target), 1, split_features(features))

    pairs = [pair("V;PST", "went"), pair("PST;V", "goed"), pair("V;PRS", "goes")]
    assert group_references(pairs) == {
        Input(("g", "o"), ("PST", "V")): (tuple("went"), tuple("goed")),
        Input(("g", "o"), ("PRS", "V")): (tuple("goes"),),
    }


def sources(text: str, columns: Columns = COLUMNS, delimiter: str | None = None, label: str = "x.tsv") -> list[str]:
    lines = io.StringIO(text)
    found = read_sources(lines, LETTERS, path_label=label, columns=SourceColumns.of(columns, delimiter, label))
    return [f"{line.line} {''.join(line.symbols)} {'+'.join(line.features)} {line.features_text}" for line in found]


def test_lines_have_the_columns_of_training_or_two() -> None:
    assert sources("go\tV;PST\n") == ["1 go PST+V V;PST"]
    assert sources("go\tV;PST\twent\nwalk\tV\twalk\textra\n") == ["1 go PST+V V;PST", "2 walk V V"]
    assert sources("go\twent\tV;PST\n", Columns(1, 2, 3)) == ["1 go PST+V V;PST"]
    assert sources("go\tV;PST\n", Columns(1, 2, 3)) == ["1 go PST+V V;PST"]
    assert sources("go\t\n") == ["1 go  "]
    assert sources('"go","V,PST"\n', Columns(1, 3, 2, ","), label="x.csv") == ["1 go PST+V V,PST"]


def test_a_header_names_the_columns_of_lines() -> None:
    columns = Columns("lemma", "form", "tags")
    assert sources("tags\tform\tlemma\nV;PST\twent\tgo\n", columns) == ["2 go PST+V V;PST"]
    assert sources("go\tV;PST\n", columns) == ["1 go PST+V V;PST"]


@pytest.mark.parametrize(("name", "line"), [("features.line", "go"), ("features.line-brackets", "go\tV(")])
def test_a_bad_line_is_named_and_can_be_skipped(name: str, line: str) -> None:
    with pytest.raises(DataError) as caught:
        sources(f"go\tV\n{line}\n")
    assert caught.value.line == 2
    check_message(name, caught.value)
    bad: list[BadRow] = []
    columns = SourceColumns.of(COLUMNS, None, "x")
    lines = read_sources([line, "go\tV"], LETTERS, path_label="x", columns=columns, on_bad_row=bad.append)
    assert [given.line for given in lines] == [2]
    assert [row.line for row in bad] == [1]


def test_vocabularies_keep_their_features_and_older_ones_have_none() -> None:
    letters = Vocabulary(("a",))
    plain = Vocabularies(LETTERS, LETTERS, letters, letters)
    assert "features" not in plain.to_dict()
    assert Vocabularies.read(plain.to_dict()) == plain
    featured = Vocabularies(LETTERS, LETTERS, letters, letters, Vocabulary(("PST", "V")), "|")
    assert Vocabularies.read(featured.to_dict()) == featured
    assert featured.split_features("V|PST") == ("PST", "V")
