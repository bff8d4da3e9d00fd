"""From texts to predictions: order, batches, n-best, streaming, lexicons, and models on disk that cannot be trusted."""

from __future__ import annotations

import json
import math
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import ToyRuns
from tests.toy import spell, toy_pairs
from triptych import api
from triptych.config import SpellDecoding
from triptych.decoding import Ensemble, Sources, Speller, decode, speller as speller_module
from triptych.decoding.given import batches
from triptych.errors import DataError, RecipeError, RunError
from triptych.text.symbols import Vocabularies

SOUNDS = [" ".join(sounds) for sounds, _ in toy_pairs(60, seed=5)]


@pytest.fixture(scope="module")
def speller(toy_runs: ToyRuns) -> Speller:
    loaded: Speller = api.load(toy_runs.folder / "first")
    return loaded


def spelt(speller: Speller, sources: list[str], **options: Any) -> list[tuple[str, float]]:
    return [(p.text, round(p.log_probability, 4)) for p in speller.predict(sources, **options)]


def test_a_trained_model_spells_words_it_never_saw(speller: Speller) -> None:
    right = [
        prediction.text == spell(tuple(source.split()))
        for source, prediction in zip(SOUNDS, speller.predict(SOUNDS), strict=True)
    ]
    assert sum(right) / len(right) > 0.5


def test_predictions_come_in_the_order_of_the_sources(speller: Speller) -> None:
    predictions = speller.predict(SOUNDS)
    assert [" ".join(p.source) for p in predictions] == SOUNDS
    assert spelt(speller, SOUNDS[::-1]) == spelt(speller, SOUNDS)[::-1]


@pytest.mark.parametrize("method", ["greedy", "beam", "sample"])
def test_predictions_do_not_depend_on_the_batch(speller: Speller, method: Any) -> None:
    one, seven, all_at_once = (
        [
            c
            for p in speller.predict(SOUNDS, decoding=SpellDecoding(method=method, batch_size=size, seed=3))
            for c in p.candidates
        ]
        for size in (1, 7, 256)
    )
    for other in (seven, all_at_once):
        assert [c.text for c in other] == [c.text for c in one]
        assert [c.log_probability for c in other] == pytest.approx([c.log_probability for c in one], abs=1e-4)


def test_texts_and_symbols_are_the_same_and_one_text_is_a_list_of_one(speller: Speller) -> None:
    as_symbols = speller.predict([tuple(source.split()) for source in SOUNDS[:5]])
    assert [p.text for p in as_symbols] == [p.text for p in speller.predict(SOUNDS[:5])]
    (alone,) = speller.predict(SOUNDS[0])
    assert alone.text == as_symbols[0].text
    assert speller.predict([]) == []


def test_the_properties_are_those_of_the_best_candidate(speller: Speller) -> None:
    (prediction,) = speller.predict(["B IY"], n_best=3, with_attention=True)
    best = prediction.candidates[0]
    assert (prediction.symbols, prediction.text) == (best.symbols, "".join(best.symbols))
    assert prediction.log_probability == best.log_probability
    assert best.probability == pytest.approx(math.exp(best.log_probability))
    assert 0 < best.probability <= 1
    assert prediction.attention is best.attention
    assert best.origin == "model"
    assert prediction.attention is not None
    assert prediction.attention.shape == (len(best.symbols) + 1, 2)
    assert prediction.attention.sum(1).tolist() == pytest.approx([1.0] * (len(best.symbols) + 1), abs=1e-5)


def test_attention_is_kept_only_when_asked_for(speller: Speller) -> None:
    assert speller.predict(["B IY"])[0].attention is None
    candidates = speller.predict(["B IY"], n_best=3, with_attention=True)[0].candidates
    assert all(candidate.attention is not None for candidate in candidates)


def test_n_best_gives_different_candidates_best_first(speller: Speller) -> None:
    for prediction in speller.predict(SOUNDS[:10], n_best=4):
        assert len({c.text for c in prediction.candidates}) == len(prediction.candidates) == 4
        scores = [c.score for c in prediction.candidates]
        assert scores == sorted(scores, reverse=True)
    beam = spelt(speller, SOUNDS[:10], decoding=SpellDecoding(method="beam", beam_size=5))
    assert [p.candidates[0].text for p in speller.predict(SOUNDS[:10], n_best=4)] == [text for text, _ in beam]
    with pytest.raises(RecipeError, match=r"^decoding\.n_best is 0; expected an integer"):
        speller.predict(["B IY"], n_best=0)


