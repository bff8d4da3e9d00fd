"""Measures of image classification: accuracy with its interval, figures per class, confusions, calibration.

Everything is computed from the probabilities of all classes, so that a report can be drawn from them once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from triptych.errors import DataError, ShapeError
from triptych.statistics import Estimate, bootstrap_ratio, share_of

CALIBRATION_BINS = 15
LEAST_PROBABILITY = 1e-12  # in logarithms


@dataclass(frozen=True)
class Predicted:
    """Images with their true classes and the predicted probabilities.

    Attributes:
        truths: class numbers. Shape (N,).
        probabilities: shape (N, classes), rows sum to 1.
        classes: names, in the order of the columns.
    """

    names: Sequence[str]
    truths: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    classes: Sequence[str]

    def __post_init__(self) -> None:
        shape = (len(self.names), len(self.classes))
        if self.probabilities.shape != shape or self.truths.shape != shape[:1]:
            raise ShapeError(
                f"probabilities have shape {self.probabilities.shape} and truths {self.truths.shape}; "
                f"expected {shape} and {shape[:1]}."
            )

    @property
    def predictions(self) -> NDArray[np.int64]:
        """The most probable class of every image. Shape (N,)."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    @property
    def confidences(self) -> NDArray[np.float64]:
        """Its probability. Shape (N,)."""
        return np.asarray(self.probabilities.max(axis=1))


class ClassFigures(NamedTuple):
    """Measures of one class. Without an image of it recall is None, without a prediction precision, without both F1."""

    name: str
    images: int
    precision: float | None
    recall: float | None
    f1: float | None


class Bin(NamedTuple):
    """Images whose confidence lies in a range: their mean confidence, the share of them that are right, how many."""

    confidence: float
    accuracy: float
    images: int


@dataclass(frozen=True)
class Scores:
    """Measures of a model on a set of images.

    Attributes:
        top3: share whose class is among the three most probable; None with fewer than four classes.
        log_loss: mean of -log(probability of the true class), in nats.
        macro_f1: mean of the F1 of all classes that occur or were predicted.
        calibration_error: expected calibration error over 15 bins of confidence (Guo et al. 2017, eq. 3).
        confusion: images by true class (rows) and predicted class. Shape (classes, classes).
        bins: of the reliability curve, those that hold images.
    """

    n_items: int
    accuracy: Estimate
    top3: Estimate | None
    log_loss: Estimate
    macro_f1: float
    calibration_error: float
    per_class: Sequence[ClassFigures]
    confusion: NDArray[np.int64]
    bins: Sequence[Bin]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "n_items": self.n_items,
            "accuracy": self.accuracy.to_dict(),
            **({} if self.top3 is None else {"top3": self.top3.to_dict()}),
            "log_loss": self.log_loss.to_dict(),
            "macro_f1": self.macro_f1,
            "calibration_error": self.calibration_error,
            "per_class": [figures._asdict() for figures in self.per_class],
            "confusion": self.confusion.tolist(),
        }


def score(items: Predicted) -> Scores:
    """All figures of a set of images.

    Raises:
        DataError: there are no images.
    """
    count = len(items.names)
    if count == 0:
        raise DataError("the split has no images.")
    ones = np.ones(count)
    confusion, bins = _confusion(items), reliability(items)
    per_class = _per_class(items.classes, confusion)
    fared = [figures.f1 for figures in per_class if figures.f1 is not None]
    return Scores(
        n_items=count,
        accuracy=share_of(items.predictions == items.truths),
        top3=share_of(_among_first(items, 3)) if len(items.classes) > 3 else None,
        log_loss=bootstrap_ratio(log_losses(items), ones),
        macro_f1=float(np.mean(fared)),
        calibration_error=sum(b.images * abs(b.confidence - b.accuracy) for b in bins) / count,
        per_class=per_class,
        confusion=confusion,
        bins=bins,
    )


def log_losses(items: Predicted) -> NDArray[np.float64]:
    """-log(probability of the true class) of every image, in nats. Shape (N,)."""
    true = items.probabilities[np.arange(len(items.truths)), items.truths]
    return np.asarray(-np.log(np.maximum(true, LEAST_PROBABILITY)))


def reliability(items: Predicted) -> list[Bin]:
    """Accuracy against confidence in bins of equal width; bins without images are skipped."""
    confidence = items.confidences
    right = items.predictions == items.truths
    place = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(int) - 1, 0, CALIBRATION_BINS - 1)
    return [
        Bin(float(confidence[mask].mean()), float(right[mask].mean()), int(mask.sum()))
        for mask in (place == bin_ for bin_ in range(CALIBRATION_BINS))
        if mask.any()
    ]


def most_confident_mistakes(items: Predicted, most: int) -> list[int]:
    """Positions of the images that were classified wrongly, most confident first."""
    wrong = np.flatnonzero(items.predictions != items.truths)
    order = np.argsort(-items.confidences[wrong], kind="stable")
    return [int(position) for position in wrong[order][:most]]


def _confusion(items: Predicted) -> NDArray[np.int64]:
    """Images by true class (rows) and predicted class. Shape (classes, classes)."""
    counts = np.zeros((len(items.classes),) * 2, dtype=np.int64)
    np.add.at(counts, (items.truths, items.predictions), 1)
    return counts


def _per_class(classes: Sequence[str], confusion: NDArray[np.int64]) -> list[ClassFigures]:
    """Precision tp / said, recall tp / there, and F1 2 tp / (said + there), each None where it would divide by 0."""
    counts = (confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0))
    figures = zip(classes, *(count.tolist() for count in counts), strict=True)
    return [
        ClassFigures(
            name,
            there,
            hits / said if said else None,
            hits / there if there else None,
            2 * hits / (said + there) if said + there else None,
        )
        for name, hits, there, said in figures
    ]


def _among_first(items: Predicted, k: int) -> NDArray[np.float64]:
    """1 where the true class is among the k most probable. Shape (N,)."""
    first = np.argsort(-items.probabilities, axis=1, kind="stable")[:, :k]
    return np.asarray((first == items.truths[:, None]).any(axis=1), dtype=np.float64)
