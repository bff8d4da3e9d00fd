"""The pairs of a recipe, in three splits, and the items of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from triptych.config import SpellData
from triptych.data.fingerprints import fingerprint_file, fingerprint_items
from triptych.data.locations import Location, check_locations
from triptych.data.splits import split_by_fraction
from triptych.errors import DataError, RecipeError
from triptych.spell.languages import check_languages, together
from triptych.spell.named_sets import resolve
from triptych.text.dictionaries import DictionaryLayout
from triptych.text.groups import group_references, sample_pairs, split_keys
from triptych.text.layouts import other_layout
from triptych.text.normal_form import fit_pairs, resplit
from triptych.text.pairs import Pair, PairFile, read_pairs
from triptych.text.rows import Columns, Layout
from triptych.text.symbols import NormalForm, Tokenizer, Unit, quoted

SPLITS = ("train", "valid", "test")
CLEANING = ("lowercase", "strip_diacritics", "letters_only")  # settings that act on the source, the target or both
SHOWN = 5  # symbols that a warning names


@dataclass(frozen=True)
class Item:
    """An item of an evaluation: a source, all its references, and its features."""

    source: tuple[str, ...]
    references: tuple[tuple[str, ...], ...]
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class Corpus:
    """Pairs by split, and where they came from.

    Attributes:
        splits: pairs of `train`, `valid` and, where there is one, `test`.
        fingerprints: per file or set: name, size and SHA-256.
        tokenizers: of sources and targets.
        decomposed: which of `source` and `target` is in the normal form NFD in the files.
        warnings: complete sentences for the user.
        available: pairs of each split of which a limit of the recipe took a part.
        notes: what was chosen from the data, such as the normal form of sources and targets.
    """

    splits: Mapping[str, Sequence[Pair]]
    fingerprints: Sequence[Mapping[str, Any]]
    tokenizers: tuple[Tokenizer, Tokenizer]
    decomposed: frozenset[str] = frozenset()
    warnings: Sequence[str] = ()
    available: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Pairs in each split."""
        return {split: len(pairs) for split, pairs in self.splits.items()}

    @property
    def content(self) -> str:
        """Kind of the items, for a line about the data."""
        sources = {symbol for pair in self.splits["train"] for symbol in pair.source}
        targets = {symbol for pair in self.splits["train"] for symbol in pair.target}
        return ", ".join([f"pairs of {len(sources)} source and {len(targets)} target symbols", *self.notes])

    def keys(self, split: str) -> list[str]:
        """A text that identifies each pair of a split; empty where the split does not exist."""
        return [
            "\0".join((*pair.source, "", *pair.target, *(("", *pair.features) if pair.features else ())))
            for pair in self.splits.get(split, ())
        ]

    def items(self, split: str, *, references: str = "any") -> list[Item]:
        """Items to evaluate: every source once with all its references, or every row (`references="each"`).

        Raises:
            DataError: there is no such split.
        """
        if split not in self.splits:
            hint = f"Add a {split} file to the data." if split in SPLITS else ""
            raise DataError(field="split", value=split, expected=f"one of {', '.join(self.splits)}", hint=hint)
        pairs = self.splits[split]
        if references == "each":
            return [Item(pair.source, (pair.target,), pair.features) for pair in pairs]
        return [Item(given.source, targets, given.features) for given, targets in group_references(pairs).items()]


def tokenizers(settings: SpellData) -> tuple[Tokenizer, Tokenizer]:
    """Tokenizers of sources and targets, composed (NFC) where the normal form is chosen from the data."""
    first, second = _column_tokenizers(settings)
    return (second, first) if settings.reverse else (first, second)


def _column_tokenizers(settings: SpellData) -> tuple[Tokenizer, Tokenizer]:
    """The tokenizers of the source and the target column, before `reverse`."""
    form: NormalForm = "NFC" if settings.normal_form == "auto" else settings.normal_form

    def tokenizer(side: str, unit: Unit) -> Tokenizer:
        lowercase, strip_diacritics, letters_only = (
            getattr(settings, option) in (True, "both", side) for option in CLEANING
        )
        return Tokenizer(
            unit, form, lowercase, strip_diacritics, letters_only, backward=settings.direction == "backward"
        )

    return tokenizer("source", settings.source_unit), tokenizer("target", settings.target_unit)


def dictionary_layout(settings: SpellData, language: str | None = None) -> DictionaryLayout:
    """Layout of a dictionary for the recipe's data, which is that of the data."""
    return DictionaryLayout(layout_of(settings, language), settings.reverse)


def layout_of(settings: SpellData, language: str | None = None) -> Layout:
    """Layout of the recipe's files, before `reverse`, whose rows are of a language where there are several."""
    return Layout(
        columns_of(settings, language),
        settings.delimiter or None,
        settings.layout,
        settings.split_alternatives,
        settings.blank_rows == "skip",
    )