def test_log_probabilities_are_those_of_the_decoder(speller: Speller) -> None:
    settings = SpellDecoding(method="beam", beam_size=3, n_best=3, length_penalty=0.7)
    source = ("B", "IY", "S")
    (expected,) = decode(speller.model, Sources.of([speller.vocabularies.sources.encode(source)]), settings)
    (prediction,) = speller.predict([source], decoding=settings)
    assert [c.log_probability for c in prediction.candidates] == [h.log_probability for h in expected]
    assert [c.score for c in prediction.candidates] == [h.score for h in expected]


def test_unknown_symbols_are_named_once_in_order(speller: Speller) -> None:
    (prediction,) = speller.predict(["ZZ B QQ ZZ"])
    assert prediction.unknown == ("ZZ", "QQ")
    assert speller.predict(["B IY"])[0].unknown == ()


@pytest.mark.parametrize("empty", ["", "   ", ()])
def test_a_source_without_symbols_is_refused_with_its_number(speller: Speller, empty: Any) -> None:
    with pytest.raises(DataError) as caught:
        speller.predict(["B IY", empty])
    assert str(caught.value) == "source 1 has 0 symbols; expected at least one. Numbers begin at 0."


def test_an_empty_source_in_a_stream_is_refused_with_its_number(
    speller: Speller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speller_module, "CHUNK", 2)
    with pytest.raises(DataError, match=r"^source 3 has 0 symbols"):
        list(speller.stream([("B",), ("B",), ("B",), ()]))


def test_a_stream_reads_no_further_ahead_than_a_chunk(speller: Speller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speller_module, "CHUNK", 8)
    read = 0

    def endless() -> Iterator[tuple[str, ...]]:
        nonlocal read
        while True:
            read += 1
            assert read <= 100, "a stream that is read whole"
            yield tuple(SOUNDS[(read - 1) % len(SOUNDS)].split())

    results = speller.stream(endless())
    assert read == 0
    expected = spelt(speller, SOUNDS)
    for given in range(1, 41):
        prediction = next(results)
        assert (prediction.text, round(prediction.log_probability, 4)) == expected[given - 1]
        assert read <= given + 7


def test_what_was_read_before_a_failure_is_still_answered(speller: Speller) -> None:
    def failing() -> Iterator[tuple[str, ...]]:
        yield from (tuple(source.split()) for source in SOUNDS[:5])
        raise DataError("the sixth is bad")

    results = speller.stream(failing())
    assert [next(results).text for _ in range(5)] == [text for text, _ in spelt(speller, SOUNDS[:5])]
    with pytest.raises(DataError, match="the sixth is bad"):
        next(results)


def test_batches_of_long_sources_have_fewer_rows() -> None:
    lengths = [5] * 300 + [200] * 50 + [1000] * 10
    cut = [len(part) for part in batches(range(len(lengths)), lengths, 256)]
    assert cut == [256, 44, 40, 10, 8, 2]
    assert [len(part) for part in batches([0], [100_000], 1)] == [1]
    assert sum(cut) == len(lengths)


def test_streamed_samples_do_not_depend_on_the_chunks(speller: Speller, monkeypatch: pytest.MonkeyPatch) -> None:
    decoding = SpellDecoding(method="sample", samples=2, seed=1)
    sources = [tuple(source.split()) for source in SOUNDS[:20]]
    monkeypatch.setattr(speller_module, "CHUNK", 20)
    whole = [[c.text for c in p.candidates] for p in speller.stream(sources, decoding=decoding)]
    monkeypatch.setattr(speller_module, "CHUNK", 3)
    parts = [[c.text for c in p.candidates] for p in speller.stream(sources, decoding=decoding)]
    assert parts == whole
    assert [[c.text for c in p.candidates] for p in speller.predict(sources, decoding=decoding)] == whole


def test_a_hard_lexicon_allows_its_words_only(speller: Speller) -> None:
    held = speller.with_lexicon(["be", "moo", "zzz"])  # z is no symbol of the model's
    texts = [c.text for p in held.predict(SOUNDS[:10], n_best=2) for c in p.candidates]
    assert set(texts) <= {"be", "moo"}
    assert set(texts) == {"be", "moo"}
    free = {p.text for p in speller.predict(SOUNDS[:10])}
    assert not free <= {"be", "moo"}, "the speller itself is as it was"


def test_an_open_lexicon_prefers_its_words_by_weight(speller: Speller) -> None:
    source = ["SH UW"]
    assert speller.predict(source)[0].text == "shoo"
    assert speller.with_lexicon(["moo"], weight=0.0).predict(source)[0].text == "shoo"
    dear = speller.with_lexicon(["moo"], weight=100.0).predict(source, n_best=2)[0]
    assert dear.text == "moo"
    bare = speller.predict(source, n_best=1)[0]
    other = next((c for c in dear.candidates if c.text == "shoo"), None)
    assert other is None or other.log_probability == pytest.approx(bare.log_probability, abs=1e-4)
    with pytest.raises(RecipeError, match=r"-1"):
        speller.with_lexicon(["moo"], weight=-1.0)


