"""PyTorch networks as the decoders see them: the step contract of `triptych.decoding`, arrays in and out.

On a processor arrays and tensors share their memory. Elsewhere each step moves one row of log-probabilities per
hypothesis, for which a search would have to wait for the device anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from triptych.decoding.constrained import Constrained
from triptych.decoding.contract import Array, Sources, StepModel, copies
from triptych.decoding.ensemble import Ensemble
from triptych.spell.encoder import SourceBatch
from triptych.spell.monotonic import WalkState


class TensorState(Protocol):
    """State of a network between steps, one row per hypothesis."""

    @property
    def attention(self) -> Tensor | None:
        """Weights of the latest step. Shape (B, S); None without attention."""

    def select(self, index: Tensor) -> Self:
        """The state whose row i is this one's row `index[i]`."""


class StepNetwork(Protocol):
    """A network in evaluation mode that can be fed symbol by symbol."""

    def start(self, batch: SourceBatch) -> Any:
        """The state before the first target symbol, a `TensorState`."""

    def step(self, symbols: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Feed one symbol per row (B,); log-probabilities (B, V), and the state after."""


@dataclass(frozen=True)
class TorchState:
    """A network's state and the device that it is on."""

    inner: TensorState
    device: torch.device

    @property
    def attention(self) -> Array | None:
        """Weights of the latest step. Shape (B, S)."""
        with torch.inference_mode():
            attention = self.inner.attention
        return None if attention is None else as_array(attention)

    @property
    def walk(self) -> tuple[Array, Array] | None:
        """The latest step of a hard monotonic network; see `triptych.decoding.scoring.Walking`."""
        state = self.inner
        if not isinstance(state, WalkState) or state.transitions is None:
            return None
        with torch.inference_mode():
            written = state.all_written
        return None if written is None else (as_array(state.transitions), as_array(written))

    def select(self, index: Array) -> TorchState:
        """Rows by index."""
        with torch.inference_mode():
            return TorchState(self.inner.select(torch.from_numpy(index).to(self.device)), self.device)


class TorchModel:
    """A network as a step model.

    Args:
        network: in evaluation mode.
        device: where it is.
    """

    def __init__(self, network: StepNetwork, device: torch.device | str = "cpu") -> None:
        self.network = network
        self.device = torch.device(device)
        self.copies = copies(network)

    def start(self, sources: Sources) -> TorchState:
        """The state before the first target symbol, one row per source."""
        with torch.inference_mode():
            parts = (sources.symbols, sources.lengths, sources.features, sources.copy_ids)
            symbols, lengths, *others = (None if part is None else torch.from_numpy(part) for part in parts)
            assert symbols is not None
            assert lengths is not None
            batch = SourceBatch(symbols, lengths, *others)
            return TorchState(self.network.start(batch.to(self.device)), self.device)

    def step(self, symbols: Array, state: TorchState) -> tuple[Array, TorchState]:
        """Feed one symbol per row. Shapes: symbols (B,), log-probabilities (B, V)."""
        with torch.inference_mode():
            log_probs, inner = self.network.step(torch.from_numpy(symbols).to(self.device), state.inner)
            return as_array(log_probs), TorchState(inner, self.device)


def networks_of(model: StepModel[Any]) -> Sequence[Any]:
    """The networks behind a step model; none of exported graphs."""
    if isinstance(model, Ensemble):
        return [network for member in model.members for network in networks_of(member)]
    if isinstance(model, TorchModel):
        return [model.network]
    return networks_of(model.model) if isinstance(model, Constrained) else []


def module_of(model: StepModel[Any]) -> nn.Module:
    """The network behind a step model as one module; several side by side, each under its number."""
    networks = networks_of(model)
    module: nn.Module = networks[0] if len(networks) == 1 else nn.ModuleList(networks)
    return module


def as_array(tensor: Tensor) -> Array:
    """The same numbers as an array, of at least 32 bits."""
    tensor = tensor.detach()
    if tensor.dtype in (torch.float16, torch.bfloat16):
        tensor = tensor.float()
    array: Array = tensor.cpu().numpy()
    return array
