"""A PyTorch network as what `triptych.images.classifier` scores images with."""

from __future__ import annotations

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
