"""The recurrent transducer against PyTorch-free loops over layers, steps and positions, and its closed-form sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.oracles.recurrent import transduce_one
from triptych.config import SpellModel, SpellRecipe, load_recipe
from triptych.errors import ShapeError
from triptych.spell.build import build_transducer
from triptych.spell.encoder import Sizes, SourceBatch, hide_symbols
from triptych.spell.model import Decoder, DecoderState, Transducer
from triptych.text.symbols import Vocabulary

SOURCE, TARGET = 11, 9
SOURCES = [[4, 5, 6, 7, 8], [9], [10, 4, 3], [6, 6, 6, 6]]
FED = [[1, 4, 5, 6], [1, 7, 7, 8], [1, 3, 4, 8], [1, 5, 6, 7]]
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "S1": {"attention": "none"},
    "S2": {"attention": "additive"},
    "S5": {"attention": "general"},
    "dot": {"attention": "dot"},
    "hopfield": {"attention": "hopfield", "attention_steps": 3},
    "gru": {"attention": "general", "cell": "gru"},
    "gru without attention": {"cell": "gru"},
    "deep": {"attention": "dot", "encoder_layers": 2, "decoder_layers": 2},
    "deeper decoder": {"attention": "dot", "encoder_layers": 2, "decoder_layers": 3},
    "residual encoder": {"encoder_layers": 2, "encoder_residual": True, "attention": "dot"},
    "encoder with a shortcut": {"encoder_shortcut": True, "attention": "dot"},
    "deeper encoder": {"attention": "additive", "encoder_layers": 3, "decoder_layers": 1},
    "deep gru": {"cell": "gru", "encoder_layers": 2, "decoder_layers": 2},
    "untied": {"attention": "general", "tie_output": False, "embedding": 6},
    "fed": {"attention": "dot", "input_feeding": True},
    "fed gru": {"attention": "additive", "input_feeding": True, "cell": "gru", "decoder_layers": 2},
}
every_architecture = pytest.mark.parametrize("settings", ARCHITECTURES.values(), ids=ARCHITECTURES)


def build(settings: dict[str, Any], **further: Any) -> Transducer:
    """A transducer in float64 whose every parameter, biases too, is drawn anew."""
    torch.manual_seed(5)
    model = SpellModel(**{"hidden": 8, "embedding": 8, "dropout": 0.0, **settings, **further})
    network = build_transducer(model, source_size=SOURCE, target_size=TARGET)
    assert isinstance(network, Transducer)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return network.double().eval()


def batch_of(sources: list[list[int]], *, width: int = 0) -> SourceBatch:
    width = max(width, *(len(source) for source in sources))
    rows = [source + [Vocabulary.pad] * (width - len(source)) for source in sources]
    return SourceBatch(torch.tensor(rows), torch.tensor([len(source) for source in sources]))


def all_steps(network: Transducer, batch: SourceBatch, fed: Tensor) -> tuple[Tensor, Tensor | None]:
    logits, weights, _ = network.decoder(fed, network.start(batch))
    return logits, weights


@every_architecture
def test_teacher_forcing_equals_the_equations_symbol_by_symbol(settings: dict[str, Any]) -> None:
    network = build(settings)
    logits, weights = all_steps(network, batch_of(SOURCES), torch.tensor(FED))
    for row, (source, fed) in enumerate(zip(SOURCES, FED, strict=True)):
        expected_logits, expected_weights = transduce_one(network.encoder, network.decoder, source, fed)
        torch.testing.assert_close(logits[row], torch.stack(expected_logits))
        if weights is None:
            assert expected_weights == []
            continue
        torch.testing.assert_close(weights[row, :, : len(source)], torch.stack(expected_weights))
        assert not weights[row, :, len(source) :].any()


@every_architecture
def test_teacher_forcing_equals_stepping(settings: dict[str, Any]) -> None:
    network, batch, fed = build(settings), batch_of(SOURCES), torch.tensor(FED)
    logits, weights = all_steps(network, batch, fed)
    state = network.start(batch)
    for position in range(fed.shape[1]):
        log_probs, state = network.step(fed[:, position], state)
        masked = logits[:, position].float().masked_fill(network.get_buffer("never"), float("-inf"))
        torch.testing.assert_close(log_probs, masked.log_softmax(-1))
        if weights is None:
            assert state.attention is None
        else:
            torch.testing.assert_close(state.attention, weights[:, position])


@every_architecture
@pytest.mark.parametrize("width", [0, 9])
def test_a_row_alone_equals_the_row_in_a_padded_batch(settings: dict[str, Any], width: int) -> None:
    network, fed = build(settings), torch.tensor(FED)
    logits, weights = all_steps(network, batch_of(SOURCES, width=width), fed)
    for row, source in enumerate(SOURCES):
        alone, alone_weights = all_steps(network, batch_of([source]), fed[row : row + 1])
        torch.testing.assert_close(logits[row], alone[0])
        if weights is not None:
            assert alone_weights is not None
            torch.testing.assert_close(weights[row, :, : len(source)], alone_weights[0])


def test_a_batch_of_one_length_takes_no_other_way_than_a_padded_one() -> None:
    network = build({"attention": "additive"})
    same = [source[:3] for source in ([4, 5, 6], [7, 8, 9])]
    plain, _ = all_steps(network, batch_of(same), torch.tensor(FED[:2]))
    padded, _ = all_steps(network, batch_of(same, width=6), torch.tensor(FED[:2]))
    torch.testing.assert_close(plain, padded)


def test_later_symbols_do_not_change_earlier_steps() -> None:
    network, changed = build({"attention": "additive", "input_feeding": True}), [[*row[:2], 8, 4] for row in FED]
    first, _ = all_steps(network, batch_of(SOURCES), torch.tensor(FED))
    second, _ = all_steps(network, batch_of(SOURCES), torch.tensor(changed))
    torch.testing.assert_close(first[:, :2], second[:, :2])
    assert not torch.allclose(first[:, 2], second[:, 2])


def test_input_feeding_changes_every_step_but_the_first() -> None:
    network = build({"attention": "dot", "input_feeding": True})
    logits, _ = all_steps(network, batch_of(SOURCES), torch.tensor(FED))
    with torch.no_grad():
        network.get_parameter("decoder.recurrent.weight_ih_l0")[:, 8:] = 0.0  # what is fed back no longer counts
    without, _ = all_steps(network, batch_of(SOURCES), torch.tensor(FED))
    torch.testing.assert_close(logits[:, 0], without[:, 0])
    assert (logits[:, 1:] - without[:, 1:]).abs().amax(-1).min() > 1e-3


def test_the_tied_output_is_one_parameter_with_gradients_from_both_sides() -> None:
    network = build({"attention": "none"})
    weight = network.decoder.embedding.weight
    assert [name for name, p in network.named_parameters() if p.shape == weight.shape and "decoder" in name] == [
        "decoder.embedding.weight"
    ]
    fed = torch.tensor([[1, 4]])
    network(batch_of([[4]]), fed)[0, :, 6].sum().backward()  # symbol 6 is asked for and never fed
    assert weight.grad is not None
    assert weight.grad[6].abs().sum() > 0, "no gradient from the output"
    assert weight.grad[4].abs().sum() > 0, "no gradient from the input"
    assert weight.grad[7].tolist() == [0.0] * 8, "symbol 7 is neither fed nor asked for"
    before = all_steps(network, batch_of([[4]]), fed)[0]
    with torch.no_grad():
        weight[6] += 1.0
    after = all_steps(network, batch_of([[4]]), fed)[0]
    assert not torch.allclose(before[..., 6], after[..., 6])
    torch.testing.assert_close(before[..., 5], after[..., 5])


def test_untied_output_has_a_matrix_of_its_own() -> None:
    network = build({"tie_output": False})
    names = [name for name, p in network.decoder.named_parameters() if p.shape == (TARGET, 8)]
    assert names == ["output_weight", "embedding.weight"]


def test_widths_that_cannot_be_tied_are_refused() -> None:
    with pytest.raises(ShapeError) as caught:
        Decoder(TARGET, Sizes(embedding=6, hidden=8), attention=None)
    assert str(caught.value) == (
        "embedding is 6; expected hidden, 8, when tie_output is true. Make them equal or set tie_output to false."
    )


def test_a_source_with_other_lengths_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"^source lengths have 1 rows; expected 2, as the symbols\.$"):
        build({}).start(SourceBatch(torch.tensor([[4], [5]]), torch.tensor([1])))


def lstm_parameters(inputs: int, width: int) -> int:
    """Four gates, each with weights for input and state and PyTorch's two biases."""
    return 4 * (width * inputs + width * width + 2 * width)


