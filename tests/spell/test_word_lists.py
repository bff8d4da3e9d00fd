"""A named data set in front of a model, in either direction."""

from __future__ import annotations

from typing import Any

import pytest

from tests.oracles.decoding import random_model
from tests.recipes import spell_recipe
from triptych.config import SpellDecoding
from triptych.decoding import Speller
from triptych.spell.word_lists import with_named_set
from triptych.text.symbols import Tokenizer, Vocabularies, Vocabulary

WORDS, SOUNDS = Tokenizer(lowercase=True), Tokenizer(unit="symbols")


@pytest.mark.parametrize(
    ("recipe", "settings", "tokenizers", "asked", "answer"),
    [
        ("en-us-g2p", [], (WORDS, SOUNDS), "Cat", "K AE T"),
        ("en-us-p2g", [], (SOUNDS, WORDS), "K AE T", "cat"),
        ("p2g-best", ["data.set=cmudict", "data.reverse=true"], (WORDS, SOUNDS), "Cat", "K AE T"),
    ],
)
def test_the_dictionary_of_a_direction_answers_first(
    recipe: str, settings: list[str], tokenizers: Any, asked: str, answer: str
) -> None:
    letters = Vocabulary(tuple("abcdefghij"))
    source, target = tokenizers
    model = Speller(random_model(1, letters=11), Vocabularies(source, target, letters, letters), SpellDecoding())
    speller = with_named_set(model, spell_recipe(recipe, settings), "cmudict")
    (found,) = speller.predict(asked, n_best=3)
    assert answer in [candidate.text for candidate in found.candidates]
    assert {candidate.origin for candidate in found.candidates} == {"dictionary"}
    assert speller.predict([tuple("abab")])[0].best.origin == "model"
