"""The report of an evaluation of images: figures per class, confusions, calibration, the most confident errors.

`details_of` computes it from the probabilities once, as plain values that are kept in the run; `section` shows it.
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
from triptych.see.metrics import Predicted, Scores, log_losses, most_confident_mistakes
from triptych.statistics import Estimate

MISTAKES = 24
CONFUSIONS = 25
COLUMNS = ("image", "truth", "prediction", "probability", "truth_probability", "log_loss", "digest")
DIGEST_LENGTH = 16


def details_of(items: Predicted, scores: Scores, pixels: Tensor) -> dict[str, Any]:
    """Everything that `section` shows, as plain values for JSON; pixels are the images' bytes (N, C, H, W)."""
    mistakes = [
        {
            "name": items.names[place],
            "truth": items.classes[items.truths[place]],
            "prediction": items.classes[items.predictions[place]],
            "probability": float(items.confidences[place]),
            "png": _encoded(pixels[place].permute(1, 2, 0).numpy()),
        }
        for place in most_confident_mistakes(items, MISTAKES)
    ]
    return {
        "scores": scores.to_dict(),
        "reliability": list(map(list, scores.bins)),
        "mistakes": mistakes,
    }


def write_predictions(folder: Path, name: str, items: Predicted, digests: Sequence[str]) -> None:
    """Write what was predicted for every image, and the wrong ones again, most confident first, as the error list.

    An image's digest identifies it wherever its file lies and however that is named.
    """
    losses = log_losses(items)
    rows = [
        [
            items.names[n],
            items.classes[items.truths[n]],
            items.classes[items.predictions[n]],
            f"{items.confidences[n]:.6f}",
            f"{items.probabilities[n, items.truths[n]]:.6f}",
            f"{losses[n]:.6f}",
            digests[n][:DIGEST_LENGTH],
        ]
        for n in range(len(items.names))
    ]
    write_tsv(folder / f"{name}.tsv", COLUMNS, rows)
    write_tsv(folder / f"{name}.errors.tsv", COLUMNS, [rows[n] for n in most_confident_mistakes(items, len(rows))])


def section(name: str, details: Mapping[str, Any], figures: Path) -> Section:
    """The part of the report about one evaluation; its figures are also written as PNG and SVG."""
    stem = name.replace("/", "-")
    scores, classes = details["scores"], details["classes"]
    drawn = {
        "confusion": (
            confusion_matrix(np.array(scores["confusion"]), classes),
            "Images by true class (rows) and predicted class (columns).",
        ),
        "reliability": (
            reliability_curve(
                details["reliability"],
                error=scores["calibration_error"],
            ),
            "Accuracy against confidence; on the diagonal probabilities are calibrated.",
        ),
    }
    if details["mistakes"]:
        captions = [f"{m['prediction']} ({100 * m['probability']:.0f} %)\nis {m['truth']}" for m in details["mistakes"]]
        drawn["mistakes"] = (
            thumbnails([_decoded(m["png"]) for m in details["mistakes"]], captions),
            "Most confident errors: predicted and true class.",
        )
    drawings = []
    for what, (figure, caption) in drawn.items():
        saved = save(figure, figures, f"{stem}-{what}")
        drawings.append(Picture.from_figure(figure, alt=f"{what}, {name}", caption=caption, saved=saved))
    return Section(
        title=f"Evaluation {name}",
        tables=[
            scores_table(scores),
            _class_table(scores["per_class"]),
            Table("Most frequent confusions", ["truth", "predicted", "images"], _confusions(scores, classes)),
            Table(
                "Most confident errors",
                ["image", "truth", "predicted", "probability"],
                [[m["name"], m["truth"], m["prediction"], m["probability"]] for m in details["mistakes"]],
            ),
        ],
        figures=drawings,
    )


def overview(evaluations: Mapping[str, Mapping[str, Any]]) -> Section:
    """All evaluations of a run in one table."""
    rows: list[list[Cell]] = []
    for name, details in evaluations.items():
        scores = details["scores"]
        measured: list[Cell] = [Estimate.from_dict(scores[key]) for key in ("accuracy", "log_loss")]
        rows.append([name, scores["n_items"], *measured, scores["macro_f1"], scores["calibration_error"]])
    columns = ["evaluation", "images", "accuracy", "log loss", "macro F1", "calibration error"]
    return Section("At a glance", tables=[Table("Evaluations", columns, rows, caption="With 95 % intervals.")])


def scores_table(scores: Mapping[str, Any]) -> Table:
    """Figures with their intervals."""
    names = {
        "accuracy": "accuracy: images classified correctly",
        "top3": "true class among the three most probable",
        "log_loss": "log loss: -log(probability of the true class), nats",
    }
    rows: list[list[Cell]] = [[text, Estimate.from_dict(scores[key])] for key, text in names.items() if key in scores]
    rows.append(["macro F1: mean over classes that occur or were predicted", scores["macro_f1"]])
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
