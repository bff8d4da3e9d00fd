"""Watching a network run, and leaving it as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import nn


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Every part in evaluation mode, and back in its own at the end."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


@contextmanager
def watching(layers: Mapping[str, nn.Module], seen: Callable[[str, nn.Module, Any, Any], None]) -> Iterator[None]:
    """Call `seen` with name, layer, inputs and output of each of some layers whenever it has run."""
    handles = [layer.register_forward_hook(partial(seen, name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
