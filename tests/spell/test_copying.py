"""Copying: the mixture against every walk by hand, and unseen symbols through every decoder and export."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.export.models import LETTERS, network, ship, speller
from tests.prepared import prepare
from tests.recipes import spell_recipe
from tests.toy import write_inflections
from triptych import api
from triptych.config import SpellDecoding, SpellModel
from triptych.decoding import Ensemble, Sources, Speller
from triptych.errors import RecipeError
from triptych.export.spell import difference, verify
from triptych.runs.run import Run
from triptych.runtime.speller import load
from triptych.spell.adapter import TorchModel
from triptych.spell.batches import EncodedPairs, PairBatch, hide_copied
from triptych.spell.build import build_transducer
from triptych.spell.encoder import SourceBatch
from triptych.spell.monotonic import MonotonicTransducer
from triptych.spell.objective import SpellObjective
from triptych.text.copying import copy_ids, extended, written
from triptych.text.pairs import Pair
from triptych.text.symbols import Tokenizer, Vocabularies, Vocabulary
from triptych.training.objective import Share

AB = Vocabulary(("a", "b"))  # indices 4 and 5, V = 6
ABS = Vocabularies(Tokenizer(), Tokenizer(), Vocabulary(("a", "b", "x", "y")), AB)
V = 8  # of the networks below


def test_symbols_beyond_the_vocabulary_are_those_of_the_source() -> None:
    source = ("a", "x", "b", "x", "y")
    assert copy_ids(source, AB) == [4, 7, 5, 7, 10]
    assert extended(("y", "a", "x", "z"), source, AB) == [10, 4, 7, Vocabulary.unknown]
    assert written([10, 4, 7, 7], source, AB) == ("y", "a", "x", "x")
    assert written([], source, AB) == ()


def build(**changes: object) -> MonotonicTransducer:
    torch.manual_seed(3)
    numbers: dict[str, Any] = {"hidden": 6, "embedding": 6, "encoder_hidden": 8, "attention_width": 5, "dropout": 0.0}
    model = SpellModel(attention="monotonic", copy_symbols=True, **{**numbers, **changes})
    built = build_transducer(model, source_size=9, target_size=V)
    assert isinstance(built, MonotonicTransducer)
    for parameter in built.parameters():  # far from uniform, so that a wrong index shows
        parameter.data.mul_(2.0)
    return built.eval().double()


def batch(rows: list[list[int]], ids: list[list[int]]) -> SourceBatch:
    symbols, copied = (
        torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in each], batch_first=True) for each in (rows, ids)
    )
    return SourceBatch(symbols, torch.tensor([len(row) for row in rows]), copy_ids=copied)


def sum_over_walks(built: MonotonicTransducer, source: SourceBatch, target: list[int]) -> float:
    """p(target) by enumerating every walk, and at each position what vocabulary and copying give the symbol."""
    decoder = built.decoder
    assert source.copy_ids is not None
    assert decoder.gate is not None
    ids = [0, *source.copy_ids[0].tolist(), 0]
    fed = [Vocabulary.start, *(symbol if symbol < V else Vocabulary.unknown for symbol in target[:-1])]
    view = built._view(source)
    states, _ = decoder.states(torch.tensor([fed]), None)
    transitions = decoder.transitions(states, view)[0]

    def emits(step: int, place: int, symbol: int) -> float:
        mixed = torch.tanh(view.states[0, place] + decoder.from_state(states[0, step]))
        spelt = torch.softmax(decoder.embedding.weight @ mixed + decoder.output_bias, 0)
        gate = torch.sigmoid(decoder.gate(mixed)).item() if ids[place] else 0.0  # type: ignore[misc]
        by_vocabulary = spelt[symbol].item() if symbol < V else 0.0
        return float((1 - gate) * by_vocabulary + gate * (ids[place] == symbol))

    total = 0.0
    for walk in itertools.product(range(len(ids)), repeat=len(target)):
        probability, before = 1.0, 0
        for step, (here, symbol) in enumerate(zip(walk, target, strict=True)):
            probability *= transitions[step, before, here].item() * emits(step, here, symbol)
            before = here
        total += probability
    return total


@pytest.mark.parametrize(
    ("rows", "ids", "target"),
    [
        ([4, 3, 3], [4, V + 1, V + 1], [4, V + 1, 5, Vocabulary.end]),
        ([3, 5, 3], [V, 5, V + 2], [V, V + 2, 5, Vocabulary.end]),
        ([4, 5], [4, 7], [4, 7, 6, Vocabulary.end]),
    ],
)
def test_training_probability_is_the_sum_over_all_walks(rows: list[int], ids: list[int], target: list[int]) -> None:
    built, source = build(), batch([rows], [ids])
    log_probs = built(source, torch.tensor([[Vocabulary.start, *target[:-1]]]))[0]
    assert log_probs.shape == (len(target), V + len(rows))
    chained = sum(log_probs[step, symbol].item() for step, symbol in enumerate(target))
    assert chained == pytest.approx(math.log(sum_over_walks(built, source, target)), abs=1e-9)
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(len(target), dtype=torch.float64))


SOURCES = ([[4, 3, 6, 3], [3, 5]], [[4, V + 1, 6, V + 1], [V, 7]])
FED = torch.tensor([[Vocabulary.start, V + 1, 6, 4], [Vocabulary.start, 7, V, 5]])


def test_stepping_equals_teacher_forcing() -> None:
    built, source = build(decoder_layers=2, cell="gru"), batch(*SOURCES)
    whole = built(source, FED)
    whole[..., :V] = whole[..., :V].masked_fill(built.get_buffer("never"), -math.inf)
    whole = whole.log_softmax(-1)
    with torch.inference_mode():
        state = built.start(source)
        for step in range(FED.shape[1]):
            log_probs, state = built.step(FED[:, step], state)
            found, wanted = (values.clamp(min=math.log(1e-15)) for values in (log_probs, whole[:, step].detach()))
            torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-6)
            # rows that come twice, and change places, go on alike
            doubled, _ = built.step(FED[[1, 0, 1], step], state.select(torch.tensor([1, 0, 1])))
            single, _ = built.step(FED[:, step], state)
            torch.testing.assert_close(doubled, single[[1, 0, 1]])


def test_padding_changes_nothing() -> None:
    built = build()
    rows, ids = SOURCES
    alone = built(batch(rows[1:], ids[1:]), FED[1:])
    together = built(batch(rows, ids), FED)[1:]
    torch.testing.assert_close(alone, together[..., : V + 2])
    assert together[..., V + 2 :].exp().max() < 1e-15, "nothing is copied from padding"


def test_every_weight_is_trained() -> None:
    built = build()
    built(batch(*SOURCES), FED)[:, :, V].sum().backward()
    assert [name for name, parameter in built.named_parameters() if parameter.grad is None] == []
    assert built.decoder.gate is not None
    assert built.decoder.gate.weight.grad is not None
    assert built.decoder.gate.weight.grad.abs().max() > 0


# hiding symbols in training


def pair_batch() -> tuple[list[Pair], PairBatch]:
    pairs = [
        Pair(tuple("abxa"), tuple("abaa"), 1),
        Pair(tuple("bay"), tuple("yb"), 2),
    ]
    encoded = EncodedPairs(pairs, Vocabulary(("a", "b", "x", "y")), AB, copies=True)
    return pairs, encoded[[0, 1]]


def test_hidden_symbols_can_only_be_copied() -> None:
    pairs, given = pair_batch()
    torch.manual_seed(0)
    kinds: set[tuple[bool, ...]] = set()
    for _ in range(30):
        found = hide_copied(given, 0.5, len(AB))
        assert found.source.copy_ids is not None
        for row, pair in enumerate(pairs):
            length = len(pair.source)
            hidden = (found.source.symbols[row, :length] == Vocabulary.unknown).tolist()
            ids = found.source.copy_ids[row, :length].tolist()
            assert written(ids, pair.source, AB) == pair.source
            for at, symbol in enumerate(pair.source):
                assert hidden[at] == hidden[pair.source.index(symbol)], "all of a symbol or nothing"
                assert (ids[at] >= len(AB)) == (hidden[at] or symbol not in AB)
            expected = found.expected[row, : len(pair.target)].tolist()
            assert written(expected, pair.source, AB) == pair.target
            for symbol, index in zip(pair.target, expected, strict=True):
                is_hidden = symbol in pair.source and hidden[pair.source.index(symbol)]
                assert (index >= len(AB)) == (is_hidden or symbol not in AB)
            assert found.fed[row, 1 : 1 + len(pair.target)].tolist() == expected
            kinds.add(tuple(hidden))
    assert len(kinds) > 4
    assert hide_copied(given, 0.0, len(AB)) is given


def total_of(share: Share) -> float:
    assert isinstance(share.total, torch.Tensor)
    return float(share.total.detach())


def test_training_hides_and_evaluation_does_not() -> None:
    _, given = pair_batch()
    built = build_transducer(
        SpellModel(attention="monotonic", copy_symbols=True, hidden=8, embedding=8, dropout=0.0),
        source_size=8,
        target_size=len(AB),
    )
    objective = SpellObjective(
        built, vocabularies=ABS, valid_items=[], decoding=SpellDecoding(), label_smoothing=0.1, hidden=0.9
    )
    torch.manual_seed(0)
    built.train()
    assert len({total_of(objective.loss(given)) for _ in range(4)}) > 1
    built.eval()
    assert len({total_of(objective.loss(given)) for _ in range(4)}) == 1


def test_the_share_of_the_recipe_reaches_the_training(tmp_path: Path) -> None:
    settings = ["data.source_unit=characters", "data.target_column=3", "model.copied_symbol_dropout=0.4"]
    data = write_inflections(tmp_path, train=4, valid=1, test=1)
    for copies, hidden in (("true", 0.4), ("false", 0.0)):
        recipe = spell_recipe("p2g-best-tiny", [*settings, f"model.copy_symbols={copies}"])
        objective: Any = prepare(recipe, data).objective
        assert objective.hidden == hidden
        assert objective.network.copies == (copies == "true")


def test_smoothing_is_over_the_vocabulary() -> None:
    _, given = pair_batch()
    built = build_transducer(
        SpellModel(attention="monotonic", copy_symbols=True, hidden=8, embedding=8, dropout=0.0),
        source_size=8,
        target_size=len(AB),
    ).eval()
    objective = SpellObjective(built, vocabularies=ABS, valid_items=[], decoding=SpellDecoding(), label_smoothing=0.2)
    log_probs = built(given.source, given.fed).log_softmax(-1)
    total = 0.0
    for row, target in enumerate(given.expected.tolist()):
        for step, symbol in enumerate(target):
            if symbol != Vocabulary.pad:
                spread = -log_probs[row, step, : len(AB)].mean().item()
                total += 0.8 * -log_probs[row, step, symbol].item() + 0.2 * spread
    assert total_of(objective.loss(given)) == pytest.approx(total, rel=1e-4)


# decoders, ensembles, exports


def copying(seed: int = 0, *, gate: float = 0.5, **settings: Any) -> Any:
    built: Any = network(seed, attention="monotonic", copy_symbols=True, **settings)
    with torch.no_grad():
        built.decoder.gate.bias.fill_(gate)
    return built


WORDS = ["abξ", "ξaψξ", "ψ", "jihg", "ωaω", "bcξψωa"]


@pytest.mark.parametrize("method", ["greedy", "beam", "sample"])
def test_every_decoder_writes_symbols_that_training_never_showed(method: Any) -> None:
    own = speller(copying(gate=4.0), copying(1, gate=4.0))
    decoding = SpellDecoding(method=method, n_best=4 if method == "beam" else 1, max_length_factor=1.0)
    found = own.predict(WORDS, decoding=decoding, with_attention=True)
    strange = [symbol for p in found for c in p.candidates for symbol in c.symbols if symbol not in LETTERS]
    assert set("ξψω") & set(strange)
    assert Vocabulary.unknown_text not in strange
    for prediction in found:
        texts = [candidate.text for candidate in prediction.candidates]
        assert method == "sample" or len(set(texts)) == len(texts)
        assert set("".join(texts)) <= {*LETTERS, *prediction.source}
        ended = [candidate for candidate in prediction.candidates if candidate.finished and candidate.symbols]
        scores = own.score([prediction.source] * len(ended), [candidate.symbols for candidate in ended])
        for candidate, score in zip(ended, scores, strict=True):
            assert candidate.log_probability == pytest.approx(score.log_probability, abs=1e-4)


def test_beam_search_finds_the_most_probable_of_all_targets() -> None:
    """Against enumeration of all targets of up to two symbols over the vocabulary and the source's own."""
    own = speller(copying(2), max_length_factor=0.0, max_length_extra=2)
    source = ("ξ", "a", "ψ", "ξ")
    symbols = [*LETTERS, "ξ", "ψ"]
    targets = [target for length in (1, 2) for target in itertools.product(symbols, repeat=length)]
    scores = own.score([source] * len(targets), targets)
    best = sorted(zip(targets, scores, strict=True), key=lambda each: -each[1].log_probability)[:5]
    decoding = SpellDecoding(method="beam", beam_size=150, n_best=8, max_length_factor=0.0, max_length_extra=2)
    (found,) = own.predict([source], decoding=decoding)
    listed = [c for c in found.candidates if c.finished and c.symbols][:5]
    assert [c.symbols for c in listed] == [target for target, _ in best]
    assert [c.log_probability for c in listed] == pytest.approx([s.log_probability for _, s in best], abs=1e-4)


