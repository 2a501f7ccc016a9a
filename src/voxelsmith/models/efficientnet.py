"""EfficientNet-Lite0 as an encoder: an ImageNet network whose inner maps serve as frozen features.

Owns its layers up to stride 16, with the tensor names of the public PyTorch port, so that its file loads as it is.
Lite networks (Google, 2020; after Tan and Le, ICML 2019) have no squeeze-and-excitation and ReLU6 throughout.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional

CHANNELS = (16, 24, 40, 112)
"""Channels of the maps at strides 2, 4, 8 and 16."""

# Times repeated, kernel, stride, expansion, channels in, channels out.
_STAGES = (
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
)
_GIVEN_OUT = (0, 1, 2, 4)
_EPS = 1e-3
_CENTRE, _WIDTH = 127 / 255, 128 / 255


class _SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow does: the odd row or column goes to the end."""

    def forward(self, x: Tensor) -> Tensor:
        pads = []
        for size, kernel, stride in zip(
            reversed(x.shape[2:]), reversed(self.kernel_size), reversed(self.stride), strict=True
        ):
            whole = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [whole // 2, whole - whole // 2]
        return super().forward(functional.pad(x, pads))


class _Block(nn.Module):
    """Inverted residual bottleneck."""

    def __init__(self, kernel: int, stride: int, expansion: int, inputs: int, outputs: int) -> None:
        super().__init__()
        wide = inputs * expansion
        if expansion > 1:
            self._expand_conv = nn.Conv2d(inputs, wide, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(wide, eps=_EPS)
        self._depthwise_conv = _SameConv2d(wide, wide, kernel, stride, groups=wide, bias=False)
        self._bn1 = nn.BatchNorm2d(wide, eps=_EPS)
        self._project_conv = nn.Conv2d(wide, outputs, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(outputs, eps=_EPS)
        self._expands, self._carries_on = expansion > 1, stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu6(self._bn0(self._expand_conv(x))) if self._expands else x
        y = functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        out: Tensor = y + x if self._carries_on else y
        return out


class EfficientNetLite0(nn.Module):
    """Grey slices in, feature maps at four strides out."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _SameConv2d(3, 32, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(32, eps=_EPS)
        blocks, ends = [], []
        for repeats, kernel, stride, expansion, inputs, outputs in _STAGES:
            blocks.append(_Block(kernel, stride, expansion, inputs, outputs))
            blocks += [_Block(kernel, 1, expansion, outputs, outputs) for _ in range(repeats - 1)]
            ends.append(len(blocks) - 1)
        self._blocks = nn.ModuleList(blocks)
        self._given_out = tuple(ends[stage] for stage in _GIVEN_OUT)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of slices.

        Parameters
        ----------
        x : float tensor, shape (B, 1, H, W)
            Brightness, 0 to 1.

        Returns
        -------
        list of float tensors, shapes (B, C, ceil(H / s), ceil(W / s))
            C of :data:`CHANNELS` and s of 2, 4, 8 and 16.
        """
        y = ((x - _CENTRE) / _WIDTH).expand(-1, 3, -1, -1)
        y = functional.relu6(self._bn0(self._conv_stem(y)))
        maps = []
        for number, block in enumerate(self._blocks):
            y = block(y)
            if number in self._given_out:
                maps.append(y)
        return maps


def needed(tensors: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Of a file's tensors those that the encoder has; the later layers of the classifier are left out."""
    return {name: tensors[name] for name in model.state_dict() if name in tensors}
