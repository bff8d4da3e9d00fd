"""The language of an item among its features."""

from __future__ import annotations

import pytest

from tests.messages import check_message
from triptych.errors import DataError
from triptych.text.features import join_features, split_features
from triptych.text.languages import language_of, token, with_language, without_language
from triptych.text.symbols import Tokenizer, Vocabularies, Vocabulary

KNOWN = ("ady", "dut")


def test_a_language_is_a_feature_like_others() -> None:
    features = with_language(("N", "PL"), "dut", KNOWN)
    assert features == ("N", "PL", "language=dut")
    assert split_features(join_features(features)) == features
    assert with_language(features, None, KNOWN) == with_language(features, "dut", KNOWN) == features
    assert (language_of(features), without_language(features)) == ("dut", ("N", "PL"))
    assert with_language(("N",), None, ()) == ("N",), "a model of one language has no name for it"


@pytest.mark.parametrize(
    ("features", "language", "known", "value", "name"),
    [
        ((), None, KNOWN, None, "missing"),
        ((), "dot", KNOWN, "dot", "unknown"),
        ((), "", KNOWN, "", "empty"),
        ((token("eng"),), None, KNOWN, "eng", "unknown-feature"),
        ((token("ady"),), "dut", KNOWN, "ady and dut", "two"),
        ((), "ady", (), "ady", "of-one"),
    ],
)
def test_bad_languages_are_one_line(
    features: tuple[str, ...], language: str | None, known: tuple[str, ...], value: str | None, name: str
) -> None:
    with pytest.raises(DataError) as caught:
        with_language(features, language, known)
    assert (caught.value.field, caught.value.value) == ("language", value)
    check_message(f"language.{name}", caught.value)


def test_vocabularies_keep_the_languages() -> None:
    characters, letters = Tokenizer("characters"), Vocabulary.build(["ab"])
    plain = Vocabularies(characters, characters, letters, letters, Vocabulary.build([["N"]]))
    several = Vocabularies(
        characters, characters, letters, letters, Vocabulary.build([[token("ady"), token("dut")]]), languages=KNOWN
    )
    assert Vocabularies.read(several.to_dict()) == several
    assert "languages" not in plain.to_dict()
    assert (plain.takes_features, several.takes_features) == (True, False)
    both = Vocabulary.build([[token("ady"), token("dut"), "N"]])
    assert Vocabularies(characters, characters, letters, letters, both, languages=KNOWN).takes_features
