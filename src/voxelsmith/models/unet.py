"""The plain U-Net that is trained in the application.

Owns the network of TV-Unet (Saeedizadeh et al., Computer Methods and Programs in Biomedicine Update 1, 2021; after
Ronneberger et al., MICCAI 2015): blocks of two convolutions, max-pooling, transposed convolutions, skips by
concatenation. It works in 2-D and 3-D; where voxels are anisotropic, axes are pooled and convolved level by level as
their spacing allows, by the rule of nnU-Net (Isensee et al., Nature Methods 2021).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from voxelsmith.models.convolution import Conv3d

Axes = tuple[int, ...]
_LEVELS = 4
_LEAST_SIDE = 4


@dataclass(frozen=True)
class Architecture:
    """Size of the network.

    Parameters
    ----------
    inputs, outputs
        Channels of the image, and of the answer.
    width
        Channels of the finest level; they double at each coarser one.
    strides
        For each pooling, the stride along each spatial axis; their number is that of the coarser levels.
    kernels
        For each level, the finest first, the odd size of its kernels along each spatial axis.
    norm
        "instance", which does not care about the size of a batch, or "batch".
    dropout
        Share of values dropped after each pooling and each skip.
    wide_up
        Whether transposed convolutions have kernels of 3, as published, or of their stride.
    """

    inputs: int = 1
    outputs: int = 2
    width: int = 16
    strides: tuple[Axes, ...] = ((2, 2),) * _LEVELS
    kernels: tuple[Axes, ...] = ((3, 3),) * (_LEVELS + 1)
    norm: Literal["instance", "batch"] = "instance"
    dropout: float = 0.0
    wide_up: bool = False

    @property
    def dims(self) -> int:
        """Number of spatial axes, 2 or 3."""
        return len(self.kernels[0])

    @property
    def multiple(self) -> Axes:
        """What the sides of an input are multiples of."""
        factors = [1] * self.dims
        for stride in self.strides:
            factors = [factor * step for factor, step in zip(factors, stride, strict=True)]
        return tuple(factors)

    def record(self) -> dict[str, Any]:
        """Plain values, as a checkpoint or JSON holds them."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Architecture:
        """From what :meth:`record` gave, also by way of JSON, which knows no tuples."""
        strides, kernels = (tuple(tuple(axes) for axes in record[name]) for name in ("strides", "kernels"))
        return cls(**{**record, "strides": strides, "kernels": kernels})


def published() -> Architecture:
    """The network as published: width 64, batch normalisation, dropout, two channels; 34.5 million parameters."""
    return Architecture(width=64, norm="batch", dropout=0.2, wide_up=True)


def levels_for(spacing: Sequence[float], patch: Sequence[int]) -> tuple[tuple[Axes, ...], tuple[Axes, ...]]:
    """Strides and kernels for voxels and patches of these sizes.

    An axis is halved if its voxels are less than twice the smallest at that level and four of them are left; axes with
    voxels more than twice the smallest are not convolved along.

    Parameters
    ----------
    spacing
        Voxel size along each spatial axis, in any unit.
    patch
        Voxels along each of them.

    Returns
    -------
    strides, kernels
        As :class:`Architecture` takes them; at most four strides.
    """
    size, sides = list(spacing), list(patch)
    strides: list[Axes] = []
    kernels = [_kernel(size)]
    while len(strides) < _LEVELS:
        finest = min(size)
        stride = tuple(2 if s < 2 * finest and n >= 2 * _LEAST_SIDE else 1 for s, n in zip(size, sides, strict=True))
        if max(stride) == 1:
            break
        size = [s * step for s, step in zip(size, stride, strict=True)]
        sides = [n // step for n, step in zip(sides, stride, strict=True)]
        strides.append(stride)
        kernels.append(_kernel(size))
    return tuple(strides), tuple(kernels)


def _kernel(spacing: Sequence[float]) -> Axes:
    return tuple(1 if s > 2 * min(spacing) else 3 for s in spacing)


class _Kit:
    """The layers of one architecture in its number of dimensions."""

    def __init__(self, architecture: Architecture, portable: bool) -> None:
        flat = architecture.dims == 2
        solid: type[nn.Module] = nn.Conv3d if portable else Conv3d
        self.conv: Any = nn.Conv2d if flat else solid
        self.up: Any = nn.ConvTranspose2d if flat else nn.ConvTranspose3d
        self.pool: Any = nn.MaxPool2d if flat else nn.MaxPool3d
        instance, batch = (nn.InstanceNorm2d, nn.BatchNorm2d) if flat else (nn.InstanceNorm3d, nn.BatchNorm3d)
        self.norm: Any = batch if architecture.norm == "batch" else instance
        self.dropout = architecture.dropout

    def block(self, inputs: int, outputs: int, kernel: Axes) -> nn.Sequential:
        """Two convolutions, each normalised and rectified."""
        layers: list[nn.Module] = []
        for channels in (inputs, outputs):
            layers.append(self.conv(channels, outputs, kernel, padding=tuple(k // 2 for k in kernel)))
            layers += [self.norm(outputs, affine=True), nn.ReLU()]
        return nn.Sequential(*layers)


class UNet(nn.Module):
    """Image in, logits out.

    Parameters
    ----------
    architecture
        Its size.
    portable
        Build it of layers that every runtime knows, for export; weights have the same names either way.
    """

    def __init__(self, architecture: Architecture | None = None, *, portable: bool = False) -> None:
        super().__init__()
        self.architecture = a = architecture or Architecture()
        kit = _Kit(a, portable)
        widths = [a.width * 2**level for level in range(len(a.kernels))]
        self.encoder = nn.ModuleList(
            kit.block(inputs, outputs, kernel)
            for (inputs, outputs), kernel in zip(pairwise([a.inputs, *widths]), a.kernels, strict=True)
        )
        self.pools = nn.ModuleList(kit.pool(stride) for stride in a.strides)
        self.ups = nn.ModuleList(
            _up(kit, coarse, fine, stride, a.wide_up)
            for (fine, coarse), stride in reversed(list(zip(pairwise(widths), a.strides, strict=True)))
        )
        self.decoder = nn.ModuleList(
            kit.block(2 * width, width, kernel)
            for width, kernel in reversed(list(zip(widths[:-1], a.kernels[:-1], strict=True)))
        )
        self.dropout = nn.Dropout(a.dropout)
        self.head = kit.conv(widths[0], a.outputs, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Logits.

        Parameters
        ----------
        x : float tensor, shape (B, inputs, *grid)
            The sides of the grid are multiples of :attr:`Architecture.multiple`.

        Returns
        -------
        float32 tensor, shape (B, outputs, *grid)
        """
        passed = []
        for level, block in enumerate(self.encoder):
            x = block(x)
            if level < len(self.pools):
                passed.append(x)
                x = self.dropout(self.pools[level](x))
        for up, block in zip(self.ups, self.decoder, strict=True):
            x = block(self.dropout(torch.cat([passed.pop(), up(x)], dim=1)))
        logits: Tensor = self.head(x).float()
        return logits


def _up(kit: _Kit, coarse: int, fine: int, stride: Axes, wide: bool) -> nn.Module:
    narrow = {"kernel_size": stride}
    published = {"kernel_size": 3, "padding": 1, "output_padding": tuple(step - 1 for step in stride)}
    layer: nn.Module = kit.up(coarse, fine, stride=stride, **(published if wide else narrow))
    return layer