def test_an_ensemble_may_have_members_that_do_not_copy() -> None:
    members = [TorchModel(copying()), TorchModel(network(1, attention="dot"))]
    ids = np.array([[14, 4, 14, 0], [5, 15, 16, 6]])
    sources = Sources(np.array([[3, 4, 3, 0], [5, 3, 3, 6]]), np.array([3, 4]), (0, 1), copy_ids=ids)
    whole: Any = Ensemble(members)
    state, states = whole.start(sources), [member.start(sources) for member in members]
    for fed in (np.array([1, 1]), np.array([14, 16]), np.array([4, 15])):
        log_probs, state = whole.step(fed, state)
        known = [fed, np.where(fed < 14, fed, 3)]
        steps = [member.step(each, inner) for member, each, inner in zip(members, known, states, strict=True)]
        states = [after for _, after in steps]
        first, second = np.exp(steps[0][0]), np.exp(steps[1][0])
        mean = first / 2
        mean[:, : second.shape[1]] += second / 2
        np.testing.assert_allclose(np.exp(log_probs), mean, atol=1e-6)
    assert whole.copies


def test_a_lexicon_allows_its_words_alone() -> None:
    held = speller(copying()).with_lexicon(["abc", "ξa", "jj"])
    assert {p.text for p in held.predict(WORDS, n_best=2)} <= {"abc", "jj"}
    preferring = speller(copying()).with_lexicon(["abc"], weight=0.0)
    assert [p.text for p in preferring.predict(WORDS)] == [p.text for p in speller(copying()).predict(WORDS)]


