"""Dictionaries as CMUdict, Kaldi, MFA, Sphinx and WikiPron write them: the same pairs from each."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.messages import check_message
from triptych.errors import DataError, RecipeError
from triptych.text.dictionaries import DictionaryLayout, read_dictionary, read_words
from triptych.text.layouts import other_layout
from triptych.text.lexicons import Lexicon, is_lexicon
from triptych.text.pairs import PairFile, read_pairs
from triptych.text.rows import Columns, Layout
from triptych.text.symbols import Tokenizer, Vocabularies, Vocabulary

LETTERS, PHONEMES = Tokenizer(lowercase=True), Tokenizer(unit="symbols")
PAIRS = [("cats", "K AE T S"), ("read", "R EH D"), ("read", "R IY D"), ("tree", "T R IY")]
FILES = {
    "cmudict-0.7b": ";;; # CMUdict\nCATS  K AE T S\nREAD  R EH D\nREAD(1)  R IY D\nTREE  T R IY\n",
    "cmudict.dict": "cats K AE T S\nread R EH D # past tense\nread(2) R IY D\ntree T R IY\n",
    "lexicon.txt": "!SIL SIL\n<unk> SPN\ncats K AE T S\nread R EH D\nread R IY D\ntree T R IY\n",
    "lexiconp.txt": "<unk> 1.0 SPN\ncats 1.0 K AE T S\nread 0.25 R EH D\nread 1 R IY D\ntree 1.0 T R IY\n",
    "lexiconp_silprob.txt": "cats 1.0 0.5 1.2 0.8 K AE T S\nread 0.3 0.5 1.2 0.8 R EH D\nread 1 1 1 1 R IY D\n"
    "tree 1.0 0.5 1.2 0.8 T R IY\n",
    "english_us_mfa.dict": "cats\t0.99\t0.2\t1.0\t1.0\tK AE T S\nread\t0.4\t0.2\t1.0\t1.0\tR EH D\n"
    "read\t0.6\t0.2\t1.0\t1.0\tR IY D\ntree\t1.0\t0.2\t1.0\t1.0\tT R IY\n",
    "english_mfa.dict": "cats\t0.99\tK AE T S\nread\t0.4\tR EH D\nread\t0.6\tR IY D\ntree\t1.0\tT R IY\n",
    "sphinx.dic": "cats\tK AE T S\nread\tR EH D\nread(2)\tR IY D\ntree\tT R IY\n",
    "blank lines.txt": "\ncats K AE T S\n\n# verbs\nread R EH D\nread R IY D\n\ntree T R IY\n",
}


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def read(path: Path, *, kind: str = "auto", columns: Columns | None = None, alternatives: str = "") -> PairFile:
    layout = Layout(columns or Columns(), None, kind, alternatives)  # type: ignore[arg-type]
    return read_pairs(path, layout=layout, source_tokenizer=LETTERS, target_tokenizer=PHONEMES)


def texts(file: PairFile) -> list[tuple[str, str]]:
    return [("".join(pair.source), " ".join(pair.target)) for pair in file]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["auto", "dictionary"])
def test_the_same_pairs_from_every_dictionary(tmp_path: Path, name: str, kind: str) -> None:
    file = read(write(tmp_path / name, FILES[name]), kind=kind)
    assert texts(file) == PAIRS
    assert file.layout == "read as a dictionary with words as sources and phonemes as targets"
    assert file.warnings == ()
    lines = FILES[name].splitlines()
    assert [lines[pair.line - 1].split()[0].lower()[:4] for pair in file] == ["cats", "read", "read", "tree"]


def test_a_table_stays_a_table(tmp_path: Path) -> None:
    plain = "".join(f"{word}\t{phonemes}\n" for word, phonemes in PAIRS)
    file = read(write(tmp_path / "wikipron.tsv", plain))
    assert (texts(file), file.layout) == (PAIRS, "")
    for name, text in (
        ("phrases.tsv", "a cappella\tɑ k ə p ɛ l ə\nad hoc\tæ d h ɒ k\n"),
        ("sides.tsv", "K AE T S\tcats\nR EH D\tread(2)\n"),
        ("numbers.tsv", "three\t3.5 kg\nfour\t4.5 kg\n"),
        ("commas.csv", "cats K,AE T S\nread R,EH D\n"),
        ("sentences.txt", "he went home to his brother\nnobody believed that story\nwe congratulate the winners\n"),
        ("sounds.txt", "K AE T S\nR EH D\nT R IY\nS T R IY T\n"),
        ("words.txt", "cats\nread\ntree\n"),
        ("some.txt", "New York\nLondon\nLos Angeles\n"),
        ("empty.txt", ""),
        ("comments.txt", ";;; nothing\n"),
    ):
        assert not is_lexicon(write(tmp_path / name, text)), name


def test_words_and_phonemes_of_many_entries_are_told_from_text(tmp_path: Path) -> None:
    text = "".join(f"word{i} a{i} b{i} c{i}\n" for i in range(20))
    recurring = "".join(f"word{i} a{i % 3} b{i % 3} c{i % 3}\n" for i in range(20))
    assert not is_lexicon(write(tmp_path / "a.txt", text)), "symbols that never recur are not phonemes"
    assert is_lexicon(write(tmp_path / "b.txt", recurring))


def test_phonemes_are_the_side_in_symbols(tmp_path: Path) -> None:
    path = write(tmp_path / "cmudict.dict", FILES["cmudict.dict"])
    file = read_pairs(path, layout=Layout(kind="auto"), source_tokenizer=PHONEMES, target_tokenizer=LETTERS)
    assert [("".join(pair.target), " ".join(pair.source)) for pair in file] == PAIRS
    assert file.layout == "read as a dictionary with words as targets and phonemes as sources"
    said = read_pairs(
        path, layout=Layout(Columns(2, 1), kind="auto"), source_tokenizer=PHONEMES, target_tokenizer=LETTERS
    )
    assert said.pairs == file.pairs
    both = read_pairs(path, layout=Layout(kind="auto"), source_tokenizer=PHONEMES, target_tokenizer=PHONEMES)
    assert both.pairs[0].source == ("cats",)


def test_boundaries_between_words_are_not_comments(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dict", "cats # K AE T S #\nread # R EH D #\ntree # T R IY #\n")
    assert texts(read(path))[0] == ("cats", "# K AE T S #")
    assert Lexicon.of(path) == Lexicon(0, comments_at_end=False)


def test_an_entry_without_phonemes_is_a_bad_row(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dict", "cats K AE T S\nread\n")
    with pytest.raises(DataError) as caught:
        read(path, kind="dictionary")
    assert caught.value.line == 2
    check_message("lexicons.no-phonemes", caught.value, tmp_path)
    with pytest.raises(DataError) as caught:
        read(write(tmp_path / "b.tsv", "cats K AE T S\nread\n"))
    check_message("lexicons.spaces-in-a-table", caught.value, tmp_path)


def test_a_dictionary_has_two_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dict", FILES["cmudict.dict"])
    with pytest.raises(RecipeError) as caught:
        read(path, kind="dictionary", columns=Columns("word", 2))
    assert (caught.value.field, caught.value.value) == ("columns", "'word' and 2")


@pytest.mark.parametrize(
    ("separator", "rows", "expected"),
    [
        ("~", "ab\tA B ~ A C\n", [("ab", "A B"), ("ab", "A C")]),
        ("~", "ab\ta~ b\n", [("ab", "a~ b")]),
        (",", "ab, ac\tA B, A C\n", [("ab", "A B"), ("ab", "A C"), ("ac", "A B"), ("ac", "A C")]),
        ("/", "ab/ac\tA\n", [("ab", "A"), ("ac", "A")]),
        (",", "ab\tA B,\n", [("ab", "A B")]),
        ("or", "ab or cord\tA\n", [("ab", "A"), ("cord", "A")]),
        ("", "ab\tA ~ B\n", [("ab", "A ~ B")]),
    ],
)
def test_alternatives_in_one_field_make_a_pair_each(
    tmp_path: Path, separator: str, rows: str, expected: list[tuple[str, str]]
) -> None:
    file = read(write(tmp_path / "a.tsv", f"{rows}zz\tZ\n"), alternatives=separator)
    assert texts(file)[:-1] == expected
    assert {pair.line for pair in file.pairs[:-1]} == {1}
    assert bool(file.warnings) == (not separator)


def test_alternatives_are_reported_where_they_are_read_as_symbols(tmp_path: Path) -> None:
    (tilde,) = read(write(tmp_path / "a.tsv", "ab\tA ~ B\nac\tA\n")).warnings
    assert tilde.endswith("Make each alternative a pair with data.split_alternatives=~")
    (comma,) = read(write(tmp_path / "a.tsv", "ab\tA, B\na, c\tA\n")).warnings
    assert "rows that have one: 1." in comma
    with pytest.raises(DataError) as caught:
        read(write(tmp_path / "a.tsv", "ab\tA\nac\n"), alternatives="~")
    assert caught.value.line == 2


P2G = Vocabularies(
    PHONEMES, LETTERS, Vocabulary.build([["K", "AE", "T", "S", "R", "EH", "D", "IY"]]), Vocabulary.build(["catsredy"])
)


@pytest.mark.parametrize("name", FILES)
def test_dictionaries_and_word_lists_of_a_run_come_in_the_same_layouts(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, FILES[name])
    found = read_dictionary(path, P2G, DictionaryLayout(Layout(Columns(1, 2), kind="auto")))
    assert [("".join(target), " ".join(source)) for source, target, _ in found.entries] == PAIRS
    words = read_words(path, P2G)
    assert words.words == ["cats", "read", "tree"]
    assert words.warnings == ([f"{path}: read as a dictionary; the words of the list are the targets of its entries."])
    turned = Vocabularies(P2G.target_tokenizer, P2G.source_tokenizer, P2G.targets, P2G.sources)
    reverse = DictionaryLayout(Layout(Columns(1, 2), kind="auto"), reverse=True)
    assert [
        ("".join(source), " ".join(target)) for source, target, _ in read_dictionary(path, turned, reverse).entries
    ] == PAIRS


def test_a_word_list_of_pronunciations_stays_a_word_list(tmp_path: Path) -> None:
    turned = Vocabularies(P2G.target_tokenizer, P2G.source_tokenizer, P2G.targets, P2G.sources)
    path = write(tmp_path / "sounds.txt", "K AE T S\nR EH D\n")
    assert (read_words(path, turned).words, read_words(path, turned).warnings) == (["K AE T S", "R EH D"], [])


def test_other_data_may_be_a_dictionary_or_a_table(tmp_path: Path) -> None:
    lexicon = write(tmp_path / "a.dict", FILES["cmudict.dict"])
    table = write(tmp_path / "a.tsv", "x\tcats\tK AE T S\n")
    named = Layout(Columns("word", "sounds"), ";", "auto", "~")
    assert other_layout(lexicon, named) == Layout(kind="dictionary", alternatives="~")
    assert other_layout(table, Layout(Columns(2, 3), kind="auto")) == Layout(Columns(2, 3))
    assert other_layout(lexicon, Layout(kind="table")).kind == "table"
