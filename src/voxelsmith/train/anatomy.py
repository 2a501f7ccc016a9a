"""Made-up images of real anatomy: a label map is cropped, deformed and rendered in a random instrument.

Owns :func:`anatomy_sample`, and what it has to know about a numbering of labels: which numbers are a pair, which stand
for one structure, which are tissues that nobody would annotate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import InputError
from voxelsmith.train import warp
from voxelsmith.train.appearance import render
from voxelsmith.train.sample import Annotated, Grid, Labels, Vector
from voxelsmith.train.scene import random_grid
from voxelsmith.train.shapes import log_uniform

_SMALLEST = 20
_CANDIDATES = 400
_MERGED = 0.3
_ALIKE = 0.85


@dataclass(frozen=True)
class LabelScheme:
    """What the numbers of a label map mean to the generator.

    Parameters
    ----------
    pairs
        From the number of a structure on the right to that of the same structure on the left.
    aliases
        From a number to the one that it is a part of.
    unannotated
        Numbers of tissues that are rendered but never annotated.
    air
        Whether 0 is empty space rather than unlabelled tissue.
    """

    pairs: Mapping[int, int] = field(default_factory=dict)
    aliases: Mapping[int, int] = field(default_factory=dict)
    unannotated: frozenset[int] = frozenset()
    air: bool = False


PLAIN = LabelScheme()
FREESURFER = LabelScheme(
    pairs={
        41: 2,
        42: 3,
        43: 4,
        44: 5,
        46: 7,
        47: 8,
        49: 10,
        50: 11,
        51: 12,
        52: 13,
        53: 17,
        54: 18,
        57: 25,
        58: 26,
        60: 28,
    },
    aliases={136: 4, 137: 5, 163: 43, 164: 44},
    unannotated=frozenset({24, 30, 62, 72, 85, *range(500, 531)}),
    air=True,
)


def anatomy_sample(
    rng: np.random.Generator, labels: Labels, spacing: Vector, *, scheme: LabelScheme = PLAIN, name: str = "anatomy"
) -> Annotated:
    """A random view of a label map in a random instrument.

    Parameters
    ----------
    rng
        Where the randomness comes from.
    labels : array of integers, shape (I, J, K)
        A whole label map; small unsigned integers are quickest. Numbers are at least 0 and below 32 768.
    spacing
        Voxel size of the map in millimetres.
    scheme
        What the numbers mean.
    name
        Name of the sample.

    Returns
    -------
    Annotated
        At most 600 000 voxels, on a spacing of its own, with the numbers of the map. Structures of fewer than 20 voxels
        are in the image but not annotated; paired ones are sometimes merged under the number of the left one.
    """
    if labels.ndim != 3 or labels.dtype.kind not in "iu":
        raise InputError(
            f"A label map is a 3-D array of integers, got {labels.dtype} of shape {labels.shape}; round it."
        )
    source_spacing = np.asarray(spacing, dtype=np.float64)
    grid, size = _random_view(rng, labels, source_spacing)
    raw = _resample(rng, labels, source_spacing, grid, size, scheme.unannotated)
    whole = renumbered(np.arange(int(raw.max()) + 1), scheme.aliases)
    left = renumbered(whole, scheme.pairs)
    tissues, classes = compacted(raw, left if rng.random() < _ALIKE else whole)
    image = render(rng, tissues, size, classes=classes, air=scheme.air)
    annotated = np.where(np.isin(whole, list(scheme.unannotated)), 0, left if rng.random() < _MERGED else whole)[raw]
    counts = np.bincount(annotated.ravel())
    annotated = np.where(counts >= _SMALLEST, np.arange(len(counts)), 0).astype(np.int16)[annotated]
    order, mirrored = rng.permutation(3), tuple(slice(None, None, int(step)) for step in rng.choice([-1, 1], 3))
    return Annotated(
        np.ascontiguousarray(image.transpose(order)[mirrored]),
        np.ascontiguousarray(annotated.transpose(order)[mirrored]),
        size[order],
        name,
    )


def _random_view(rng: np.random.Generator, labels: Labels, spacing: Vector) -> tuple[Grid, Vector]:
    """A grid and a spacing that show a quarter of the map or more along the axis that fills it most."""
    grid, size = random_grid(rng)
    size /= size.min()
    fitting = float((spacing * labels.shape / (size * grid)).min())
    return grid, size * max(fitting * log_uniform(rng, 0.25, 1), 0.8 * float(spacing.min()))


def _resample(
    rng: np.random.Generator, labels: Labels, spacing: Vector, grid: Grid, size: Vector, unannotated: frozenset[int]
) -> Labels:
    """Nearest labels on a view that is turned, bent and centred near an annotated voxel; 0 outside the map."""
    candidates = rng.integers(0, labels.shape, (_CANDIDATES, 3))
    annotated = ~np.isin(labels[tuple(candidates.T)], [0, *unannotated])
    centre = candidates[int(annotated.argmax())].astype(np.float64)
    half = size * grid / spacing / 2
    middle = (np.array(labels.shape) - 1) / 2
    slack = np.maximum(middle - half, 0)
    centre = np.clip(centre, middle - slack, middle + slack)
    stretch = np.exp(rng.uniform(-0.15, 0.15, 3))
    matrix = warp.random_rotation(rng, size, 20) * size / (spacing * stretch)[:, None]
    places = warp.random_places(rng, grid, size, matrix, centre, spacing, rng.uniform(0, 0.1))
    outside = np.zeros(grid, dtype=bool)
    for place, count in zip(places, labels.shape, strict=True):
        outside |= (place < -0.5) | (place > count - 0.5)
        np.clip(place, 0, count - 1, out=place)
    found = warp.look_up_nearest(labels, places)
    found[outside] = 0
    return found


def renumbered(numbers: npt.NDArray[np.intp], changes: Mapping[int, int]) -> npt.NDArray[np.intp]:
    """Each number, or what it changes to."""
    return np.array([changes.get(number, number) for number in numbers.tolist()], dtype=np.intp)


def compacted(raw: Labels, looks: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.intp]]:
    """Number the labels that occur 0, 1, 2, ... and say which look alike, also by small numbers; 0 stays 0."""
    occurs = np.bincount(raw.ravel()) > 0
    occurs[0] = True
    numbers = (np.cumsum(occurs) - 1).astype(np.int16)
    return numbers[raw], np.unique(looks[occurs], return_inverse=True)[1]
