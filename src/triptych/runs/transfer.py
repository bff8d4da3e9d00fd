"""Weights of one network for another: what fits is copied, what is about a symbol or a class goes by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from triptych.errors import RunError
from triptych.runs.run import Run

Rows = Sequence[tuple[int, int]]
"""(row of the new tensor, row of the old one), for the names that both know."""


@dataclass(frozen=True)
class Transfer:
    """What a network began with from another one.

    Statistics that a network keeps of its inputs, as of batch normalisation, are copied where they fit and neither
    counted nor named: they are not trained.

    Attributes:
        copied: names of tensors that were copied whole.
        rows: of tensors with a row per symbol or class: how many rows were copied, and how many there are.
        initialised: names of tensors that begin as in any other training, since the other network has none of that name
            and shape.
        numbers: how many weights were copied, and how many the network has.
        remarks: complete sentences on what does not fit.
    """

    copied: Sequence[str]
    rows: Mapping[str, tuple[int, int]]
    initialised: Sequence[str]
    numbers: tuple[int, int]
    remarks: Sequence[str] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Plain values for `run.json`."""
        return {
            "copied": list(self.copied),
            "rows": {name: {"copied": copied, "of": of} for name, (copied, of) in self.rows.items()},
            "initialised": list(self.initialised),
            "numbers": {"copied": self.numbers[0], "of": self.numbers[1]},
        }

    def __str__(self) -> str:
        """One line for the person who watches."""
        parts = [f"{self.numbers[0]:,} of {self.numbers[1]:,} weights copied"]
        parts += [f"{copied} of {of} rows of {name}" for name, (copied, of) in self.rows.items() if copied < of]
        parts += [f"initialised: {', '.join(self.initialised)}"] if self.initialised else []
        return "; ".join(parts)


def transfer(network: nn.Module, tensors: Mapping[str, Tensor], rows: Mapping[str, Rows]) -> Transfer:
    """Copy into a network what another one's tensors have under the same name and in the same shape.

    Args:
        network: changed in place.
        tensors: of the other network.
        rows: for tensors with a row per symbol or class, which rows to copy; the others stay as they are.
    """
    copied, by_row, initialised, count = [], {}, [], 0
    state = network.state_dict()
    statistics = {name: state.pop(name) for name, _ in network.named_buffers() if name in state}
    with torch.no_grad():
        for name, own in state.items():
            other = tensors.get(name)
            if name in rows and other is not None and other.shape[1:] == own.shape[1:]:
                new, old = ([pair[side] for pair in rows[name]] for side in (0, 1))
                own[new] = other[old].to(own)
                by_row[name] = (len(new), len(own))
                count += len(new) * (own.numel() // max(len(own), 1))
            elif name not in rows and other is not None and other.shape == own.shape:
                own.copy_(other)
                copied.append(name)
                count += own.numel()
            else:
                initialised.append(name)
        for name, own in statistics.items():
            if name in tensors and tensors[name].shape == own.shape:
                own.copy_(tensors[name])
    return Transfer(copied, by_row, initialised, (count, sum(own.numel() for own in state.values())))


def description_of_start(start: Run, panel: str) -> dict[str, Any]:
    """What a start run says of its model.

    Raises:
        RunError: it is of another panel, is an ensemble or has no model.
    """
    description = start.model(panel)
    if "members" in description:
        raise RunError("this run is an ensemble.", hint="Start from one of its members.", path=start.path)
    return description


def transfer_from(start: Run, network: nn.Module, rows: Mapping[str, Rows]) -> Transfer:
    """Copy into a network what fits of a start run's model; see `transfer`.

    Raises:
        RunError: no tensor fits as a whole.
    """
    found = transfer(network, start.tensors(), rows)
    if not found.copied:
        raise RunError(
            f"no weights of {start.name} fit this recipe, whose [model] is another.",
            hint=f"Leave the recipe out to use the start run's: triptych train --start-from {start.name} --data PATH",
            path=start.path,
        )
    return found


def known_rows(new: Sequence[str], old: Sequence[str], first: int = 0) -> Rows:
    """The rows of names that both lists have; `first` rows before them are the same in both."""
    places = {name: place + first for place, name in enumerate(old)}
    named = [(place + first, places[name]) for place, name in enumerate(new) if name in places]
    return [*((row, row) for row in range(first)), *named]
