"""Attention against loops over steps and positions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.oracles.recurrent import attend_one, score_one
from triptych.config.spell import AttentionKind
from triptych.recall.energy import energy
from triptych.recall.layers import Hopfield
from triptych.spell.attention import (
    AdditiveAttention,
    Attention,
    DotAttention,
    GeneralAttention,
    HopfieldAttention,
    attend,
    build_attention,
    read_source,
)

B, T, S, H = 3, 4, 5, 6
ALL = torch.ones(B, S, dtype=torch.bool)
ONE_STEP: tuple[AttentionKind, ...] = ("dot", "general", "additive")


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def built(kind: AttentionKind, steps: int = 1) -> Attention:
    attention = build_attention(kind, H, steps=steps)
    assert attention is not None
    return attention


def build(kind: AttentionKind) -> DotAttention | GeneralAttention | AdditiveAttention:
    torch.manual_seed(3)
    attention = built(kind).double()
    assert not isinstance(attention, HopfieldAttention)
    for parameter in attention.parameters():  # biases too: a zero bias would hide a missing one
        torch.nn.init.normal_(parameter, std=0.7)
    return attention


def hopfield(steps: int) -> HopfieldAttention:
    attention = built("hopfield", steps).double()
    assert isinstance(attention, HopfieldAttention)
    generator = torch.Generator().manual_seed(3)
    for parameter in attention.parameters():
        parameter.data = 0.7 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return attention


@pytest.mark.parametrize("kind", ONE_STEP)
def test_scores_equal_a_loop_over_steps_and_positions(kind: AttentionKind) -> None:
    attention, queries, memory = build(kind), draw(B, T, H), draw(B, S, H, seed=1)
    scores = attention.scores(queries, attention.keys(memory), ALL)
    assert scores.shape == (B, T, S)
    for b in range(B):
        for t in range(T):
            for s in range(S):
                torch.testing.assert_close(scores[b, t, s], score_one(attention, queries[b, t], memory[b, s]))


@pytest.mark.parametrize("kind", ONE_STEP)
def test_contexts_and_weights_equal_a_loop_over_the_real_positions(kind: AttentionKind) -> None:
    attention, queries, memory = build(kind), draw(B, T, H), draw(B, S, H, seed=1)
    lengths = [5, 1, 3]
    valid = torch.arange(S) < torch.tensor(lengths).unsqueeze(1)
    context, weights = attend(attention.scores(queries, attention.keys(memory), ALL), memory, valid)
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
    first, second = (attend(DotAttention().scores(queries, m, valid), m, valid) for m in (memory, loud))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_weights_sum_to_one_and_survive_scores_far_apart() -> None:
    scores = torch.tensor([[[1e4, -1e4, 0.0]]])
    context, weights = attend(scores, torch.eye(3).unsqueeze(0), torch.ones(1, 3, dtype=torch.bool))
    assert weights.tolist() == [[[1.0, 0.0, 0.0]]]
    assert context.tolist() == [[[1.0, 0.0, 0.0]]]


@pytest.mark.parametrize("kind", ONE_STEP)
def test_gradients_equal_finite_differences(kind: AttentionKind) -> None:
    attention = build(kind)
    valid = torch.tensor([[True, True, True], [True, False, False]])

    def contexts(queries: Tensor, memory: Tensor, *_: Tensor) -> Tensor:
        return attend(attention.scores(queries, attention.keys(memory), ALL), memory, valid)[0]

    inputs = (draw(2, 2, H).requires_grad_(), draw(2, 3, H, seed=1).requires_grad_(), *attention.parameters())
    assert torch.autograd.gradcheck(contexts, inputs)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_hopfield_attention_is_the_layer_of_recall_on_its_keys(steps: int) -> None:
    attention, queries, memory = hopfield(steps), draw(B, T, H), draw(B, S, H, seed=1)
    valid = torch.arange(S) < torch.tensor([5, 1, 3]).unsqueeze(1)
    context, weights = read_source(attention, queries, attention.keys(memory), memory, valid)
    layer = Hopfield(H, beta=attention.log_beta.exp().item(), steps=steps)
    state, keys = queries @ attention.query.weight.T, memory @ attention.key.weight.T
    torch.testing.assert_close(context, layer(state, keys, values=memory, stored_valid=valid))
    torch.testing.assert_close(weights, layer.trace(state, keys, stored_valid=valid).weights[:, 0])


def test_each_hopfield_step_lowers_the_energy() -> None:
    queries, memory = draw(1, T, H), draw(1, S, H, seed=1)
    keys, energies = hopfield(1).keys(memory)[0], []
    beta = hopfield(1).log_beta.exp().item()
    for steps in (1, 2, 3, 4):
        attention = hopfield(steps)
        _, weights = read_source(attention, queries, attention.keys(memory), memory, torch.ones(1, S, dtype=torch.bool))
        energies.append(energy(keys, weights[0] @ keys, beta=beta))
    fall = torch.stack(energies).diff(dim=0)
    assert (fall <= 1e-12).all()
    assert fall[0].min() < -1e-4


def test_gradients_of_hopfield_attention_equal_finite_differences() -> None:
    attention, valid = hopfield(3), torch.tensor([[True, True, True], [True, False, False]])

    def contexts(queries: Tensor, memory: Tensor, *_: Tensor) -> Tensor:
        return read_source(attention, queries, attention.keys(memory), memory, valid)[0]

    inputs = (draw(2, 2, H).requires_grad_(), draw(2, 3, H, seed=1).requires_grad_(), *attention.parameters())
    assert torch.autograd.gradcheck(contexts, inputs)


def test_beta_begins_as_in_scaled_attention_and_one_step_is_every_kinds() -> None:
    attention = build_attention("hopfield", 16)
    assert isinstance(attention, HopfieldAttention)
    assert attention.log_beta.exp().item() == pytest.approx(0.25)
    queries, memory, valid = draw(B, T, H), draw(B, S, H, seed=1), torch.ones(B, S, dtype=torch.bool)
    for kind in ONE_STEP:
        other = build(kind)
        expected = attend(other.scores(queries, other.keys(memory), valid), memory, valid)
        assert torch.equal(read_source(other, queries, other.keys(memory), memory, valid)[0], expected[0])


def test_sizes_are_those_of_the_equations() -> None:
    counts = {kind: sum(p.numel() for p in built(kind).parameters()) for kind in (*ONE_STEP, "hopfield")}
    assert counts == {"dot": 0, "general": H * H, "additive": H * H + H * H + H, "hopfield": 2 * H * H + 1}