def columns_of(settings: SpellData, language: str | None = None) -> Columns:
    """Columns of the recipe's data, before `reverse`; see `layout_of`."""
    return Columns(
        settings.source_column,
        settings.target_column,
        settings.features_column or None,
        settings.features_separator,
        language,
        tuple(settings.languages),
    )


def load_corpus(
    settings: SpellData,
    location: Location | None,
    *,
    whole: str | None = None,
    known: tuple[Tokenizer, Tokenizer] | None = None,
) -> Corpus:
    """Read the recipe's pairs.

    Args:
        settings: the recipe's `[data]`.
        location: a folder with the split files, or one file to split, or one of them by language; None for a named set.
        whole: read other data than the recipe's, to evaluate on: all of a file as this split, or this split's file of a
            folder, without the recipe's limits, also where its columns or delimiter are not the recipe's.
        known: tokenizers of sources and targets of a model that was trained on the recipe's data; by default they are
            chosen here.
    Raises:
        DataError: nothing to read, or a file that is missing or bad.
    """
    check_languages(settings, location, whole=bool(whole))
    if location is None and not settings.set:
        raise DataError(
            field="data.set",
            value="",
            expected="the name of a data set where --data is not given",
            hint="Use --data with a folder or a file of pairs, or --set data.set=cmudict",
        )
    if location is None:
        corpus = _named(settings)
    else:
        check_locations(location)
        if isinstance(location, Path):
            corpus = _located(settings, location, whole, layout_of(settings))
        else:
            corpora = {
                name: _located(settings, location[name], whole, layout_of(settings, name))
                for name in settings.languages
                if name in location
            }
            corpus = together(corpora)
    corpus = _reversed(corpus) if settings.reverse else corpus
    return _with_tokenizers(settings, corpus if whole else _limited(settings, corpus), known)


def _located(settings: SpellData, location: Path, whole: str | None, layout: Layout) -> Corpus:
    """The pairs of a folder or file, sides not swapped."""
    if whole:
        return _other(settings, location, whole, layout)
    if location.is_dir():
        return _folder(settings, location, layout)
    file = _read(settings, location, layout)
    try:
        splits = _split(settings, file.pairs)
    except DataError as error:  # too few to split
        raise DataError(str(error), path=location) from None
    return _corpus(settings, splits, [fingerprint_file(location)], _remarks(settings, file), [file])


def _other(settings: SpellData, location: Path, split: str, layout: Layout) -> Corpus:
    """Other data than the recipe's own, as one split."""
    if location.is_dir():
        if split not in SPLITS:
            raise DataError(field="split", value=split, expected=f"one of {', '.join(SPLITS)}")
        location = location / getattr(settings, split)
    layout = other_layout(location, layout)
    file = _read(settings, location, layout)
    remarks = [layout.remark] if layout.remark else []
    return _corpus(
        settings, {split: file.pairs}, [fingerprint_file(location)], [*remarks, *_remarks(settings, file)], [file]
    )


def _corpus(
    settings: SpellData,
    splits: Mapping[str, Sequence[Pair]],
    fingerprints: Sequence[Mapping[str, Any]],
    warnings: Sequence[str],
    files: Sequence[PairFile],
) -> Corpus:
    """Pairs as the files have them, sides not swapped; the training pairs come from `files`."""
    decomposed = frozenset(side for file in files for side in file.decomposed)
    notes = tuple(dict.fromkeys(file.layout for file in files if file.layout))
    return Corpus(splits, fingerprints, _column_tokenizers(settings), decomposed, warnings, notes=notes)


def _with_tokenizers(settings: SpellData, corpus: Corpus, known: tuple[Tokenizer, Tokenizer] | None) -> Corpus:
    """The pairs as symbols of a model's tokenizers, or, with normal form `auto`, of those that fit the training pairs.

    Files are read and split in one form (NFC), so that splits do not depend on what is chosen.
    """
    chosen, form = known or corpus.tokenizers, ""
    if known is None and settings.normal_form == "auto":
        pairs = corpus.splits.get("train") or next(iter(corpus.splits.values()))
        chosen, form = fit_pairs(pairs, corpus.tokenizers, decomposed=corpus.decomposed)
    splits = {split: resplit(pairs, corpus.tokenizers, chosen) for split, pairs in corpus.splits.items()}
    notes = (*([form] if form else []), *corpus.notes)
    return replace(corpus, splits=splits, tokenizers=chosen, notes=notes)


def _reversed(corpus: Corpus) -> Corpus:
    splits = {
        split: [pair._replace(source=pair.target, target=pair.source) for pair in pairs]
        for split, pairs in corpus.splits.items()
    }
    turned = frozenset("target" if side == "source" else "source" for side in corpus.decomposed)
    return replace(corpus, splits=splits, tokenizers=corpus.tokenizers[::-1], decomposed=turned)