@pytest.mark.parametrize(
    ("recipe", "of_attention"),
    [
        ("p2g-plain", 0),
        ("p2g-additive", 2 * 128 * 128 + 128 + 128 * 256),  # Ws, Wh, v; Wout
        ("spa-eng-plain", 0),
        ("spa-eng-general", 128 * 128 + 128 * 256),  # Wq; Wo
    ],
)
def test_recipes_build_the_specified_architectures(recipe: str, of_attention: int) -> None:
    loaded = load_recipe(recipe)
    assert isinstance(loaded, SpellRecipe)
    v_source, v_target = 50, 30
    network = build_transducer(loaded.model, source_size=v_source, target_size=v_target)
    assert isinstance(network, Transducer)
    encoder, decoder = network.encoder, network.decoder
    assert encoder.embedding.weight.shape == (v_source, 128)
    assert len(encoder.recurrent) == 1
    layer = encoder.recurrent[0]
    assert isinstance(layer, torch.nn.LSTM)
    assert isinstance(decoder.recurrent, torch.nn.LSTM)
    assert layer.bidirectional
    assert not decoder.recurrent.bidirectional
    assert (layer.input_size, layer.hidden_size, layer.num_layers) == (128, 64, 1)
    assert (decoder.recurrent.input_size, decoder.recurrent.hidden_size, decoder.recurrent.num_layers) == (128, 128, 1)
    assert decoder.output_weight is None
    expected = (
        v_source * 128
        + 2 * lstm_parameters(128, 64)
        + v_target * 128  # embedding and output weight in one
        + lstm_parameters(128, 128)
        + v_target  # output bias
        + of_attention
    )
    assert sum(p.numel() for p in network.parameters()) == expected


