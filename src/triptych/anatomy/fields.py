"""Receptive fields of all tensors of a running network, along each axis of an image.

Layers move windows over what came before; the functions between them, such as the sum at the end of a residual block,
see what their arguments see together. Checked by tests/anatomy/test_counts.py against gradients.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from triptych.anatomy.windows import ReceptiveField

Field = tuple[ReceptiveField, ...]


class Fields(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Receptive fields of tensors, followed through pointwise functions while this is entered.

    What any other function gives is taken to see everything, until `keep` says better.

    Args:
        given: the network's input. Shape (B, C, ...), with one to three axes of an image; with others nothing is known.
    """

    def __init__(self, given: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        axes = given.ndim - 2
        self._fields: Any = WeakTensorKeyDictionary()
        self.keep(given, (ReceptiveField(),) * axes if axes in (1, 2, 3) else None)

    def of(self, tensor: Tensor) -> Field | None:
        """Receptive field of the tensor; None where it is everything, or unknown."""
        field: Field | None = self._fields.get(tensor)
        return field

    def keep(self, tensor: Tensor, field: Field | None) -> None:
        """Say what a value of the tensor sees."""
        self._fields[tensor] = field

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        seeing = [tensor for tensor in _tensors((*args, *named.values())) if tensor in self._fields]
        field = self._together(seeing) if torch.Tag.pointwise in func.tags else None
        result = func(*args, **named)
        if seeing:
            for tensor in _tensors([result]):
                self.keep(tensor, field)
        return result

    def _together(self, tensors: Sequence[Tensor]) -> Field | None:
        """Receptive field of a combination of tensors, value by value."""
        fields = [field for tensor in tensors if (field := self.of(tensor)) is not None]
        sizes = {tensor.shape[2:] for tensor in tensors}
        if not fields or len(fields) < len(tensors) or len(sizes) > 1:
            return None
        axes = list(zip(*fields, strict=True))
        if any(len({seen.jump for seen in axis}) > 1 for axis in axes):
            return None
        return tuple(_hull(axis) for axis in axes)


def _hull(axis: Sequence[ReceptiveField]) -> ReceptiveField:
    """From the first place that any of them sees to the last."""
    start, end = min(seen.start for seen in axis), max(seen.start + seen.size for seen in axis)
    return ReceptiveField(end - start, axis[0].jump, start)


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    """The tensors among values, and in lists of them."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
