"""Attention of a decoder to the encoder's states: one small class per kind.

Letters in shapes: B batch, S source length, T target length, H hidden.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from triptych.config.spell import AttentionKind
from triptych.errors import RecipeError


class DotAttention(nn.Module):
    """Scores are inner products, e_ti = s_t · h_i.

    Source: Luong, Pham and Manning 2015, arXiv:1508.04025, section 3.1, "dot".
    """

    def keys(self, memory: Tensor) -> Tensor:
        """Keys of the source, computed once. Shapes: (B, S, H) to (B, S, H)."""
        return memory

    def scores(self, queries: Tensor, keys: Tensor, source_valid: Tensor) -> Tensor:
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

    def scores(self, queries: Tensor, keys: Tensor, source_valid: Tensor) -> Tensor:
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

    def scores(self, queries: Tensor, keys: Tensor, source_valid: Tensor) -> Tensor:
        """Unnormalised scores e. Shapes: queries (B, T, H), keys (B, S, H), result (B, T, S)."""
        mixed = torch.sigmoid_(2 * self.query(queries).unsqueeze(2) + keys.unsqueeze(1))  # (B, T, S, H)
        energy = self.energy.weight[0]
        return 2 * (mixed @ energy) - energy.sum()


class HopfieldAttention(nn.Module):
    """Several steps of recall: the query moves towards the source positions near it before they are read.

    With q = Wq s_t and the keys k_i = Wk h_i,

        q <- sum_i softmax(beta K q)_i k_i,    steps - 1 times,    and e_ti = beta q · k_i.

    Each of those steps lowers the energy of `triptych.recall.energy` with the keys as patterns. One step is scaled
    inner-product attention with a beta that is learnt, beginning at 1 / sqrt(H).

    Args:
        hidden: H.
        steps: >= 1, the one that reads included.
    Source: Ramsauer et al. 2020, arXiv:2008.02217, section 3.  Checked by tests/spell/test_attention.py.
    """

    def __init__(self, hidden: int, steps: int) -> None:
        super().__init__()
        self.query = nn.Linear(hidden, hidden, bias=False)
        self.key = nn.Linear(hidden, hidden, bias=False)
        self.log_beta = nn.Parameter(torch.tensor(-0.5 * math.log(hidden)))
        self.steps = steps

    def keys(self, memory: Tensor) -> Tensor:
        """Wk h, computed once per source. Shapes: (B, S, H) to (B, S, H)."""
        projected: Tensor = self.key(memory)
        return projected

    def scores(self, queries: Tensor, keys: Tensor, source_valid: Tensor) -> Tensor:
        """Unnormalised scores e of the last step.

        Shapes: queries (B, T, H), keys (B, S, H), source_valid, True where the source is real, (B, S),
        result (B, T, S).
        """
        beta = self.log_beta.exp()
        state: Tensor = self.query(queries)
        for _ in range(self.steps - 1):
            state, _ = attend(beta * state @ keys.transpose(1, 2), keys, source_valid)
        return beta * state @ keys.transpose(1, 2)


Attention = DotAttention | GeneralAttention | AdditiveAttention | HopfieldAttention


def build_attention(kind: AttentionKind, hidden: int, *, steps: int = 1) -> Attention | None:
    """The attention of that name for states of width `hidden`; `steps` >= 1 is of hopfield.

    Raises:
        RecipeError: the kind is not one that reads a whole source at once.
    """
    match kind:
        case "none":
            return None
        case "dot":
            return DotAttention()
        case "general":
            return GeneralAttention(hidden)
        case "additive":
            return AdditiveAttention(hidden)
        case "hopfield":
            return HopfieldAttention(hidden, steps)
    raise RecipeError(field="model.attention", value=kind, expected="one of none, dot, general, additive, hopfield")


def read_source(
    attention: Attention, queries: Tensor, keys: Tensor, memory: Tensor, source_valid: Tensor
) -> tuple[Tensor, Tensor]:
    """Attention of queries (B, T, H) to a source: contexts (B, T, H) and weights (B, T, S); see `attend`."""
    return attend(attention.scores(queries, keys, source_valid), memory, source_valid)


def attend(scores: Tensor, memory: Tensor, source_valid: Tensor) -> tuple[Tensor, Tensor]:
    """Average the states with the softmax of their scores, without padding.

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
