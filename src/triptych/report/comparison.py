"""Two or more runs compared on the same items: is the difference more than chance?"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.errors import DataError
from triptych.statistics import Estimate, PairedComparison, bootstrap_ratio, paired_bootstrap, share_of

Numbers = NDArray[np.float64]
SHARES = ("error rate", "WER")  # measures that are the share of items with an error
LEAST_SHARED = 0.5  # of the smallest run's items; fewer in common are other data that has some items by accident
FEW_ITEMS = 30


@dataclass(frozen=True)
class Errors:
    """Errors per item of one run, as its predictions file has them.

    Attributes:
        items: a key per item, such as its source and references.
        measures: by name, what is summed over items and what its sum is divided by; shapes (N,) each.
    """

    items: Sequence[tuple[str, ...]]
    measures: Mapping[str, tuple[Numbers, Numbers]]


@dataclass(frozen=True)
class Standing:
    """One run's scores over the shared items, by measure."""

    name: str
    n_items: int
    measures: Mapping[str, Estimate]


@dataclass(frozen=True)
class Comparison:
    """Runs side by side on the items all of them predicted.

    Attributes:
        evaluation: which evaluation was compared, such as `test/greedy`.
        rows: error rates per run, in the order given.
        differences: per other run and measure, its errors minus the first run's.
        picture: the figure of all curves.
        warnings: complete sentences on what was compared.
    """

    evaluation: str
    rows: Sequence[Standing]
    differences: Mapping[str, Mapping[str, PairedComparison]]
    picture: Path
    warnings: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "evaluation": self.evaluation,
            "runs": [
                {
                    "name": row.name,
                    "n_items": row.n_items,
                    **{key_of(name): estimate.to_dict() for name, estimate in row.measures.items()},
                }
                for row in self.rows
            ],
            "differences": {
                name: {measure: result.to_dict() for measure, result in measures.items()}
                for name, measures in self.differences.items()
            },
            "picture": str(self.picture),
            "warnings": list(self.warnings),
        }


def key_of(measure: str) -> str:
    """A measure's name as a key in JSON: `mean error` is `mean_error`."""
    return measure.lower().replace(" ", "_")


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a predictions file, by column."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


def read_errors(path: Path, measure: Callable[[Sequence[Mapping[str, str]]], Errors]) -> Errors:
    """Errors per item from a predictions file; `measure` gives those of its rows, or a KeyError or ValueError.

    Raises:
        DataError: the file lacks a column, or holds a word where a number belongs.
    """
    try:
        return measure(read_rows(path))
    except KeyError as error:
        raise _not_predictions(f"column {error} is missing", path) from None
    except ValueError as error:
        raise _not_predictions(str(error), path) from None


def _not_predictions(problem: str, path: Path) -> DataError:
    return DataError(f"{problem}; expected a predictions file as `triptych test` writes it.", path=path)


@dataclass(frozen=True)
class Shared:
    """Each run's errors on the items that all runs predicted, and sentences where those are not all or are few."""

    errors: Mapping[str, Errors]
    warnings: Sequence[str]


def shared_items(errors: Mapping[str, Errors]) -> Shared:
    """Each run's errors on the items that all runs predicted, in the first run's order.

    Items that occur several times are matched in order.

    Raises:
        DataError: they share less than half of the items of the smallest run.
    """
    numbered = {name: _numbered(errors_) for name, errors_ in errors.items()}
    first = next(iter(numbered.values()))
    shared = [key for key in first if all(key in other for other in numbered.values())]
    sizes = {name: len(errors_.items) for name, errors_ in errors.items()}
    listed = ", ".join(f"{size:,} of {name}" for name, size in sizes.items())
    if len(shared) < LEAST_SHARED * min(sizes.values()):
        raise DataError(
            f"the runs have only {len(shared)} items in common ({listed}).",
            hint="Evaluate them on the same data with: triptych test RUN --data PATH",
        )
    warnings = []
    if len(shared) < max(sizes.values()):
        warnings.append(f"compared on the {len(shared):,} items that all runs predicted ({listed}).")
    if len(shared) < FEW_ITEMS:
        warnings.append(f"{len(shared)} items are few: intervals from resampling them are too narrow.")
    taken = {name: _taken(errors[name], [places[key] for key in shared]) for name, places in numbered.items()}
    return Shared(taken, warnings)


def standing(name: str, errors: Errors) -> Standing:
    """Scores with intervals."""
    measures = {
        measure: share_of(over) if measure in SHARES else bootstrap_ratio(over, under)
        for measure, (over, under) in errors.measures.items()
    }
    return Standing(name, len(errors.items), measures)


def differences(first: Errors, other: Errors) -> dict[str, PairedComparison]:
    """The other run's scores minus the first one's.

    Raises:
        DataError: the two are not about the same items in the same order.
    """
    _check_same_items(first, other)
    compared = {}
    for measure, (over, under) in other.measures.items():
        first_over, first_under = first.measures[measure]
        compared[measure] = paired_bootstrap(over, first_over, under, b_denominators=first_under)
    return compared


def _check_same_items(first: Errors, other: Errors) -> None:
    compared: list[tuple[str, object, object]] = [
        ("the number of items of the other run", len(first.items), len(other.items)),
        *((f"item {n} of the other run", *both) for n, both in enumerate(zip(first.items, other.items, strict=False))),
    ]
    for field, expected, value in compared:
        if value != expected:
            raise DataError(
                field=field,
                value=value,
                expected=f"{expected}, as in the first run",
                hint="Evaluate both on the same split, in the same order.",
            )


def _taken(errors: Errors, places: Sequence[int]) -> Errors:
    """Some items, in the order given."""
    return Errors(
        [errors.items[place] for place in places],
        {name: (over[list(places)], under[list(places)]) for name, (over, under) in errors.measures.items()},
    )


def _numbered(errors: Errors) -> dict[tuple[tuple[str, ...], int], int]:
    """The place of each item, under the item and how often it occurred before."""
    seen: dict[tuple[str, ...], int] = {}
    places = {}
    for position, item in enumerate(errors.items):
        occurrence = seen.get(item, 0)
        seen[item] = occurrence + 1
        places[(item, occurrence)] = position
    return places
