"""The hard monotonic transducer against summing over every walk, and against its own steps."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from triptych.config import SpellModel
from triptych.spell.build import build_transducer
from triptych.spell.encoder import SourceBatch
from triptych.spell.monotonic import TINY, MonotonicTransducer
from triptych.text.symbols import Vocabulary


def build(**changes: object) -> MonotonicTransducer:
    torch.manual_seed(3)
    numbers: dict[str, Any] = {"hidden": 6, "embedding": 6, "encoder_hidden": 8, "attention_width": 5, "dropout": 0.0}
    model = SpellModel(attention="monotonic", **{**numbers, **changes})
    network = build_transducer(model, source_size=9, target_size=8)
    assert isinstance(network, MonotonicTransducer)
    for parameter in network.parameters():  # far from uniform, so that a wrong index shows
        parameter.data.mul_(2.0)
    return network.eval().double()


def batch(*rows: list[int]) -> SourceBatch:
    padded = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    return SourceBatch(padded, torch.tensor([len(row) for row in rows]))


def sum_over_walks(network: MonotonicTransducer, source: SourceBatch, target: list[int]) -> float:
    """p(target) by enumerating every walk over positions, one source alone, no padding."""
    decoder = network.decoder
    fed = torch.tensor([[Vocabulary.start, *target[:-1]]])
    view = network._view(source)
    states, _ = decoder.states(fed, None)
    transitions, written = decoder.transitions(states, view)[0], decoder.written(states, view)[0][0]
    total = 0.0
    for walk in itertools.product(range(view.keys.shape[1]), repeat=len(target)):
        probability, before = 1.0, 0
        for step, (here, symbol) in enumerate(zip(walk, target, strict=True)):
            probability *= transitions[step, before, here].item() * written[step, here, symbol].item()
            before = here
        total += probability
    return total


def test_training_probability_is_the_sum_over_all_walks() -> None:
    network = build()
    source, target = batch([4, 5, 6]), [4, 7, 5, Vocabulary.end]
    fed = torch.tensor([[Vocabulary.start, *target[:-1]]])
    log_probs = network(source, fed)[0]
    chained = sum(log_probs[step, symbol].item() for step, symbol in enumerate(target))
    assert chained == pytest.approx(math.log(sum_over_walks(network, source, target)), abs=1e-9)


def test_transitions_follow_the_formula() -> None:
    network = build()
    decoder, view = network.decoder, network._view(batch([4, 5, 6, 7, 8]))
    states, _ = decoder.states(torch.tensor([[Vocabulary.start, 4]]), None)
    transitions = decoder.transitions(states, view)
    positions = range(5 + 2)  # the boundaries are positions too
    for step, i in itertools.product(range(2), positions):
        scores = []
        for j in positions:
            mixed_j = torch.tanh(decoder.query(states[0, step]) + view.keys[0, j])
            mixed_i = torch.tanh(decoder.query(states[0, step]) + view.keys[0, i])
            distance = max(-decoder.window, min(decoder.window, j - i)) + decoder.window
            score = decoder.scores.weight[0] @ mixed_j + decoder.scores.weight[1 + distance] @ mixed_i
            scores.append(-math.inf if j < i - decoder.back else (score + decoder.step_score[distance]).item())
        expected = torch.softmax(torch.tensor(scores, dtype=torch.float64), 0)
        torch.testing.assert_close(transitions[0, step, i], expected)


def test_stepping_equals_teacher_forcing() -> None:
    network = build(decoder_layers=2, encoder_layers=2, cell="gru")
    source = batch([4, 5, 6, 7], [8, 4])
    fed = torch.tensor([[Vocabulary.start, 4, 6, 5], [Vocabulary.start, 7, 7, 4]])
    whole = network(source, fed)
    whole = whole.masked_fill(network.get_buffer("never"), -math.inf).log_softmax(-1)
    state = network.start(source)
    for step in range(fed.shape[1]):
        log_probs, state = network.step(fed[:, step], state)
        torch.testing.assert_close(log_probs, whole[:, step])
        assert state.attention is not None
        torch.testing.assert_close(state.attention.sum(-1), torch.ones(2, dtype=torch.float64))


def test_padding_changes_nothing() -> None:
    network = build()
    fed = torch.tensor([[Vocabulary.start, 4, 6], [Vocabulary.start, 7, 5]])
    alone = network(batch([8, 4]), fed[1:])
    together = network(batch([4, 5, 6, 7, 8], [8, 4]), fed)[1:]
    torch.testing.assert_close(alone, together)
    _, state = network.step(fed[:, 0], network.start(batch([4, 5, 6, 7, 8], [8, 4])))
    assert state.attention is not None
    assert state.attention.shape == (2, 5)
    assert state.attention[1, 2:].abs().max() == 0
    torch.testing.assert_close(state.attention.sum(1), torch.ones(2, dtype=torch.float64))


def test_select_takes_rows_of_everything() -> None:
    network = build()
    state = network.start(batch([4, 5, 6], [7, 8]))
    _, state = network.step(torch.tensor([Vocabulary.start, Vocabulary.start]), state)
    log_probs, _ = network.step(torch.tensor([5, 6]), state)
    swapped, _ = network.step(torch.tensor([6, 5, 6]), state.select(torch.tensor([1, 0, 1])))
    torch.testing.assert_close(swapped, log_probs[[1, 0, 1]])
    assert state.select(torch.tensor([0, 1])).source is state.source


def test_never_produces_special_symbols() -> None:
    network = build()
    log_probs, _ = network.step(torch.tensor([Vocabulary.start]), network.start(batch([4, 5])))
    never = [Vocabulary.pad, Vocabulary.start, Vocabulary.unknown]
    assert torch.isneginf(log_probs[0, never]).all()
    assert torch.logsumexp(log_probs, -1).item() == pytest.approx(0.0, abs=1e-12)


def gradients(network: MonotonicTransducer) -> dict[str, Tensor]:
    source, fed = batch([4, 5, 6, 7], [8, 4, 5]), torch.tensor([[Vocabulary.start, 4, 6], [Vocabulary.start, 7, 5]])
    network(source, fed)[:, :, 4].sum().backward()
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


def test_every_weight_is_trained() -> None:
    network = build(encoder_layers=2, decoder_layers=2)
    found = gradients(network)
    assert set(found) == {name for name, _ in network.named_parameters()}
    assert [name for name, gradient in found.items() if gradient.abs().max() == 0] == []


def test_symbol_dropout_hides_what_is_fed_and_not_what_is_scored() -> None:
    network = build(target_symbol_dropout=0.9).train()
    source, fed = batch([4, 5, 6]), torch.tensor([[Vocabulary.start, 4, 5, 6]])
    torch.manual_seed(0)
    dropped = network(source, fed)
    torch.testing.assert_close(dropped[:, 0], network.eval()(source, fed)[:, 0])  # nothing fed before the first symbol
    assert not torch.allclose(dropped[:, 3], network(source, fed)[:, 3])


def test_attention_gives_the_boundaries_to_their_neighbours() -> None:
    network = build()
    _, state = network.step(torch.tensor([Vocabulary.start]), network.start(batch([4, 5, 6])))
    assert state.position is not None
    assert state.attention is not None
    start, first, second, third, end = state.position[0].tolist()
    assert state.attention[0].tolist() == pytest.approx([start + first, second, third + end])


@pytest.mark.parametrize(
    "change", [{"encoder_hidden": 10}, {"attention_width": 7}, {"encoder_layers": 2}, {"decoder_layers": 2}]
)
def test_every_number_changes_the_network(change: dict[str, int]) -> None:
    def count(network: MonotonicTransducer) -> int:
        return sum(p.numel() for p in network.parameters())

    assert count(build(**change)) != count(build())


def by_hand(network: MonotonicTransducer, source: SourceBatch, target: list[int]) -> list[float]:
    """Log-probabilities of a target's symbols, for one source alone, by plain sums over its real positions."""
    decoder, view = network.decoder, network._view(source)
    states, _ = decoder.states(torch.tensor([[Vocabulary.start, *target[:-1]]]), None)
    transitions = decoder.transitions(states, view)[0].tolist()
    written = decoder.written(states, view)[0][0].tolist()
    position = transitions[0][0]
    found = []
    for step, symbol in enumerate(target):
        found.append(math.log(sum(p * w[symbol] for p, w in zip(position, written[step], strict=True)) + TINY))
        if step + 1 < len(target):
            known = [p * w[symbol] + TINY for p, w in zip(position, written[step], strict=True)]
            rows = transitions[step + 1]
            position = [
                sum(k / sum(known) * row[j] for k, row in zip(known, rows, strict=True)) for j in range(len(known))
            ]
    return found


