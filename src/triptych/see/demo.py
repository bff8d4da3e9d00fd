"""What `triptych demo see` trains and shows; implements `triptych.api.panels.Demo`."""

from __future__ import annotations

from typing import Any

from PIL import Image

from triptych.runs.run import Run

RECIPE = "demo-see"
ROWS = 12


def example(run: Run, evaluation: Any) -> str:
    """An image of the test split, written into the run, to explain."""
    path = run.path / "example.png"
    pixels = evaluation.images.pixels[0]
    Image.fromarray(pixels[0].numpy() if len(pixels) == 1 else pixels.permute(1, 2, 0).numpy()).save(path)
    return str(path)


def headline(evaluation: Any) -> list[tuple[str, Any, str]]:
    """Name, estimate and meaning of the main figures."""
    scores = evaluation.scores
    return [
        ("accuracy", scores.accuracy, "with its 95 % interval"),
        ("calibration error", scores.calibration_error, "mean gap between stated probability and accuracy"),
    ]


def items(evaluation: Any) -> str:
    """Number of items tested."""
    return f"{evaluation.scores.n_items} images"


def table(evaluation: Any) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of some predictions."""
    items = evaluation.items
    rows = []
    for place in range(0, len(items.names), max(1, len(items.names) // ROWS))[:ROWS]:
        truth, predicted = items.classes[items.truths[place]], items.classes[items.predictions[place]]
        mark = "right" if truth == predicted else ""
        rows.append([items.names[place], truth, predicted, f"{items.confidences[place]:.3f}", mark])
    return ["image", "truth", "predicted", "probability", ""], rows


def next_commands(name: str, image: str) -> list[str]:
    """Commands to try next."""
    return [
        f"triptych predict {name} {image} --n-best 3",
        f"triptych count {name}",
        "triptych train scenes-best --data FOLDER --name mine   # your images: a folder per class",
    ]
