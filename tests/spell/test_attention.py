"""Attention against loops over steps and positions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.oracles.recurrent import attend_one, score_one
from triptych.errors import RecipeError
from triptych.spell.attention import (
    KINDS,
    AdditiveAttention,
    AttentionKind,
    DotAttention,
    GeneralAttention,
    attend,
    build_attention,
)

B, T, S, H = 3, 4, 5, 6


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def build(kind: AttentionKind) -> DotAttention | GeneralAttention | AdditiveAttention:
    torch.manual_seed(3)
    attention = build_attention(kind, H).double()
    for parameter in attention.parameters():  # biases too: a zero bias would hide a missing one
        torch.nn.init.normal_(parameter, std=0.7)
    return attention


@pytest.mark.parametrize("kind", KINDS)
def test_scores_equal_a_loop_over_steps_and_positions(kind: AttentionKind) -> None:
    attention, queries, memory = build(kind), draw(B, T, H), draw(B, S, H, seed=1)
    scores = attention.scores(queries, attention.keys(memory))
    assert scores.shape == (B, T, S)
    for b in range(B):
        for t in range(T):
            for s in range(S):
                torch.testing.assert_close(scores[b, t, s], score_one(attention, queries[b, t], memory[b, s]))


@pytest.mark.parametrize("kind", KINDS)
def test_contexts_and_weights_equal_a_loop_over_the_real_positions(kind: AttentionKind) -> None:
    attention, queries, memory = build(kind), draw(B, T, H), draw(B, S, H, seed=1)
    lengths = [5, 1, 3]
    valid = torch.arange(S) < torch.tensor(lengths).unsqueeze(1)
    context, weights = attend(attention.scores(queries, attention.keys(memory)), memory, valid)
    for b, length in enumerate(lengths):
        for t in range(T):
            one = [score_one(attention, queries[b, t], state) for state in memory[b, :length]]
            expected_context, expected_weights = attend_one(one, memory[b, :length])
            torch.testing.assert_close(weights[b, t, :length], expected_weights)
            torch.testing.assert_close(context[b, t], expected_context)
            assert weights[b, t, length:].tolist() == [0.0] * (S - length)


def test_padding_cannot_be_seen_however_large_its_states_are() -> None:
    memory, queries = draw(1, S, H), draw(1, T, H, seed=1)
    valid = torch.tensor([[True, True, True, False, False]])
    loud = memory.clone()
    loud[:, 3:] = 1e6
    first, second = (attend(DotAttention().scores(queries, m), m, valid) for m in (memory, loud))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_weights_sum_to_one_and_survive_scores_far_apart() -> None:
    scores = torch.tensor([[[1e4, -1e4, 0.0]]])
    context, weights = attend(scores, torch.eye(3).unsqueeze(0), torch.ones(1, 3, dtype=torch.bool))
    assert weights.tolist() == [[[1.0, 0.0, 0.0]]]
    assert context.tolist() == [[[1.0, 0.0, 0.0]]]


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_equal_finite_differences(kind: AttentionKind) -> None:
    attention = build(kind)
    valid = torch.tensor([[True, True, True], [True, False, False]])

    def contexts(queries: Tensor, memory: Tensor, *_: Tensor) -> Tensor:
        return attend(attention.scores(queries, attention.keys(memory)), memory, valid)[0]

    inputs = (draw(2, 2, H).requires_grad_(), draw(2, 3, H, seed=1).requires_grad_(), *attention.parameters())
    assert torch.autograd.gradcheck(contexts, inputs)


def test_sizes_are_those_of_the_equations() -> None:
    counts = {kind: sum(p.numel() for p in build_attention(kind, H).parameters()) for kind in KINDS}
    assert counts == {"dot": 0, "general": H * H, "additive": H * H + H * H + H}


def test_an_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(RecipeError) as caught:
        build_attention("aditive", H)  # type: ignore[arg-type]
    assert (
        str(caught.value) == "attention is 'aditive'; expected one of dot, general, additive. Did you mean 'additive'?"
    )
