"""What a speller says of pairs in files: their scores, their alignments, and a new order of another model's candidates.

A file is laid out like the run's data. Standard input is laid out as `triptych predict` writes: the model's source, its
features where the model has any, a target, and whatever follows, between tabs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from triptych.config import SpellRecipe
from triptych.data.files import number_lines, open_binary
from triptych.decoding import Speller
from triptych.errors import DataError, RecipeError
from triptych.spell.corpus import layout_of
from triptych.spell.distilling import distil
from triptych.text.layouts import other_layout, resolved
from triptych.text.pairs import BadRow, Pair, stream_pairs
from triptych.text.predictions import Candidate, Prediction
from triptych.text.rows import Columns, Layout, Row, delimiter_of, rows, without_blank_end

__all__ = ["Line", "align", "distil", "rerank", "score"]

STANDARD_INPUT = "-"
CHUNK = 1024  # pairs or lists of candidates held at once

Warn = Callable[[Sequence[str]], None]


@dataclass(frozen=True)
class Line:
    """What is said of one pair: cells of a line of output, and plain values for JSON."""

    cells: list[str]
    document: dict[str, Any]


def score(
    speller: Speller, recipe: SpellRecipe, places: Sequence[str], *, skip_bad: bool, warn: Warn
) -> Iterator[Line]:
    """Source, target, log-probability, its mean per symbol, and the number of symbols never seen, pair by pair.

    Args:
        speller: the model.
        recipe: of its run; files are laid out as its data is.
        places: files; `-` is standard input.
        skip_bad: skip rows that cannot be read, and warn of them at the end.
        warn: called with sentences.
    Raises:
        DataError: a file or row cannot be read; the pairs before it are answered first.
    """
    for pairs in _chunks(_pairs(speller, recipe, places, skip_bad=skip_bad, warn=warn)):
        for pair, found in zip(pairs, speller.score(**_given(speller, pairs)), strict=True):
            cells = [f"{found.log_probability:.4f}", f"{found.per_symbol:.4f}", str(found.unknown)]
            yield Line([*_texts(speller, pair), *cells], found.to_dict())


def align(
    speller: Speller, recipe: SpellRecipe, places: Sequence[str], *, skip_bad: bool, warn: Warn
) -> Iterator[Line]:
    """Source, target, the alignment as a person reads it and as pairs of places, pair by pair; arguments as of `score`.

    Raises:
        RecipeError: the model has no attention.
        DataError: as of `score`.
    """
    for pairs in _chunks(_pairs(speller, recipe, places, skip_bad=skip_bad, warn=warn)):
        for pair, found in zip(pairs, speller.align(**_given(speller, pairs)), strict=True):
            yield Line([*_texts(speller, pair), found.text, found.pairs], found.to_dict())


def rerank(
    speller: Speller, places: Sequence[str], *, weight: float, reverse: bool, skip_bad: bool, warn: Warn
) -> Iterator[Line]:
    """Lists of candidates in a new order: source, candidate, score, and further candidates and scores alike.

    Args:
        speller: the model that scores them.
        places: files as `triptych predict --n-best` writes them; `-` is standard input.
        weight: share of this model's log-probability, in [0, 1]; the rest is the candidate's own.
        reverse: the model rewrites candidates as sources, such as P2G where G2P made the candidates.
        skip_bad: skip rows that cannot be read, and warn of them at the end.
        warn: called with sentences.
    Raises:
        RecipeError: the weight is not in [0, 1].
        DataError: a file or row cannot be read; the lists before it are answered first.
    """
    if not 0 <= weight <= 1:
        raise RecipeError(field="--weight", value=weight, expected="a number from 0 to 1")
    for lists in _chunks(_lists(speller, places, reverse=reverse, skip_bad=skip_bad, warn=warn)):
        for found in speller.rescore(lists, weight=weight, reverse=reverse):
            listed = [(candidate.text, candidate.score) for candidate in found.candidates]
            cells = [cell for text, value in listed for cell in (text, f"{value:.4f}")]
            source = (speller.vocabularies.target_tokenizer if reverse else speller.vocabularies.source_tokenizer).join(
                found.source
            )
            candidates = [{"text": text, "score": value} for text, value in listed]
            yield Line([source, *cells], {"source": source, "candidates": candidates})


def _texts(speller: Speller, pair: Pair) -> list[str]:
    """Source, features where the model has any, and target."""
    vocabularies = speller.vocabularies
    features = [] if vocabularies.features is None else [vocabularies.join_features(pair.features)]
    return [
        vocabularies.source_tokenizer.join(pair.source),
        *features,
        vocabularies.target_tokenizer.join(pair.target),
    ]


def _given(speller: Speller, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Pairs as `score` and `align` of a speller take them."""
    return {
        "sources": [pair.source for pair in pairs],
        "targets": [pair.target for pair in pairs],
        "features": None if speller.vocabularies.features is None else [pair.features for pair in pairs],
    }


