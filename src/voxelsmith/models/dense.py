"""Dense: linear layers and attention that are fast on a CPU.

Owns the choice of the library behind them. For float32 torch takes MKL, which on processors that Intel did not make is
half as fast as oneDNN; torch has that at hand as well, by way of its convolutions. Answers are the same but for
rounding. Training, other types, few rows and other devices stay with torch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

_has_onednn: Callable[[], bool] = torch.backends.mkldnn.is_available
_FEW_ROWS = 64
_QUERIES = 256
_ONE = (1, 1, 1)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """As :func:`torch.nn.functional.linear`: x (..., n) times the transpose of weight (m, n), plus bias (m,)."""
    rows = x.numel() // x.shape[-1]
    if rows < _FEW_ROWS or not _suits_onednn(x, weight):
        return functional.linear(x, weight, bias)
    # A row is a voxel, and its numbers are its channels.
    voxels = x.reshape(1, rows, 1, 1, x.shape[-1]).permute(0, 4, 1, 2, 3)
    kernel = weight[:, :, None, None, None]
    out = torch.mkldnn_convolution(voxels, kernel, bias, (0, 0, 0), _ONE, _ONE, 1)
    return out.permute(0, 2, 3, 4, 1).reshape(*x.shape[:-1], len(weight))


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Scaled dot-product attention.

    Parameters
    ----------
    q, k, v
        Shapes (B, heads, n, c), (B or 1, heads, m, c) and (B or 1, heads, m, c); a batch of one serves all.

    Returns
    -------
    tensor, shape (B, heads, n, c)
    """
    batch = max(len(q), len(k))
    q, k, v = (x.expand(batch, -1, -1, -1) for x in (q, k, v))
    if min(q.shape[2], k.shape[2]) < _FEW_ROWS or not _suits_onednn(q, k, v):
        return functional.scaled_dot_product_attention(q, k, v)
    out = torch.empty_like(q)
    scale = q.shape[-1] ** -0.5
    for b in range(batch):
        for h in range(q.shape[1]):
            keys, values = k[b, h] * scale, v[b, h].t().contiguous()
            for start in range(0, q.shape[2], _QUERIES):
                part = slice(start, start + _QUERIES)
                out[b, h, part] = linear(linear(q[b, h, part], keys).softmax(-1), values)
    return out


class Linear(nn.Linear):
    """As :class:`torch.nn.Linear`, with the same parameters and results."""

    def forward(self, x: Tensor) -> Tensor:
        """Rows times the weights; shapes as for :class:`torch.nn.Linear`."""
        return linear(x, self.weight, self.bias)


def _suits_onednn(*tensors: Tensor) -> bool:
    plain = all(x.device.type == "cpu" and x.dtype == torch.float32 for x in tensors)
    learning = torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
    return plain and not learning and not torch.is_autocast_enabled("cpu") and _has_onednn()
