"""Logarithms of sums, without overflow."""

from __future__ import annotations

import numpy as np

from triptych.decoding.contract import Array


def log_sum_exp(values: Array, *, axis: int) -> Array:
    """log(sum(exp(values))) without overflow; -inf where all are."""
    largest = np.max(values, axis=axis, keepdims=True)
    safe = np.where(np.isfinite(largest), largest, values.dtype.type(0))
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.exp(values - safe).sum(axis=axis)) + np.squeeze(safe, axis=axis))


def log_softmax(values: Array) -> Array:
    """Normalised logarithms of the last axis. Shape (B, V)."""
    return values - log_sum_exp(values, axis=1)[:, None]
