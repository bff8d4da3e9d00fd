"""The pairs of a recipe, in three splits, and what evaluation judges."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from triptych.config import SpellData
from triptych.data.fingerprints import fingerprint_file, fingerprint_items
from triptych.data.locations import check_location
from triptych.data.splits import split_by_fraction
from triptych.errors import DataError, RecipeError
from triptych.spell.named_sets import resolve
from triptych.text.pairs import Columns, Pair, PairFile, group_references, read_pairs, split_keys
from triptych.text.symbols import Tokenizer

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Item:
    """What evaluation judges: a source and all its right answers."""

    source: tuple[str, ...]
    references: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Corpus:
    """Pairs by split, and where they came from.

    Attributes:
        splits: pairs of `train`, `valid` and, where there is one, `test`.
        fingerprints: per file or set: name, size and SHA-256.
        warnings: complete sentences for the user.
        available: pairs of each split that a limit of the recipe took a part of.
    """

    splits: Mapping[str, Sequence[Pair]]
    fingerprints: Sequence[Mapping[str, Any]]
    warnings: Sequence[str] = ()
    available: Mapping[str, int] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """Pairs in each split."""
        return {split: len(pairs) for split, pairs in self.splits.items()}

    @property
    def content(self) -> str:
        """What the items are, for a line about the data."""
        sources = {symbol for pair in self.splits["train"] for symbol in pair.source}
        targets = {symbol for pair in self.splits["train"] for symbol in pair.target}
        return f"pairs of {len(sources)} source and {len(targets)} target symbols"

    def keys(self, split: str) -> list[str]:
        """What tells each pair of a split from others; none where there is no such split."""
        return ["\0".join((*pair.source, "", *pair.target)) for pair in self.splits.get(split, ())]

    def items(self, split: str, *, references: str = "any") -> list[Item]:
        """What to evaluate on: every source once with all its references, or every row (`references="each"`).

        Raises:
            DataError: there is no such split.
        """
        if split not in self.splits:
            raise DataError(
                f"split is {split!r}; expected one of {', '.join(self.splits)}. Give the data a {split} file."
            )
        pairs = self.splits[split]
        if references == "each":
            return [Item(pair.source, (pair.target,)) for pair in pairs]
        return [Item(source, targets) for source, targets in group_references(pairs).items()]


def tokenizers(settings: SpellData) -> tuple[Tokenizer, Tokenizer]:
    """How the model's sources and targets are split into symbols."""
    given, wanted = _sides(settings)
    return (wanted, given) if settings.reverse else (given, wanted)


def _sides(settings: SpellData) -> tuple[Tokenizer, Tokenizer]:
    """The tokenizers of the two columns, before `reverse`."""
    common: dict[str, Any] = {
        "normal_form": settings.normal_form,
        "lowercase": settings.lowercase,
        "strip_diacritics": settings.strip_diacritics,
        "letters_only": settings.letters_only,
    }
    return Tokenizer(unit=settings.source_unit, **common), Tokenizer(unit=settings.target_unit, **common)


def load_corpus(settings: SpellData, location: Path | None, *, whole: str | None = None) -> Corpus:
    """Read the recipe's pairs.

    Args:
        settings: the recipe's `[data]`.
        location: a folder with the split files, or one file to split; None for a named set.
        whole: take all of one file as this split instead of splitting it.
    Raises:
        DataError: nothing to read, or a file that is missing or bad.
    """
    if location is None and not settings.set:
        raise DataError(
            "data.set is '' and no data is given; expected one of them. "
            "Use --data with a folder or a file of pairs, or --set data.set=cmudict"
        )
    if location is not None:
        check_location(location)
    if location is None:
        corpus = _named(settings)
    elif location.is_dir():
        corpus = _folder(settings, location)
    else:
        file = _read(settings, location)
        try:
            splits = {whole: file.pairs} if whole else _split(settings, file.pairs)
        except DataError as error:  # too few to split
            raise DataError(str(error), path=location) from None
        corpus = Corpus(splits, [fingerprint_file(location)], _remarks(file))
    return _limited(settings, _reversed(corpus) if settings.reverse else corpus)


def _reversed(corpus: Corpus) -> Corpus:
    splits = {
        split: [Pair(pair.target, pair.source, pair.line) for pair in pairs] for split, pairs in corpus.splits.items()
    }
    return Corpus(splits, corpus.fingerprints, corpus.warnings)


