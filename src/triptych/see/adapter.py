"""PyTorch networks as what `triptych.images.classifier` scores images with: one, or several as one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from triptych.images.classifier import Array, Classifier


class NetworkScorer:
    """Scores images by a network.

    Args:
        network: gives logits or log-probabilities, in evaluation mode.
        device: where it is.
    """

    def __init__(self, network: nn.Module, device: str = "cpu") -> None:
        self.network = network
        self.device = device

    @torch.inference_mode()
    def __call__(self, images: Array) -> Array:
        """Float images (B, C, height, width) to scores (B, K)."""
        values = torch.from_numpy(images).to(self.device).contiguous(memory_format=torch.channels_last)
        scores: NDArray[np.float64] = self.network(values).double().cpu().numpy()
        return scores


Model = Classifier[NetworkScorer]


def network_input(classifier: Model, pixels: Array) -> Tensor:
    """One image's bytes (C, height, width) as the network takes it, on its device. The same shape."""
    return torch.from_numpy(classifier.form.scaled(pixels[None])[0]).to(classifier.scorer.device)


class EnsembleNetwork(nn.Module):
    """A network whose probabilities are the mean of its members'.

    Args:
        members: at least one, each from (B, C, height, width) to logits or log-probabilities (B, K); one with a method
            `logits` explains its predictions by those.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, height, width) to log-probabilities (B, K)."""
        logs = torch.stack([torch.log_softmax(member(images), dim=1) for member in self.members])
        return torch.logsumexp(logs, dim=0) - math.log(len(self.members))

    def logits(self, images: Tensor) -> Tensor:
        """Mean of the members' logits. (B, C, height, width) to (B, K)."""
        several: list[Tensor] = [getattr(member, "logits", member)(images) for member in self.members]
        return torch.stack(several).mean(dim=0)