def _pairs(
    speller: Speller, recipe: SpellRecipe, places: Sequence[str], *, skip_bad: bool, warn: Warn
) -> Iterator[Pair]:
    """Pairs of files, as the model has them: source first also where the run reverses its data."""
    for place in places:
        is_file = place != STANDARD_INPUT
        vocabularies, reverse, lexicon = speller.vocabularies, is_file and recipe.data.reverse, None
        sides = (vocabularies.source_tokenizer, vocabularies.target_tokenizer)
        first, second = reversed(sides) if reverse else sides
        if is_file:
            layout = other_layout(Path(place), layout_of(recipe.data, speller.language))
            warn([layout.remark] if layout.remark else [])
            layout, lexicon = resolved(Path(place), layout, first.unit, second.unit)
            delimiter = None if lexicon else delimiter_of(Path(place), layout.delimiter)
            layout = layout._replace(delimiter=delimiter)
        elif vocabularies.features is None:
            layout = Layout()
        else:  # the columns of what `predict` writes
            separator, languages = vocabularies.features_separator, vocabularies.languages
            layout = Layout(Columns(1, 3, 2, separator, speller.language, languages))
        bad: list[BadRow] = []
        with ExitStack() as stack:
            stream: Any = stack.enter_context(open_binary(Path(place))) if is_file else sys.stdin.buffer
            for pair in stream_pairs(
                stream,
                layout=layout,
                lexicon=lexicon,
                source_tokenizer=first,
                target_tokenizer=second,
                path_label=_label(place),
                max_symbols=recipe.data.max_symbols,
                on_bad_row=bad.append if skip_bad else None,
            ):
                yield pair._replace(source=pair.target, target=pair.source) if reverse else pair
        _warn_of(bad, place, warn)


def _lists(
    speller: Speller, places: Sequence[str], *, reverse: bool, skip_bad: bool, warn: Warn
) -> Iterator[Prediction]:
    """Candidates as `triptych predict` writes them."""
    for place in places:
        bad: list[BadRow] = []
        with ExitStack() as stack:
            is_file = place != STANDARD_INPUT
            stream: Any = stack.enter_context(open_binary(Path(place))) if is_file else sys.stdin.buffer
            for row in without_blank_end(rows(number_lines(stream, path=_label(place)), "\t")):
                try:
                    yield _list_of(speller, row, reverse=reverse)
                except (ValueError, DataError) as error:
                    if not skip_bad:
                        hint = "Make such rows with: triptych predict RUN FILE --n-best 5"
                        raise DataError(f"{error}.", hint=hint, path=_label(place), line=row.line) from None
                    bad.append(BadRow(row.line, str(error)))
        _warn_of(bad, place, warn)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"the log-probability of a candidate is {text!r}; expected a number") from None


def _list_of(speller: Speller, row: Row, *, reverse: bool) -> Prediction:
    """The candidates of one row; ValueError with what is wrong with it."""
    if row.problem:
        raise ValueError(row.problem)
    vocabularies, cells = speller.vocabularies, row.fields
    has_features = vocabularies.features is not None
    own = vocabularies.split_features(cells[1]) if has_features and len(cells) > 1 else ()
    features = vocabularies.with_language(own, speller.language)
    cells = [cells[0], *cells[2:]] if has_features else cells
    if len(cells) < 3 or len(cells) % 2 == 0:
        raise ValueError(
            f"the row has {len(row.fields)} columns; expected a source, {'its features, ' if has_features else ''}then "
            "a candidate and its log-probability, once or more"
        )
    sides = (vocabularies.source_tokenizer, vocabularies.target_tokenizer)
    first, second = reversed(sides) if reverse else sides
    source = first.split(cells[0])
    candidates = []
    for text, value in zip(cells[1::2], cells[2::2], strict=True):
        symbols, number = second.split(text), _number(value)
        if symbols:
            candidates.append(Candidate(symbols, second.join(symbols), number, number))
    if not source or not candidates:
        raise ValueError("the source or every candidate is empty; expected at least one symbol")
    return Prediction(source, tuple(candidates), features=features)


def _chunks(items: Iterator[Any]) -> Iterator[list[Any]]:
    """Some items at a time; where reading fails, those before are given first."""
    failure: DataError | None = None
    while failure is None:
        held: list[Any] = []
        try:
            for item in islice(items, CHUNK):
                held.append(item)
        except DataError as error:
            failure = error
        if held:
            yield held
        elif failure is None:
            return
    raise failure


def _label(place: str) -> str:
    return "standard input" if place == STANDARD_INPUT else place


def _warn_of(bad: Sequence[BadRow], place: str, warn: Warn) -> None:
    if bad:
        first = bad[0]
        warn([f"{_label(place)}:{first.line}: {first.reason}. Skipped {len(bad)} unreadable rows, this one first."])
