"""The tumour network: two pairs of MR sequences that are translated into each other, and fused into one answer.

Owns the networks of cross-modality deep feature learning (Zhang et al., Pattern Recognition 110, 2021; arXiv
2201.02356): a generator and a segmentation branch of one shape, so that what a generator learned without labels can be
handed to a branch; the branch that fuses both under the guidance of their masks; and a plain network of equal size to
compare with. The paper's layer sizes could not be read: those here are chosen so that a whole brain takes seconds on a
CPU, which is why most of the work is done at half resolution. Normalisation is by instance. :mod:`.patchgan` has the
judge of the generators.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from voxelsmith.core.regions import REGIONS
from voxelsmith.models.convolution import Conv3d

MODALITIES = ("t1", "t1c", "t2", "flair")
"""Channels of the four-channel form: the pair A = T1 and T1c, and the pair B = T2 and FLAIR."""

TWO = ("t1c", "flair")
"""Channels of the two-channel form: A = T1c, B = FLAIR."""

WINDOW = 128
"""Most voxels along each side of the windows in which a large volume is answered; smaller ones were measured worse."""

Fusion = Literal["guided", "plain", "mean", "concatenation"]

_SLOPE = 0.01
_EPS = 1e-4


@dataclass(frozen=True)
class Architecture:
    """Size and kind of the network.

    Parameters
    ----------
    modalities
        Channels of the input; the first half is pair A, the second half pair B.
    widths
        Channels at strides 2, 4, 8 and so on.
    detail
        Channels at full resolution.
    fusion
        "guided": features of both branches are fused, weighted by the masks that the branches predict. "plain": fused
        without their masks. "mean": the mean of both answers. "concatenation": one network that gets all sequences at
        once, no branches.
    """

    modalities: tuple[str, ...] = MODALITIES
    widths: tuple[int, ...] = (16, 32, 64, 64)
    detail: int = 8
    fusion: Fusion = "guided"

    @property
    def multiple(self) -> int:
        """What the sides of an input are multiples of."""
        return int(2 ** len(self.widths))

    @property
    def pair(self) -> int:
        """Modalities of a pair."""
        return len(self.modalities) // 2

    def record(self) -> dict[str, Any]:
        """Plain values, as a checkpoint or JSON holds them."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Architecture:
        """From what :meth:`record` gave, also by way of JSON, which knows no tuples."""
        return cls(**{**record, "modalities": tuple(record["modalities"]), "widths": tuple(record["widths"])})


class Features(NamedTuple):
    """The last two maps of a branch: ``half`` the resolution (B, widths[0], ...), and ``full`` (B, detail, ...)."""

    half: Tensor
    full: Tensor


class Answer(NamedTuple):
    """What the network says.

    Parameters
    ----------
    logits : float32 tensor, shape (B, 3, X, Y, Z)
        Of the regions, :data:`voxelsmith.core.regions.REGIONS`.
    auxiliary
        Logits of branch A and of branch B, of the same shape; empty if there are no branches.
    synthetic : bool tensor, shape (B, M)
        The modalities that were missing and made by a generator.
    """

    logits: Tensor
    auxiliary: tuple[Tensor, ...]
    synthetic: Tensor


class _InstanceNorm(nn.InstanceNorm3d):
    """As :class:`torch.nn.InstanceNorm3d`, which refuses maps of a single voxel; that one is its own mean."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:].numel() > 1:
            return super().forward(x)
        alone: Tensor = torch.zeros_like(x) + self.bias.reshape(1, -1, 1, 1, 1)
        return alone


class _Unit(nn.Sequential):
    """Convolution, instance normalisation, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        padding = 1 if kernel > stride else 0
        super().__init__(
            Conv3d(inputs, outputs, kernel, stride=stride, padding=padding, bias=False),
            _InstanceNorm(outputs, eps=_EPS, affine=True),
            nn.LeakyReLU(_SLOPE, inplace=True),
        )


