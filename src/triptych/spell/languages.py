"""Data of several languages for one model: where each lies, and their pairs together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from triptych.config import SpellData
from triptych.data.locations import Location, describe_location
from triptych.errors import NOT_GIVEN, DataError

if TYPE_CHECKING:
    from triptych.spell.corpus import Corpus
    from triptych.text.pairs import Pair


def check_languages(settings: SpellData, location: Location | None, *, whole: bool) -> None:
    """See that data lies where a recipe of its languages needs it.

    Args:
        settings: the recipe's `[data]`.
        location: of the data.
        whole: other data than the recipe's, which may have some of the languages alone.
    Raises:
        DataError: a language without data or an unknown one, or data without its language.
    """
    known = settings.languages
    if not known and (location is None or isinstance(location, Path)):
        return
    shown = NOT_GIVEN if location is None else describe_location(location)
    if not known:
        raise DataError(
            field="--data",
            value=shown,
            expected="one path: there are no languages in data.languages",
            hint="Write --data PATH.",
        )
    listed = " ".join(f"--data {name}=PATH" for name in known)
    if location is None or isinstance(location, Path):
        raise DataError(
            field="--data",
            value=shown,
            expected=f"a path for each of data.languages, {', '.join(known)}",
            hint=f"Write {listed}",
        )
    for name in location:
        if name not in known:
            raise DataError(
                field="--data", value=shown, expected=f"languages of data.languages alone, {', '.join(known)}"
            )
    missing = [name for name in known if name not in location]
    if missing and not whole:
        raise DataError(
            field="--data",
            value=shown,
            expected=f"a path for {' and '.join(missing)} too, as data.languages has",
            hint=f"Write {listed}",
        )


def together(corpora: Mapping[str, Corpus]) -> Corpus:
    """The pairs of several languages, which have theirs among their features, as one corpus.

    A split that not all languages have has the pairs of those that do.

    Args:
        corpora: of each language, in order.
    """
    first = next(iter(corpora.values()))
    splits: dict[str, list[Pair]] = {}
    warnings: list[str] = []
    for corpus in corpora.values():
        for split, pairs in corpus.splits.items():
            splits.setdefault(split, []).extend(pairs)
        warnings += corpus.warnings
    for split in splits:
        lacking = [name for name, corpus in corpora.items() if split not in corpus.splits]
        warnings += [f"there is no {split} data of {', '.join(lacking)}."] if lacking else []
    notes = dict.fromkeys(note for corpus in corpora.values() for note in corpus.notes)
    return replace(
        first,
        splits=splits,
        fingerprints=[{"language": name, **entry} for name, corpus in corpora.items() for entry in corpus.fingerprints],
        decomposed=frozenset(side for corpus in corpora.values() for side in corpus.decomposed),
        warnings=warnings,
        notes=(f"of the languages {', '.join(corpora)}", *notes),
    )
