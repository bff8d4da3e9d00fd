"""Error rates of predicted symbol sequences, with intervals, and listings of what went wrong.

An item may have several right answers (a word with two pronunciations): a prediction is right when it equals any of
them, and its edits are counted against the nearest. The first prediction of an item, its best or its first draw, is
the one that `cer`, `wer` and `mean_error` are about.
"""

from __future__ import annotations

import bisect
import dataclasses
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from rapidfuzz.distance import Levenshtein

from triptych.errors import DataError, ShapeError, TriptychError
from triptych.report.comparison import Errors
from triptych.statistics import (
    DEFAULT_LEVEL,
    DEFAULT_SAMPLES,
    Estimate,
    bootstrap_ratio,
    share_of,
)

Symbols = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ItemResult:
    """One source with its right answers and what was predicted for it.

    Attributes:
        source: source symbols.
        references: the right answers, at least one, none empty.
        predictions: at least one, best first or in the order they were drawn; a prediction may be empty.
        log_probabilities: natural logarithms, one per prediction.
        finished: False where the limit on the length cut the first prediction.
        from_dictionary: the first prediction is a dictionary's or one that training had, not the model's.
        features: of the source.
    """

    source: Symbols
    references: tuple[Symbols, ...]
    predictions: tuple[Symbols, ...]
    log_probabilities: tuple[float, ...]
    finished: bool = True
    from_dictionary: bool = False
    features: Symbols = ()

    def __post_init__(self) -> None:
        if not self.references or not all(self.references):
            raise DataError(
                field=f"references of {' '.join(self.source)!r}",
                value=self.references,
                expected="at least one, none empty",
                hint="Remove the row.",
            )
        if not self.predictions:
            raise DataError(
                field=f"predictions of {' '.join(self.source)!r}", value=self.predictions, expected="at least one"
            )
        if len(self.predictions) != len(self.log_probabilities):
            raise ShapeError(
                f"log_probabilities of {' '.join(self.source)!r} has {len(self.log_probabilities)} entries; "
                f"expected {len(self.predictions)}, one per prediction."
            )


class Nearest(NamedTuple):
    """The reference that a prediction comes closest to, and the edits between them; no edits means right."""

    reference: Symbols
    edits: int


