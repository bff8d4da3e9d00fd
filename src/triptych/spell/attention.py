"""How a decoder looks at the encoder's states: one small class per kind.

Letters in shapes: B batch, S source length, T target length, H hidden.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from triptych.errors import RecipeError, did_you_mean

AttentionKind = Literal["dot", "general", "additive"]
KINDS: tuple[AttentionKind, ...] = get_args(AttentionKind)


class DotAttention(nn.Module):
    """Scores are inner products, e_ti = s_t · h_i.

    Source: Luong, Pham and Manning 2015, arXiv:1508.04025, section 3.1, "dot".
    """

    def keys(self, memory: Tensor) -> Tensor:
        """What of the source is compared with queries, computed once per source. Shapes: (B, S, H) to (B, S, H)."""
        return memory

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Unnormalised scores e. Shapes: queries (B, T, H), keys (B, S, H), result (B, T, S)."""
        return queries @ keys.transpose(1, 2)


class GeneralAttention(nn.Module):
    """Scores are bilinear: z_t = Wq s_t, e_ti = z_t · h_i.

    Source: Luong, Pham and Manning 2015, arXiv:1508.04025, section 3.1, "general".
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.query = nn.Linear(hidden, hidden, bias=False)

    def keys(self, memory: Tensor) -> Tensor:
        """The states themselves. Shapes: (B, S, H) to (B, S, H)."""
        return memory

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Unnormalised scores e. Shapes: queries (B, T, H), keys (B, S, H), result (B, T, S)."""
        projected: Tensor = self.query(queries)
        return projected @ keys.transpose(1, 2)


class AdditiveAttention(nn.Module):
    """Scores come from one hidden layer: e_ti = v · tanh(Ws s_t + Wh h_i).

    The T x S x H activations are the price of this kind; dot and general need only T x S. They are computed as
    tanh(x) = 2 sigmoid(2x) - 1, since PyTorch's sigmoid is five times faster than its tanh on a CPU.

    Source: Bahdanau, Cho and Bengio 2015, arXiv:1409.0473, appendix A.1.2.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.query = nn.Linear(hidden, hidden, bias=False)
        self.key = nn.Linear(hidden, hidden, bias=False)
        self.energy = nn.Linear(hidden, 1, bias=False)

    def keys(self, memory: Tensor) -> Tensor:
        """2 Wh h, computed once per source. Shapes: (B, S, H) to (B, S, H)."""
        projected: Tensor = self.key(memory)
        return 2 * projected

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Unnormalised scores e. Shapes: queries (B, T, H), keys (B, S, H), result (B, T, S)."""
        mixed = torch.sigmoid_(2 * self.query(queries).unsqueeze(2) + keys.unsqueeze(1))  # (B, T, S, H)
        energy = self.energy.weight[0]
        return 2 * (mixed @ energy) - energy.sum()


Attention = DotAttention | GeneralAttention | AdditiveAttention


def build_attention(kind: AttentionKind, hidden: int) -> Attention:
    """The attention of that name for states of width `hidden`."""
    match kind:
        case "dot":
            return DotAttention()
        case "general":
            return GeneralAttention(hidden)
        case "additive":
            return AdditiveAttention(hidden)
    raise RecipeError(f"attention is {kind!r}; expected one of {', '.join(KINDS)}. {did_you_mean(str(kind), KINDS)}")


def attend(scores: Tensor, memory: Tensor, source_valid: Tensor) -> tuple[Tensor, Tensor]:
    """Average the states with the softmax of their scores, padding left out.

    Args:
        scores: unnormalised scores. Shape (B, T, S).
        memory: encoder states. Shape (B, S, H).
        source_valid: True where the source is real; every row has at least one. Shape (B, S).
    Returns:
        The contexts c_t = sum_i a_ti h_i, shape (B, T, H), and the weights a, shape (B, T, S), which are exactly zero
        on padding and sum to one.
    """
    weights = torch.softmax(scores.masked_fill(~source_valid.unsqueeze(1), float("-inf")), dim=-1)
    return weights @ memory, weights
