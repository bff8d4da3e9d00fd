"""The rows of a memory: shards, the ids and labels that name them, and how they are scaled and kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from triptych.errors import DataError, ShapeError
from triptych.memory.blockwise import gathered, ids_at, located, rows_at
from triptych.memory.normalisation import Scaling
from triptych.memory.shards import Packed, Precision, Shard, coded, joined, measured

Labels = Sequence[str | int | None] | Tensor | NDArray[Any] | None
LARGEST_ID = 2**63 - 2  # the next one must be an int64 too
_SMALL_BYTES = 1 << 20  # shards that are together no larger than this are always joined
_LARGE_BYTES = 64 << 20  # joined shards grow no larger than this


@dataclass
class Entries:
    """The rows of a memory.

    Attributes:
        scaling: how patterns are normalised.
        precision: how they are kept.
        width: D.
        value_width: V, or None where patterns recall themselves.
        next_id: above all ids that were ever used.
        shards: in the order rows were added.
        changes: additions and removals so far.
    """

    scaling: Scaling
    precision: Precision
    width: int
    value_width: int | None
    next_id: int = 0
    shards: list[Shard] = field(default_factory=list)
    changes: int = 0

    @property
    def count(self) -> int:
        """N, rows that count."""
        return sum(shard.count for shard in self.shards)

    def add(self, rows: Tensor, *, labels: Labels, values: Tensor | None, ids: Iterable[int] | None) -> Tensor:
        """Append rows, shape (n, D), as `Memory.add` does; nothing is changed where an argument is wrong."""
        count = rows.shape[0]
        if (values is None) != (self.value_width is None):
            has = "no values" if self.value_width is None else f"values of width {self.value_width}"
            given = "are missing" if values is None else "are given"
            raise ShapeError(f"The memory has {has}, and values {given}.", field="values")
        names = _texts(labels)
        numbers = self._new_ids(count, ids)
        for name, given_count in (
            ("labels", None if names is None else len(names)),
            ("values", None if values is None else len(values)),
            ("ids", len(numbers)),
        ):
            if given_count is not None and given_count != count:
                message, expected = f"{name} has {given_count} entries", f"{count}, one per pattern"
                raise ShapeError(message, field=name, value=given_count, expected=expected)
        if not count:
            return numbers
        scaled, length = self.scaling.apply(rows, name="patterns")
        codes, table = coded(names)
        shard = Shard(
            # A memory keeps rows of its own: where nothing is scaled or converted, these are still the caller's.
            keys=Packed.of(rows.clone() if scaled is rows else scaled, self.precision, name="patterns"),
            values=None if values is None else Packed.of(values.clone(), self.precision, name="values"),
            length=length,
            ids=numbers,
            codes=codes,
            labels=table,
        )
        self._append(measured(shard))
        self.next_id = max(self.next_id, int(numbers.max()) + 1)
        self.changes += 1
        return numbers

    def remove(self, ids: Iterable[int]) -> None:
        """Let rows no longer count, as `Memory.remove` does."""
        wanted = _int64(ids)
        found = [(torch.isin(shard.ids, wanted) & shard.kept()).nonzero().squeeze(1) for shard in self.shards]
        have = torch.cat([shard.ids[some] for shard, some in zip(self.shards, found, strict=True)])
        if have.shape[0] < wanted.shape[0]:
            raise _not_stored(wanted[~torch.isin(wanted, have)][0].item())
        if have.shape[0] == self.count:
            message = f"These are all {self.count} patterns of the memory; at least one must stay."
            hint = "Delete the memory's folder to remove everything."
            raise DataError(message, field="ids", value=self.count, hint=hint)
        self.shards = [
            shard.without(some.tolist()) if some.shape[0] else shard
            for shard, some in zip(self.shards, found, strict=True)
        ]
        self.changes += bool(len(wanted))

    def places(self) -> Tensor:
        """Rows that count, by their places over all shards. Shape (N,)."""
        return torch.cat([shard.kept() for shard in self.shards]).nonzero().squeeze(1)

    def place_of(self, number: int) -> int:
        """The place of the row with that id; DataError where it is not stored."""
        start = 0
        for shard in self.shards if 0 <= number <= LARGEST_ID else ():
            found = ((shard.ids == number) & shard.kept()).nonzero()
            if len(found):
                return start + int(found[0])
            start += len(shard)
        raise _not_stored(number)

    def values_at(self, places: Tensor) -> Tensor:
        """What is recalled, by places over all shards. Shapes: (...) to (..., V)."""
        out = torch.empty(places.numel(), self.width if self.value_width is None else self.value_width)
        return gathered(self.shards, places, out, lambda shard, rows: shard.value_rows(rows, self.scaling))

    def patterns_at(self, places: Tensor) -> Tensor:
        """Patterns as they were given, by places over all shards. Shapes: (n,) to (n, D)."""
        return self.scaling.undo(rows_at(self.shards, places), self.lengths_at(places))

    def lengths_at(self, places: Tensor) -> Tensor | None:
        """What patterns were divided by, or None where nothing was. Shapes: (n,) to (n,)."""
        if self.scaling.kind == "none":
            return None

        def read(shard: Shard, rows: Tensor) -> Tensor:
            assert shard.length is not None, "normalised rows have their length"
            return shard.length[rows]

        return gathered(self.shards, places, torch.empty(len(places)), read)

    def named(self, places: Tensor) -> tuple[Tensor, tuple[tuple[str | None, ...], ...]]:
        """Ids (B, k) and labels of rows by their places (B, k)."""
        names: list[str | None] = [None] * places.numel()
        for shard, inside, rows in located(self.shards, places.reshape(-1)):
            if shard.codes is not None:
                for at, row in zip(inside.tolist(), rows.tolist(), strict=True):
                    names[at] = shard.label_of(row)
        width = places.shape[1]
        rows_of_names = (tuple(names[row * width : (row + 1) * width]) for row in range(places.shape[0]))
        return ids_at(self.shards, places), tuple(rows_of_names)

    def sample(self, count: int, *, seed: int) -> Tensor:
        """At most `count` of the patterns as they are compared, drawn without replacement. Shape (n, D)."""
        places = self.places()
        if places.shape[0] > count:
            places = places[torch.randperm(places.shape[0], generator=torch.Generator().manual_seed(seed))[:count]]
        return rows_at(self.shards, places.sort().values)

    def merged(self) -> list[Shard]:
        """The same rows in few shards: each is at least twice as large as the next, unless it is large already.

        Saved shards that stay as they are keep their files. A row is written again about once each time the memory
        doubles, so that additions of single rows cost little, and a query meets few shards.
        """
        groups: list[tuple[list[Shard], int]] = []
        for shard in self.shards:
            group, size = [shard], shard.bytes
            while groups and _may_join(groups[-1][1], size):
                before, bytes_before = groups.pop()
                group, size = [*before, *group], bytes_before + size
            groups.append((group, size))
        return [group[0] if len(group) == 1 else joined(group) for group, _ in groups if any(s.count for s in group)]

    def compacted(self) -> list[Shard]:
        """The rows that count in few shards, all of them in memory."""
        return [shard.compacted() for shard in self.merged()]

    def _append(self, shard: Shard) -> None:
        last = self.shards[-1] if self.shards else None
        if last is not None and last.name is None and not last.removed and last.bytes + shard.bytes <= _SMALL_BYTES:
            self.shards[-1] = joined([last, shard])
        else:
            self.shards.append(shard)

    def _new_ids(self, count: int, ids: Iterable[int] | None) -> Tensor:
        if ids is None:
            if self.next_id + count - 1 > LARGEST_ID:
                largest = self.next_id - 1
                message = f"The largest id so far is {largest}, and no larger ones are left."
                raise DataError(message, field="ids", value=largest, hint="Pass ids.")
            return torch.arange(self.next_id, self.next_id + count)
        found = _int64(ids)
        if len(found) and int(found.min()) < self.next_id:
            for shard in self.shards:
                taken = found[torch.isin(found, shard.ids[shard.kept()])]
                if len(taken):
                    value, hint = taken[0].item(), "Remove that pattern first, or omit ids to get free ones."
                    raise DataError(f"Id {value} is stored already.", field="ids", value=value, hint=hint)
        return found


def _may_join(before: int, after: int) -> bool:
    """Whether shards of these sizes in bytes become one."""
    together = before + after
    return together <= _SMALL_BYTES or (before < 2 * after and together <= _LARGE_BYTES)


def _texts(labels: Any) -> list[str | None] | None:
    """Labels as texts that UTF-8 can hold; numbers of tensors and arrays as Python writes them."""
    if labels is None:
        return None
    listed = labels.tolist() if hasattr(labels, "tolist") else list(labels)
    texts = []
    for row, label in enumerate(listed):
        plain = label.item() if hasattr(label, "item") else label
        text = None if plain is None else str(plain)
        if text is not None and any("\ud800" <= character <= "\udfff" for character in text):
            message = f"The label of row {row} has half of a surrogate pair, which UTF-8 cannot hold."
            raise DataError(message, field="labels")
        texts.append(text)
    return texts


def _int64(ids: Any) -> Tensor:
    """Different ids from 0 to LARGEST_ID as int64, shape (n,)."""
    listed = ids.tolist() if hasattr(ids, "tolist") else list(ids)
    expected = f"different integers from 0 to {LARGEST_ID}"
    if not isinstance(listed, list):
        raise DataError(field="ids", value=listed, expected=expected)
    plain = [one.item() if hasattr(one, "item") else one for one in listed]
    for one in plain:
        if isinstance(one, bool) or not isinstance(one, int) or not 0 <= one <= LARGEST_ID:
            raise DataError(field="ids", value=one, expected=expected)
    found = torch.tensor(plain, dtype=torch.int64)
    ordered = found.sort().values
    again = ordered[1:][ordered[1:] == ordered[:-1]]
    if again.shape[0]:
        raise DataError(f"Id {again[0].item()} is given twice.", field="ids", value=again[0].item(), expected=expected)
    return found


def _not_stored(number: Any) -> DataError:
    hint = "Queries give the ids of the patterns that they find; in Python, memory.ids has all of them."
    return DataError(
        f"Id {number} is not stored.", field="id", value=number, expected="the id of a stored pattern", hint=hint
    )
