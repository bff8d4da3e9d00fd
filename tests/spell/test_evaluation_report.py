"""The evaluation of a speller in a report, and the predictions written beside it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from triptych.spell import evaluation_report
from triptych.spell.metrics import ItemResult, score
from triptych.text.symbols import Tokenizer, Vocabularies, Vocabulary

VOCABULARIES = Vocabularies(Tokenizer(unit="symbols"), Tokenizer(), Vocabulary(("B", "IY")), Vocabulary(("b", "e")))


def item(source: str, references: list[str], predictions: list[str]) -> ItemResult:
    log_probabilities = tuple(-0.5 * (rank + 1) for rank in range(len(predictions)))
    return ItemResult(
        tuple(source.split()), tuple(map(tuple, references)), tuple(map(tuple, predictions)), log_probabilities
    )


ITEMS = [
    item("B IY", ["be", "bee"], ["bee", "be"]),
    item("B IY B", ["beb"], ["bxb"]),
    item("IY", ["e"], [""]),
    item("B\tB", ["b\tb", "c"], ["b\nb", "b b", "b"]),
]


def read_tsv(path: Path) -> list[dict[str, str | None]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


def test_predictions_are_written_in_order_with_their_edits(tmp_path: Path) -> None:
    evaluation_report.write_predictions(tmp_path, "test.beam3", ITEMS, VOCABULARIES)
    first, second, third, fourth = read_tsv(tmp_path / "test.beam3.tsv")
    assert first == {
        "source": "B IY", "references": "be / bee", "prediction": "bee", "log_probability": "-0.5000", "edits": "0",
        "reference_length": "3", "prediction_2": "be", "log_probability_2": "-1.0000", "prediction_3": None,
        "log_probability_3": None,
    }  # fmt: skip
    assert (second["prediction"], second["edits"], second["reference_length"]) == ("bxb", "1", "3")
    assert (third["prediction"], third["edits"], third["reference_length"]) == ("", "1", "1")
    assert (fourth["references"], fourth["prediction"], fourth["prediction_3"]) == ("b b / c", "b b", "b")


def test_the_error_list_holds_the_wrong_ones_only(tmp_path: Path) -> None:
    evaluation_report.write_predictions(tmp_path, "test.greedy", ITEMS[:3], VOCABULARIES)
    errors = read_tsv(tmp_path / "test.greedy.errors.tsv")
    assert {row["source"]: row["edits"] for row in errors} == {"B IY B": "1", "IY": "1"}
    assert list(errors[0]) == list(evaluation_report.PREDICTION_COLUMNS)


def test_details_are_plain_values_that_survive_json() -> None:
    scores = score(ITEMS[:3], samples=50)
    details = evaluation_report.details(ITEMS[:3], scores, VOCABULARIES)
    assert json.loads(json.dumps(details)) == details
    assert details["scores"]["wer"]["value"] == pytest.approx(2 / 3)
    assert details["scores"]["cer"]["value"] == pytest.approx((0 + 1 + 1) / (3 + 3 + 1))
    assert sorted(details["worst"]) == [["B IY B", "beb", "bxb", 1], ["IY", "e", "", 1]]
    assert sorted(details["confusions"]) == [["e", "", 1], ["e", "x", 1]]
    assert sorted(row[0] for row in details["examples"]) == ["B IY", "B IY B", "IY"]
    assert sum(part["items"] for part in details["by_length"]) == 3


def test_length_parts_hold_at_least_twenty_items_and_all_of_them() -> None:
    items = [item(" ".join(["B"] * (1 + i % 7)), ["b"], ["e"]) for i in range(100)]
    parts = evaluation_report.details(items, score(items, samples=50), VOCABULARIES)["by_length"]
    assert 2 <= len(parts) <= 6
    assert sum(part["items"] for part in parts) == 100
    few = evaluation_report.details(items[:25], score(items[:25], samples=50), VOCABULARIES)["by_length"]
    assert len(few) == 1


def test_a_section_shows_tables_and_saves_its_figures(tmp_path: Path) -> None:
    evaluation = evaluation_report.details(ITEMS, score(ITEMS, sampled=True, samples=50), VOCABULARIES)
    section = evaluation_report.section("test/beam3", evaluation, tmp_path)
    assert section.title == "Evaluation test/beam3"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"test-beam3-{what}.{kind}" for what in ("confusions", "error-by-length") for kind in ("png", "svg")
    ]
    assert len(section.figures) == 2
    text = " ".join(table.to_markdown() for table in section.tables)
    assert "WER@3: no reference among the top 3" in text
    assert "bee, be" in text
    assert "∅" in text


@pytest.mark.parametrize(("method", "shown"), [("sample", True), ("beam", False), (None, False)])
def test_means_over_predictions_are_shown_of_samples_alone(tmp_path: Path, method: str | None, shown: bool) -> None:
    """Runs of November 2026 have them of beams too, where they frighten and say nothing."""
    evaluation = evaluation_report.details(ITEMS, score(ITEMS, sampled=True, samples=50), VOCABULARIES)
    if method:
        evaluation["decoding"] = {"method": method}
    section = evaluation_report.section("test/x", evaluation, tmp_path)
    text = " ".join(table.to_markdown() for table in section.tables)
    assert ("WER, mean over an item's samples" in text) == shown


def test_a_section_without_errors_has_no_confusions(tmp_path: Path) -> None:
    right = [item("B IY", ["be"], ["be"])]
    section = evaluation_report.section(
        "valid/greedy", evaluation_report.details(right, score(right, samples=50), VOCABULARIES), tmp_path
    )
    assert [path.name for path in tmp_path.glob("*.png")] == ["valid-greedy-error-by-length.png"]
    assert len(section.figures) == 1


def test_the_scores_table_names_the_level_of_its_intervals() -> None:
    table = evaluation_report.scores_table(score(ITEMS, samples=50, level=0.9).to_dict())
    assert table.columns[1] == "value [90 % interval]"
    assert table.title == "Scores over 4 items"
