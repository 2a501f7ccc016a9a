"""The tumour network as a whole: two pairs of sequences, two generators, two branches, and their fusion.

Owns what happens to sequences that are missing: one of a pair is zeros and said to be missing, a whole pair is made by
a generator and told to be synthetic.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from voxelsmith.core.regions import REGIONS
from voxelsmith.models.crossmodality.architecture import Architecture, equal_size
from voxelsmith.models.crossmodality.branch import Branch
from voxelsmith.models.crossmodality.fusion import FusionBranch


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
            return
        self.generators = nn.ModuleList(Branch(a.pair, a.pair, a.widths, a.detail) for _ in range(2))
        self.branches = nn.ModuleList(Branch(a.pair, len(REGIONS), a.widths, a.detail) for _ in range(2))
        if a.fusion != "mean":
            self.fusion = FusionBranch(a.widths[0], a.detail, a.fusion == "guided")

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


def _halves(n: int) -> tuple[slice, slice]:
    return slice(0, n), slice(n, 2 * n)
