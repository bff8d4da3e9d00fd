"""Korean: letters inside, syllables outside, whatever a model is used for."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import hangul
from tests.prepared import prepare
from tests.recipes import spell_recipe
from triptych.config import SpellDecoding, SpellRecipe
from triptych.decoding import Speller
from triptych.spell.adapter import TorchModel
from triptych.spell.corpus import load_corpus
from triptych.spell.panel import PANEL
from triptych.text.dictionaries import read_dictionary, read_words
from triptych.text.symbols import Vocabularies

SETTINGS = ("data.source_unit=characters", "model.hidden=8", "model.embedding=8")
DECODING = SpellDecoding(max_length_factor=1.0)


def recipe(*settings: str) -> SpellRecipe:
    return spell_recipe("p2g-plain", ["data.normal_form=auto", *SETTINGS, *settings])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return hangul.write_hangul(tmp_path / "korean.tsv", 80)


@pytest.fixture
def speller(data: Path) -> Speller:
    prepared = prepare(recipe(), data)
    network: Any = prepared.objective.network
    return Speller(TorchModel(network.eval()), Vocabularies.from_dict(prepared.description, data), DECODING)


def test_predictions_are_letters_written_in_syllables(speller: Speller) -> None:
    predictions = speller.predict(["nabi", "namu", "haneul"])
    for prediction in predictions:
        assert all(0x1100 <= ord(letter) < 0x1200 for letter in prediction.symbols)
        assert prediction.text == unicodedata.normalize("NFC", "".join(prediction.symbols))
    assert any(len(p.text) < len(p.symbols) for p in predictions), "else nothing was composed"


def test_scores_count_syllables(speller: Speller, data: Path) -> None:
    corpus = PANEL.read(recipe(), data)
    evaluation = PANEL.evaluate(speller, recipe(), corpus, split="test", decoding=DECODING)
    whole = {roman: text for text, _, roman in hangul.words(80)}
    for item in evaluation.items:
        assert item.references == (tuple(whole["".join(item.source)]),)
        assert item.predictions[0] == tuple(speller.predict("".join(item.source))[0].text)


def test_validation_during_training_counts_syllables_too(speller: Speller, data: Path) -> None:
    prepared = prepare(recipe(), data)
    objective: Any = prepared.objective
    objective.network.eval()
    objective.decoding = DECODING
    with torch.inference_mode():
        shares = [objective.measure(batch)["cer"] for batch in prepared.loaders.valid(0, 1)]
    measured = sum(float(share.total) for share in shares) / sum(float(share.count) for share in shares)
    corpus = PANEL.read(recipe(), data)
    evaluation = PANEL.evaluate(speller, recipe(), corpus, split="valid", decoding=DECODING)
    assert measured == pytest.approx(evaluation.scores.cer.value)


def test_splits_do_not_depend_on_the_form(data: Path) -> None:
    auto, composed, letters = (
        load_corpus(recipe(*settings).data, data)
        for settings in ((), ("data.normal_form=NFC",), ("data.normal_form=NFD",))
    )
    tokenizer = auto.tokenizers[1]
    for split, pairs in auto.splits.items():
        assert [tokenizer.written(pair.target) for pair in pairs] == [pair.target for pair in composed.splits[split]]
    assert "targets in NFD (" in auto.content
    assert "written in NFC" in auto.content
    assert (composed.notes, letters.notes) == ((), ())
    assert letters.tokenizers[1].join(letters.splits["test"][0].target) != composed.tokenizers[1].join(
        composed.splits["test"][0].target
    ), "a form that was asked for is what is written"


def test_other_data_is_read_as_the_model_reads(speller: Speller, tmp_path: Path) -> None:
    """Five words say little of letters that recur; the model's form is known."""
    for decomposed in (False, True):
        other = hangul.write_hangul(tmp_path / "other.tsv", 5, seed=1, decomposed=decomposed)
        corpus = PANEL.read(recipe(), other, model=speller, whole="test")
        assert [pair.target for pair in corpus.splits["test"]] == [tuple(a) for _, a, _ in hangul.words(5, seed=1)]
        assert corpus.tokenizers[1].written_form == "NFC"


def test_reversed_data_has_letters_on_the_other_side(data: Path) -> None:
    corpus = load_corpus(recipe("data.reverse=true").data, data)
    assert [tokenizer.normal_form for tokenizer in corpus.tokenizers] == ["NFD", "NFC"]


def test_data_in_letters_is_written_in_letters(tmp_path: Path) -> None:
    data = hangul.write_hangul(tmp_path / "letters.tsv", 80, decomposed=True)
    target = load_corpus(recipe().data, data).tokenizers[1]
    assert (target.normal_form, target.written_form) == ("NFD", "")


def test_word_lists_and_dictionaries_come_in_either_form(speller: Speller, tmp_path: Path) -> None:
    whole, apart, roman = hangul.words(80)[0]
    for text in (whole, apart):
        words, pairs = tmp_path / "words.txt", tmp_path / "pairs.tsv"
        words.write_text(f"{text}\n", encoding="utf-8")
        pairs.write_text(f"{roman}\t{text}\n", encoding="utf-8")
        listed = speller.with_lexicon(read_words(words, speller.vocabularies).words)
        assert listed.predict("ga")[0].text == whole
        known = speller.with_dictionary(read_dictionary(pairs, speller.vocabularies).entries)
        assert (known.predict(roman)[0].text, known.predict(roman)[0].best.origin) == (whole, "dictionary")
