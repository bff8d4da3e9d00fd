"""An exponential moving average of the weights, with a short memory at the beginning of training."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


def moving_average(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    """The function that updates averages in place: average <- d average + (1 - d) now.

    d = min(decay, (1 + n) / (10 + n)) after n states have been seen. A fixed decay of 0.998 would still hold 84 % of
    the first weights after 90 updates, which is a whole training where images are few.

    Args:
        decay: in [0, 1].
    Source: `tf.train.ExponentialMovingAverage`, `num_updates`.  Checked by tests/training/test_averaging.py.
    """

    @torch.no_grad()
    def update(averages: Sequence[Tensor], now: Sequence[Tensor], count: Tensor | int) -> None:
        seen = int(count)
        new = 1 - min(decay, (1 + seen) / (10 + seen))
        for average, value in zip(averages, now, strict=True):
            if average.is_floating_point():
                average.lerp_(value.to(average.dtype), new)
            else:  # counters of batch normalisation
                average.copy_(value)

    return update


def weight_averaging(decay: float) -> WeightAveraging:
    """The callback that keeps such an average, buffers included, validates with it and leaves it as the model."""
    return WeightAveraging(multi_avg_fn=moving_average(decay))
