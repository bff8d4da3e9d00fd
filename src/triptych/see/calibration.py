"""The temperature under which a classifier's probabilities are calibrated."""

from __future__ import annotations

import math

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from triptych.errors import DataError, ShapeError

LOWEST, HIGHEST = 1 / 50, 50.0
PRIOR_DEVIATION = 0.5  # of log(temperature), for few images or images that are all classified correctly
_PRECISION = 1e-8  # of log(temperature)


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

    It has the least log loss plus (log T / 0.5)^2 / 2N. Without that, N images that are all classified correctly would
    ask for the lowest temperature of all; with hundreds of images and some mistakes it changes nothing that can be
    seen. The most probable class of a single view stays as it is.

    Args:
        scores: logits or log-probabilities of each view of images that training did not see. Shape (views, N, classes).
        labels: true classes. Shape (N,).
    Returns:
        Above 1 where the model is overconfident, below 1 where it is underconfident.
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
        raise DataError("there are no images to calibrate on.")

    def cost(place: float) -> float:
        return log_loss(scores, labels, math.exp(place)) + (place / PRIOR_DEVIATION) ** 2 / (2 * len(labels))

    bounds = (math.log(LOWEST), math.log(HIGHEST))
    found = minimize_scalar(cost, bounds=bounds, method="bounded", options={"xatol": _PRECISION})
    return math.exp(found.x)
