"""Which normal form fits which texts; Korean syllables are composed and taken apart by Unicode's formula."""

from __future__ import annotations

import random

import pytest

from tests import hangul
from triptych.text.normal_form import fit_pairs, recurring_letters, resplit
from triptych.text.pairs import Pair
from triptych.text.symbols import NormalForm, Tokenizer

WORDS = hangul.words(60)
PAIRS = [Pair(tuple(roman), tuple(whole), number) for number, (whole, _, roman) in enumerate(WORDS)]


def test_korean_is_taken_apart_and_written_in_syllables() -> None:
    (source, target), phrase = fit_pairs(PAIRS, (Tokenizer(), Tokenizer()), decomposed=())
    syllables = {letter for whole, _, _ in WORDS for letter in whole}
    letters = {letter for _, apart, _ in WORDS for letter in apart}
    assert (source, target) == (Tokenizer(), Tokenizer(normal_form="NFD", written_form="NFC"))
    assert phrase == (f"sources in NFC, targets in NFD ({len(syllables)} symbols become {len(letters)}) written in NFC")
    for pair, (whole, apart, roman) in zip(resplit(PAIRS, (Tokenizer(),) * 2, (source, target)), WORDS, strict=True):
        assert (pair.source, pair.target) == (tuple(roman), tuple(apart))
        assert target.join(pair.target) == whole
        assert target.written(pair.target) == tuple(whole)


def test_each_side_is_looked_at_by_itself() -> None:
    turned = [Pair(pair.target, pair.source, pair.line) for pair in PAIRS]
    forms = [tokenizer.normal_form for tokenizer in fit_pairs(turned, (Tokenizer(),) * 2, decomposed=())[0]]
    assert forms == ["NFD", "NFC"]


@pytest.mark.parametrize("unit", ["graphemes", "symbols"])
def test_only_characters_are_taken_apart(unit: str) -> None:
    tokenizers = (Tokenizer(), Tokenizer(unit=unit))  # type: ignore[arg-type]
    assert fit_pairs(PAIRS, tokenizers, decomposed=())[0] == tokenizers


@pytest.mark.parametrize(
    ("decomposed", "expected"),
    [((), ("NFC", "")), (("source",), ("NFC", "NFD")), (("target",), ("NFC", ""))],
)
def test_what_is_not_taken_apart_is_written_as_the_data_is(
    decomposed: tuple[str, ...], expected: tuple[str, str]
) -> None:
    pairs = [Pair(tuple("été"), tuple("summer"), 1)] * 50
    (source, _), phrase = fit_pairs(pairs, (Tokenizer(), Tokenizer()), decomposed=decomposed)
    assert (source.normal_form, source.written_form) == expected
    assert phrase == (
        "sources in NFC written in NFD, targets in NFC"
        if decomposed == ("source",)
        else "sources in NFC, targets in NFC written in NFD"
        if decomposed
        else "in NFC"
    )


def test_korean_that_lies_in_letters_is_written_in_letters() -> None:
    (_, target), _ = fit_pairs(PAIRS, (Tokenizer(), Tokenizer()), decomposed=("target",))
    assert (target.normal_form, target.written_form) == ("NFD", "")


def test_few_accents_stay_on_their_letters() -> None:
    drawn = random.Random(0)
    french = ["".join(drawn.choices("abcdefghilmnoprstuéèàç", k=7)) for _ in range(300)] + ["noël", "maïs"]
    assert recurring_letters(french) == 0


def test_korean_of_any_size_is_taken_apart() -> None:
    syllables = [hangul.syllable(i, v, f) for i in hangul.INITIALS for v in hangul.VOWELS for f in hangul.FINALS]
    parts = len(hangul.INITIALS) + len(hangul.VOWELS) + len(hangul.FINALS) - 1  # no final is not a letter
    assert recurring_letters(syllables * 50) == parts


def test_symbols_that_have_no_parts_are_never_taken_apart() -> None:
    kanji = [chr(0x4E00 + 7 * i) + chr(0x4E00 + 11 * i) for i in range(200)]
    assert recurring_letters(kanji) == 0


@pytest.mark.parametrize("form", ["NFC", "NFD", "none"])
def test_written_symbols_are_those_of_the_text(form: NormalForm) -> None:
    plain = Tokenizer(normal_form=form)
    assert plain.written(("e", "\u0301")) == ("e", "\u0301"), "without a written form nothing changes"
    whole, apart, _ = WORDS[0]
    assert Tokenizer(normal_form="NFD", written_form="NFC").written(()) == ()
    assert Tokenizer(unit="symbols", normal_form="NFC", written_form="NFD").written(("é", "t")) == ("e\u0301", "t")
    assert Tokenizer(unit="graphemes", normal_form="NFD", written_form="NFC").written((apart,)) == tuple(whole)
