"""The recipe of TV-Unet: a U-Net that learns annotated slices, with the total variation of its answer as a prior.

Owns the plan and the network that fit some data, the loss and the validation. After Saeedizadeh et al. (Computer
Methods and Programs in Biomedicine Update 1, 2021), whose weight of the variation is inert in the mean form; here it
acts, and how much is told at every step. :mod:`voxelsmith.train.annotated` has the data, :mod:`voxelsmith.train.loop`
runs it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from voxelsmith.core.connectivity import betti
from voxelsmith.core.metrics import dice
from voxelsmith.core.resample import reorient
from voxelsmith.core.support import SupportExample, SupportSet
from voxelsmith.models.trainable import AnyArchitecture, network_of
from voxelsmith.models.unet import Architecture, levels_for
from voxelsmith.segment.plan import Normalisation, Plan
from voxelsmith.segment.predictor import Predictor
from voxelsmith.train.annotated import AnnotatedSlices
from voxelsmith.train.losses import (
    boundary_loss,
    centre_line_loss,
    partial_entropy,
    partial_overlap,
    total_variation,
)
from voxelsmith.train.tvunet_settings import TVUnetSettings

# What the sides of a patch, and the depth of a block, are multiples of.
_MULTIPLE, _DEPTHS = 16, 8


def plan_for(support: SupportSet, settings: TVUnetSettings, device: torch.device) -> Plan:
    """What a network should see of some examples.

    Parameters
    ----------
    support
        At least one example in use.
    settings
        Numbers that the data leave open.
    device
        Where it will compute, which decides how fine slices are by default.
    """
    examples = support.enabled
    first = examples[0].image
    side = settings.side or (192 if device.type == "cpu" else 384)
    axis = _axis(examples)
    oriented = [reorient(example.image, first.affine.axcodes) for example in examples]
    spacing = np.median([volume.spacing for volume in oriented], axis=0)
    extent = np.max([volume.spacing * volume.grid for volume in oriented], axis=0)
    plane = [a for a in range(3) if a != axis]
    pixel = max(extent[a] / side for a in plane)
    for a in plane:
        spacing[a] = max(spacing[a], pixel)
    grids = np.ceil(extent / spacing).astype(int)
    rows, columns = (min(settings.patch, max(32, _up_to(int(grids[a]), _MULTIPLE))) for a in plane)
    depth = _up_to(min(settings.depth, int(grids[axis])), _DEPTHS) if settings.dims == "3d" else 1
    names = support.names
    return Plan(
        dims=settings.dims,
        axis=axis,
        axcodes=first.affine.axcodes,
        spacing=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        patch=(depth, rows, columns),
        classes=support.values,
        names=tuple(names[value] for value in support.values),
        normalisation=Normalisation.fitting(
            [np.asarray(e.image.array) for e in examples], [np.asarray(e.labels.array) > 0 for e in examples]
        ),
        neighbours=settings.neighbours if settings.dims == "2.5d" else 0,
        coordinates=settings.coordinates,
        activation=settings.activation,
    )


class TVUnetRecipe:
    """Model, data, loss and validation; a :class:`voxelsmith.train.loop.Recipe`.

    Parameters
    ----------
    settings
        Weights of the loss; their seed decides the first weights of the network.
    architecture
        Size of the network.
    dataset
        What it is trained on and judged by.

    Attributes
    ----------
    step : int
        Steps done, which whoever drives the loop keeps up to date; the variation grows along them.
    """

    def __init__(self, settings: TVUnetSettings, architecture: AnyArchitecture, dataset: AnnotatedSlices) -> None:
        self.settings, self.dataset = settings, dataset
        self.step = 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.model = network_of(architecture)

    @staticmethod
    def architecture_for(plan: Plan, settings: TVUnetSettings, device: torch.device) -> AnyArchitecture:
        """The network for a plan; its number of levels follows from the patch, anisotropic ones from the spacing."""
        first = 0 if plan.dims == "3d" else 1
        strides, kernels = levels_for(plan.ordered_spacing[first:], plan.patch[first:])
        return Architecture(
            inputs=plan.channels,
            outputs=1 + len(plan.classes),
            width=settings.width or (16 if device.type == "cpu" else 32),
            strides=strides,
            kernels=kernels,
            norm=settings.norm,
            dropout=settings.dropout,
            wide_up=settings.wide_up,
        )

    def loss(self, sample: dict[str, Tensor], rng: np.random.Generator) -> dict[str, Tensor]:
        """Cross-entropy and Dice where slices are annotated, variation everywhere; see :class:`TVUnetSettings`.

        "pull" tells how strong the variation is: the norm of its weighted gradient with respect to the logits over
        that of the other terms.
        """
        return self.terms(self.model(sample["image"]), sample)

    def terms(self, logits: Tensor, sample: dict[str, Tensor]) -> dict[str, Tensor]:
        """The terms of the loss of an answer to a sample."""
        plan = self.dataset.plan
        return objective(
            logits,
            sample["target"],
            self.settings,
            self.step,
            plan.ordered_spacing[-(logits.ndim - 2) :],
            sample["image"][:, plan.neighbours : plan.neighbours + 1],
        )

    def validate(self) -> dict[str, float]:
        """Dice of each class over the slices kept apart, with pieces and holes in them; "score" is the mean Dice.

        Without such slices, the score is not a number.
        """
        plan = self.dataset.plan
        predictor = Predictor(self.model, plan)
        truth, found = [], []
        for volume, rows in self.dataset.judges:
            for row in rows:
                likely = predictor.row(volume.working, row)
                answer = np.where(likely.max(axis=0) > 0.5, likely.argmax(axis=0) + 1, 0)
                known = volume.target[row] >= 0
                truth.append(np.where(known, volume.target[row], 0))
                found.append(np.where(known, answer, 0))
        if not truth:
            return {"score": float("nan")}
        measures = {}
        for index, name in enumerate(plan.names, 1):
            pairs = [(t == index, f == index) for t, f in zip(truth, found, strict=True)]
            measures[name] = dice(*(np.concatenate([pair[n].ravel() for pair in pairs]) for n in range(2)))
        topology = [betti((f == index)[None]) for f in found for index in range(1, 1 + len(plan.names))]
        return {
            "score": float(np.mean(list(measures.values()))),
            **{f"dice {name}": value for name, value in measures.items()},
            "pieces": float(sum(t.components for t in topology)),
            "holes": float(sum(t.tunnels for t in topology)),
        }


def objective(
    logits: Tensor,
    target: Tensor,
    settings: TVUnetSettings,
    step: int,
    spacing: Sequence[float] | None = None,
    image: Tensor | None = None,
) -> dict[str, Tensor]:
    """The terms of the loss.

    Parameters
    ----------
    logits
        Shape (N, 1 + C, *grid), the background first.
    target
        Class indices, shape (N, *grid), -1 where nothing is known.
    settings
        Weights.
    step
        Steps done.
    spacing
        Voxel size along the axes of the grid.
    image
        The guide of the variation, shape (N, 1, *grid).
    """
    binary = settings.activation == "sigmoid"
    probability = logits.sigmoid() if binary else logits.softmax(1)
    growth = settings.growth(step)
    entropy = partial_entropy(logits, target, binary=binary)
    terms = {"entropy": entropy}
    fitted = entropy
    if settings.overlap:
        terms["overlap"] = partial_overlap(probability, target)
        fitted = fitted + settings.overlap * terms["overlap"]
    if settings.centre_line and growth:
        terms["centre line"] = centre_line_loss(probability, target)
        fitted = fitted + growth * settings.centre_line * terms["centre line"]
    if settings.boundary and growth:
        terms["boundary"] = boundary_loss(probability, target)
        fitted = fitted + growth * settings.boundary * terms["boundary"]
    terms["variation"] = total_variation(
        probability[:, 1:], spacing, rounding=settings.rounding, guide=image, edge=settings.edge
    )
    weight = settings.variation * growth
    terms["loss"] = fitted + weight * terms["variation"] if weight else fitted
    if weight and logits.requires_grad:
        terms["pull"] = weight * gradient_norm(terms["variation"], logits) / gradient_norm(fitted, logits)
    return terms


def gradient_norm(term: Tensor, logits: Tensor) -> Tensor:
    """Norm of the gradient of a term of the loss with respect to the logits."""
    gradient: Tensor = torch.autograd.grad(term, logits, retain_graph=True)[0]
    norm: Tensor = torch.linalg.vector_norm(gradient)
    return norm


def _up_to(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


def _axis(examples: Sequence[SupportExample]) -> int:
    """The axis of the first image with the most annotated slices; if all are annotated, that of the thickest voxels."""
    counted: dict[int, int] = {}
    image = examples[0].image
    for example in examples:
        if example.axis is not None and example.slices is not None:
            axis = image.affine.closest_axes.index(example.image.affine.closest_axes[example.axis])
            counted[axis] = counted.get(axis, 0) + len(example.slices)
    if counted:
        return max(counted, key=lambda axis: counted[axis])
    thickest = image.spacing >= image.spacing.max() * (1 - 1e-3)
    upright = image.affine.closest_axes.index(2)
    return upright if thickest[upright] else int(np.argmax(thickest))
