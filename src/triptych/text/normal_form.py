"""Choice of the Unicode normal form in which texts become symbols, for each side from its training data.

Korean writes syllables composed of letters that recur: a few thousand pairs show most letters in most places and only
a part of the syllables. Read letter by letter (NFD), a model knows how to read and write syllables it has never seen.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Literal

from triptych.text.pairs import Pair
from triptych.text.symbols import NormalForm, Tokenizer

RARE = 0.02  # composed symbols that occur once, per symbol of the texts
MANY = 4  # composed symbols for each letter
Tokenizers = tuple[Tokenizer, Tokenizer]


def fit_pairs(pairs: Sequence[Pair], tokenizers: Tokenizers, *, decomposed: Collection[str]) -> tuple[Tokenizers, str]:
    """Tokenizers of sources and targets whose normal forms fit the training pairs, and a phrase that says which.

    Args:
        pairs: of the training, as the tokenizers split them.
        tokenizers: with normal form NFC.
        decomposed: which of `source` and `target` are in NFD in the data; they are written in that form again.
    """
    fitted, phrases = [], []
    for side, tokenizer, texts in zip(
        ("source", "target"), tokenizers, zip(*((pair.source, pair.target) for pair in pairs), strict=True), strict=True
    ):
        form: NormalForm = "NFC"
        phrase = "NFC"
        if tokenizer.unit == "characters" and (letters := recurring_letters(texts)):
            symbols = len({symbol for text in texts for symbol in text})
            form, phrase = "NFD", f"NFD ({symbols} symbols become {letters})"
        data_form: NormalForm = "NFD" if side in decomposed else "NFC"
        written: NormalForm | Literal[""] = "" if form == data_form else data_form
        fitted.append(replace(tokenizer, normal_form=form, written_form=written))
        phrases.append(f"{phrase}{f' written in {written}' if written else ''}")
    first, second = phrases
    phrase = f"in {first}" if first == second else f"sources in {first}, targets in {second}"
    return (fitted[0], fitted[1]), phrase


def recurring_letters(texts: Iterable[Iterable[str]]) -> int:
    """Number of symbols of the decomposed texts, where decomposing helps; otherwise 0.

    It helps where composed symbols that occur once are frequent and made of letters that occur elsewhere, and where
    there are many more composed symbols than letters. The first is so where there is little data: symbols that were
    never seen make up about the share of a text that those make up which were seen once. The second is so for Korean of
    any size.

    Source: Good 1953, The population frequencies of species and the estimation of population parameters.
    """
    counts = Counter(symbol for text in texts for symbol in text)
    letters: Counter[str] = Counter()
    for symbol, count in counts.items():
        for letter in unicodedata.normalize("NFD", symbol):
            letters[letter] += count
    once = [unicodedata.normalize("NFD", symbol) for symbol, count in counts.items() if count == 1]
    composed = [symbol for symbol in once if len(symbol) > 1]
    known = sum(all(letters[letter] > 1 for letter in symbol) for symbol in composed)
    is_rare = len(composed) > RARE * counts.total() and 2 * known >= len(composed)
    return len(letters) if is_rare or len(counts) > MANY * len(letters) else 0


def resplit(pairs: Sequence[Pair], before: Tokenizers, after: Tokenizers) -> Sequence[Pair]:
    """Pairs as other tokenizers split them, which differ in their normal form."""
    if all(old.normal_form == new.normal_form for old, new in zip(before, after, strict=True)):
        return pairs

    def split(symbols: tuple[str, ...], old: Tokenizer, new: Tokenizer) -> tuple[str, ...]:
        return symbols if old.normal_form == new.normal_form else new.split(old.join(symbols))

    (old_source, old_target), (new_source, new_target) = before, after
    return [
        pair._replace(
            source=split(pair.source, old_source, new_source), target=split(pair.target, old_target, new_target)
        )
        for pair in pairs
    ]
