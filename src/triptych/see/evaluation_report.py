"""What a report tells of an evaluation of images: figures per class, confusions, calibration, the surest mistakes.

`details` draws it from the probabilities once, as plain values that are kept in the run; `section` shows it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from triptych.files import write_tsv
from triptych.report.canvas import save
from triptych.report.html import Picture, Section
from triptych.report.image_figures import confusion_matrix, reliability_curve, thumbnails
from triptych.report.tables import Cell, Table
from triptych.see.metrics import Judged, Scores, log_losses, most_confident_mistakes
from triptych.statistics import Estimate

MISTAKES = 24
CONFUSIONS = 25
COLUMNS = ("image", "truth", "prediction", "probability", "truth_probability", "log_loss", "digest")
DIGEST_LENGTH = 16


def details(judged: Judged, scores: Scores, pixels: Tensor) -> dict[str, Any]:
    """Everything `section` shows, as plain values for JSON.

    Args:
        judged: the images and what the model gave them.
        scores: their figures.
        pixels: the images. Bytes of shape (N, C, H, W).
    """
    mistakes = [
        {
            "name": judged.names[place],
            "truth": judged.classes[judged.truths[place]],
            "prediction": judged.classes[judged.predictions[place]],
            "probability": float(judged.confidences[place]),
            "png": _encoded(pixels[place].permute(1, 2, 0).numpy()),
        }
        for place in most_confident_mistakes(judged, MISTAKES)
    ]
    return {
        "scores": scores.to_dict(),
        "reliability": [[b.confidence, b.accuracy, b.images] for b in scores.bins],
        "mistakes": mistakes,
    }


def write_predictions(folder: Path, name: str, judged: Judged, digests: Sequence[str]) -> None:
    """Write what was predicted for every image, and the wrong ones again, surest first, as the error list.

    A picture's digest tells it from others wherever its file lies and however that was named.
    """
    losses = log_losses(judged)
    rows = [
        [
            judged.names[n],
            judged.classes[judged.truths[n]],
            judged.classes[judged.predictions[n]],
            f"{judged.confidences[n]:.6f}",
            f"{judged.probabilities[n, judged.truths[n]]:.6f}",
            f"{losses[n]:.6f}",
            digests[n][:DIGEST_LENGTH],
        ]
        for n in range(len(judged.names))
    ]
    write_tsv(folder / f"{name}.tsv", COLUMNS, rows)
    write_tsv(folder / f"{name}.errors.tsv", COLUMNS, [rows[n] for n in most_confident_mistakes(judged, len(rows))])


def section(name: str, told: Mapping[str, Any], figures: Path) -> Section:
    """The part of the report about one evaluation; its pictures are also written as PNG and SVG."""
    stem = name.replace("/", "-")
    scores, classes = told["scores"], told["classes"]
    drawn = {
        "confusion": (
            confusion_matrix(np.array(scores["confusion"]), classes),
            "Images by true class (rows) and predicted class (columns).",
        ),
        "reliability": (
            reliability_curve(
                [(confidence, accuracy, count) for confidence, accuracy, count in told["reliability"]],
                error=scores["calibration_error"],
            ),
            "Accuracy against confidence; on the diagonal a probability means what it says.",
        ),
    }
    if told["mistakes"]:
        captions = [f"{m['prediction']} {100 * m['probability']:.0f} %\nis {m['truth']}" for m in told["mistakes"]]
        drawn["mistakes"] = (
            thumbnails([_decoded(m["png"]) for m in told["mistakes"]], captions),
            "Mistakes of which the model was surest: what it said, and what is true.",
        )
    pictures = []
    for what, (figure, caption) in drawn.items():
        saved = save(figure, figures, f"{stem}-{what}")
        pictures.append(Picture.from_figure(figure, alt=f"{what}, {name}", caption=caption, saved=saved))
    return Section(
        title=f"Evaluation {name}",
        tables=[
            scores_table(scores),
            _class_table(scores["per_class"]),
            Table("Most frequent confusions", ["truth", "predicted", "images"], _confusions(scores, classes)),
            Table(
                "Surest mistakes",
                ["image", "truth", "predicted", "probability"],
                [[m["name"], m["truth"], m["prediction"], m["probability"]] for m in told["mistakes"]],
            ),
        ],
        figures=pictures,
    )


def overview(evaluations: Mapping[str, Mapping[str, Any]]) -> Section:
    """All evaluations of a run in one table."""
    rows: list[list[Cell]] = []
    for name, told in evaluations.items():
        scores = told["scores"]
        measured: list[Cell] = [Estimate.from_dict(scores[key]) for key in ("accuracy", "log_loss")]
        rows.append([name, scores["n_items"], *measured, scores["macro_f1"], scores["calibration_error"]])
    columns = ["evaluation", "images", "accuracy", "log loss", "macro F1", "calibration error"]
    return Section("At a glance", tables=[Table("Evaluations", columns, rows, caption="With 95 % intervals.")])


def scores_table(scores: Mapping[str, Any]) -> Table:
    """Figures with their intervals."""
    names = {
        "accuracy": "accuracy: images named rightly",
        "top3": "true class among the three most probable",
        "log_loss": "log loss: -log(probability of the true class), nats",
    }
    rows: list[list[Cell]] = [[text, Estimate.from_dict(scores[key])] for key, text in names.items() if key in scores]
    rows.append(["macro F1: mean over classes that are there or were predicted", scores["macro_f1"]])
    rows.append(["expected calibration error", scores["calibration_error"]])
    level = f"{100 * scores['accuracy']['level']:g}"
    return Table(
        f"Scores over {scores['n_items']} images", ["measure", f"value [{level} % interval]"], rows, digits=4,
        caption="Intervals: of shares Wilson's, of the rest by bootstrap over images.",
    )  # fmt: skip


def _class_table(per_class: Sequence[Mapping[str, Any]]) -> Table:
    rows: list[list[Cell]] = [[c["name"], c["images"], c["precision"], c["recall"], c["f1"]] for c in per_class]
    return Table("Classes", ["class", "images", "precision", "recall", "F1"], rows)


def _confusions(scores: Mapping[str, Any], classes: Sequence[str]) -> list[list[Cell]]:
    matrix = np.array(scores["confusion"])
    np.fill_diagonal(matrix, 0)
    order = np.argsort(-matrix, axis=None, kind="stable")[:CONFUSIONS]
    pairs = [divmod(int(place), len(classes)) for place in order]
    return [[classes[truth], classes[said], int(matrix[truth, said])] for truth, said in pairs if matrix[truth, said]]


def _encoded(array: NDArray[np.uint8]) -> str:
    """An image (height, width, 1 or 3) as PNG in base64."""
    content = BytesIO()
    Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(content, "PNG", optimize=True)
    return base64.b64encode(content.getvalue()).decode("ascii")


def _decoded(text: str) -> NDArray[np.uint8]:
    return np.array(Image.open(BytesIO(base64.b64decode(text))))
