"""Exported spellers against the library's own: the same texts, log-probabilities, scores and attention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import ToyRuns
from tests.export.models import LETTERS, network, ship, speller
from triptych import api, runtime
from triptych.config import SpellDecoding
from triptych.decoding import Speller
from triptych.errors import MissingExtraError, RunError, TriptychError
from triptych.runtime import Decoding
from triptych.runtime.speller import load
from triptych.text.symbols import Tokenizer

DECODINGS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "greedy-short": {"max_length_factor": 0.5, "max_length_extra": 1},
    "beam": {"method": "beam", "beam_size": 4, "n_best": 3},
    "beam-of-one": {"method": "beam", "beam_size": 1},
    "beam-length-penalty": {"method": "beam", "beam_size": 5, "n_best": 5, "length_penalty": 1.0},
    "beam-short": {"method": "beam", "beam_size": 3, "n_best": 3, "max_length_factor": 0.5, "max_length_extra": 1},
    "sample": {"method": "sample", "samples": 4, "seed": 5},
    "sample-nucleus": {"method": "sample", "samples": 3, "top_p": 0.8},
    "sample-top-k": {"method": "sample", "samples": 3, "top_k": 3, "temperature": 1.7, "seed": 2},
    "sample-both": {"method": "sample", "samples": 3, "top_k": 6, "top_p": 0.6, "temperature": 0.5},
}
KINDS: dict[str, list[dict[str, Any]]] = {
    "plain": [{}],
    "additive": [{"attention": "additive", "encoder_layers": 2}],
    "fed": [{"attention": "general", "input_feeding": True, "cell": "gru"}],
    "monotonic": [{"attention": "monotonic"}],
    "ensemble": [{"attention": "additive"}, {"attention": "monotonic"}, {"attention": "dot", "cell": "gru"}],
}


def sources(count: int = 40) -> list[str]:
    """Words of 1 to 9 letters, some with a letter that is not in the vocabulary."""
    draw = np.random.default_rng(0)
    letters = [*LETTERS, "?"]
    return ["".join(draw.choice(letters, draw.integers(1, 10))) for _ in range(count)]


def pair_of(kind: str, folder: Path, **decoding: Any) -> tuple[Speller, Speller]:
    own = speller(*(network(seed, **settings) for seed, settings in enumerate(KINDS[kind])), **decoding)
    return own, load(ship(own, folder))


def test_a_model_with_features_predicts_as_its_export(tmp_path: Path) -> None:
    own = speller(network(features_size=7, attention="monotonic"), network(1, features_size=7, attention="dot"))
    found, words = load(ship(own, tmp_path / "out")), sources(12)
    features = ["V;PST", "", "PL", "V;UNSEEN"] * 3
    assert_same(own.predict(words, features=features, n_best=3), found.predict(words, features=features, n_best=3))
    with pytest.raises(TriptychError, match="features"):
        found.predict(words)


def assert_same(wanted: Any, found: Any) -> None:
    assert len(wanted) == len(found)
    for a, b in zip(wanted, found, strict=True):
        assert (a.source, a.unknown, len(a.candidates)) == (b.source, b.unknown, len(b.candidates))
        for one, other in zip(a.candidates, b.candidates, strict=True):
            assert (one.symbols, one.text, one.origin) == (other.symbols, other.text, other.origin)
            assert other.log_probability == pytest.approx(one.log_probability, abs=1e-4)
            assert other.score == pytest.approx(one.score, abs=1e-4)
            if one.attention is None:
                assert other.attention is None
            else:
                assert other.attention is not None
                np.testing.assert_allclose(other.attention, one.attention, atol=1e-5)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Speller, Speller]]:
    """Every kind of model, and what its export reads as."""
    return {kind: pair_of(kind, tmp_path_factory.mktemp("exported") / kind) for kind in KINDS}


@pytest.mark.parametrize("settings", DECODINGS.values(), ids=DECODINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_decoder_gives_the_library_s_results(
    kind: str, settings: dict[str, Any], shipped: dict[str, tuple[Speller, Speller]]
) -> None:
    own, exported = shipped[kind]
    decoding = SpellDecoding(batch_size=16, **settings)
    wanted = own.predict(sources(), decoding=decoding, with_attention=True)
    found = exported.predict(sources(), decoding=decoding, with_attention=True)
    assert_same(wanted, found)
    assert len({candidate.text for prediction in wanted for candidate in prediction.candidates}) > 1


def test_settings_of_a_call_come_before_the_model_s_own(tmp_path: Path) -> None:
    own, exported = pair_of("additive", tmp_path / "out", method="beam", beam_size=3)
    for n_best in (1, 2, 6):
        assert_same(own.predict(sources(), n_best=n_best), exported.predict(sources(), n_best=n_best))
    settings: dict[str, Any] = {"method": "sample", "top_p": 0.7, "seed": 9}
    wanted = own.predict(sources(), decoding=SpellDecoding(**settings), n_best=5)
    assert_same(wanted, exported.predict(sources(), decoding=Decoding(**settings), n_best=5))
    assert len(wanted[0].candidates) == 5


@pytest.mark.parametrize("weight", [None, 0.0, 1.5, 6.0])
@pytest.mark.parametrize(
    "settings", [{}, DECODINGS["beam"], DECODINGS["sample-nucleus"]], ids=["greedy", "beam", "sample"]
)
def test_a_word_list_holds_both_alike(weight: float | None, settings: dict[str, Any], tmp_path: Path) -> None:
    own, exported = pair_of("additive", tmp_path / "out", **settings)
    words = [word for word in sources(300) if "?" not in word] + ["zz"]
    wanted = own.with_lexicon(words, weight=weight).predict(sources())
    assert_same(wanted, exported.with_lexicon(words, weight=weight).predict(sources()))
    assert [prediction.text for prediction in wanted] != [prediction.text for prediction in own.predict(sources())] or (
        weight == 0.0
    )


@pytest.mark.parametrize(
    "tokenizer",
    [
        Tokenizer(normal_form="NFD", lowercase=True),
        Tokenizer(unit="graphemes"),
        Tokenizer(unit="symbols"),
        Tokenizer(strip_diacritics=True, letters_only=True),
    ],
    ids=["decomposed", "graphemes", "symbols", "letters"],
)
def test_texts_are_split_as_in_training(tokenizer: Tokenizer, tmp_path: Path) -> None:
    own = speller(network(), tokenizer=tokenizer)
    exported = load(ship(own, tmp_path / "out"))
    texts = ["a b c", "ÁBc", "a\u0301b", "ab, c!", "क्षa"]
    assert_same(own.predict(texts), exported.predict(texts))


def test_a_trained_run_and_an_ensemble_predict_alike(toy_runs: ToyRuns, tmp_path: Path) -> None:
    runs = [toy_runs.run("first"), toy_runs.run("second")]
    joined = api.make_ensemble(runs, name=str(tmp_path / "runs" / "both"))
    words = [line.split("\t")[0] for line in (toy_runs.data / "test.tsv").read_text(encoding="utf-8").splitlines()]
    for run in (runs[0], joined):
        api.export(run, tmp_path / run.name)
        exported = runtime.load(tmp_path / run.name)
        assert_same(api.load(run.path).predict(words, n_best=3), exported.predict(words, n_best=3))


def test_weights_that_are_not_finite_are_reported(tmp_path: Path) -> None:
    broken = network()
    broken.decoder.embedding.weight.data[1] = float("nan")
    exported = load(ship(speller(broken), tmp_path / "out"))
    methods: list[Any] = ["greedy", "beam", "sample"]
    for method in methods:
        with pytest.raises(
            TriptychError, match=r"^the largest log-probability of batch row 0 is nan; expected a finite"
        ):
            exported.predict("abc", decoding=Decoding(method=method))


def test_damaged_descriptions_are_reported(tmp_path: Path) -> None:
    exported = ship(speller(network()), tmp_path / "out")
    model: Any = exported.model
    for name in ("source_tokenizer", "target_symbols", "decoding", "members"):
        value = model.pop(name)
        with pytest.raises(RunError, match=rf"the description of the speller is damaged \('{name}'\)"):
            load(exported)
        model[name] = value
    model["decoding"] = {**model["decoding"], "beam_size": 0}
    with pytest.raises(RunError, match=r"decoding\.beam_size is 0; expected an integer >= 1"):
        load(exported)
    model["decoding"]["beam_size"] = 5
    members, model["members"] = model["members"], []
    with pytest.raises(RunError, match=r"members is \[\]; expected one model or more"):
        load(exported)
    model["members"] = [{**members[0], "step": "../step.onnx"}]
    with pytest.raises(RunError, match=r"graph '\.\./step\.onnx' is not among its files"):
        load(exported)


def test_graphemes_need_a_library_which_is_reported_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exported = ship(speller(network(), tokenizer=Tokenizer(unit="graphemes")), tmp_path / "out")
    from triptych.text import symbols

    def missing() -> None:
        raise ImportError("No module named 'regex'")

    monkeypatch.setattr(symbols, "_graphemes", missing)
    with pytest.raises(MissingExtraError, match=r"^regex is not installed\. Install it with: pip install"):
        load(exported)
