"""Stage 1 of the tumour network: each pair of sequences is translated into the other one, without labels.

Owns the loss and the validation of the generators (the transition of Zhang et al., Pattern Recognition 110, 2021): a
least-squares adversary, cycles, and, since the pairs are of one patient and registered, a direct L1 term; all L1 terms
over the brain alone. Generators and judges step at the same time: each parameter gets the gradient of its own player
only, and AdamW treats parameters one by one, so that one optimiser does the work of two.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from voxelsmith.models.crossmodality import Branch, PatchGAN, brain_of
from voxelsmith.train.crossmodality_data import Patches
from voxelsmith.train.crossmodality_settings import CMFSettings
from voxelsmith.train.tumours import Patch

_JUDGED = 12


class TransitionModel(nn.Module):
    """Two generators, A to B and B to A, and the judges of B and of A."""

    def __init__(self, settings: CMFSettings) -> None:
        super().__init__()
        a = settings.architecture
        self.generators = nn.ModuleList(Branch(a.pair, a.pair, a.widths, a.detail) for _ in range(2))
        self.judges = nn.ModuleList(PatchGAN(a.pair) for _ in range(2))


class TransitionRecipe:
    """Model, data, loss and validation; a :class:`voxelsmith.train.loop.Recipe`.

    Parameters
    ----------
    settings
        Weights of the loss, and the network.
    model
        Generators and judges.
    dataset
        What they are trained on; no sequences are taken away there.
    judged
        What they are validated on, other patients.
    """

    def __init__(self, settings: CMFSettings, model: TransitionModel, dataset: Patches, judged: Patches) -> None:
        self.model, self.dataset = model, dataset
        self._settings, self._judges = settings, judged

    def loss(self, sample: Patch, rng: np.random.Generator) -> dict[str, Tensor]:
        """Adversarial, cycle and paired terms of the generators, and the judges' own.

        In a share of the steps one sequence of a pair is hidden from the generator that reads it.
        """
        x, available = self._tensors(sample)
        brain = brain_of(x)
        pairs, known = x.chunk(2, 1), available.float().chunk(2, 1)
        there = [brain * k[:, :, None, None, None] for k in known]
        paired = cycle = adversary = judging = x.new_zeros(())
        for source, target in ((0, 1), (1, 0)):
            generator, back = self.model.generators[source], self.model.generators[target]
            seen = there[source] * self._hidden(known[source], rng)
            made = generator(pairs[source] * seen, seen)[0] * brain
            returned = back(made, brain.expand_as(made))[0] * brain
            paired = paired + masked_l1(made, pairs[target], there[target])
            cycle = cycle + masked_l1(returned, pairs[source], there[source])
            # Channels that were not acquired are hidden from the judge in made pairs, too.
            shown, judge = made * there[target], self.model.judges[source]
            with _frozen(judge):
                adversary = adversary + (judge(shown) - 1).square().mean()
            acquired, faked = judge(pairs[target]), judge(shown.detach())
            judging = judging + ((acquired - 1).square().mean() + faked.square().mean()) / 2
        weigh = self._settings
        loss = weigh.paired * paired + weigh.cycle * cycle + weigh.adversary * adversary + judging
        terms = {"paired": paired / 2, "cycle": cycle / 2, "adversary": adversary / 2, "judges": judging / 2}
        return {"loss": loss, **{name: term.detach() for name, term in terms.items()}}

    def validate(self) -> dict[str, float]:
        """Mean absolute error in the brain of generated, and of copied sequences; "score" is the share won."""
        generated, copied = [], []
        for patch in self._judged:
            x, available = self._tensors(patch)
            brain = brain_of(x)
            pairs, known = x.chunk(2, 1), available.float().chunk(2, 1)
            there = [brain * k[:, :, None, None, None] for k in known]
            for source, target in ((0, 1), (1, 0)):
                made = self.model.generators[source](pairs[source], there[source])[0]
                generated.append(float(masked_l1(made, pairs[target], there[target])))
                copied.append(float(masked_l1(pairs[source], pairs[target], there[target] * there[source])))
        error, copy = float(np.mean(generated)), float(np.mean(copied))
        return {"score": 1 - error / max(copy, 1e-6), "generated": error, "copied": copy}

    @cached_property
    def _judged(self) -> list[Patch]:
        """Plain windows of the patients that validate, or made-up ones where there are none."""
        rng = np.random.default_rng(12345)
        count = len(self._judges.cases)
        if not count:
            return [self._judges[n] for n in range(_JUDGED)]
        side = self._judges.side
        return [self._judges.case(n % count).patch(rng, side, colour=None, spacing=1.0) for n in range(_JUDGED)]

    def _hidden(self, known: Tensor, rng: np.random.Generator) -> Tensor:
        """1 for the sequences that a generator may see, shape (1, n, 1, 1, 1); of two known ones one may be 0."""
        seen = torch.ones_like(known)
        present = np.flatnonzero(known[0].cpu().numpy())
        if len(present) > 1 and rng.random() < self._settings.dropout:
            seen[0, int(rng.choice(present))] = 0
        return seen[:, :, None, None, None]

    def _tensors(self, patch: Patch) -> tuple[Tensor, Tensor]:
        device = next(self.model.parameters()).device
        return torch.as_tensor(patch.x).to(device)[None], torch.as_tensor(patch.available).to(device)[None]


def masked_l1(made: Tensor, truth: Tensor, where: Tensor) -> Tensor:
    """Mean absolute difference over the voxels and channels at which ``where`` is 1; 0 where there are none."""
    total = ((made.float() - truth.float()).abs() * where).sum()
    return total / where.sum().clamp(min=1)


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Inside the block, gradients pass through the module but do not reach its parameters."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)