def test_a_lexicon_without_usable_words_is_refused(speller: Speller) -> None:
    with pytest.raises(RecipeError, match="lexicon"):
        speller.with_lexicon(["zzz"]).predict(["B IY"])


def test_a_dictionary_comes_before_the_model(speller: Speller) -> None:
    entries = [(("B", "IY"), tuple("bee")), (("B", "IY"), tuple("be")), (("Z",), tuple("zed"))]
    looked_up = speller.with_dictionary(entries)
    be, z, other = looked_up.predict(["B IY", "Z", "S IY"])
    assert [(c.text, c.origin, c.log_probability) for c in be.candidates] == [("bee", "dictionary", 0.0)]
    assert (z.text, z.unknown) == ("zed", ())
    assert other.best.origin == "model"
    two = looked_up.predict(["B IY"], n_best=2)[0]
    assert [c.text for c in two.candidates] == ["bee", "be"]
    both = looked_up.with_lexicon(["moo"])
    assert [p.text for p in both.predict(["B IY", "S IY"])] == ["bee", "moo"]


def test_dictionaries_take_texts_and_symbols_in_both_columns(speller: Speller) -> None:
    text = speller.with_dictionary([("B IY", "bee"), (("S", "IY"), "sea"), ("Z", list("zed"))])
    assert [p.text for p in text.predict(["B IY", "S IY", "Z"])] == ["bee", "sea", "zed"]
    assert {p.best.origin for p in text.predict(["B IY", "S IY", "Z"])} == {"dictionary"}
    assert text.predict("B IY")[0].symbols == ("b", "e", "e")


@pytest.mark.parametrize("pairs", ["cat", ["cat"], [("B IY",)], [("B IY", "bee", "be")]])
def test_a_dictionary_of_anything_but_pairs_is_refused(speller: Speller, pairs: Any) -> None:
    with pytest.raises(DataError) as caught:
        speller.with_dictionary(pairs)
    assert (caught.value.field, caught.value.value) == ("dictionary entry 1", pairs[0])
    assert caught.value.expected == "a pair of source and target"


def test_a_lone_word_is_not_a_list_of_letters(speller: Speller) -> None:
    with pytest.raises(DataError) as caught:
        speller.with_lexicon("moo")
    assert (caught.value.field, caught.value.value, caught.value.expected) == ("words", "moo", "a list of texts")
    assert speller.with_lexicon([("m", "o", "o")]).predict("B IY")[0].text == "moo"


def test_a_target_that_the_limit_cuts_says_so(speller: Speller) -> None:
    short = SpellDecoding(max_length_factor=0.0, max_length_extra=1)
    whole, cut = speller.predict("M UW")[0].best, speller.predict("M UW", decoding=short)[0].best
    assert (whole.text, whole.finished) == ("moo", True)
    assert (cut.text, cut.finished) == ("m", False)
    assert speller.with_dictionary([("M UW", "moo")]).predict("M UW", decoding=short)[0].best.finished


def test_an_ensemble_of_a_model_with_itself_predicts_as_the_model(speller: Speller) -> None:
    twice = Speller(Ensemble([speller.model, speller.model]), speller.vocabularies, speller.decoding)
    for one, two in zip(speller.predict(SOUNDS, n_best=3), twice.predict(SOUNDS, n_best=3), strict=True):
        assert [c.text for c in one.candidates] == [c.text for c in two.candidates]
        assert [c.log_probability for c in two.candidates] == pytest.approx(
            [c.log_probability for c in one.candidates], abs=1e-4
        )


def test_a_language_survives_json(speller: Speller) -> None:
    text = json.dumps(speller.vocabularies.to_dict())
    assert Vocabularies.from_dict(json.loads(text), Path("model.json")) == speller.vocabularies


# Models on disk


@pytest.fixture
def copied(toy_runs: ToyRuns, tmp_path: Path) -> Path:
    """A copy of a run to be damaged."""
    return Path(shutil.copytree(toy_runs.folder / "first", tmp_path / "copied"))


def loading_fails(run: Path, **options: Any) -> str:
    with pytest.raises((RunError, RecipeError)) as caught:
        api.load(run, **options)
    return str(caught.value)


def edit(run: Path, **changes: Any) -> None:
    """Change entries of model.json; None takes one away."""
    path = run / "model.json"
    document = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in document.items() if value is not None}))


def test_an_undamaged_copy_predicts_the_same(copied: Path, speller: Speller) -> None:
    assert spelt(api.load(copied), SOUNDS) == spelt(speller, SOUNDS)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_truncated_tensors_are_refused(copied: Path, share: float) -> None:
    path = copied / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert loading_fails(copied).startswith(f"{path}: the file is damaged (")


