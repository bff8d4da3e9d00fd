"""The parts of a run's report that are the same for every panel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from triptych.report.canvas import Goal, save
from triptych.report.card import place_of
from triptych.report.figures import curves
from triptych.report.html import Picture, Section
from triptych.report.tables import Cell, Table

ACCURACY = "valid_accuracy"

History = Sequence[Mapping[str, float]]


def training_section(history: History, *, monitor: str, goal: Goal, figures: Path) -> Section:
    """Curves of the monitored metric, accuracy and the training loss, and the table of epochs.

    The figure is also saved.
    """
    also = further_metrics([history], [monitor])
    monitored = column_label(monitor)
    picture = curves(history, metric=monitor, loss="train_loss", also=also, goal=goal, metric_label=monitored)
    named = ", ".join([monitored, *also.values()])
    saved = save(picture, figures, "curves")
    columns = list(dict.fromkeys(key for row in history for key in row))
    rows: list[list[Cell]] = [[int(row[key]) if key == "epoch" else row.get(key) for key in columns] for row in history]
    return Section(
        "Training",
        tables=[Table("Epochs", [column_label(column) for column in columns], rows, digits=4)],
        figures=[Picture.from_figure(picture, alt=f"{named} and training loss per epoch", saved=saved)],
    )


def further_metrics(histories: Sequence[History], monitors: Sequence[str]) -> dict[str, str]:
    """Metrics to draw beside the first monitored one: the others, and accuracy, where every history has them.

    Returns:
        Labels by key.
    """
    kept = [set().union(*history) for history in histories]
    wanted = dict.fromkeys((*monitors[1:], ACCURACY))
    return {key: column_label(key) for key in wanted if key != monitors[0] and all(key in keys for keys in kept)}


def facts_section(facts: Mapping[str, Any]) -> Section:
    """Recipe, time, versions and data of a training."""
    rows: list[list[Cell]] = [
        [name.replace("_", " "), str(facts[name])]
        for name in ("status", "seed", "parameters", "epochs", "best_epoch", "seconds", "began", "ended")
        if name in facts
    ]
    rows += [[f"{name} version", str(value)] for name, value in facts.get("versions", {}).items()]
    rows += [[f"{split} items", str(count)] for split, count in facts.get("counts", {}).items()]
    data = [
        [
            place_of(entry),
            str(next((entry[key] for key in ("bytes", "pairs", "images") if key in entry), "")),
            str(entry.get("sha256", "")),
        ]
        for entry in facts.get("data", [])
    ]
    return Section(
        "The run",
        tables=[
            Table("Facts", ["what", "value"], rows),
            Table("Data fingerprints", ["file or set", "bytes or items", "SHA-256"], data),
        ],
    )


def recipe_section(text: str) -> Section:
    """The resolved recipe, word for word."""
    return Section("Recipe", text="Every setting, defaults included.", preformatted=text)


def column_label(column: str) -> str:
    """A column of `metrics.csv` in words: `valid_cer` is `validation CER`."""
    words = column.split("_")
    words[0] = {"valid": "validation", "train": "training"}.get(words[0], words[0])
    return " ".join(word.upper() if word in ("cer", "wer") else word for word in words)
