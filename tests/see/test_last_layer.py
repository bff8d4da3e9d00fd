"""The fitted last layer against scikit-learn's logistic regression, and the choice of its penalty."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from triptych.errors import ShapeError
from triptych.see import last_layer
from triptych.see.last_layer import PENALTIES, UNCHOSEN, choose, fitted

Numbers = NDArray[np.float64]
Labels = NDArray[np.int64]


def clouds(
    per_class: int, *, classes: int = 3, width: int = 6, spread: float = 1.0, seed: int = 0
) -> tuple[Numbers, Labels]:
    """Points around the unit vectors, far from the origin and not of unit size."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), per_class)
    points = np.eye(width)[labels] + random.normal(0, spread, (len(labels), width))
    return 7 * points + 20, labels


def reference(features: Numbers, labels: Labels, penalty: float, weights: Numbers) -> tuple[Numbers, Numbers]:
    """scikit-learn's coefficients of the same loss, for features as they were given."""
    mean = features.mean(axis=0)
    scale = np.sqrt(np.mean((features - mean) ** 2))
    model = LogisticRegression(C=1 / (penalty * weights.sum()), max_iter=10_000, tol=1e-10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit((features - mean) / scale, labels, sample_weight=weights)
    return model.coef_ / scale, model.intercept_ - model.coef_ @ mean / scale


@pytest.mark.parametrize("width", [6, 60])
@pytest.mark.parametrize("penalty", [1.0, 0.01])
@pytest.mark.parametrize("balanced", [False, True])
def test_it_is_scikit_learns_logistic_regression(width: int, penalty: float, balanced: bool) -> None:
    features, labels = clouds(8, width=width)
    class_weights = np.array([1.0, 3.0, 0.5]) if balanced else None
    layer = fitted(features, labels, 3, (penalty,), class_weights)[0]
    weights = np.ones(len(labels)) if class_weights is None else class_weights[labels]
    coefficients, intercepts = reference(features, labels, penalty, weights)
    wanted = features @ coefficients.T + intercepts
    found = layer.scores(features)
    np.testing.assert_allclose(
        found - found.mean(axis=1, keepdims=True), wanted - wanted.mean(axis=1, keepdims=True), atol=1e-2
    )


def test_each_penalty_gives_the_layer_that_it_would_give_alone() -> None:
    features, labels = clouds(10)
    several = fitted(features, labels, 3, PENALTIES)
    alone = fitted(features, labels, 3, PENALTIES[4:5])[0]
    np.testing.assert_allclose(several[4].scores(features), alone.scores(features), atol=5e-3)
    sizes = [float(np.sum(layer.weight**2)) for layer in several]
    assert sizes == sorted(sizes)


def test_validation_items_choose_the_penalty_with_their_least_log_loss() -> None:
    features, labels = clouds(10, spread=1.5)
    valid = clouds(30, spread=1.5, seed=1)
    chosen = choose(features, labels, 3, valid=valid)
    losses = {
        penalty: layer.loss(*valid)
        for penalty, layer in zip(PENALTIES, fitted(features, labels, 3, PENALTIES), strict=True)
    }
    assert chosen.by == "validation"
    assert chosen.losses == pytest.approx(losses)
    assert chosen.penalty == min(losses, key=losses.__getitem__)
    assert chosen.penalty not in (PENALTIES[0], PENALTIES[-1])  # there was something to choose
    assert chosen.right.mean() == np.mean(chosen.layer.scores(valid[0]).argmax(axis=1) == valid[1])


def test_without_them_each_item_is_held_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = clouds(4, spread=0.5)
    fits: list[int] = []
    original = last_layer.fitted

    def counted(features: Numbers, labels: Labels, *rest: object) -> list[last_layer.Layer]:
        fits.append(len(labels))
        return original(features, labels, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(last_layer, "fitted", counted)
    chosen = choose(features, labels, 3)
    assert chosen.by == "4-fold cross-validation"
    assert fits == [9, 9, 9, 9, 12]
    assert len(chosen.right) == 12
    assert chosen.losses[chosen.penalty] == min(chosen.losses.values())


def test_a_class_with_one_item_is_trained_on_and_not_held_out() -> None:
    features, labels = clouds(3, spread=0.2)
    features, labels = features[:7], labels[:7]
    chosen = choose(features, labels, 3)
    assert len(chosen.right) == 6
    assert chosen.layer.scores(features[6:]).argmax() == 2


def test_one_item_of_each_class_is_enough_to_fit_and_not_to_choose() -> None:
    features, labels = clouds(1, spread=0.1)
    chosen = choose(features, labels, 3)
    assert (chosen.by, chosen.penalty, chosen.losses, len(chosen.right)) == ("nothing", UNCHOSEN, {}, 0)
    more, truths = clouds(20, spread=0.1, seed=1)
    assert (chosen.layer.scores(more).argmax(axis=1) == truths).all()


def test_equal_items_do_not_stop_it() -> None:
    layer = fitted(np.ones((4, 5)), np.array([0, 0, 0, 1]), 2, (0.1,))[0]
    shares = np.exp(layer.scores(np.ones((1, 5))))[0]
    assert shares / shares.sum() == pytest.approx([0.75, 0.25], abs=1e-3)


def test_labels_must_fit() -> None:
    with pytest.raises(ShapeError, match=r"\(4, 5\) and labels \(3,\)"):
        fitted(np.ones((4, 5)), np.zeros(3, dtype=np.int64), 2, (0.1,))
