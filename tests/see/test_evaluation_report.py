"""What a report tells of an evaluation of images, and the predictions written beside it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from triptych.see import evaluation_report as story
from triptych.see.metrics import Predicted, score

CLASSES = ("cat", "dog", "a\tfish")
PROBABILITIES = np.array([
    [0.7, 0.2, 0.1],
    [0.6, 0.3, 0.1],
    [0.05, 0.9, 0.05],
    [0.1, 0.8, 0.1],
    [0.2, 0.2, 0.6],
])  # fmt: skip
TRUTHS = np.array([0, 1, 0, 2, 2])
DIGESTS = [str(n) * 64 for n in range(5)]
PIXELS = torch.arange(5 * 3 * 4 * 6).remainder(256).to(torch.uint8).view(5, 3, 4, 6)


def predicted(truths: Any = TRUTHS) -> Predicted:
    return Predicted([f"folder/{n}.png" for n in range(4)] + ["odd\n\udcff.png"], truths, PROBABILITIES, CLASSES)


def saved_details(truths: Any = TRUTHS, pixels: torch.Tensor = PIXELS) -> dict[str, Any]:
    return {**story.details_of(predicted(truths), score(predicted(truths)), pixels), "classes": list(CLASSES)}


def read_tsv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


def test_predictions_are_written_in_order(tmp_path: Path) -> None:
    story.write_predictions(tmp_path, "test.one", predicted(), DIGESTS)
    rows = read_tsv(tmp_path / "test.one.tsv")
    assert rows[1] == {
        "image": "folder/1.png", "truth": "dog", "prediction": "cat", "probability": "0.600000",
        "truth_probability": "0.300000", "log_loss": f"{-np.log(0.3):.6f}",
        "digest": "1" * 16,
    }  # fmt: skip
    assert [row["image"] for row in rows] == [f"folder/{n}.png" for n in range(4)] + ["odd ?.png"]
    assert rows[4]["truth"] == "a fish"


def test_the_error_list_holds_the_wrong_ones_surest_first(tmp_path: Path) -> None:
    story.write_predictions(tmp_path, "test.one", predicted(), DIGESTS)
    assert [row["image"] for row in read_tsv(tmp_path / "test.one.errors.tsv")] == [
        "folder/2.png", "folder/3.png", "folder/1.png",
    ]  # fmt: skip


def test_details_are_plain_values_that_survive_json() -> None:
    details = saved_details()
    assert json.loads(json.dumps(details)) == details
    assert details["scores"]["accuracy"]["value"] == pytest.approx(2 / 5)
    assert details["scores"]["confusion"] == [[1, 1, 0], [1, 0, 0], [0, 1, 1]]
    assert [mistake["name"] for mistake in details["mistakes"]] == ["folder/2.png", "folder/3.png", "folder/1.png"]
    assert sum(images for _, _, images in details["reliability"]) == 5


@pytest.mark.parametrize("channels", [1, 3])
def test_mistakes_hold_their_images(channels: int) -> None:
    mistake = saved_details(pixels=PIXELS[:, :channels])["mistakes"][0]
    drawn = story._decoded(mistake["png"])
    expected = PIXELS[2, :channels].permute(1, 2, 0).numpy()
    assert np.array_equal(drawn, expected[:, :, 0] if channels == 1 else expected)


def test_a_section_shows_tables_and_saves_its_figures(tmp_path: Path) -> None:
    section = story.section("test/one", saved_details(), tmp_path)
    assert section.title == "Evaluation test/one"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"test-one-{what}.{kind}" for what in ("confusion", "mistakes", "reliability") for kind in ("png", "svg")
    ]
    assert len(section.figures) == 3
    scores, classes, confusions, mistakes = section.tables
    assert scores.title == "Scores over 5 images"
    assert [row[0] for row in classes.rows] == list(CLASSES)
    expected = [("a\tfish", "dog", 1), ("cat", "dog", 1), ("dog", "cat", 1)]
    assert sorted(tuple(row) for row in confusions.rows) == expected
    assert mistakes.rows[0] == ["folder/2.png", "cat", "dog", 0.9]


def test_a_section_without_mistakes_has_no_thumbnails(tmp_path: Path) -> None:
    section = story.section("test/one", saved_details(PROBABILITIES.argmax(axis=1)), tmp_path)
    assert {path.stem for path in tmp_path.glob("*.png")} == {"test-one-confusion", "test-one-reliability"}
    assert len(section.figures) == 2


def test_the_overview_has_a_row_for_each_evaluation() -> None:
    section = story.overview({"valid/one": saved_details(), "test/flips": saved_details(PROBABILITIES.argmax(axis=1))})
    rows = section.tables[0].rows
    assert [row[0] for row in rows] == ["valid/one", "test/flips"]
    assert [row[1] for row in rows] == [5, 5]
    assert [getattr(row[2], "value", None) for row in rows] == pytest.approx([0.4, 1.0])