@pytest.mark.parametrize("bias", [0.0, -60.0, -200.0], ids=["likely", "below TINY", "far below TINY"])
def test_padding_changes_nothing_however_improbable_a_symbol_is(bias: float) -> None:
    """Where a symbol's probability underflows, what is left of a position's is TINY, which padding must not share."""
    network = build()
    network.decoder.output_bias.data[7] = bias
    target = [7, 4, 7, 5]
    fed = torch.tensor([[Vocabulary.start, *target[:-1]]] * 2)
    sources = batch([4, 5, 6, 7, 8, 4, 5, 6, 7], [8, 4])
    expected = by_hand(network, batch([8, 4]), target)
    together = network(sources, fed)[1]
    assert [together[step, symbol].item() for step, symbol in enumerate(target)] == pytest.approx(expected, abs=1e-9)
    with torch.inference_mode():
        state = network.start(sources).select(torch.tensor([0, 1, 1]))  # a grid of hypotheses
        alone = network.start(batch([8, 4]))
        for symbol in fed[0].tolist():
            log_probs, state = network.step(torch.full((3,), symbol), state)
            expected_row, alone = network.step(torch.tensor([symbol]), alone)
            torch.testing.assert_close(log_probs[2], expected_row[0])


@pytest.mark.parametrize("index", [[0, 0, 1], [1, 0, 1], [1, 1, 1]], ids=str)
def test_hypotheses_of_one_source_share_it(index: list[int]) -> None:
    network = build(decoder_layers=2)
    symbols = torch.tensor([4, 5, 6])
    sources = [[4, 5, 6], [7, 8]]
    with torch.inference_mode():
        _, state = network.step(torch.tensor([Vocabulary.start] * 2), network.start(batch(*sources)))
        log_probs, after = network.step(symbols, state.select(torch.tensor(index)))
        again, _ = network.step(symbols, after)
    for row, (number, symbol) in enumerate(zip(index, symbols.tolist(), strict=True)):
        _, alone = network.step(torch.tensor([Vocabulary.start]), network.start(batch(sources[number])))
        expected, alone = network.step(torch.tensor([symbol]), alone)
        torch.testing.assert_close(log_probs[row], expected[0])
        assert after.attention is not None
        assert alone.attention is not None
        torch.testing.assert_close(after.attention[row, : len(sources[number])], alone.attention[0])
        torch.testing.assert_close(again[row], network.step(torch.tensor([symbol]), alone)[0][0])
