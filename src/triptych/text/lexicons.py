"""Pronouncing dictionaries as speech tools keep them: a word, white space, its phonemes.

That is CMUdict, the lexicons of Kaldi and MFA with their columns of probabilities, and those of Sphinx: `word(2)` for
a further pronunciation, comments after `;;;` and `#`, and entries such as `<unk>` that are not words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from triptych.data.files import Line, number_lines, open_binary
from triptych.text.rows import Row, is_comma_separated

SAMPLE = 2000  # lines that decide how a file is laid out
FEW = 10  # entries, below which it says nothing how often phonemes recur
LONGEST_PHONEME = 4.0  # characters in the mean; words of running text are longer
MOST_PROBABILITIES = 4  # MFA has one of the pronunciation and three of silence around it
_COMMENT = re.compile(r";;;|#+(\s|$)")
_COMMENT_AT_END = re.compile(r"\s#(\s.*)?$")
_NUMBER = re.compile(r"\d*\.?\d+([eE]-?\d+)?")
_VARIANT = re.compile(r"(?<=[^\s(])\(\d+\)$")
_NO_WORD = re.compile(r"<[^<>\s]+>|!SIL")


@dataclass(frozen=True)
class Lexicon:
    """How the entries of a dictionary are written.

    Attributes:
        probabilities: columns of numbers between a word and its phonemes.
        comments_at_end: whether ` # ` begins a comment at the end of a line.
    """

    probabilities: int = 0
    comments_at_end: bool = False

    @classmethod
    def of(cls, path: Path) -> Lexicon:
        """How a file's entries are written, from its first lines.

        Raises:
            DataError: the file cannot be opened or read.
        """
        return cls.of_lines(_sample(path))

    @classmethod
    def of_lines(cls, texts: Sequence[str]) -> Lexicon:
        """How entries are written, from some lines that have content."""
        ends = sum(bool(_COMMENT_AT_END.search(text)) for text in texts)
        comments_at_end = 0 < 2 * ends < len(texts)
        lexicon = cls(0, comments_at_end)
        numbers = MOST_PROBABILITIES
        with_points = False
        for _, rest in lexicon.entries(texts):
            own = next((i for i, text in enumerate(rest) if not _NUMBER.fullmatch(text)), len(rest) - 1)
            numbers = min(numbers, own)
            with_points = with_points or any("." in text for text in rest[:numbers])
        return cls(numbers if with_points else 0, comments_at_end)

    def entries(self, texts: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
        """Word and what follows of each line that is neither blank nor a comment."""
        for text in texts:
            if text.strip() and not _COMMENT.match(text):
                yield _word_and_rest(_COMMENT_AT_END.sub("", text) if self.comments_at_end else text)

    def rows(self, lines: Iterator[Line]) -> Iterator[Row]:
        """Word and phonemes of each entry; comments, blank lines and entries that are not words are skipped."""
        for line in lines:
            if line.problem:
                yield Row(line.number, [], line.problem)
                continue
            for word, rest in self.entries([line.text]):
                phonemes = " ".join(rest[self.probabilities :])
                if not phonemes:
                    yield Row(line.number, [], f"the word {word!r} has no phonemes after it")
                elif not _NO_WORD.fullmatch(word):
                    yield Row(line.number, [_VARIANT.sub("", word), phonemes])


def is_lexicon(path: Path) -> bool:
    """Whether a file is certainly a dictionary, and one that cannot be read as a table.

    Either no line has a tab, and lines begin with a word and go on with shorter symbols that recur; or the word comes
    first in a table with comments after `;;;`, with columns of probabilities, or with variants as `word(2)`.

    Raises:
        DataError: the file cannot be opened or read.
    """
    if is_comma_separated(path):
        return False
    texts = _sample(path)
    lexicon = Lexicon.of_lines(texts)
    entries = list(lexicon.entries(texts))
    tabs = sum("\t" in text for text in texts if not _COMMENT.match(text))
    if not entries or any(not word or not rest for word, rest in entries):
        return False
    if not tabs:
        return _is_of_words_and_phonemes([(word, rest[lexicon.probabilities :]) for word, rest in entries])
    words = [word for word, _ in entries]
    if tabs < len(entries) or sum(" " in word for word in words) * 10 > len(words):
        return False
    bases = set(words)
    return (
        any(text.startswith(";;;") for text in texts)
        or (lexicon.probabilities > 0 and 2 * len(entries) <= sum(text.count("\t") for text in texts))
        or any(_VARIANT.search(word) and _VARIANT.sub("", word) in bases for word in words)
    )


def _is_of_words_and_phonemes(entries: Sequence[tuple[str, list[str]]]) -> bool:
    """Whether what follows the first word is short, shorter than it, not much more than its letters, and recurs."""
    phonemes = [phoneme for _, rest in entries for phoneme in rest]
    mean = sum(map(len, phonemes)) / max(1, len(phonemes))
    mean_word = sum(len(word) for word, _ in entries) / len(entries)
    fitting = sum(len(rest) <= 2 * len(word) + 1 for word, rest in entries)
    recurs = len(entries) < FEW or 2 * len(set(phonemes)) <= len(phonemes)
    return 0 < mean <= LONGEST_PHONEME and mean < mean_word and fitting * 10 >= 9 * len(entries) and recurs


def _sample(path: Path) -> list[str]:
    """The first lines that have content."""
    with open_binary(path) as stream:
        lines = islice(number_lines(stream, path=path), SAMPLE)
        return [line.text for line in lines if line.text.strip() and not line.problem]


def _word_and_rest(text: str) -> tuple[str, list[str]]:
    """The word of an entry, up to the first tab or, without any, the first white space; and what follows, split."""
    if "\t" in text.strip():
        word, _, rest = text.strip().partition("\t")
        return word.strip(), rest.split()
    word, *symbols = text.split()
    return word, symbols
