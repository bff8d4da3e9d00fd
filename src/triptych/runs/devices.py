"""Where a model may run."""

from __future__ import annotations

import torch

from triptych.errors import RecipeError


def check_device(device: str) -> None:
    """See that tensors can be put there.

    Raises:
        RecipeError: this machine has no such device.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):  # PyTorch raises either where a device is not there
        here = [name for name, backend in (("cuda", torch.cuda), ("mps", torch.mps)) if backend.is_available()]
        raise RecipeError(
            field="device", value=device, expected=f"one of this machine: {', '.join(['cpu', *here])}"
        ) from None
