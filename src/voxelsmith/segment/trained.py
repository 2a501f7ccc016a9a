"""Trained: a network that was trained in the application, applied to a volume.

Owns :class:`TrainedModel`, its file, and the way from an image to a proposal: slice by slice or block by block, with a
chance to cancel after each few, then up to the image's own voxels. The answer is the proposal that few-shot engines
give, so whatever shows one shows the other. Probabilities are kept, so thresholds and filters cost no network.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from voxelsmith.core.connectivity import fill_cavities, keep_components
from voxelsmith.core.errors import FormatError, InputError
from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.prompts import Box
from voxelsmith.core.resample import reorient
from voxelsmith.core.support import SupportExample
from voxelsmith.core.volume import Volume, smallest_label_dtype
from voxelsmith.segment.engine import check_threshold
from voxelsmith.segment.network import import_torch
from voxelsmith.segment.plan import Plan
from voxelsmith.segment.predictor import Predictor
from voxelsmith.segment.proposal import Proposal, Provenance
from voxelsmith.segment.shape_prior import annotated_target, shape_prior
from voxelsmith.segment.uncertainty import slice_confidence

if TYPE_CHECKING:
    from torch import Tensor

    from voxelsmith.models.device import DeviceName
    from voxelsmith.models.trainable import AnyArchitecture, Network

ENGINE = "trained"
"""Name of the engine in proposals."""

FILE_VERSION = "1"
_TOTAL, _EXPANDED = 100, 20


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A network with everything that it takes to apply it.

    Parameters
    ----------
    plan
        What it sees.
    architecture
        Its size.
    weights
        Its tensors by name.
    name
        What it is called.
    fingerprint
        Of the data that it was trained on.
    details
        More about its training, as text: steps, score.
    """

    plan: Plan
    architecture: AnyArchitecture
    weights: Mapping[str, Tensor]
    name: str = "model"
    fingerprint: str = ""
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def recipe(self) -> str:
        """The name of the recipe that trained it."""
        from voxelsmith.models.trainable import recipe_of

        return recipe_of(self.architecture)

    def network(self, *, portable: bool = False) -> Network:
        """The network with its weights, in evaluation mode on the CPU."""
        from voxelsmith.models.trainable import network_of

        net = network_of(self.architecture, portable=portable)
        net.load_state_dict(dict(self.weights))
        return net.eval()

    def metadata(self) -> dict[str, str]:
        """Everything but the weights, as text."""
        return {
            "voxelsmith": FILE_VERSION,
            "recipe": self.recipe,
            "plan": json.dumps(self.plan.record()),
            "architecture": json.dumps(self.architecture.record()),
            "name": self.name,
            "fingerprint": self.fingerprint,
            "details": json.dumps(dict(self.details)),
        }


def load(path: Path | str) -> TrainedModel:
    """Read a model that was exported as safetensors.

    Raises
    ------
    FormatError
        If there is no such file, it is damaged, or it holds something else.
    ModelUnavailableError
        If torch cannot be loaded.
    """
    import_torch()
    from safetensors import SafetensorError, safe_open

    from voxelsmith.models.trainable import architecture_from

    try:
        with safe_open(str(path), framework="pt") as file:
            about = file.metadata() or {}
            names = list(file.keys())
            weights = {name: file.get_tensor(name) for name in names}
        if about["voxelsmith"] != FILE_VERSION:
            raise KeyError("version")
        return TrainedModel(
            Plan.from_record(json.loads(about["plan"])),
            architecture_from(about.get("recipe", "tvunet"), json.loads(about["architecture"])),
            {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in weights.items()},
            about["name"],
            about["fingerprint"],
            json.loads(about["details"]),
        )
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"{path} should be a model trained with this version of voxelsmith, saved as safetensors, but it cannot be "
            "read as one; export it again, or name its run folder."
        ) from error


