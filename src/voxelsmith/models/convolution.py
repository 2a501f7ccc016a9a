"""Convolution: 3-D convolutions that are fast on a CPU at the sizes of interactive work.

Owns the choice of the library behind them. torch leaves a float32 convolution of one small sample to its native code,
which it takes to be faster; in 3-D it is ten times slower than oneDNN, which torch has at hand as well.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Conv3d(nn.Conv3d):
    """As :class:`torch.nn.Conv3d`, with the same parameters and results; zero padding only."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        native = (
            input.device.type != "cpu" or torch.is_autocast_enabled("cpu") or not torch.backends.mkldnn.is_available()
        )
        if native or input.dtype != torch.float32 or self.padding_mode != "zeros" or isinstance(self.padding, str):
            return super()._conv_forward(input, weight, bias)
        out: Tensor = torch.mkldnn_convolution(
            input, weight, bias, self.padding, self.stride, self.dilation, self.groups
        )
        return out
