"""Rows of a memory at the precision they are kept with: float32, float16, bfloat16, or int8 with a scale per row.

A shard never changes once it is made; only which of its rows count does. Its tensors may lie in memory or be mapped
from a file: they are read a block at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from triptych.errors import DataError
from triptych.memory.normalisation import Scaling
from triptych.recall.kernels import blocks

Precision = Literal["float32", "float16", "bfloat16", "int8"]
NUMBERS_AT_ONCE = 1 << 21  # decoded at once: 8 MiB

TORCH_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16, "int8": torch.int8}


@dataclass(frozen=True)
class Packed:
    """Rows at the precision they are kept with.

    Attributes:
        rows: Shape (n, D).
        scale: what int8 rows are multiplied by; None for other precisions. Shape (n,), float32.
    """

    rows: Tensor
    scale: Tensor | None = None

    @classmethod
    def of(cls, rows: Tensor, precision: Precision, *, name: str) -> Packed:
        """Pack float32 rows, shape (n, D); int8 rounds to 127 steps of each row's largest magnitude.

        Raises:
            DataError: a value does not fit the precision.
        """
        if precision == "int8":
            scale = rows.abs().amax(1) / 127
            steps = rows / scale.where(scale > 0, 1.0).unsqueeze(1)
            return cls(steps.round_().clamp_(-127, 127).to(torch.int8), scale)
        packed = rows.to(TORCH_DTYPES[precision])
        if precision == "float16" and not math.isfinite(packed.abs().amax().item()):
            row, column = (~torch.isfinite(packed)).nonzero()[0].tolist()
            value = rows[row, column].item()
            message = f"{name} is {value:g} in row {row}, column {column}"
            expected = "at most 65504 in size for float16"
            hint = "Use precision 'float32' or 'bfloat16', or a normalisation."
            raise DataError(message, field=name, value=value, expected=expected, hint=hint)
        return cls(packed)

    def rows_at(self, place: slice | Tensor) -> Tensor:
        """Some rows as float32: a view where nothing has to be converted or gathered. Shape (m, D)."""
        some = self.rows[place].float()
        return some if self.scale is None else some * self.scale[place].unsqueeze(1)

    def chosen(self, kept: Tensor) -> Packed:
        """The rows where a mask (n,) is True, as they are kept."""
        return Packed(self.rows[kept], None if self.scale is None else self.scale[kept])


@dataclass(frozen=True)
class Shard:
    """Some patterns with all that belongs to them.

    Attributes:
        keys: the patterns, normalised.
        values: what is recalled, where it is not the pattern itself.
        length: of each pattern before normalisation. Shape (n,).
        ids: Shape (n,), int64.
        codes: places in `labels`; -1 for none. Shape (n,), int64; None where no row has a label.
        labels: the different labels.
        largest_norm: M of the rows that count, as they are kept.
        removed: places of rows that no longer count, in order.
        name: of its file; None while it is in memory only.
    """

    keys: Packed
    values: Packed | None
    length: Tensor | None
    ids: Tensor
    codes: Tensor | None
    labels: Sequence[str]
    largest_norm: float = 0.0
    removed: tuple[int, ...] = ()
    name: str | None = None

    def __len__(self) -> int:
        """Rows, the removed ones included."""
        return self.ids.shape[0]

    @property
    def count(self) -> int:
        """Rows that count."""
        return len(self) - len(self.removed)

    @property
    def value_width(self) -> int:
        """V, or D where patterns recall themselves."""
        width: int = (self.keys if self.values is None else self.values).rows.shape[1]
        return width

    @property
    def bytes(self) -> int:
        """Size of the rows that count, keys and values."""
        kept = (self.keys.rows, *(() if self.values is None else (self.values.rows,)))
        return self.count * int(sum(rows.shape[1] * rows.element_size() for rows in kept))

    def kept(self) -> Tensor:
        """True where a row counts. Shape (n,)."""
        found = torch.ones(len(self), dtype=torch.bool)
        found[list(self.removed)] = False
        return found

    def places(self, *, whole: bool = False) -> Iterator[slice | Tensor]:
        """The rows that count, in blocks of bounded size; with `whole` in one where nothing has to be converted."""
        if whole and not self.removed and self.keys.rows.dtype == torch.float32:
            yield slice(0, len(self))
            return
        kept = self.kept() if self.removed else None
        for some in blocks(len(self), max(1, NUMBERS_AT_ONCE // self.keys.rows.shape[1])):
            if kept is None:
                yield some
                continue
            place = kept[some].nonzero().squeeze(1) + some.start
            if len(place):
                yield place

    def value_rows(self, place: slice | Tensor, scaling: Scaling) -> Tensor:
        """What is recalled for some rows: their values, or the patterns as they were given. Shape (m, V)."""
        if self.values is not None:
            return self.values.rows_at(place)
        return scaling.undo(self.keys.rows_at(place), None if self.length is None else self.length[place])

    def label_of(self, place: int) -> str | None:
        """The label of a row."""
        code = -1 if self.codes is None else int(self.codes[place])
        return None if code < 0 else self.labels[code]

    def without(self, places: Sequence[int]) -> Shard:
        """The same rows, fewer of which count."""
        return measured(replace(self, removed=tuple(sorted({*self.removed, *places}))))

    def compacted(self) -> Shard:
        """The rows that count, in memory."""
        if not self.removed:
            return replace(self, name=None)
        kept = self.kept()
        return replace(
            self,
            keys=self.keys.chosen(kept),
            values=None if self.values is None else self.values.chosen(kept),
            length=None if self.length is None else self.length[kept],
            ids=self.ids[kept],
            codes=None if self.codes is None else self.codes[kept],
            removed=(),
            name=None,
        )


def measured(shard: Shard) -> Shard:
    """The shard with its largest norm, 0 where no row counts."""
    norms = (torch.linalg.vector_norm(shard.keys.rows_at(place), dim=1).amax().item() for place in shard.places())
    return replace(shard, largest_norm=max(norms, default=0.0))


def joined(shards: Sequence[Shard]) -> Shard:
    """The rows of some shards that count as one shard, in memory; a single whole one is returned as it is."""
    if len(shards) == 1 and not shards[0].removed:
        return shards[0]
    parts = [shard.compacted() for shard in shards]
    codes, labels = _joined_labels(parts)
    values = [part.values for part in parts if part.values is not None]
    lengths = [part.length for part in parts if part.length is not None]
    return Shard(
        keys=_stacked([part.keys for part in parts]),
        values=_stacked(values) if values else None,
        length=torch.cat(lengths) if lengths else None,
        ids=torch.cat([part.ids for part in parts]),
        codes=codes,
        labels=labels,
        largest_norm=max(part.largest_norm for part in parts),
    )


def _joined_labels(shards: Sequence[Shard]) -> tuple[Tensor | None, list[str]]:
    """Label numbers of all rows over one list of labels."""
    if all(shard.codes is None for shard in shards):
        return None, []
    table: dict[str, int] = {}
    codes = []
    for shard in shards:
        renumbered = torch.tensor([*(table.setdefault(label, len(table)) for label in shard.labels), -1])
        codes.append(torch.full((len(shard),), -1) if shard.codes is None else renumbered[shard.codes])
    return torch.cat(codes), list(table)


def _stacked(packed: Sequence[Packed]) -> Packed:
    scales = [one.scale for one in packed if one.scale is not None]
    return Packed(torch.cat([one.rows for one in packed]), torch.cat(scales) if scales else None)


def coded(labels: Sequence[str | None] | None) -> tuple[Tensor | None, list[str]]:
    """Labels as numbers, shape (n,), and the different ones; nothing where there is none."""
    if labels is None or all(label is None for label in labels):
        return None, []
    table: dict[str, int] = {}
    codes = [-1 if label is None else table.setdefault(label, len(table)) for label in labels]
    return torch.tensor(codes), list(table)