def apply(
    model: TrainedModel, image: Volume, device: DeviceName = "auto", annotated: Sequence[SupportExample] = ()
) -> Job[Proposal]:
    """Segment a whole volume.

    Parameters
    ----------
    model
        The network.
    image
        A 3-D image of any voxel size and orientation.
    device
        Where to compute.
    annotated
        Annotated slices of this image: the shapes between them are weighed with what the network says. Those of other
        images do not count.

    Yields
    ------
    Progress
        Of 100.

    Returns
    -------
    Proposal
        On the image's grid, cut at one half; its notes say where the voxels differ from those of the training.

    Raises
    ------
    InputError
        If the image is not 3-D, holds no real numbers, or is constant, or the device is not there.
    ResourceError
        If memory runs out.
    """
    import_torch()
    from voxelsmith.models.device import pick_device

    if image.array.ndim != 3 or image.array.dtype.kind not in "iufb":
        raise InputError(
            f"A trained network takes a 3-D image of real numbers, got {image.array.ndim} axes of "
            f"{image.array.dtype}; pick a frame first."
        )
    plan = model.plan
    yield Progress(0, _TOTAL, "Preparing the image")
    turned = plan.oriented(image)
    region = plan.region(turned)
    working = plan.working(turned, region)
    target = annotated_target(plan, image, region, annotated)
    prior = None if target is None else shape_prior(plan, target, region)
    predictor = Predictor(model.network().to(pick_device(device)), plan, prior)
    likely = np.zeros((len(plan.classes), *working.shape), np.float32)
    for share in predictor.fill(likely, working):
        yield Progress(int(share * (_TOTAL - _EXPANDED)), _TOTAL, "Segmenting")
    fine = np.empty((len(plan.classes), *turned.grid), np.float16)
    for channel, values in enumerate(likely):
        fine[channel] = region.dense(np.ascontiguousarray(plan.back(values)))
        done = _TOTAL - _EXPANDED + _EXPANDED * (channel + 1) // (len(plan.classes) + 1)
        yield Progress(done, _TOTAL, "Bringing the answer to the image's voxels")
    # As many bytes as before: turning back only flips and swaps axes.
    stacked = Volume(np.moveaxis(fine, 0, 3), turned.affine, extra_axis="channel")
    probabilities = np.moveaxis(reorient(stacked, image.affine.axcodes).array, 3, 0)
    axis = _own_axis(plan, image)
    i, j, k = image.grid
    caution = plan.caution(turned)
    return Proposal(
        labels=image.labels(
            cut(probabilities, plan.classes), "proposal", dict(zip(plan.classes, plan.names, strict=True))
        ),
        classes=plan.classes,
        probabilities=probabilities,
        box=Box((0, 0, 0), (i - 1, j - 1, k - 1)),
        axis=axis,
        confidence=slice_confidence(probabilities, axis),
        provenance=Provenance(ENGINE, image.fingerprint(), (model.fingerprint,), model.name),
        notes=(caution,) if caution else (),
    )


def cut(
    probabilities: npt.NDArray[np.floating[Any]],
    classes: tuple[int, ...],
    threshold: float = 0.5,
    *,
    largest_only: bool = False,
    least_voxels: int = 1,
    fill: bool = False,
) -> npt.NDArray[np.unsignedinteger[Any]]:
    """Labels from probabilities: where the likeliest class is likelier than a threshold, filtered class by class.

    Parameters
    ----------
    probabilities : array, shape (C, I, J, K)
        0 to 1.
    classes
        The label value of each channel.
    threshold
        Between 0 and 1.
    largest_only
        Keep one piece of each class, the largest.
    least_voxels
        Pieces with fewer voxels go.
    fill
        Fill cavities, as far as no other class has them.

    Returns
    -------
    array of the smallest unsigned type, shape (I, J, K)

    Raises
    ------
    InputError
        If the threshold is out of range.
    """
    check_threshold(threshold)
    labels = np.zeros(probabilities.shape[1:], smallest_label_dtype(max(classes)))
    best = np.full(probabilities.shape[1:], threshold, probabilities.dtype)
    for channel, value in zip(probabilities, classes, strict=True):
        wins = channel > best
        labels[wins] = value
        np.maximum(best, channel, out=best)
    if largest_only or least_voxels > 1 or fill:
        for value in classes:
            mask = labels == value
            kept = keep_components(mask, most=1 if largest_only else None, least_voxels=least_voxels)
            labels[mask & ~kept] = 0
            if fill:
                labels[fill_cavities(kept) & (labels == 0)] = value
    return labels


def recut(proposal: Proposal, threshold: float = 0.5, **filters: Any) -> Proposal:
    """A proposal cut anew from its probabilities; ``filters`` as for :func:`cut`."""
    labels = np.zeros(proposal.labels.grid, smallest_label_dtype(max(proposal.classes)))
    labels[proposal.box.slices] = cut(proposal.probabilities, proposal.classes, threshold, **filters)
    return replace(proposal, labels=replace(proposal.labels, array=labels))


def _own_axis(plan: Plan, image: Volume) -> int:
    """The array axis of an image that runs as the plan's axis of slices does."""
    pairs = ("LR", "PA", "IS")
    world = next(n for n, pair in enumerate(pairs) if plan.axcodes[plan.axis] in pair)
    return image.affine.closest_axes.index(world)