@pytest.mark.parametrize(
    "settings", [{}, {"cell": "gru", "encoder_layers": 2, "features_size": 7}], ids=["lstm", "gru"]
)
def test_graphs_equal_pytorch(settings: dict[str, Any], tmp_path: Path) -> None:
    own = speller(copying(**settings))
    exported = ship(own, tmp_path / "out")
    check = verify(own, exported)
    assert check["difference"] <= 1e-5
    assert check["lists_that_differ"] == 0
    graphs = load(exported)
    assert graphs.copies
    features = ["V;PL", "", "PST", "V", "", "V"] if settings else None
    for wanted, found in zip(
        own.predict(WORDS, features=features, n_best=3, with_alignment=True),
        graphs.predict(WORDS, features=features, n_best=3, with_alignment=True),
        strict=True,
    ):
        assert [c.text for c in found.candidates] == [c.text for c in wanted.candidates]
        assert [c.alignment for c in found.candidates] == [c.alignment for c in wanted.candidates]


def test_a_model_that_is_sure_to_copy_passes_the_check(tmp_path: Path) -> None:
    """Where g is 1 but for a millionth, what the vocabulary writes must not be the rounding of 1 - g."""
    own = speller(copying(gate=14.0))
    check = verify(own, ship(own, tmp_path / "out"))
    assert check["difference"] <= 1e-5
    assert check["lists_that_differ"] == 0