@dataclass(frozen=True, slots=True)
class Scores:
    """Error rates over items. All are 0 when everything is right; `wer` and `wer_at_k` are at most 1.

    Attributes:
        n_items: number of items.
        cer: total edits / total reference length, first predictions.
        wer: share of items whose first prediction is not right.
        mean_error: mean over items of edits / reference length, first predictions.
        wer_at_k: entry k - 1 is the share of items that none of their first k predictions spells right (an item
            with fewer counts with all it has). Empty when no item has more than one prediction.
        cer_over_predictions: `cer` of a prediction picked at random: each item's edits and reference length are
            averaged over all its predictions before they are summed. None unless predictions are samples.
        wer_over_predictions: likewise, the mean over items of the share of their predictions that are not right.
        from_dictionary: share of items whose first prediction is a dictionary's; None where none is.
        languages: the same of the items of each language, where there are several.
    """

    n_items: int
    cer: Estimate
    wer: Estimate
    mean_error: Estimate
    wer_at_k: tuple[Estimate, ...] = ()
    cer_over_predictions: Estimate | None = None
    wer_over_predictions: Estimate | None = None
    from_dictionary: Estimate | None = None
    languages: Mapping[str, Scores] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON; `wer_at_k` is keyed by k, and what does not apply is omitted."""
        names = ("cer", "wer", "mean_error", "cer_over_predictions", "wer_over_predictions", "from_dictionary")
        found = {name: getattr(self, name) for name in names}
        values = {"n_items": self.n_items, **{name: each.to_dict() for name, each in found.items() if each is not None}}
        if self.wer_at_k:
            values["wer_at_k"] = {str(k): estimate.to_dict() for k, estimate in enumerate(self.wer_at_k, start=1)}
        own = {name: scores.to_dict() for name, scores in self.languages.items()}
        return {**values, "languages": own} if own else values


@dataclass(frozen=True, slots=True)
class LengthBin:
    """The scores of some items, whose sources have from `shortest` to `longest` symbols."""

    shortest: int
    longest: int
    scores: Scores

    @property
    def label(self) -> str:
        """`5-9` or `7`."""
        return str(self.shortest) if self.shortest == self.longest else f"{self.shortest}-{self.longest}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"shortest": self.shortest, "longest": self.longest, "scores": self.scores.to_dict()}


class Confusion(NamedTuple):
    """Counts of a reference symbol predicted as another; `""` on one side: an insertion, or a deletion."""

    reference: str
    predicted: str
    occurrences: int


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """A wrong first prediction.

    Attributes:
        source: source symbols.
        references: all right answers, in their order.
        prediction: the first prediction.
        edits: to the nearest reference, >= 1.
        reference_length: symbols in that reference, >= 1.
        log_probability: of the prediction, natural logarithm.
        features: of the source.
    """

    source: Symbols
    references: tuple[Symbols, ...]
    prediction: Symbols
    edits: int
    reference_length: int
    log_probability: float
    features: Symbols = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True)
class Example:
    """A source with its features, its right answers, and its distinct predictions in the order they first came."""

    source: Symbols
    references: tuple[Symbols, ...]
    predictions: tuple[Symbols, ...]
    features: Symbols = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)


def nearest_reference(prediction: Symbols, references: Sequence[Symbols]) -> Nearest:
    """The reference with the fewest edits (substitutions, insertions, deletions of one symbol) to a prediction.

    Of equally near ones, the one with the smallest edits / length (the longest), and of those the first.

    Args:
        prediction: symbols, possibly none.
        references: at least one, none empty.
    Source: Levenshtein 1966. Checked by tests/spell/test_metrics.py against the textbook recurrence.
    """
    best = Nearest(references[0], Levenshtein.distance(references[0], prediction))
    for reference in references[1:]:
        edits = Levenshtein.distance(reference, prediction)
        if (edits, -len(reference)) < (best.edits, -len(best.reference)):
            best = Nearest(reference, edits)
    return best


def score(
    items: Sequence[ItemResult],
    *,
    sampled: bool = False,
    level: float = DEFAULT_LEVEL,
    samples: int = DEFAULT_SAMPLES,
    seed: int = 0,
) -> Scores:
    """All error rates over items, with intervals.

    Args:
        items: at least one.
        sampled: predictions are samples, not ranked candidates, so that means over them say something.
        level: of the intervals, in (0, 1).
        samples: bootstrap resamples, >= 1.
        seed: of the resampling.
    Raises:
        DataError: there are no items.
        TriptychError: samples or level break their rule.
    """
    _check_any(items)

    def over_items(values: Sequence[float], denominators: Sequence[float] | None = None) -> Estimate:
        under = np.ones(len(items)) if denominators is None else denominators
        return bootstrap_ratio(values, under, samples=samples, level=level, seed=seed)

    nearest = [[nearest_reference(prediction, item.references) for prediction in item.predictions] for item in items]
    edits, lengths = _edits_and_lengths(row[0] for row in nearest)
    known = [item.from_dictionary for item in items]
    first = Scores(
        n_items=len(items),
        cer=over_items(edits, lengths),
        wer=share_of([edit > 0 for edit in edits], level=level),
        mean_error=over_items([edit / length for edit, length in zip(edits, lengths, strict=True)]),
        from_dictionary=share_of(known, level=level) if any(known) else None,
    )
    most = max(len(row) for row in nearest)
    if most == 1:
        return first
    wrong = [[float(near.edits > 0) for near in row] for row in nearest]
    at_k = tuple(share_of([min(row[:k]) for row in wrong], level=level) for k in range(1, most + 1))
    if not sampled:
        return dataclasses.replace(first, wer_at_k=at_k)
    return dataclasses.replace(
        first,
        wer_at_k=at_k,
        cer_over_predictions=over_items(
            [sum(near.edits for near in row) / len(row) for row in nearest],
            [sum(len(near.reference) for near in row) / len(row) for row in nearest],
        ),
        wer_over_predictions=over_items([sum(row) / len(row) for row in wrong]),
    )


def errors_of(items: Sequence[ItemResult]) -> Errors:
    """Errors per item, by the first predictions, to be compared with another system's on the same items.

    Raises:
        DataError: there are no items.
    """
    _check_any(items)
    edits, lengths = _edits_and_lengths(_first_nearest(item) for item in items)
    names = [
        tuple(
            " ".join(symbols) for symbols in (item.source, *item.references, *((item.features,) * bool(item.features)))
        )
        for item in items
    ]
    return measured(names, edits, lengths)


def measured(names: Sequence[tuple[str, ...]], edits: Sequence[int], lengths: Sequence[int]) -> Errors:
    """Errors of items from their edits and the lengths of their references.

    Args:
        names: a key per item.
        edits: against the nearest reference. Shape (N,).
        lengths: of that reference, >= 1. Shape (N,).
    """
    over, under, ones = np.array(edits, dtype=float), np.array(lengths, dtype=float), np.ones(len(names))
    wrong = (over > 0).astype(float)
    return Errors(names, {"CER": (over, under), "WER": (wrong, ones), "mean error": (over / under, ones)})


def by_length(
    items: Sequence[ItemResult],
    edges: Sequence[int],
    *,
    level: float = DEFAULT_LEVEL,
    samples: int = DEFAULT_SAMPLES,
    seed: int = 0,
) -> list[LengthBin]:
    """Scores per bin of source length; bins without items are omitted.

    Args:
        items: at least one.
        edges: rising; (5, 10) separates lengths below 5, from 5 to 9, and from 10. A bin's label has its own lengths.
        level: of the intervals, in (0, 1).
        samples: bootstrap resamples, >= 1.
        seed: of the resampling.
    Raises:
        DataError: there are no items.
        TriptychError: the edges do not rise, or begin below 1.
    """
    _check_any(items)
    if list(edges) != sorted(set(edges)) or any(edge < 1 for edge in edges):
        raise TriptychError(field="edges", value=tuple(edges), expected="rising integers >= 1, such as (5, 10, 15)")
    binned: list[list[ItemResult]] = [[] for _ in range(len(edges) + 1)]
    for item in items:
        binned[bisect.bisect_right(edges, len(item.source))].append(item)
    found = []
    for members in filter(None, binned):
        lengths = [len(item.source) for item in members]
        scores = score(members, level=level, samples=samples, seed=seed)
        found.append(LengthBin(min(lengths), max(lengths), scores))
    return found


def confusions(items: Iterable[ItemResult]) -> list[Confusion]:
    """Edits that turn each nearest reference into its first prediction, counted; the most frequent first.

    Of several shortest ways to edit, one is taken, the same each time. The counts sum to the total edits of `cer`.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for item in items:
        reference, edits = _first_nearest(item)
        if not edits:
            continue
        prediction = item.predictions[0]
        for edit in Levenshtein.editops(reference, prediction):
            meant = "" if edit.tag == "insert" else reference[edit.src_pos]
            written = "" if edit.tag == "delete" else prediction[edit.dest_pos]
            counts[meant, written] += 1
    return [Confusion(*pair, times) for pair, times in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))]


