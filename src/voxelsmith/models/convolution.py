"""Convolution: 3-D convolutions that are fast on a CPU at the sizes of interactive work.

Owns the choice of the library behind them. torch leaves a float32 convolution of one small sample to its native code,
which it takes to be faster; in 3-D it is ten times slower than oneDNN, which torch has at hand as well.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

_has_onednn: Callable[[], bool] = torch.backends.mkldnn.is_available


class Conv3d(nn.Conv3d):
    """As :class:`torch.nn.Conv3d`, with the same parameters and results."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolved tensor; shapes as for :class:`torch.nn.Conv3d`."""
        plain = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
        padding = self.padding
        if not plain or not _has_onednn() or self.padding_mode != "zeros" or isinstance(padding, str):
            return super().forward(x)
        out: Tensor = torch.mkldnn_convolution(
            x, self.weight, self.bias, padding, self.stride, self.dilation, self.groups
        )
        return out
