"""Hardware that trains and predicts. This module does not import Lightning, which takes seconds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch

from triptych.config import Precision
from triptych.errors import DataError, RecipeError, did_you_mean

Arithmetic = Literal["32-true", "16-mixed", "bf16-mixed", "64-true"]
PRECISIONS: tuple[str, ...] = get_args(Precision)
ACCELERATORS = ("auto", "cpu", "gpu", "mps", "tpu")


@dataclass(frozen=True)
class Hardware:
    """Hardware to train on, in Lightning's terms.

    Attributes:
        accelerator: `auto`, `cpu`, `gpu`, `mps` or `tpu`.
        devices: processes on this machine.
        nodes: machines.
    """

    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1

    @classmethod
    def checked(cls, accelerator: str, *, devices: int, nodes: int) -> Hardware:
        """Hardware from names, as a command line gives them.

        Raises:
            RecipeError: the name is unknown, or this machine has no such accelerator.
        """
        check_option("accelerator", accelerator, ACCELERATORS)
        needed = {"gpu": ("a CUDA device", torch.cuda), "mps": ("an Apple GPU", torch.backends.mps)}
        if accelerator in needed and not needed[accelerator][1].is_available():
            expected, hint = f"{needed[accelerator][0]}, and this machine has none", "Use --accelerator auto"
            raise RecipeError(field="--accelerator", value=accelerator, expected=expected, hint=hint)
        return cls(accelerator, devices, nodes)

    def leave_slurm_step(self) -> None:
        """With one process, forget that it is one task of several in a Slurm step.

        Each task is then a training of its own, under a name of its own, in place of a helper of another's.
        """
        if self.devices == self.nodes == 1 and os.environ.get("SLURM_NTASKS", "1") != "1":
            for name in ("SLURM_NTASKS", "SLURM_PROCID"):
                os.environ.pop(name, None)


def check_option(option: str, value: str, known: Sequence[str]) -> None:
    """An option's value is a known one.

    Raises:
        RecipeError: it is not.
    """
    if value not in known:
        raise RecipeError(
            field=f"--{option}", value=value, expected=f"one of {', '.join(known)}", hint=did_you_mean(value, known)
        )


def precision_here(precision: Precision, accelerator: str) -> Arithmetic:
    """The precision that a recipe asks for, in Lightning's terms: `auto` becomes the format that suits this hardware.

    A processor or GPU without bfloat16 instructions emulates them, ten times slower than it computes in float32.

    Raises:
        RecipeError: it is half precision, and training is on a processor.
    """
    has_cuda = torch.cuda.is_available()
    has_any = has_cuda or torch.backends.mps.is_available()
    on_processor = accelerator == "cpu" or (accelerator == "auto" and not has_any)
    if precision == "16-mixed" and on_processor:
        raise RecipeError(
            field="training.precision",
            value=precision,
            expected="32-true, bf16-mixed or 64-true on a CPU",
            hint="Use --precision bf16-mixed",
        )
    if precision != "auto":
        return precision
    if accelerator in ("auto", "gpu") and has_cuda:
        has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    elif on_processor:
        # Reported from PyTorch 2.11 on.
        capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        has_bfloat16 = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    else:
        has_bfloat16 = False
    return "bf16-mixed" if has_bfloat16 else "32-true"


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


def check_shares(batch_size: int, count: int, *, what: str, world_size: int) -> None:
    """See that every process of a training has a part of every batch.

    Args:
        batch_size: items per batch over all processes.
        count: items in all.
        what: they are, in the plural.
        world_size: processes in all.
    Raises:
        DataError: one would have nothing to train on.
    """
    for name, size in (("training.batch_size", batch_size), (f"the number of {what}", count)):
        if size < world_size:
            raise DataError(field=name, value=size, expected=f"at least one for each of {world_size} processes")