def _named(settings: SpellData) -> Corpus:
    for key in ("source_column", "target_column", "delimiter"):
        value = getattr(settings, key)
        if value != SpellData.model_fields[key].default:
            raise RecipeError(
                f"data.{key} is {value!r} and has no effect with data.set {settings.set!r}; expected it left out: "
                "a named set knows its columns"
            )
    source, target = _sides(settings)
    file = resolve(settings.set).load(
        source_tokenizer=source,
        target_tokenizer=target,
        max_symbols=settings.max_symbols,
        skip_bad_rows=settings.skip_bad,
    )
    content = ("\t".join((source.join(pair.source), target.join(pair.target))) for pair in file.pairs)
    fingerprint = {"path": settings.set, "pairs": len(file.pairs), "sha256": fingerprint_items(content)}
    return Corpus(_split(settings, file.pairs), [fingerprint], _remarks(file))


def _folder(settings: SpellData, folder: Path) -> Corpus:
    names = {"train": settings.train, "valid": settings.valid, "test": settings.test}
    paths = {split: folder / name for split, name in names.items()}
    if not paths["test"].exists():  # a test split is only asked for by an evaluation
        del paths["test"]
    files = {split: _read(settings, path) for split, path in paths.items()}
    remarks = [remark for file in files.values() for remark in _remarks(file)]
    return Corpus(
        {split: file.pairs for split, file in files.items()},
        [fingerprint_file(path) for path in paths.values()],
        [*remarks, *_shared_pairs(files)],
    )


def _shared_pairs(files: Mapping[str, PairFile]) -> list[str]:
    """What is told of pairs of other splits that are in training too."""
    trained = {(pair.source, pair.target) for pair in files["train"]}
    remarks = []
    for split in files.keys() - {"train"}:
        shared = [pair for pair in files[split] if (pair.source, pair.target) in trained]
        if shared:
            remarks.append(
                f"{files[split].path}:{shared[0].line}: this pair is in train too; such pairs: {len(shared)}."
            )
    return sorted(remarks)


def _read(settings: SpellData, path: Path) -> PairFile:
    source, target = _sides(settings)
    return read_pairs(
        path,
        columns=Columns(settings.source_column, settings.target_column),
        source_tokenizer=source,
        target_tokenizer=target,
        delimiter=settings.delimiter or None,
        max_symbols=settings.max_symbols,
        skip_bad_rows=settings.skip_bad,
    )


def _remarks(file: PairFile) -> list[str]:
    remarks = list(file.warnings)
    if file.skipped:
        first = file.skipped[0]
        remarks.append(
            f"{file.path}:{first.line}: {first.reason}. "
            f"Bad rows skipped, from this one on: {len(file.skipped)}; rows read: {len(file.pairs)}."
        )
    return remarks


def _split(settings: SpellData, pairs: Sequence[Pair]) -> dict[str, list[Pair]]:
    keys: Sequence[Any] = split_keys(pairs, by=settings.group_by)
    parts = split_by_fraction(
        keys, fractions={str(split): share for split, share in settings.fractions.items()}, seed=settings.split_seed
    )
    return {split: [pairs[i] for i in sorted(indices)] for split, indices in parts.items()}


def _limited(settings: SpellData, corpus: Corpus) -> Corpus:
    """A random part of each split where the recipe sets a limit."""
    splits: dict[str, Sequence[Pair]] = {}
    for split, pairs in corpus.splits.items():
        is_judged = split != "train"
        most = settings.max_eval_pairs if is_judged else settings.max_train_pairs
        by_source = is_judged and settings.references == "any"
        splits[split] = _some(pairs, most, settings.split_seed, by_source=by_source)
    available = {split: len(pairs) for split, pairs in corpus.splits.items() if len(splits[split]) < len(pairs)}
    return Corpus(splits, corpus.fingerprints, corpus.warnings, available)


def _some(pairs: Sequence[Pair], most: int, seed: int, *, by_source: bool = False) -> Sequence[Pair]:
    """At most so many pairs, drawn at random, in their order; 0 takes all.

    With `by_source` a source comes with all its targets or not at all: what is judged must know every right answer.
    """
    if most == 0 or len(pairs) <= most:
        return pairs
    groups: dict[Any, list[int]] = {}
    for place, pair in enumerate(pairs):
        groups.setdefault(pair.source if by_source else place, []).append(place)
    drawn = random.Random(seed).sample(list(groups.values()), len(groups))
    counts = list(accumulate(map(len, drawn)))
    chosen = [place for group, count in zip(drawn, counts, strict=True) if count <= most for place in group]
    return [pairs[place] for place in sorted(chosen or drawn[0])]