def test_a_pickle_under_the_models_name_is_refused_and_not_run(copied: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    path = copied / "model.safetensors"
    path.write_bytes(pickle.dumps(Evil()))
    assert loading_fails(copied).startswith(f"{path}: the file is damaged (")
    torch.save({"decoder": Evil()}, path)
    assert loading_fails(copied).startswith(f"{path}: the file is damaged (")
    assert not (tmp_path / "ran").exists()
    pickle.loads(pickle.dumps(Evil()))
    assert (tmp_path / "ran").exists(), "the pickle would have run"


def test_another_panel_or_a_newer_format_is_refused(copied: Path) -> None:
    edit(copied, panel="see")
    assert loading_fails(copied) == f"{copied}/model.json: panel is 'see'; expected 'spell'."
    edit(copied, panel="spell", format=2)
    assert loading_fails(copied) == (
        f"{copied}/model.json: format is 2; expected 1. Update Triptych with: pip install --upgrade triptych"
    )


@pytest.mark.parametrize("key", ["source_tokenizer", "target_tokenizer", "source_symbols", "target_symbols"])
def test_a_missing_entry_is_named(copied: Path, key: str) -> None:
    edit(copied, **{key: None})
    assert loading_fails(copied) == (f"{copied}/model.json: the description of the model lacks '{key}'.")


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"architecture": None}, "the description of the network is damaged"),
        ({"architecture": 3}, "the description of the network is damaged"),
        ({"architecture": {"source_size": 15}}, "the description of the network is damaged"),
        ({"source_tokenizer": 3}, "is damaged"),
        ({"source_tokenizer": {}}, "tokenizer.unit is missing"),
        ({"source_symbols": "abc"}, "vocabulary is 'str'; expected a list of symbols"),
        ({"target_symbols": ["a", "a"]}, "vocabulary symbol 1 is 'a'; expected each symbol once"),
        ({"decoding": {"method": "greddy"}}, "decoding is damaged"),
        ({"decoding": {"beams": 3}}, "decoding is damaged"),
        ({"members": []}, "members is []; expected a list of one model or more."),
        ({"members": 3}, "members is 3; expected a list of one model or more."),
    ],
)
def test_damaged_entries_are_named(copied: Path, changes: dict[str, Any], part: str) -> None:
    edit(copied, **changes)
    message = loading_fails(copied)
    assert str(copied / "model.json") in message
    assert part in message


@pytest.mark.parametrize(
    "change",
    [
        {"hidden": 64, "embedding": 64},
        {"attention": "general"},
        {"attention": "none"},
        {"cell": "gru"},
        {"source_size": 99},
        {"decoder_layers": 2},
        {"tie_output": False},
    ],
)
def test_tensors_that_do_not_fit_the_description_are_refused(copied: Path, change: dict[str, Any]) -> None:
    architecture = json.loads((copied / "model.json").read_text())["architecture"]
    edit(copied, architecture={**architecture, **change})
    assert loading_fails(copied).startswith(f"{copied}: model.safetensors does not fit model.json (")


def test_unknown_names_in_a_description_are_refused(copied: Path) -> None:
    architecture = json.loads((copied / "model.json").read_text())["architecture"]
    for change, part in (({"attention": "dott"}, "'dott'"), ({"cell": "lstmm"}, "'lstmm'"), ({"hiden": 3}, "hiden")):
        edit(copied, architecture={**architecture, **change})
        assert part in loading_fails(copied)


def test_missing_and_unreadable_files_are_reported(copied: Path) -> None:
    (copied / "model.json").write_text("{")
    assert loading_fails(copied).startswith(f"{copied}/model.json: the file is damaged (")
    (copied / "model.json").write_text("[]")
    assert loading_fails(copied) == f"{copied}/model.json: the file is damaged (it holds a list)."
    (copied / "model.json").unlink()
    assert loading_fails(copied).startswith(f"{copied}/model.json: no such file, so that the run has no model yet.")


def test_a_vocabulary_that_does_not_fit_the_tensors_is_refused(copied: Path) -> None:
    symbols = json.loads((copied / "model.json").read_text())["source_symbols"]
    edit(copied, source_symbols=symbols[:-1])
    assert "source_symbols" in loading_fails(copied)


@pytest.mark.parametrize("device", ["cdu", "cuda:99", "", "xpu"])
def test_a_device_that_is_not_here_is_reported(toy_runs: ToyRuns, device: str) -> None:
    message = loading_fails(toy_runs.folder / "first", device=device)
    assert message.startswith(f"device is {device!r}; expected one of this machine: cpu")
