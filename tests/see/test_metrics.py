"""Figures of named images against counts by hand and scikit-learn's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, log_loss, precision_score, recall_score
from torchmetrics.functional.classification import multiclass_calibration_error

from triptych.errors import DataError, ShapeError
from triptych.see.metrics import Predicted, log_losses, most_confident_mistakes, reliability, score


def predicted_images(count: int = 400, classes: int = 5, seed: int = 0) -> Predicted:
    """Random images whose truth is drawn from sharpened probabilities, so that accuracy is neither 0 nor 1."""
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.full(classes, 0.3), size=count)
    truths = np.array([random.choice(classes, p=row) for row in probabilities])
    return Predicted([f"{n}.png" for n in range(count)], truths, probabilities, [f"class {k}" for k in range(classes)])


def test_figures_equal_scikit_learns() -> None:
    given = predicted_images()
    scores = score(given)
    truths, said = given.truths, given.predictions
    assert scores.n_items == 400
    assert scores.accuracy.value == pytest.approx(np.mean(truths == said))
    assert 0.5 < scores.accuracy.value < 1
    assert scores.accuracy.interval.low < scores.accuracy.value < scores.accuracy.interval.high
    assert scores.log_loss.value == pytest.approx(log_loss(truths, given.probabilities))
    assert scores.macro_f1 == pytest.approx(f1_score(truths, said, average="macro"))
    assert [c.precision for c in scores.per_class] == pytest.approx(list(precision_score(truths, said, average=None)))
    assert [c.recall for c in scores.per_class] == pytest.approx(list(recall_score(truths, said, average=None)))
    assert [c.f1 for c in scores.per_class] == pytest.approx(list(f1_score(truths, said, average=None)))
    assert [c.images for c in scores.per_class] == np.bincount(truths).tolist()
    matrix = np.zeros((5, 5), dtype=int)
    for truth, prediction in zip(truths, said, strict=True):
        matrix[truth, prediction] += 1
    assert scores.confusion.tolist() == matrix.tolist()


def test_the_calibration_error_equals_torchmetrics_own() -> None:
    given = predicted_images()
    bins = reliability(given)
    assert sum(b.images for b in bins) == 400
    places = [math.ceil(15 * b.confidence) for b in bins]
    assert places == sorted(set(places)), "one bin each, in order"
    theirs = multiclass_calibration_error(
        torch.from_numpy(given.probabilities), torch.from_numpy(given.truths), 5, n_bins=15, norm="l1"
    )
    assert score(given).calibration_error == pytest.approx(theirs.item(), abs=1e-6)


def test_within_three_counts_the_three_most_probable() -> None:
    given = predicted_images()
    first = np.argsort(-given.probabilities, axis=1)[:, :3]
    top3 = score(given).top3
    assert top3 is not None
    assert top3.value == pytest.approx(np.mean([truth in row for truth, row in zip(given.truths, first, strict=True)]))
    assert score(predicted_images(classes=3)).top3 is None


def test_a_class_without_images_has_no_recall_and_one_never_said_no_precision() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.5, 0.4, 0.1]])
    scores = score(Predicted(["a", "b", "c"], np.array([0, 0, 1]), probabilities, ["x", "y", "z"]))
    x, y, z = scores.per_class
    assert x.precision == pytest.approx(2 / 3)
    assert x.recall == 1.0
    assert (y.precision, y.recall, y.f1) == (None, 0.0, 0.0)
    assert (z.precision, z.recall, z.f1, z.images) == (None, None, None, 0)
    assert scores.macro_f1 == pytest.approx((0.8 + 0.0) / 2)  # z, which is neither there nor said, does not count


def test_mistakes_come_surest_first() -> None:
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.05, 0.95]])
    given = Predicted(["a", "b", "c", "d"], np.array([1, 1, 0, 1]), probabilities, ["x", "y"])
    assert most_confident_mistakes(given, 10) == [0, 2, 1]
    assert most_confident_mistakes(given, 2) == [0, 2]


def test_an_impossible_truth_costs_much_but_not_infinitely() -> None:
    given = Predicted(["a"], np.array([1]), np.array([[1.0, 0.0]]), ["x", "y"])
    assert log_losses(given)[0] == pytest.approx(-np.log(1e-12))


def test_an_empty_split_and_wrong_shapes_are_errors() -> None:
    with pytest.raises(DataError, match="the split has no images"):
        score(Predicted([], np.zeros(0, dtype=int), np.zeros((0, 2)), ["x", "y"]))
    with pytest.raises(ShapeError, match=r"probabilities have shape \(1, 3\)"):
        Predicted(["a"], np.zeros(1, dtype=int), np.zeros((1, 3)), ["x", "y"])