@every_architecture
def test_dropout_falls_on_embeddings_and_final_outputs_only(settings: dict[str, Any]) -> None:
    network = build(settings, dropout=0.5)
    kinds = [name for name, module in network.named_modules() if isinstance(module, torch.nn.Dropout)]
    assert kinds == ["encoder.dropout", "encoder.layer_dropout", "decoder.dropout"]
    assert network.encoder.layer_dropout.p == network.decoder.recurrent.dropout == 0.0
    seen: dict[str, list[torch.Size]] = {name: [] for name in kinds}

    def note(name: str) -> Callable[..., None]:
        return lambda _module, inputs, _output: seen[name].append(inputs[0].shape)

    for name in kinds:
        network.get_submodule(name).register_forward_hook(note(name))
    network.train()(batch_of(SOURCES), torch.tensor(FED))
    embedding, hidden, rows = network.encoder.embedding.embedding_dim, 8, len(SOURCES)
    assert seen["encoder.dropout"] == [(rows, 5, embedding), (rows, 5, hidden)]
    per_call = 4 if network.decoder.input_feeding else 1
    steps = 1 if network.decoder.input_feeding else 4
    assert seen["decoder.dropout"] == [(rows, steps, embedding), (rows, steps, hidden)] * per_call


@pytest.mark.parametrize(("cell", "parts"), [("lstm", 2), ("gru", 1)])
def test_dropout_falls_on_the_final_state_instead(cell: str, parts: int) -> None:
    network = build({"cell": cell, "attention": "general", "encoder_dropout": "final"}, dropout=0.5).train()
    dropped: list[tuple[torch.Tensor, torch.Tensor]] = []
    network.encoder.dropout.register_forward_hook(lambda _module, inputs, output: dropped.append((inputs[0], output)))
    states, final = network.encoder(batch_of(SOURCES))
    (embedded, _), *ends = dropped
    assert embedded.shape == (len(SOURCES), 5, network.encoder.embedding.embedding_dim)
    assert len(ends) == len(final) == parts
    last, first = states[torch.arange(len(SOURCES)), batch_of(SOURCES).lengths - 1, :4], states[:, 0, 4:]
    assert torch.equal(ends[0][0], torch.cat((last, first), dim=-1)), "states are as they were"
    for part, (_, output) in zip(final, ends, strict=True):
        assert torch.equal(part[0], output)
        assert 0 < torch.count_nonzero(part) < part.numel()


