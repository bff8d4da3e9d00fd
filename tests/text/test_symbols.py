"""Tokenizer and Vocabulary: exact cases, round trips over arbitrary Unicode, and the words of the errors."""

from __future__ import annotations

import json
import re
import unicodedata

import pytest
from hypothesis import given, strategies as st

from triptych.errors import DataError, RecipeError
from triptych.text.symbols import Tokenizer, Vocabulary, quoted, some_of

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
TOKENIZERS = st.builds(
    Tokenizer,
    unit=st.sampled_from(["characters", "graphemes", "symbols"]),
    normal_form=st.sampled_from(["NFC", "NFD", "NFKC", "NFKD", "none"]),
    lowercase=st.booleans(),
    strip_diacritics=st.booleans(),
    letters_only=st.booleans(),
)
E_ACUTE = "e\u0301"


@pytest.mark.parametrize(
    ("tokenizer", "text", "symbols"),
    [
        (Tokenizer(), "Zoë", ("Z", "o", "ë")),
        (Tokenizer(), f"caf{E_ACUTE}", ("c", "a", "f", "é")),
        (Tokenizer(normal_form="NFD"), "né", ("n", "e", "\u0301")),
        (Tokenizer(normal_form="NFKC"), "ﬁn", ("f", "i", "n")),
        (Tokenizer(normal_form="NFKD"), "ﬁé", ("f", "i", "e", "\u0301")),
        (Tokenizer(normal_form="none"), E_ACUTE, ("e", "\u0301")),
        (Tokenizer(unit="graphemes"), "कि👩‍👩‍👧x\u0323", ("कि", "👩‍👩‍👧", "x\u0323")),
        (Tokenizer(unit="characters"), "कि", ("क", "ि")),
        (Tokenizer(unit="symbols"), " t͡ʃ  æ\tp ", ("t͡ʃ", "æ", "p")),
        (Tokenizer(lowercase=True), "ÄB", ("ä", "b")),
        (Tokenizer(strip_diacritics=True), "crudités", tuple("crudites")),
        (Tokenizer(strip_diacritics=True, normal_form="none"), "é", ("e",)),
        (Tokenizer(), "  a b ", ("a", " ", "b")),
        (Tokenizer(), " \t", ()),
    ],
)
def test_split_gives_the_symbols_of_the_unit(tokenizer: Tokenizer, text: str, symbols: tuple[str, ...]) -> None:
    assert tokenizer.split(text) == symbols


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  who painted it?", "who painted it ?"),
        ("i'm able -- to run .", "i m able to run ."),
        ("wait...", "wait . . ."),
        ("a.b", "a .b"),
        ("¿quién lo pintó?", "quién lo pintó ?"),
        ("room 101, left!", "room left !"),
        ("123", ""),
        ("पानी 2", "पानी"),
        ("1\u0301a", "a"),
    ],
)
def test_letters_only_keeps_words_and_sentence_marks(text: str, cleaned: str) -> None:
    assert Tokenizer(letters_only=True).normalise(text) == cleaned


@given(st.text(st.characters(codec="ascii")))
def test_letters_only_equals_the_two_customary_substitutions_on_ascii(text: str) -> None:
    customary = re.sub(r"[^a-zA-Z.!?]+", " ", re.sub(r"([.!?])", r" \1", text.strip())).strip()
    assert Tokenizer(letters_only=True).normalise(text) == customary


@given(TOKENIZERS, TEXTS)
def test_joining_what_was_split_gives_the_normalised_text(tokenizer: Tokenizer, text: str) -> None:
    normalised = tokenizer.normalise(text)
    expected = " ".join(normalised.split()) if tokenizer.unit == "symbols" else normalised
    assert tokenizer.join(tokenizer.split(text)) == expected
    assert all(tokenizer.split(text))


@given(TOKENIZERS, TEXTS)
def test_normalising_twice_changes_nothing_more(tokenizer: Tokenizer, text: str) -> None:
    once = tokenizer.normalise(text)
    assert tokenizer.normalise(once) == once


@given(TEXTS)
def test_normal_forms_make_equal_texts_equal(text: str) -> None:
    decomposed = unicodedata.normalize("NFD", text)
    assert Tokenizer().split(text) == Tokenizer().split(decomposed)


@given(TOKENIZERS, TEXTS)
def test_symbols_survive_being_packed(tokenizer: Tokenizer, text: str) -> None:
    symbols = tokenizer.split(text)
    assert tokenizer.unpack(tokenizer.pack(symbols)) == symbols


