"""Features of a row, encoded apart from its source.

Letters in shapes: B batch, F features, E embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from triptych.text.symbols import Vocabulary


class FeatureEncoder(nn.Module):
    """The sum of the embeddings of a row's features: a set, of any size, in no order.

    A feature that training never showed adds nothing, so that a combination of known and unknown features is read as
    the known ones.

    Args:
        vocabulary_size: of the features, special symbols included.
        width: E.
    Source: feature-invariant embeddings, Wu, Cotterell and Hulden 2021, arXiv:2005.10213, section 3.2, without places.
    """

    def __init__(self, vocabulary_size: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, width, padding_idx=Vocabulary.pad)
        self.forget_unknown()

    def forget_unknown(self) -> None:
        """Make the unknown feature's embedding zero; nothing in training changes it."""
        with torch.no_grad():
            self.embedding.weight[Vocabulary.unknown] = 0.0

    def forward(self, features: Tensor) -> Tensor:
        """One vector per row. Shapes: features (B, F), padded, to (B, E)."""
        embedded: Tensor = self.embedding(features)
        return embedded.sum(1)
