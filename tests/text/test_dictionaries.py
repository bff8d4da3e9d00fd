"""Word lists and dictionaries of files, for models that read and write either side."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.messages import check_message
from triptych.errors import DataError
from triptych.text.dictionaries import DictionaryLayout, read_dictionary, read_words
from triptych.text.rows import Columns, Layout
from triptych.text.symbols import Tokenizer, Vocabularies, Vocabulary

P2G = Vocabularies(
    Tokenizer(unit="symbols"), Tokenizer(), Vocabulary.build([["K", "AE", "T"]]), Vocabulary.build(["cat"])
)
G2P = Vocabularies(P2G.target_tokenizer, P2G.source_tokenizer, P2G.targets, P2G.sources)
ENTRY: tuple[tuple[str, ...], ...] = (("K", "AE", "T"), ("c", "a", "t"), ())


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_dictionary_goes_the_way_of_the_model(tmp_path: Path) -> None:
    path = write(tmp_path / "pairs.tsv", "K AE T\tcat\nT AE K\ttac\nK AE T\tcat\n")
    forwards = read_dictionary(path, P2G)
    assert forwards.entries == [ENTRY, (("T", "AE", "K"), ("t", "a", "c"), ())]
    assert forwards.warnings == []
    backwards = read_dictionary(path, G2P, DictionaryLayout(reverse=True))
    assert backwards.entries == [(target, source, ()) for source, target, _ in forwards.entries]
    assert backwards.warnings == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.tsv", "K AE T\tcat\n"),
        ("columns.csv", "word;note;sounds\ncat;x;K AE T\n"),
        ("commas.csv", "word,sounds\ncat,K AE T\n"),
    ],
)
def test_a_dictionary_is_laid_out_as_the_data_or_plainly(tmp_path: Path, name: str, content: str) -> None:
    layout = DictionaryLayout(Layout(Columns("sounds", "word"), ";"))
    assert read_dictionary(write(tmp_path / name, content), P2G, layout).entries == [ENTRY]


def test_a_dictionary_with_swapped_columns_is_warned_of(tmp_path: Path) -> None:
    path = write(tmp_path / "pairs.tsv", "cat\tK AE T\ntac\tT AE K\nAE\tx\n")
    (warning,) = read_dictionary(path, P2G).warnings
    assert warning.startswith(f"{path}: 1 of 3 entries have sources made of the model's symbols ('AE', 'K', 'T')")
    assert "'cat'" in warning
    one_name = write(tmp_path / "names.tsv", "K AE T\tcat\nT AE K\ttac\nNG\tng\n")
    assert read_dictionary(one_name, P2G).warnings == [], "names with further symbols are what dictionaries are for"


def test_words_that_the_model_cannot_write_are_skipped(tmp_path: Path) -> None:
    words = read_words(write(tmp_path / "words.txt", "cat\n\nact\ndog\n\n"), P2G)
    assert words.words == ["cat", "act"]
    (warning,) = words.warnings
    assert "1 of 3 words have symbols that training never showed" in warning
    assert "'dog'" in warning
    with pytest.raises(DataError) as caught:
        read_words(write(tmp_path / "others.txt", "dog\nfish\n"), P2G)
    check_message("dictionaries.no-word", caught.value, tmp_path)
    with pytest.raises(DataError) as caught:
        read_words(write(tmp_path / "none.txt", "\n"), P2G)
    check_message("dictionaries.no-words-at-all", caught.value, tmp_path)
