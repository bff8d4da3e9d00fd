"""Several networks that name images as one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


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