def test_without_dropout_on_the_encoders_outputs_only_embeddings_have_it() -> None:
    network = build({"attention": "general", "encoder_dropout": "none"}, dropout=0.5).train()
    seen: list[torch.Size] = []
    network.encoder.dropout.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0].shape))
    states, final = network.encoder(batch_of(SOURCES))
    assert seen == [(len(SOURCES), 5, network.encoder.embedding.embedding_dim)]
    assert torch.count_nonzero(states[0]) == states[0].numel()
    assert all(torch.count_nonzero(part) == part.numel() for part in final)


def test_layer_dropout_falls_between_layers_where_there_are_several() -> None:
    deep = build({"encoder_layers": 2, "decoder_layers": 3, "attention": "dot"}, layer_dropout=0.25)
    assert (deep.encoder.layer_dropout.p, deep.decoder.recurrent.dropout) == (0.25, 0.25)
    half = build({"encoder_layers": 1, "decoder_layers": 2}, layer_dropout=0.25)
    assert half.decoder.recurrent.dropout == 0.25


def test_dropout_is_off_in_evaluation_and_on_in_training() -> None:
    network = build({"attention": "additive"}, dropout=0.5)
    batch, fed = batch_of(SOURCES), torch.tensor(FED)
    assert torch.equal(network(batch, fed), network(batch, fed))
    network.train()
    assert not torch.allclose(network(batch, fed), network(batch, fed))


@pytest.mark.parametrize("side", ["source_symbol_dropout", "target_symbol_dropout"])
def test_symbol_dropout_hides_symbols_in_training_only(side: str) -> None:
    network = build({"attention": "additive"}, **{side: 0.999999})
    plain = build({"attention": "additive"})
    batch, fed = batch_of(SOURCES), torch.tensor(FED)
    assert torch.equal(network(batch, fed), plain(batch, fed))
    network.train()
    hidden_sources = batch_of([[Vocabulary.unknown] * len(source) for source in SOURCES])
    hidden_fed = fed.masked_fill(fed > Vocabulary.unknown, Vocabulary.unknown)
    expected = plain(hidden_sources, fed) if side.startswith("source") else plain(batch, hidden_fed)
    torch.testing.assert_close(network(batch, fed), expected)


def test_hidden_symbols_are_the_share_asked_for_and_never_special() -> None:
    torch.manual_seed(0)
    symbols = torch.randint(0, 20, (200, 200))
    hidden = hide_symbols(symbols, 0.3)
    real = symbols > Vocabulary.unknown
    share = float(((hidden == Vocabulary.unknown) & real).sum() / real.sum())
    assert share == pytest.approx(0.3, abs=0.01)
    assert torch.equal(hidden[~real], symbols[~real])
    assert torch.equal(hide_symbols(symbols, 0.0), symbols)


def test_padding_start_and_unknown_are_never_predicted() -> None:
    network = build({"attention": "none"})
    with torch.no_grad():
        network.decoder.output_bias[[Vocabulary.pad, Vocabulary.start, Vocabulary.unknown]] = 1e3
    log_probs, _ = network.step(torch.tensor([Vocabulary.start]), network.start(batch_of([[4]])))
    never = [Vocabulary.pad, Vocabulary.start, Vocabulary.unknown]
    assert log_probs[0, never].tolist() == [-float("inf")] * 3
    assert float(log_probs.detach().exp().sum()) == pytest.approx(1.0)
    assert log_probs[0, Vocabulary.end].isfinite()


