"""What the training's part of a report draws."""

from __future__ import annotations

from pathlib import Path

import pytest

from triptych.report.run_report import column_label, further_metrics, training_section

SEEN = [{"epoch": n, "train_loss": 2.0 / n, "valid_accuracy": n / 10, "valid_loss": 1 / n} for n in (1, 2, 3)]
SPELT = [{"epoch": n, "train_loss": 2.0 / n, "valid_cer": 1 / n} for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("histories", "monitors", "labels"),
    [
        ([SEEN], ["valid_loss"], {"valid_accuracy": "validation accuracy"}),
        ([SEEN], ["valid_accuracy"], {}),
        ([SPELT], ["valid_cer"], {}),
        ([SEEN, SPELT], ["valid_loss", "valid_cer"], {}),
        ([SEEN, SEEN], ["valid_accuracy", "valid_loss"], {"valid_loss": "validation loss"}),
        ([], ["valid_accuracy", "valid_accuracy"], {}),
    ],
)
def test_accuracy_and_every_monitored_metric_are_drawn_where_all_have_them(
    histories: list[list[dict[str, float]]], monitors: list[str], labels: dict[str, str]
) -> None:
    assert further_metrics(histories, monitors) == labels


def test_a_training_that_monitors_its_loss_shows_its_accuracy(tmp_path: Path) -> None:
    section = training_section(SEEN, monitor="valid_loss", goal="min", figures=tmp_path)
    assert section.figures[0].alt == "validation loss, validation accuracy and training loss per epoch"
    drawn = (tmp_path / "curves.svg").read_text(encoding="utf-8")
    for shown in ("best: 0.3333 at epoch 3", "validation accuracy", "0.3 at epoch 3", "training loss"):
        assert shown in drawn


@pytest.mark.parametrize(
    ("column", "label"),
    [
        ("valid_cer", "validation CER"),
        ("train_loss", "training loss"),
        ("valid_mean_error", "validation mean error"),
        ("valid_cerium_wertigkeit", "validation cerium wertigkeit"),
        ("invalid_train_wer", "invalid train WER"),
        ("epoch", "epoch"),
    ],
)
def test_columns_are_labelled_word_by_word(column: str, label: str) -> None:
    assert column_label(column) == label