@given(TOKENIZERS)
def test_a_tokenizer_survives_json(tokenizer: Tokenizer) -> None:
    assert Tokenizer.from_dict(json.loads(json.dumps(tokenizer.to_dict()))) == tokenizer


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("unit", "character", "one of characters, graphemes, symbols"),
        ("normal_form", "nfc", "one of NFC, NFD, NFKC, NFKD, none"),
        ("lowercase", 1, "true or false"),
    ],
)
def test_wrong_options_are_named_with_their_value(option: str, value: object, expected: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Tokenizer.from_dict({**Tokenizer().to_dict(), option: value})
    found = caught.value
    assert (found.field, found.value, found.expected) == (f"tokenizer.{option}", value, expected)


def test_an_unknown_and_a_missing_option_are_named() -> None:
    with pytest.raises(RecipeError) as caught:
        Tokenizer.from_dict({**Tokenizer().to_dict(), "lower_case": True})
    assert (caught.value.field, caught.value.hint) == ("tokenizer.lower_case", "Did you mean 'lowercase'?")
    options = Tokenizer().to_dict()
    del options["unit"]
    with pytest.raises(RecipeError) as caught:
        Tokenizer.from_dict(options)
    assert caught.value.field == "tokenizer.unit"
    assert "is missing" in str(caught.value)


@pytest.mark.parametrize("option", ["lowercase", "strip_diacritics", "letters_only"])
def test_a_tokenizer_knows_whether_it_is_lossy(option: str) -> None:
    assert not Tokenizer(normal_form="NFKD").is_lossy
    assert Tokenizer(**{option: True}).is_lossy  # type: ignore[arg-type]


def test_vocabulary_numbers_symbols_after_the_special_ones_by_code_point() -> None:
    vocabulary = Vocabulary.build([("b", "é"), ("a", "Z", "b")])
    assert (vocabulary.pad, vocabulary.start, vocabulary.end, vocabulary.unknown) == (0, 1, 2, 3)
    assert vocabulary.symbols == ("Z", "a", "b", "é")
    assert len(vocabulary) == 8
    assert vocabulary.encode(["b", "?", "Z"]) == [6, 3, 4]
    assert vocabulary.decode([1, 6, 3, 4, 2, 0]) == ("b", "\N{REPLACEMENT CHARACTER}", "Z")
    assert vocabulary.unknown_in("bx?xZ") == ("x", "?")
    assert "é" in vocabulary
    assert "?" not in vocabulary


def test_data_may_contain_texts_that_look_like_special_symbols() -> None:
    sequence = ("<pad>", "<unk>", "\N{REPLACEMENT CHARACTER}", "pad", "start")
    vocabulary = Vocabulary.build([sequence])
    indices = vocabulary.encode(sequence)
    assert min(indices) >= 4
    assert vocabulary.decode(indices) == sequence


@given(st.lists(st.lists(st.text(min_size=1))))
def test_encoding_then_decoding_gives_the_sequence(sequences: list[list[str]]) -> None:
    vocabulary = Vocabulary.build(sequences)
    assert vocabulary == Vocabulary.build(reversed(sequences))
    assert Vocabulary.from_list(json.loads(json.dumps(vocabulary.to_list()))) == vocabulary
    for sequence in sequences:
        assert vocabulary.decode(vocabulary.encode(sequence)) == tuple(sequence)
        assert vocabulary.unknown_in(sequence) == ()


def test_from_list_keeps_the_order_that_the_indices_mean() -> None:
    assert Vocabulary.from_list(["b", "a"]).encode("ab") == [5, 4]


@pytest.mark.parametrize(
    ("symbols", "field", "value"),
    [
        (["a", "b", "a"], "vocabulary symbol 2", "a"),
        (["a", 7], "vocabulary symbol 1", 7),
        ([""], "vocabulary symbol 0", ""),
        ("ab", "vocabulary", "str"),
        ({"a": 4}, "vocabulary", "dict"),
    ],
)
def test_a_wrong_list_of_symbols_is_refused(symbols: list[object], field: str, value: object) -> None:
    with pytest.raises(DataError) as caught:
        Vocabulary.from_list(symbols)
    assert (caught.value.field, caught.value.value) == (field, value)


@pytest.mark.parametrize("index", [-1, 5])
def test_an_index_outside_the_vocabulary_is_refused(index: int) -> None:
    with pytest.raises(DataError) as caught:
        Vocabulary.from_list(["a"]).decode([index])
    assert (caught.value.field, caught.value.value) == ("symbol index", index)
    assert caught.value.expected.startswith("0 to 4")


@pytest.mark.parametrize(
    ("symbol", "shown"),
    [
        ("a", "'a'"),
        ("'", '"\'"'),
        ("\u200b", "'\\u200b'"),
        ("\u0301", "'◌\u0301' (U+0301)"),  # nonspacing
        ("\u093e", "'◌\u093e' (U+093E)"),  # spacing, the Devanagari vowel sign aa
        ("\u05bc\u05b8", "'◌\u05bc\u05b8' (U+05BC U+05B8)"),
        (E_ACUTE, f"'{E_ACUTE}'"),
        ("", "''"),
    ],
)
def test_messages_name_a_combining_mark_on_a_circle_with_its_code_point(symbol: str, shown: str) -> None:
    assert quoted(symbol) == shown


def test_messages_name_the_first_symbols_and_count_the_others() -> None:
    assert some_of({"a": 1, "\u0301": 2}) == "'a', '◌\u0301' (U+0301)"
    assert some_of("abcdef") == "'a', 'b', 'c', 'd', 'e' and 1 more"