def state_after(settings: dict[str, Any]) -> tuple[Transducer, DecoderState]:
    network = build(settings)
    _, state = network.step(torch.tensor([1, 1, 1, 1]), network.start(batch_of(SOURCES)))
    return network, state


@pytest.mark.parametrize("stepping", [False, True], ids=["layers", "stepper"])
@pytest.mark.parametrize("index", [[2, 0, 0], [0, 0, 2], [1, 1, 1, 3], [0, 1, 2, 3], [3]], ids=str)
@every_architecture
def test_select_takes_rows_of_every_part(settings: dict[str, Any], index: list[int], stepping: bool) -> None:
    symbols = torch.arange(4, 4 + len(index))
    network = build(settings)
    with torch.inference_mode(stepping):
        _, state = network.step(torch.tensor([1, 1, 1, 1]), network.start(batch_of(SOURCES)))
        assert (state.stepper is not None) == stepping
        chosen = state.select(torch.tensor(index))
        log_probs, after = network.step(symbols, chosen)
        # Once more, so that a grid of hypotheses is made from a grid.
        again, _ = network.step(symbols, after.select(torch.arange(len(index))))
    for row, (old, symbol) in enumerate(zip(index, symbols.tolist(), strict=True)):
        alone = network.start(batch_of([SOURCES[old]]))
        _, alone = network.step(torch.tensor([1]), alone)
        expected, alone = network.step(torch.tensor([symbol]), alone)
        torch.testing.assert_close(log_probs[row], expected[0])
        if after.attention is not None:
            assert alone.attention is not None
            torch.testing.assert_close(after.attention[row, : len(SOURCES[old])], alone.attention[0])
        torch.testing.assert_close(again[row], network.step(torch.tensor([symbol]), alone)[0][0])
    for new, old_part in zip(chosen.recurrent, state.recurrent, strict=True):
        assert torch.equal(new, old_part[:, index])


def test_sources_are_stored_once_however_many_hypotheses_they_have() -> None:
    _, state = state_after({"attention": "additive"})
    beams = state.select(torch.tensor([0, 0, 1, 1, 2, 2, 3, 3]))
    assert beams.memory.states is state.memory.states
    swapped = beams.select(torch.tensor([1, 0, 2, 2, 5, 4, 7, 6]))
    assert swapped.memory is beams.memory
    assert torch.equal(swapped.recurrent[0][:, 0], beams.recurrent[0][:, 1])
    fewer = beams.select(torch.tensor([0, 2, 3, 6]))
    assert torch.equal(fewer.memory.states, state.memory.states[[0, 1, 3]])
    assert fewer.memory.source.tolist() == [0, 1, 1, 2]
    assert torch.equal(fewer.memory.row_valid, state.memory.valid[[0, 1, 1, 3]])


def test_rows_that_are_spread_over_a_grid_are_gathered_again() -> None:
    _, state = state_after({"attention": "dot"})
    memory = state.memory.select(torch.tensor([0, 1, 1, 1, 3, 3]))
    rows = torch.arange(1, 13).view(6, 2)
    grid = memory.spread(rows)
    assert grid[:, :, 0].tolist() == [[1, 0, 0], [3, 5, 7], [9, 11, 0]]
    assert torch.equal(memory.gather(grid), rows)


def test_sources_are_copied_where_a_grid_would_be_nearly_empty_or_out_of_order() -> None:
    _, state = state_after({"attention": "dot"})
    for index in ([0] * 9 + [1, 2, 3], [3, 1]):
        memory = state.memory.select(torch.tensor(index))
        assert memory.places is None
        assert torch.equal(memory.states, state.memory.states[index])


@pytest.mark.parametrize("kind", ["none", "dot", "general", "additive", "hopfield"])
def test_every_parameter_learns(kind: str) -> None:
    network = build({"attention": kind})
    logits: Tensor = network(batch_of(SOURCES), torch.tensor(FED))
    torch.autograd.backward(F.cross_entropy(logits.flatten(0, 1), torch.tensor(FED).flatten()))
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []
