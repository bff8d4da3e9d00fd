"""Self-attention on an image, with nothing but the formula: positions are compared with positions.

Flattened, an image is a matrix x' of one row per position; 1 x 1 projections multiply its columns.

    P = softmax(scale * Q K'),    Z = P V,    Q = x' Wq', K = x' Wk', V = x' Wv',

and without projections, with scale 1, P = softmax(x' x'') and Z = P x', x'' being the transpose of x'.

Source: Vaswani et al. 2017, arXiv:1706.03762, eq. 1; on images: Zhang et al. 2019, arXiv:1805.08318, section 3.
Checked by tests/anatomy/test_attention.py against PyTorch's own attention.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from triptych.errors import ShapeError


@dataclass(frozen=True)
class SelfAttention:
    """Self-attention: output and weights.

    Attributes:
        output: Z as an image. Shape (B, channels of the values, H, W).
        weights: P, a row per query position, a column per key position; rows sum to one. Shape (B, H * W, H * W).
    """

    output: Tensor
    weights: Tensor


def self_attention(
    images: Tensor,
    *,
    query: Tensor | None = None,
    key: Tensor | None = None,
    value: Tensor | None = None,
    scale: float = 1.0,
) -> SelfAttention:
    """Single-head self-attention over the positions of each image.

    Args:
        images: Shape (B, C, H, W).
        query, key: Wq and Wk, 1 x 1 projections; the identity when None. Shape (A, C), the same A for both.
        value: Wv; the identity when None. Shape (any, C).
        scale: what scores are multiplied by; 1/sqrt(A) is the transformer's.
    Raises:
        ShapeError: shapes do not fit.
    """
    if images.ndim != 4:
        raise ShapeError(f"images has shape {tuple(images.shape)}; expected (B, C, H, W). Add the missing axes.")
    height, width = images.shape[2:]
    flat = images.flatten(2).mT  # (B, H * W, C)
    queries, keys = _project(flat, query, "query"), _project(flat, key, "key")
    if queries.shape[2] != keys.shape[2]:
        raise ShapeError(
            f"queries have {queries.shape[2]} channels and keys {keys.shape[2]}; expected the same number. "
            "Use query and key projections of one height."
        )
    weights = torch.softmax(scale * queries @ keys.mT, dim=-1)
    output = weights @ _project(flat, value, "value")
    return SelfAttention(output.mT.reshape(len(images), -1, height, width), weights)


def _project(flat: Tensor, projection: Tensor | None, name: str) -> Tensor:
    """A 1 x 1 projection of every position. Shapes: (B, positions, C), (A, C) to (B, positions, A)."""
    if projection is None:
        return flat
    if projection.ndim != 2 or projection.shape[1] != flat.shape[2]:
        raise ShapeError(
            f"{name} has shape {tuple(projection.shape)}; expected (A, {flat.shape[2]}), a column per channel."
        )
    return flat @ projection.T