class _Block(nn.Module):
    """Two convolutions around which the input is carried on."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = _Unit(width, width), _Unit(width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.second(self.first(x))
        return out


class Branch(nn.Module):
    """Encoder and decoder of a pair: a generator, a segmentation branch, or the plain network, by its ``outputs``.

    Parameters
    ----------
    modalities
        Number of sequences that it reads; each comes with a channel that says where it is known.
    outputs
        Channels of its last layer, the only one that differs between a generator and a branch.
    widths, detail
        As of :class:`Architecture`.
    """

    def __init__(self, modalities: int, outputs: int, widths: tuple[int, ...], detail: int) -> None:
        super().__init__()
        inputs = 2 * modalities
        pairs = list(pairwise(widths))
        self.stem = _Unit(inputs, widths[0], kernel=4, stride=2)
        self.down = nn.ModuleList(_Unit(fine, coarse, kernel=2, stride=2) for fine, coarse in pairs)
        self.encoder = nn.ModuleList(_Block(width) for width in widths)
        self.up = nn.ModuleList(nn.ConvTranspose3d(coarse, fine, 2, stride=2) for fine, coarse in reversed(pairs))
        self.decoder = nn.ModuleList(_Block(fine) for fine, _ in reversed(pairs))
        self.to_full = nn.ConvTranspose3d(widths[0], detail, 2, stride=2)
        self.last = _Unit(detail + inputs, detail)
        self.out = Conv3d(detail, outputs, 1)

    def forward(self, x: Tensor, known: Tensor) -> tuple[Tensor, Features]:
        """Output and last features.

        Parameters
        ----------
        x : float tensor, shape (B, modalities, X, Y, Z)
            z-scored intensities, 0 where nothing is known.
        known : float tensor of the same shape
            1 in the brain for sequences that were acquired, else 0.

        Returns
        -------
        output : float32 tensor, shape (B, outputs, X, Y, Z)
        features
        """
        x = torch.cat([x, known], dim=1).contiguous(memory_format=torch.channels_last_3d)
        y = self.encoder[0](self.stem(x))
        passed = []
        for down, block in zip(self.down, self.encoder[1:], strict=True):
            passed.append(y)
            y = block(down(y))
        for up, block in zip(self.up, self.decoder, strict=True):
            y = block(up(y) + passed.pop())
        full = self.last(torch.cat([self.to_full(y), x.to(y.dtype)], dim=1))
        return self.out(full).float(), Features(y, full)


class FusionBranch(nn.Module):
    """The branch that fuses the last two maps of both branches, and their answers.

    With guidance, each map counts (1 + m) times, where m is the mean over the regions of the larger of both predicted
    probabilities: 0 in healthy tissue, 1 where all regions are.

    Parameters
    ----------
    width, detail
        Channels of the half and the full resolution.
    guided
        Whether the masks of the branches are looked at.
    """

    def __init__(self, width: int, detail: int, guided: bool) -> None:
        super().__init__()
        self.guided = guided
        self.mix_half = _Unit((4 if guided else 2) * width, width)
        self.to_full = nn.ConvTranspose3d(width, detail, 2, stride=2)
        self.mix_full = _Unit(3 * detail + (2 * len(REGIONS) if guided else 0), detail)
        self.out = Conv3d(detail, len(REGIONS), 1)

    def forward(self, features: tuple[Features, Features], logits: tuple[Tensor, Tensor]) -> Tensor:
        """Logits, shape (B, 3, X, Y, Z), from the features and the logits of both branches."""
        half, full = [one.half for one in features], [one.full for one in features]
        if self.guided:
            masks = [one.sigmoid() for one in logits]
            guide = 1 + torch.maximum(*masks).mean(1, keepdim=True)
            half += [functional.avg_pool3d(guide, 2) * one for one in half]
            full = [*(guide * one for one in full), *masks]
        y = self.to_full(self.mix_half(_joined(half)))
        y = self.mix_full(_joined([y, *full]))
        out: Tensor = self.out(y).float()
        return out


class CrossModalityNet(nn.Module):
    """Sequences in, logits of the nested regions out, whatever sequences there are.

    Parameters
    ----------
    architecture
        Its kind and size.
    """

    def __init__(self, architecture: Architecture | None = None) -> None:
        super().__init__()
        self.architecture = a = architecture or Architecture()
        if a.fusion == "concatenation":
            self.single = Branch(len(a.modalities), len(REGIONS), *equal_size(a))
            _silence(self.single)
            return
        self.generators = nn.ModuleList(Branch(a.pair, a.pair, a.widths, a.detail) for _ in range(2))
        self.branches = nn.ModuleList(Branch(a.pair, len(REGIONS), a.widths, a.detail) for _ in range(2))
        if a.fusion != "mean":
            self.fusion = FusionBranch(a.widths[0], a.detail, a.fusion == "guided")
            _silence(self.fusion)
        _silence(*self.branches)

    def forward(self, x: Tensor, available: Tensor) -> Answer:
        """Answer a volume or a window of it.

        Parameters
        ----------
        x : float tensor, shape (B, M, X, Y, Z)
            z-scored intensities, 0 outside the brain and for missing modalities; the sides are multiples of
            :attr:`Architecture.multiple`.
        available : bool tensor, shape (B, M)
            Which modalities were acquired; one of them at least.
        """
        known = brain_of(x) * available[:, :, None, None, None]
        if self.architecture.fusion == "concatenation":
            return Answer(self.single(x, known)[0], (), torch.zeros_like(available))
        x = self.fill(x, available)
        n = self.architecture.pair
        parts = [branch(x[:, s], known[:, s]) for branch, s in zip(self.branches, _halves(n), strict=True)]
        (first, a), (second, b) = parts
        fused = (first + second) / 2 if self.architecture.fusion == "mean" else self.fusion((a, b), (first, second))
        return Answer(fused, (first, second), self.synthesises(available))

    def synthesises(self, available: Tensor) -> Tensor:
        """The modalities, bool (B, M), that a generator makes for these: those of a pair of which there is none."""
        if self.architecture.fusion == "concatenation":
            return torch.zeros_like(available)
        pairs = available.reshape(len(available), 2, -1)
        missing: Tensor = ~pairs.any(2, keepdim=True) & pairs.flip(1).any(2, keepdim=True)
        return missing.expand_as(pairs).flatten(1)

    def fill(self, x: Tensor, available: Tensor) -> Tensor:
        """The input (B, M, X, Y, Z) with a missing pair made from the other one, 0 outside the brain.

        Generators are used as they are: no gradient reaches them.
        """
        synthetic = self.synthesises(available)
        n = self.architecture.pair
        for pair, generator in ((1, self.generators[0]), (0, self.generators[1])) if bool(synthetic.any()) else ():
            own, source = _halves(n)[pair], _halves(n)[1 - pair]
            if bool(synthetic[:, own].any()):
                with torch.no_grad():
                    brain = brain_of(x)
                    made = generator(x[:, source], brain * available[:, source, None, None, None])[0] * brain
                filled = torch.where(synthetic[:, own, None, None, None], made.to(x.dtype), x[:, own])
                x = torch.cat([filled, x[:, source]] if pair == 0 else [x[:, source], filled], dim=1)
        return x

    def transfer(self) -> None:
        """Begin branch A with what the generator from A to B learned, B with the other one; all but the last layer."""
        for generator, branch in zip(self.generators, self.branches, strict=True):
            learned = {name: value for name, value in generator.state_dict().items() if not name.startswith("out.")}
            branch.load_state_dict(learned, strict=False)


def brain_of(x: Tensor) -> Tensor:
    """Where any modality is not 0, as (B, 1, X, Y, Z) of the type of ``x``."""
    return (x != 0).any(1, keepdim=True).to(x.dtype)


def probabilities(logits: Tensor) -> Tensor:
    """Probabilities of the nested regions, (B, 3, ...): none exceeds that of the region around it."""
    return logits.float().sigmoid().cummin(dim=1).values


def equal_size(architecture: Architecture) -> tuple[tuple[int, ...], int]:
    """Widths and detail of a plain network with as many parameters as both branches: those of a branch times 2**0.5."""
    return tuple(round(width * 2**0.5 / 2) * 2 for width in architecture.widths), round(architecture.detail * 2**0.5)


def _silence(*parts: Any) -> None:
    """Let segmentation begin with logits of 0; random ones would drown what a generator's features already say."""
    for part in parts:
        for parameter in part.out.parameters():
            nn.init.zeros_(parameter)


def _joined(parts: list[Tensor]) -> Tensor:
    """Channels of all parts, in the type of the first."""
    return torch.cat([part.to(parts[0].dtype) for part in parts], dim=1)


def _halves(n: int) -> tuple[slice, slice]:
    return slice(0, n), slice(n, 2 * n)
