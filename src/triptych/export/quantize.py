"""Weights in eight bits: smaller graphs, at a cost that is measured."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triptych.errors import MissingExtraError
from triptych.statistics import Estimate, PairedComparison


@dataclass(frozen=True)
class Change:
    """One error rate before and after, and the paired difference, after minus before."""

    before: Estimate
    after: Estimate
    difference: PairedComparison


@dataclass(frozen=True)
class Cost:
    """Change of metrics by quantisation on a split.

    Attributes:
        split: which split.
        n_items: number of items evaluated.
        changed: items whose prediction is another than before.
        changes: by the name of the error rate, such as CER.
        bytes_before, bytes_after: size of all graphs.
        items_per_second_before, items_per_second_after: speed on this machine and one thread; 0 where not measured.
    """

    split: str
    n_items: int
    changed: int
    changes: Mapping[str, Change]
    bytes_before: int = 0
    bytes_after: int = 0
    items_per_second_before: float = 0.0
    items_per_second_after: float = 0.0

    @property
    def is_slower(self) -> bool:
        """Whether quantisation made predictions slower on this machine."""
        return self.items_per_second_after < self.items_per_second_before

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        changes = {
            name: {
                "before": change.before.to_dict(),
                "after": change.after.to_dict(),
                "difference": change.difference.to_dict(),
            }
            for name, change in self.changes.items()
        }
        sizes = {"bytes_before": self.bytes_before, "bytes_after": self.bytes_after}
        speeds = {"items_per_second": {"before": self.items_per_second_before, "after": self.items_per_second_after}}
        measured = speeds if self.items_per_second_before else {}
        return {"split": self.split, "n_items": self.n_items, "changed": self.changed, **sizes, **measured, **changes}


def to_int8(paths: Sequence[Path]) -> None:
    """Replace graphs by ones with weights in eight bits; activations are scaled on the fly.

    Matrix products, LSTM layers and embeddings are quantised; ONNX Runtime has no such GRU, which stays as it is.
    """
    try:
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError:
        raise MissingExtraError("onnxruntime", "onnx") from None
    advice = logging.getLogger()  # the library advises on the root logger; its advice concerns shapes, which are set
    level = advice.level
    advice.setLevel(logging.ERROR)
    try:
        for path in paths:
            made = path.with_suffix(".int8")
            quantize_dynamic(path, made, weight_type=QuantType.QInt8)
            made.replace(path)
    finally:
        advice.setLevel(level)