def error_rows(items: Iterable[ItemResult]) -> list[ErrorRow]:
    """The items whose first prediction is wrong, in their order."""
    rows = []
    for item in items:
        reference, edits = _first_nearest(item)
        if edits:
            rows.append(
                ErrorRow(
                    source=item.source,
                    references=item.references,
                    prediction=item.predictions[0],
                    edits=edits,
                    reference_length=len(reference),
                    log_probability=item.log_probabilities[0],
                    features=item.features,
                )
            )
    return rows


def worst(items: Iterable[ItemResult], n: int) -> list[ErrorRow]:
    """The n wrong items with the most edits per reference symbol; of equal ones the most edits, then the first."""
    return sorted(error_rows(items), key=lambda row: (-row.edits / row.reference_length, -row.edits))[: _count(n)]


def examples(items: Sequence[ItemResult], n: int, *, seed: int = 0) -> list[Example]:
    """n items drawn without replacement (all of them when there are fewer), in their order."""
    chosen = sorted(random.Random(seed).sample(range(len(items)), min(_count(n), len(items))))
    return [
        Example(items[i].source, items[i].references, tuple(dict.fromkeys(items[i].predictions)), items[i].features)
        for i in chosen
    ]


def _first_nearest(item: ItemResult) -> Nearest:
    return nearest_reference(item.predictions[0], item.references)


def _edits_and_lengths(nearest: Iterable[Nearest]) -> tuple[list[int], list[int]]:
    edits, lengths = [], []
    for near in nearest:
        edits.append(near.edits)
        lengths.append(len(near.reference))
    return edits, lengths


def _count(n: int) -> int:
    if n < 0:
        raise TriptychError(field="n", value=n, expected="an integer >= 0")
    return n


def _check_any(items: Sequence[ItemResult]) -> None:
    if not items:
        raise DataError("there are no items to evaluate.", hint="Check that the evaluated split has rows.")