def _named(settings: SpellData) -> Corpus:
    columns = ("source_column", "target_column")
    are_first_two = {settings.source_column, settings.target_column} == {1, 2}  # as in a dictionary, which a set is
    others = ("features_column", "delimiter", "layout", "split_alternatives")
    for key in (*(() if are_first_two else columns), *others):
        value = getattr(settings, key)
        if value != SpellData.model_fields[key].default:
            raise RecipeError(
                f"data.{key} is {value!r} and has no effect with data.set {settings.set!r}; remove it: a named set "
                "knows its columns.",
                field=f"data.{key}",
                value=value,
            )
    source, target = _column_tokenizers(settings)
    file = named_pairs(settings, source, target)
    content = ("\t".join((source.join(pair.source), target.join(pair.target))) for pair in file.pairs)
    fingerprint = {"path": settings.set, "pairs": len(file.pairs), "sha256": fingerprint_items(content)}
    return _corpus(settings, _split(settings, file.pairs), [fingerprint], _remarks(settings, file), [file])


def named_pairs(settings: SpellData, source: Tokenizer, target: Tokenizer) -> PairFile:
    """All pairs of the named set, in its order; words first where the units of the sides are those of a G2P model.

    Args:
        settings: of which `set`, `max_symbols` and `skip_bad` are used.
        source: splits sources, before `reverse`.
        target: splits targets, likewise.
    """
    words_first = target.unit == "symbols" and source.unit != "symbols"
    file = resolve(settings.set).load(
        source_tokenizer=target if words_first else source,
        target_tokenizer=source if words_first else target,
        max_symbols=settings.max_symbols,
        skip_bad_rows=settings.skip_bad,
    )
    return file.turned() if words_first else file


def _folder(settings: SpellData, folder: Path, layout: Layout) -> Corpus:
    names = {"train": settings.train, "valid": settings.valid, "test": settings.test}
    paths = {split: folder / name for split, name in names.items()}
    if not any(path.exists() for path in paths.values()):
        raise DataError(
            f"the folder has none of the files {', '.join(names.values())}.",
            hint="Give one file of pairs, or name the files with data.train, data.valid and data.test.",
            path=folder,
        )
    if not paths["test"].exists():  # a test split is only asked for by an evaluation
        del paths["test"]
    files = {split: _read(settings, path, layout) for split, path in paths.items()}
    remarks = [remark for file in files.values() for remark in _remarks(settings, file)]
    return _corpus(
        settings,
        {split: file.pairs for split, file in files.items()},
        [fingerprint_file(path) for path in paths.values()],
        [*remarks, *([] if settings.remember else _shared_pairs(files))],
        [files["train"]],
    )


def _shared_pairs(files: Mapping[str, PairFile]) -> list[str]:
    """Sentences on pairs of other splits that are in training too."""
    trained = {(pair.input, pair.target) for pair in files["train"]}
    remarks = []
    for split in files.keys() - {"train"}:
        shared = [pair for pair in files[split] if (pair.input, pair.target) in trained]
        if shared:
            remarks.append(
                f"{files[split].path}:{shared[0].line}: this pair is in train too; such pairs of {split}: "
                f"{len(shared)}."
            )
    return sorted(remarks)


def _read(settings: SpellData, path: Path, layout: Layout) -> PairFile:
    source, target = _column_tokenizers(settings)
    return read_pairs(
        path,
        layout=layout,
        source_tokenizer=source,
        target_tokenizer=target,
        max_symbols=settings.max_symbols,
        skip_bad_rows=settings.skip_bad,
    )


def _remarks(settings: SpellData, file: PairFile) -> list[str]:
    """Sentences on a file: what is likely a mistake, which symbols were merged, how many rows were skipped."""
    remarks = list(file.warnings)
    options = [option for option in CLEANING if getattr(settings, option) is True]
    for side, groups in file.merged.items() if options else ():
        other = "target" if side == "source" else "source"
        first = " and ".join(quoted(symbol) for symbol in groups[0][:SHOWN])
        remarks.append(
            f"{file.path}: data.{options[0]} acts on both sides and makes {side} symbols equal that differ, such as "
            f'{first}; merged symbols: {len(groups)}. Use data.{options[0]} = "{other}" to keep the '
            f'{side} as it is, or "both" if this is wanted.'
        )
    if file.skipped:
        first_row = file.skipped[0]
        remarks.append(
            f"{file.path}:{first_row.line}: {first_row.reason}. Bad rows that were skipped, this one first: "
            f"{len(file.skipped)}; pairs that were read: {len(file.pairs)}."
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
        is_evaluated = split != "train"
        most = settings.max_eval_pairs if is_evaluated else settings.max_train_pairs
        by_source = is_evaluated and settings.references == "any"
        splits[split] = sample_pairs(pairs, most, settings.split_seed, by_source=by_source)
    available = {split: len(pairs) for split, pairs in corpus.splits.items() if len(splits[split]) < len(pairs)}
    return replace(corpus, splits=splits, available=available)
