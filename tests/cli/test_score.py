"""`triptych score`, `triptych align` and `triptych predict --alignment`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Triptych, json_of, one_error
from tests.cli.test_predict import piped, rows
from triptych import api

PAIRS = [("B IY T", "beet"), ("SH UW", "shoo"), ("K AA ZZ", "ca7")]


@pytest.fixture
def pairs(workspace: Path) -> Path:
    """A file of pairs, the last with symbols that training never showed."""
    (workspace / "pairs.tsv").write_text("".join(f"{source}\t{target}\n" for source, target in PAIRS))
    return workspace


def test_score_prints_what_the_speller_says(triptych: Triptych, pairs: Path) -> None:
    result = triptych("score", "first", "pairs.tsv")
    assert (result.status, result.err) == (0, "")
    expected = api.load("first").score([source for source, _ in PAIRS], [target for _, target in PAIRS])
    assert rows(result.out) == [
        [source, target, f"{score.log_probability:.4f}", f"{score.per_symbol:.4f}", str(score.unknown)]
        for (source, target), score in zip(PAIRS, expected, strict=True)
    ]
    assert rows(result.out)[2][2:] == ["-inf", "-inf", "2"]
    document = json_of(triptych, "score", "first", "pairs.tsv")
    assert document["pairs"][0]["log_probability"] == pytest.approx(expected[0].log_probability)
    assert document["pairs"][2]["unknown_target"] == ["7"]
    assert document["pairs"][2]["log_probability"] is None


def test_score_and_align_read_what_predict_writes(triptych: Triptych, workspace: Path) -> None:
    predicted = triptych("predict", "first", "--n-best", "3", stdin=piped("B IY T", "SH UW")).out
    scored = rows(triptych("score", "first", stdin=predicted.encode()).out)
    assert [row[:3] for row in scored] == [row[:3] for row in rows(predicted)]
    aligned = rows(triptych("align", "first", "-", stdin=predicted.encode()).out)
    assert [row[:2] for row in aligned] == [row[:2] for row in rows(predicted)]


def test_align_prints_the_alignment_and_its_places(triptych: Triptych, pairs: Path) -> None:
    (found,) = api.load("first").align(*PAIRS[0])
    result = triptych("align", "first", "pairs.tsv")
    assert rows(result.out)[0] == [*PAIRS[0], found.text, found.pairs]
    document = json_of(triptych, "align", "first", "pairs.tsv")
    assert document["run"] == "first"
    assert document["pairs"][0] == found.to_dict() == json.loads(json.dumps(found.to_dict()))


def test_predict_adds_an_alignment_after_each_candidate(triptych: Triptych, workspace: Path) -> None:
    result = triptych("predict", "first", "--alignment", "--n-best", "2", stdin=piped("B IY T"))
    (prediction,) = api.load("first").predict("B IY T", n_best=2, with_alignment=True)
    expected = [
        [candidate.text, f"{candidate.log_probability:.4f}", candidate.alignment.text]
        for candidate in prediction.candidates
    ]
    assert rows(result.out) == [["B IY T", *expected[0], *expected[1]]]


def test_candidates_are_ordered_by_both_runs_and_can_be_ordered_again(triptych: Triptych, workspace: Path) -> None:
    predicted = triptych("predict", "first", "--n-best", "4", stdin=piped("B IY T", "SH UW")).out
    result = triptych("score", "second", "--rerank", "--weight", "0.25", stdin=predicted.encode())
    second = api.load("second")
    for before, after in zip(rows(predicted), rows(result.out), strict=True):
        scores = {
            text: 0.25 * second.score(before[0], text)[0].log_probability + 0.75 * float(value)
            for text, value in zip(before[1::2], before[2::2], strict=True)
        }
        assert after[0] == before[0]
        assert after[1::2] == sorted(scores, key=lambda text: -scores[text])
        assert [float(value) for value in after[2::2]] == pytest.approx(sorted(scores.values())[::-1], abs=2e-4)
    again = triptych("score", "first", "--rerank", "--weight", "0", stdin=result.out.encode())
    assert again.out == result.out


def test_a_run_of_the_other_direction_reads_candidates_as_sources(triptych: Triptych, workspace: Path) -> None:
    lists = b"beet\tB IY T\t-1\tSH UW\t-0.5\n"
    (row,) = rows(triptych("score", "first", "--rerank", "--reverse", "--weight", "1", stdin=lists).out)
    speller = api.load("first")
    expected = {source: speller.score(source, "beet")[0].log_probability for source in ("B IY T", "SH UW")}
    assert row[:2] == ["beet", "B IY T"]
    assert float(row[2]) == pytest.approx(expected["B IY T"], abs=1e-4)
    assert float(row[4]) == pytest.approx(expected["SH UW"], abs=1e-4)


def test_a_reversed_run_reads_its_own_files_as_its_data_and_a_pipe_as_its_predictions(
    triptych: Triptych, workspace: Path
) -> None:
    recipe = workspace / "runs" / "first" / "recipe.toml"
    text = recipe.read_text(encoding="utf-8")
    assert 'source_unit = "symbols"' in text
    text = text.replace("reverse = false", "reverse = true").replace(
        'source_unit = "symbols"', 'source_unit = "characters"'
    )
    recipe.write_text(text.replace('target_unit = "characters"', 'target_unit = "symbols"'), encoding="utf-8")
    (workspace / "own.tsv").write_text("beet\tB IY T\n")
    from_file = triptych("score", "first", "own.tsv").out
    assert from_file.startswith("B IY T\tbeet\t")
    assert triptych("score", "first", stdin=b"B IY T\tbeet\n").out == from_file


def test_a_dictionary_is_read_as_training_reads_it(triptych: Triptych, pairs: Path) -> None:
    expected = rows(triptych("score", "first", "pairs.tsv").out)[:2]
    (pairs / "words.dict").write_text(";;; words\nbeet  B IY T\nshoo(2)  SH UW\n", encoding="utf-8")
    scored = triptych("score", "first", "words.dict")
    assert (scored.status, rows(scored.out)) == (0, expected)
    aligned = triptych("align", "first", "words.dict")
    assert (aligned.status, [row[:2] for row in rows(aligned.out)]) == (0, [list(pair) for pair in PAIRS[:2]])


def test_alternatives_in_a_field_are_a_pair_each_as_in_training(triptych: Triptych, pairs: Path) -> None:
    expected = rows(triptych("score", "first", "pairs.tsv").out)[:2]
    recipe = pairs / "runs" / "first" / "recipe.toml"
    text = recipe.read_text(encoding="utf-8")
    assert 'split_alternatives = ""' in text
    recipe.write_text(text.replace('split_alternatives = ""', 'split_alternatives = "~"'), encoding="utf-8")
    (pairs / "both.tsv").write_text("B IY T ~ SH UW\tbeet\nB IY T\tbeet ~ shoo\n", encoding="utf-8")
    found = rows(triptych("score", "first", "both.tsv").out)
    assert [row[:2] for row in found] == [["B IY T", "beet"], ["SH UW", "beet"], ["B IY T", "beet"], ["B IY T", "shoo"]]
    assert found[0] == found[2] == expected[0]


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (("score", "first"), b"B IY\tbee\nB IY\n", "standard input:2: the row has 1 column; expected at least 2"),
        (("align", "first"), b"B IY\t\n", "standard input:1: the target is empty; expected at least one symbol."),
        (("score", "first", "no.tsv"), b"", "no.tsv: no such file."),
        (("score", "first", "--rerank"), b"B IY\tbee\n", "standard input:1: the row has 2 columns; expected a source"),
        (
            ("score", "first", "--rerank"),
            b"B\tb\tx\n",
            "standard input:1: the log-probability of a candidate is 'x'; expected a number.",
        ),
        (("score", "first", "--rerank", "--weight", "2"), b"", "--weight is 2.0; expected a number from 0 to 1."),
        (("score", "first", "--weight", "1"), b"", "--weight has no effect without --rerank. Add --rerank"),
        (("score", "first", "--reverse"), b"", "--reverse has no effect without --rerank."),
    ],
)
def test_what_cannot_be_read_is_one_line(
    triptych: Triptych, workspace: Path, arguments: tuple[str, ...], stdin: bytes, message: str
) -> None:
    result = triptych(*arguments, stdin=stdin)
    assert result.status == 2
    assert result.err.startswith(f"error: {message}")
    assert len(result.err.splitlines()) == 1


def test_bad_rows_are_skipped_with_a_count_and_good_ones_before_a_bad_one_are_answered(
    triptych: Triptych, workspace: Path
) -> None:
    stdin = b"B IY\tbee\n\nB IY\nSH UW\tshoo\n"
    skipped = triptych("score", "first", "--skip-bad", stdin=stdin)
    assert [row[0] for row in rows(skipped.out)] == ["B IY", "SH UW"]
    assert skipped.err.endswith("Skipped 2 unreadable rows, this one first.\n")
    stopped = triptych("score", "first", stdin=stdin)
    assert [row[0] for row in rows(stopped.out)] == ["B IY"]
    lists = triptych("score", "first", "--rerank", "--skip-bad", stdin=b"B IY\tbee\t-1\nB\n")
    assert [row[0] for row in rows(lists.out)] == ["B IY"]
    assert "Skipped 1 unreadable rows" in lists.err


def test_a_see_run_has_no_pairs(triptych: Triptych, workspace: Path) -> None:
    recipe = workspace / "runs" / "pictures" / "recipe.toml"
    recipe.parent.mkdir()
    recipe.write_text('panel = "see"\n', encoding="utf-8")
    assert one_error(triptych("align", "pictures")).endswith("this is a see run; only spell aligns pairs.")
