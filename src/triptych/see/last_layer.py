"""The last layer of a network, fitted to features that do not change: logistic regression with a penalty.

Minimises (sum over items w_i (-log p(y_i))) / (sum of w) + penalty / 2 |V|^2, where p = softmax(z V + b) and z are the
features less their mean, divided by one number so that their mean square is 1. The bias b has no penalty.

Letters in shapes: N items, W features, K classes, D directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from triptych.errors import ShapeError

PENALTIES = tuple(10.0**power for power in np.arange(0.5, -4.1, -0.5).tolist())  # strong ones first
UNCHOSEN = 0.1  # where there is nothing to choose by: a single image of each class
FOLDS = 10
_STEPS = 300
_TOLERANCE = 1e-5

Numbers = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Layer:
    """A linear layer: x to x weight' + bias. `weight` has shape (K, W), `bias` (K,)."""

    weight: Numbers
    bias: Numbers

    def scores(self, features: NDArray[Any]) -> Numbers:
        """(N, W) to logits (N, K)."""
        return np.asarray(features @ self.weight.T + self.bias)

    def loss(self, features: NDArray[Any], labels: Labels) -> float:
        """Mean -log p(true class) of items (N, W) and (N,), in nats."""
        return -float(_log_softmax(self.scores(features))[np.arange(len(labels)), labels].mean())


@dataclass(frozen=True)
class Chosen:
    """The layer with the best penalty, and how it was chosen.

    Attributes:
        layer: fitted to all training items.
        penalty: its penalty.
        by: `validation`, `10-fold cross-validation`, or `nothing`, where no item could be held out.
        losses: by penalty, the mean -log p(true class) of items that were held out; empty where there are none.
        right: for each item that was held out, whether the chosen penalty gave its class. Shape (N,).
    """

    layer: Layer
    penalty: float
    by: str
    losses: dict[float, float]
    right: NDArray[np.bool_]


def choose(
    features: NDArray[Any],
    labels: Labels,
    classes: int,
    *,
    valid: tuple[NDArray[Any], Labels] | None = None,
    class_weights: NDArray[Any] | None = None,
    seed: int = 0,
) -> Chosen:
    """Fit with every penalty, and take the one under which held-out items have the least log loss.

    Args:
        features: of the training items. Shape (N, W).
        labels: theirs. Shape (N,).
        classes: K.
        valid: features and labels of validation items; without them, training items are held out in ten folds, or as
            many as the largest class has items.
        class_weights: what an item of each class counts. Shape (K,); None is 1 for all.
        seed: of the folds.
    """
    if valid is not None and len(valid[1]):
        layers = fitted(features, labels, classes, PENALTIES, class_weights)
        held_out = [layer.scores(valid[0]) for layer in layers]
        best, losses, right = _best(held_out, valid[1])
        return Chosen(layers[best], PENALTIES[best], "validation", losses, right)
    folds = _folds(labels, seed)
    scores, rows = _cross_validated(features, labels, classes, folds, class_weights)
    if not len(rows):
        layer = fitted(features, labels, classes, (UNCHOSEN,), class_weights)[0]
        return Chosen(layer, UNCHOSEN, "nothing", {}, np.empty(0, dtype=bool))
    best, losses, right = _best(scores, labels[rows])
    # Warm starts make the way to the chosen penalty cheaper than the penalty alone.
    layer = fitted(features, labels, classes, PENALTIES[: best + 1], class_weights)[-1]
    return Chosen(layer, PENALTIES[best], f"{folds.max() + 1}-fold cross-validation", losses, right)


def fitted(
    features: NDArray[Any],
    labels: Labels,
    classes: int,
    penalties: Sequence[float],
    class_weights: NDArray[Any] | None = None,
) -> list[Layer]:
    """The layer that minimises the loss, for each penalty; each fit begins with the one before.

    Raises:
        ShapeError: features and labels do not fit together.
    """
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise ShapeError(f"features have shape {features.shape} and labels {labels.shape}; expected (N, W) and (N,).")
    values = np.asarray(features, dtype=np.float64)
    mean = values.mean(axis=0)
    centred = values - mean
    scale = float(np.sqrt(np.mean(centred**2))) or 1.0
    directions = _directions(centred)
    reduced = centred @ directions / scale
    weights = np.ones(len(labels)) if class_weights is None else np.asarray(class_weights, np.float64)[labels]
    problem = _Regression(reduced, labels, classes, weights / weights.sum())
    layers = []
    parameters = np.zeros((reduced.shape[1] + 1) * classes)
    for penalty in penalties:
        options = {"maxiter": _STEPS, "gtol": _TOLERANCE}
        found = minimize(problem.loss, parameters, args=(penalty,), jac=True, method="L-BFGS-B", options=options)
        parameters = found.x
        inner, bias = problem.unpacked(parameters)
        weight = directions @ inner / scale
        layers.append(Layer(weight.T, bias - mean @ weight))
    return layers