def test_a_wrong_gate_is_noticed(tmp_path: Path) -> None:
    built = copying()
    graphs = load(ship(speller(built), tmp_path / "out")).model
    ids = np.array([[14, 4, 14]])
    sources = Sources(np.array([[3, 4, 3]]), np.array([3]), (0,), copy_ids=ids)
    assert difference(TorchModel(built), graphs, sources, drawn=True) <= 1e-5
    with torch.no_grad():
        built.decoder.gate.bias.add_(0.1)
    assert difference(TorchModel(built), graphs, sources, drawn=True) > 1e-4


def test_an_alignment_shows_what_was_copied_from_where() -> None:
    built = copying()
    with torch.no_grad():
        built.decoder.gate.bias.fill_(9.0)
    (found,) = speller(built).align(["ξab"], ["ξab"])
    assert found.places == (0, 1, 2)


def test_copying_needs_a_position() -> None:
    with pytest.raises(RecipeError) as caught:
        spell_recipe("p2g-plain", ["model.attention=dot", "model.copy_symbols=true"])
    assert "copy_symbols is true with attention 'dot'" in str(caught.value)


# a language learnt


@pytest.fixture(scope="module")
def learnt(inflection_run: Run) -> Speller:
    loaded: Speller = api.load(inflection_run.path)
    return loaded


def test_a_stem_of_another_script_is_inflected(learnt: Speller) -> None:
    stems = ["ξαβο", "家族", "42", "дом"]
    found = learnt.predict(stems, features="N;PL")
    assert [p.text for p in found] == [f"{stem}s" for stem in stems]
    assert found[0].unknown == tuple("ξαβο")
    assert learnt.copies
    (score,) = learnt.score(["家族"], ["家族s"], features="N;PL")
    assert score.unknown_target == ("家", "族")
    assert score.log_probability == pytest.approx(found[1].log_probability, abs=1e-4)


def test_older_descriptions_do_not_copy() -> None:
    built = build_transducer(SpellModel(attention="monotonic"), source_size=9, target_size=V)
    assert isinstance(built, MonotonicTransducer)
    assert not built.copies
    assert "decoder.gate.weight" not in built.state_dict()
    moved = replace(batch(*SOURCES), features=torch.tensor([[4], [5]])).to("meta")
    assert moved.copy_ids is not None
    assert moved.copy_ids.device.type == "meta"
