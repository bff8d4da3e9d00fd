"""A temperature under which probabilities mean what they say."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from triptych.errors import DataError, ShapeError

LOWEST, HIGHEST = 1 / 50, 50.0
PRIOR_DEVIATION = 0.5  # of log(temperature): what few images, or images that are all named rightly, cannot tell
_COARSE = 81
_FINE = 40
_GOLDEN = (math.sqrt(5) - 1) / 2


def log_loss(scores: Tensor, labels: Tensor, temperature: float) -> float:
    """Mean of -log(probability of the true class), in nats, where views of an image are averaged.

    Args:
        scores: logits or log-probabilities of each view. Shape (views, N, classes).
        labels: true classes. Shape (N,).
        temperature: divides the scores, > 0.
    """
    logs = torch.log_softmax(scores.double() / temperature, dim=2)
    mean = torch.logsumexp(logs, dim=0) - math.log(len(scores))
    return float(-mean.gather(1, labels[:, None]).mean())


def fit_temperature(scores: Tensor, labels: Tensor) -> float:
    """The most probable temperature, between 1/50 and 50, where its logarithm is normal around 0 beforehand.

    It has the least log loss plus (log T / 0.5)^2 / 2N. Without that, N images that are all named rightly would ask for
    the lowest temperature of all; with hundreds of images and some mistakes it changes nothing that can be seen. The
    most probable class of a single view stays as it is.

    Args:
        scores: logits or log-probabilities of each view of images that training did not see. Shape (views, N, classes).
        labels: true classes. Shape (N,).
    Returns:
        Above 1 where the model is too sure, below where it is not sure enough.
    Raises:
        DataError: there are no images.
        ShapeError: scores and labels do not fit together.
    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, section 4.2; the prior is ours.
    """
    if scores.ndim != 3 or scores.shape[1:2] != labels.shape:
        raise ShapeError(
            f"scores have shape {tuple(scores.shape)} and labels {tuple(labels.shape)}; "
            "expected (views, N, classes) and (N,)."
        )
    if not len(labels):
        raise DataError("labels is empty; expected at least one image to calibrate on.")

    def cost(place: float) -> float:
        return log_loss(scores, labels, math.exp(place)) + (place / PRIOR_DEVIATION) ** 2 / (2 * len(labels))

    low, high = math.log(LOWEST), math.log(HIGHEST)
    places = torch.linspace(low, high, _COARSE, dtype=torch.float64).tolist()
    costs = [cost(place) for place in places]
    best = costs.index(min(costs))
    left, right = places[max(0, best - 1)], places[min(_COARSE - 1, best + 1)]
    for _ in range(_FINE):  # golden section: each step keeps the part with the lower of two inner values
        first, second = right - _GOLDEN * (right - left), left + _GOLDEN * (right - left)
        if cost(first) <= cost(second):
            right = second
        else:
            left = first
    return math.exp((left + right) / 2)