def _directions(centred: Numbers) -> Numbers:
    """An orthonormal basis of what the items span where they are fewer than features: nothing outside it matters.

    Shape (W, D).
    """
    if len(centred) >= centred.shape[1]:
        return np.eye(centred.shape[1])
    _, sizes, basis = np.linalg.svd(centred, full_matrices=False)
    return np.asarray(basis[sizes > 1e-9 * max(float(sizes[0]), 1e-300)].T)


@dataclass(frozen=True)
class _Regression:
    """Loss and gradient of the regression. `features` (N, D), `labels` (N,), `weights` (N,), which sum to 1."""

    features: Numbers
    labels: Labels
    classes: int
    weights: Numbers

    def unpacked(self, parameters: Numbers) -> tuple[Numbers, Numbers]:
        """Weights (D, K) and bias (K,)."""
        inner = parameters[: -self.classes].reshape(-1, self.classes)
        return inner, parameters[-self.classes :]

    def loss(self, parameters: Numbers, penalty: float) -> tuple[float, Numbers]:
        """The loss, and its gradient in the parameters."""
        inner, bias = self.unpacked(parameters)
        logs = _log_softmax(self.features @ inner + bias)
        own = np.arange(len(self.labels)), self.labels
        value = -float(self.weights @ logs[own]) + penalty / 2 * float(np.sum(inner**2))
        slope = np.exp(logs)
        slope[own] -= 1
        slope *= self.weights[:, None]
        gradient = self.features.T @ slope + penalty * inner
        return value, np.concatenate([gradient.ravel(), slope.sum(axis=0)])


def _log_softmax(scores: Numbers) -> Numbers:
    shifted = scores - scores.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _folds(labels: Labels, seed: int) -> Labels:
    """A fold for each item: the items of each class are dealt out in turn. Shape (N,)."""
    count = min(FOLDS, int(np.bincount(labels).max()))
    folds = np.empty(len(labels), dtype=np.int64)
    order = np.random.default_rng(seed)
    for label in np.unique(labels):
        rows = order.permutation(np.flatnonzero(labels == label))
        folds[rows] = np.arange(len(rows)) % count
    return folds


def _cross_validated(
    features: NDArray[Any], labels: Labels, classes: int, folds: Labels, class_weights: NDArray[Any] | None
) -> tuple[list[Numbers], Labels]:
    """Logits of held-out items for each penalty, and which items they are.

    An item is left out where it is the only one of its class: nothing else could have taught the class.
    """
    rows: list[Labels] = []
    scores: list[list[Numbers]] = [[] for _ in PENALTIES]
    alone = np.bincount(labels, minlength=classes) < 2
    for fold in range(int(folds.max()) + 1):
        kept, held_out = np.flatnonzero(folds != fold), np.flatnonzero((folds == fold) & ~alone[labels])
        if not len(held_out) or not len(kept):
            continue
        rows.append(held_out)
        for place, layer in enumerate(fitted(features[kept], labels[kept], classes, PENALTIES, class_weights)):
            scores[place].append(layer.scores(features[held_out]))
    if not rows:
        return [], np.empty(0, dtype=np.int64)
    return [np.concatenate(parts) for parts in scores], np.concatenate(rows)


def _best(scores: Sequence[Numbers], labels: Labels) -> tuple[int, dict[float, float], NDArray[np.bool_]]:
    """Place of the penalty with the least log loss, all losses, and which items it classifies correctly."""
    own = np.arange(len(labels)), labels
    losses = [-float(_log_softmax(found)[own].mean()) for found in scores]
    best = int(np.argmin(losses))
    return best, dict(zip(PENALTIES, losses, strict=True)), scores[best].argmax(axis=1) == labels
