"""What a memory holds: shards of rows, the ids that name them, and how they are scaled and kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from triptych.errors import DataError, ShapeError
from triptych.memory.blockwise import rows_at
from triptych.memory.normalisation import Scaling
from triptych.memory.shards import Packed, Precision, Shard, coded, joined, measured

Labels = Sequence[str | int | None] | None
_SMALL = 4096  # rows: smaller shards that are not on disk yet are joined


@dataclass
class Contents:
    """The rows of a memory.

    Attributes:
        scaling: how patterns are normalised.
        precision: how they are kept.
        width: D.
        value_width: V, or None where patterns recall themselves.
        next_id: above all ids that were ever used.
        shards: in the order rows were added.
    """

    scaling: Scaling
    precision: Precision
    width: int
    value_width: int | None
    next_id: int = 0
    shards: list[Shard] = field(default_factory=list)

    @property
    def count(self) -> int:
        """N, rows that count."""
        return sum(len(shard) - len(shard.removed) for shard in self.shards)

    @property
    def version(self) -> tuple[int, int]:
        """Rows ever kept and rows removed: it changes whenever the patterns or their places do."""
        return sum(len(shard) for shard in self.shards), sum(len(shard.removed) for shard in self.shards)

    def add(self, rows: Tensor, *, labels: Labels, values: Tensor | None, ids: Sequence[int] | None) -> Tensor:
        """Append rows, shape (n, D), as `Memory.add` does; nothing is changed where an argument is wrong."""
        count = rows.shape[0]
        if (values is None) != (self.value_width is None):
            has = "no values" if self.value_width is None else f"values of width {self.value_width}"
            raise ShapeError(f"values is {'missing' if values is None else 'given'}; expected it to be as the memory, "
                             f"which has {has}.")  # fmt: skip
        for name, given in (("labels", labels), ("values", values), ("ids", ids)):
            if given is not None and len(given) != count:
                raise ShapeError(f"{name} has {len(given)} entries; expected {count}, one per pattern.")
        numbers = self._new_ids(count, ids)
        if not count:
            return numbers
        scaled = self.scaling.apply(rows, name="patterns")
        codes, names = coded(None if labels is None else [None if some is None else str(some) for some in labels])
        shard = Shard(
            # A memory keeps rows of its own: where nothing is scaled or converted, these are still the caller's.
            keys=Packed.of(rows.clone() if scaled.rows is rows else scaled.rows, self.precision, name="patterns"),
            values=None if values is None else Packed.of(values.clone(), self.precision, name="values"),
            length=scaled.length,
            ids=numbers,
            codes=codes,
            labels=names,
        )
        self._append(measured(shard))
        self.next_id = max(self.next_id, int(numbers.max()) + 1)
        return numbers

    def remove(self, ids: Sequence[int]) -> None:
        """Let rows no longer count, as `Memory.remove` does."""
        wanted = torch.as_tensor(list(ids), dtype=torch.int64)
        _check_different(wanted)
        found = [(torch.isin(shard.ids, wanted) & shard.kept()).nonzero().squeeze(1) for shard in self.shards]
        have = torch.cat([shard.ids[some] for shard, some in zip(self.shards, found, strict=True)])
        if have.shape[0] < wanted.shape[0]:
            missing = wanted[~torch.isin(wanted, have)][0].item()
            raise DataError(f"id is {missing}; expected one that is stored. See them with memory.ids.")
        if have.shape[0] == self.count:
            raise DataError(f"the ids are all {self.count} that are stored; expected some to stay. Delete the memory.")
        self.shards = [
            shard.without(some.tolist()) if some.shape[0] else shard
            for shard, some in zip(self.shards, found, strict=True)
        ]

    def places(self) -> Tensor:
        """Rows that count, by their places over all shards. Shape (N,)."""
        return torch.cat([shard.kept() for shard in self.shards]).nonzero().squeeze(1)

    def values_at(self, places: Tensor) -> Tensor:
        """What is recalled, by places over all shards. Shapes: (...) to (..., V)."""
        flat = places.reshape(-1)
        found = torch.empty(flat.shape[0], self.width if self.value_width is None else self.value_width)
        start = 0
        for shard in self.shards:
            here = ((flat >= start) & (flat < start + len(shard))).nonzero().squeeze(1)
            if here.shape[0]:
                found[here] = shard.value_rows(flat[here] - start, self.scaling)
            start += len(shard)
        return found.reshape(*places.shape, found.shape[1])

    def named(self, places: Tensor) -> tuple[Tensor, tuple[tuple[str | None, ...], ...]]:
        """Ids (B, k) and labels of rows by their places (B, k)."""
        ids = torch.empty_like(places)
        names: list[list[str | None]] = [[None] * places.shape[1] for _ in range(places.shape[0])]
        start = 0
        for shard in self.shards:
            here = (places >= start) & (places < start + len(shard))
            ids[here] = shard.ids[places[here] - start]
            if shard.codes is not None:
                for row, column in here.nonzero().tolist():
                    names[row][column] = shard.label_of(int(places[row, column]) - start)
            start += len(shard)
        return ids, tuple(tuple(row) for row in names)

    def sample(self, count: int, *, seed: int) -> Tensor:
        """At most `count` of the patterns as they are compared, drawn without replacement. Shape (n, D)."""
        places = self.places()
        if places.shape[0] > count:
            places = places[torch.randperm(places.shape[0], generator=torch.Generator().manual_seed(seed))[:count]]
        return rows_at(self.shards, places.sort().values)

    def compacted(self) -> Iterator[Shard]:
        """The rows that count, small shards joined."""
        last: Shard | None = None
        for shard in self.shards:
            if len(shard.removed) == len(shard):
                continue
            some = shard.compacted()
            if last is not None and len(last) + len(some) <= 16 * _SMALL:
                last = joined(last, some)
                continue
            if last is not None:
                yield last
            last = some
        if last is not None:
            yield last

    def _append(self, shard: Shard) -> None:
        last = self.shards[-1] if self.shards else None
        if last is not None and last.name is None and not last.removed and len(last) + len(shard) <= _SMALL:
            self.shards[-1] = joined(last, shard)
        else:
            self.shards.append(shard)

    def _new_ids(self, count: int, ids: Sequence[int] | None) -> Tensor:
        if ids is None:
            return torch.arange(self.next_id, self.next_id + count)
        found = torch.as_tensor(ids)
        if found.is_floating_point() or found.ndim != 1 or (count and int(found.min()) < 0):
            worst = found.min().item() if found.ndim == 1 else tuple(found.shape)
            raise DataError(f"ids has {worst}; expected different integers >= 0, one per pattern.")
        found = found.to(torch.int64)
        _check_different(found)
        if count and int(found.min()) < self.next_id:
            for shard in self.shards:
                taken = found[torch.isin(found, shard.ids[shard.kept()])]
                if taken.shape[0]:
                    raise DataError(f"id {taken[0].item()} is stored already; expected different ones. "
                                    "Remove it first, or leave ids out to get free ones.")  # fmt: skip
        return found


def _check_different(ids: Tensor) -> None:
    ordered = ids.sort().values
    again = ordered[1:][ordered[1:] == ordered[:-1]]
    if again.shape[0]:
        raise DataError(f"id {again[0].item()} is given twice; expected different ones.")
