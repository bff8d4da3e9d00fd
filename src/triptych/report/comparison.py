"""Two or more runs on the same items: is the difference more than chance?"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from triptych.errors import DataError
from triptych.statistics import Estimate, PairedComparison, bootstrap_ratio, paired_bootstrap


@dataclass(frozen=True)
class Errors:
    """Errors per item of one run, as its predictions file has them.

    Attributes:
        items: what tells an item from others: its source and references.
        edits: per item; 0 is right.
        lengths: of the nearest reference, >= 1.
    """

    items: Sequence[tuple[str, str]]
    edits: Sequence[int]
    lengths: Sequence[int]


@dataclass(frozen=True)
class Standing:
    """One run's error rates over the shared items."""

    name: str
    n_items: int
    cer: Estimate
    wer: Estimate
    mean_error: Estimate


@dataclass(frozen=True)
class Comparison:
    """Runs side by side on the items all of them predicted.

    Attributes:
        evaluation: which evaluation was compared, such as `test/greedy`.
        rows: error rates per run, in the order given.
        differences: per other run and measure, its errors minus the first run's.
        picture: the curves on one picture.
    """

    evaluation: str
    rows: Sequence[Standing]
    differences: Mapping[str, Mapping[str, PairedComparison]]
    picture: Path

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "evaluation": self.evaluation,
            "runs": [
                {
                    "name": row.name,
                    "n_items": row.n_items,
                    **{name: getattr(row, name).to_dict() for name in ("cer", "wer", "mean_error")},
                }
                for row in self.rows
            ],
            "differences": {
                name: {measure: result.to_dict() for measure, result in measures.items()}
                for name, measures in self.differences.items()
            },
            "picture": str(self.picture),
        }


def read_errors(path: Path) -> Errors:
    """Errors per item from a predictions file.

    Raises:
        DataError: the file lacks a column.
    """
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    try:
        return Errors(
            [(row["source"], row["references"]) for row in rows],
            [int(row["edits"]) for row in rows],
            [int(row["reference_length"]) for row in rows],
        )
    except (KeyError, ValueError) as error:
        raise DataError(f"{error}; expected a predictions file as `triptych test` writes it.", path=path) from None


def shared_items(errors: Mapping[str, Errors]) -> dict[str, Errors]:
    """Each run's errors on the items that all runs predicted, in the first run's order.

    Items that occur several times are matched in order.

    Raises:
        DataError: they share no item.
    """
    numbered = {name: _numbered(errors_) for name, errors_ in errors.items()}
    first = next(iter(numbered.values()))
    shared = [key for key in first if all(key in other for other in numbered.values())]
    if not shared:
        raise DataError(f"runs {', '.join(errors)} share 0 items; expected evaluations of the same data.")
    return {
        name: Errors(
            [(source, references) for source, references, _ in shared],
            [errors[name].edits[places[key]] for key in shared],
            [errors[name].lengths[places[key]] for key in shared],
        )
        for name, places in numbered.items()
    }


def standing(name: str, errors: Errors) -> Standing:
    """Error rates with intervals."""
    edits, lengths = np.array(errors.edits, dtype=float), np.array(errors.lengths, dtype=float)
    ones = np.ones(len(edits))
    return Standing(
        name,
        len(edits),
        cer=bootstrap_ratio(edits, lengths),
        wer=bootstrap_ratio(edits > 0, ones),
        mean_error=bootstrap_ratio(edits / lengths, ones),
    )


def differences(first: Errors, other: Errors) -> dict[str, PairedComparison]:
    """The other run's error rates minus the first one's, over the same items."""
    a_edits, a_lengths = np.array(other.edits, dtype=float), np.array(other.lengths, dtype=float)
    b_edits, b_lengths = np.array(first.edits, dtype=float), np.array(first.lengths, dtype=float)
    ones = np.ones(len(a_edits))
    return {
        "CER": paired_bootstrap(a_edits, b_edits, a_lengths, b_denominators=b_lengths),
        "WER": paired_bootstrap(a_edits > 0, b_edits > 0, ones),
        "mean error": paired_bootstrap(a_edits / a_lengths, b_edits / b_lengths, ones),
    }


def _numbered(errors: Errors) -> dict[tuple[str, str, int], int]:
    """Where each item stands, its how-manieth occurrence part of the key."""
    seen: dict[tuple[str, str], int] = {}
    places = {}
    for position, item in enumerate(errors.items):
        occurrence = seen.get(item, 0)
        seen[item] = occurrence + 1
        places[(*item, occurrence)] = position
    return places
