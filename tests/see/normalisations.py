"""Batch normalisations as after a training."""

from __future__ import annotations

from torch import nn


def vary_statistics(network: nn.Module) -> None:
    """Draw means and variances, so that the normalisations of a fresh network have an effect."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
