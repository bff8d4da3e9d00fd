"""What to train on. Lightning, whose import takes seconds, is not needed to say so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch

from triptych.errors import RecipeError, did_you_mean

Precision = Literal["32-true", "16-mixed", "bf16-mixed", "64-true"]
PRECISIONS: tuple[str, ...] = get_args(Precision)
ACCELERATORS = ("auto", "cpu", "gpu", "mps", "tpu")


@dataclass(frozen=True)
class Hardware:
    """What to train on, in Lightning's terms.

    Attributes:
        accelerator: `auto`, `cpu`, `gpu`, `mps` or `tpu`.
        devices: processes on this machine.
        nodes: machines.
        precision: `32-true`, `16-mixed`, `bf16-mixed` or `64-true`.
    """

    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    precision: Precision = "32-true"

    @classmethod
    def checked(cls, accelerator: str, *, devices: int, nodes: int, precision: str) -> Hardware:
        """Hardware from names, as a command line gives them.

        Raises:
            RecipeError: a name is not known, or there is no such accelerator here.
        """
        for what, value, known in (("accelerator", accelerator, ACCELERATORS), ("precision", precision, PRECISIONS)):
            if value not in known:
                raise RecipeError(
                    f"--{what} is {value!r}; expected one of {', '.join(known)}. {did_you_mean(value, known)}"
                )
        if accelerator == "gpu" and not torch.cuda.is_available():
            raise RecipeError(
                "--accelerator is 'gpu'; expected a CUDA device, and none is here. Use --accelerator auto"
            )
        if accelerator == "mps" and not torch.backends.mps.is_available():
            raise RecipeError("--accelerator is 'mps'; expected an Apple GPU, and none is here. Use --accelerator auto")
        return cls(accelerator, devices, nodes, cast(Precision, precision))
