"""A scene: many shapes of several kinds on one grid, and which of them somebody annotated.

Owns the random grid with its spacing, the choice of painters, and the last step: every connected part of a tissue is an
object of its own, small crumbs and a few objects at random stay unannotated, the rest are numbered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from skimage import measure

from voxelsmith.train import shapes, vessels
from voxelsmith.train.canvas import Canvas
from voxelsmith.train.sample import Grid, Vector

MAX_VOXELS = 600_000
_MAX_OBJECTS = 30
_SMALLEST = 40
_SHARE_ANNOTATED = 0.88
_LARGEST_SHARE = 0.6

_connected_parts: Callable[..., npt.NDArray[np.intp]] = measure.label
_Painter = Callable[[np.random.Generator, Canvas], None]
# From what lies beneath to what lies on top: how often a scene has the kind at all, and then at most how many of it.
_KINDS: tuple[tuple[_Painter, float, int], ...] = (
    (shapes.paint_regions, 0.3, 1),
    (shapes.paint_sheet, 0.3, 2),
    (shapes.paint_lobes, 0.35, 2),
    (shapes.paint_organ, 0.6, 7),
    (shapes.paint_shell, 0.4, 2),
    (shapes.paint_nest, 0.35, 2),
    (shapes.paint_cells, 0.12, 1),
    (vessels.paint_tube, 0.4, 3),
    (vessels.paint_tree, 0.3, 1),
    (shapes.paint_lesions, 0.4, 2),
)


@dataclass(frozen=True, eq=False)
class Scene:
    """What there is, and what of it is annotated.

    Parameters
    ----------
    tissues : array of int16, shape (I, J, K)
        All structures; 0 where there is none.
    classes : array of int16, shape (T,)
        The class of each tissue; tissues of one class look alike.
    labels : array of int16, shape (I, J, K)
        The annotated objects, 1 to N.
    """

    tissues: npt.NDArray[np.int16]
    classes: npt.NDArray[np.int16]
    labels: npt.NDArray[np.int16]


def random_grid(rng: np.random.Generator) -> tuple[Grid, Vector]:
    """A grid of 24 to 96 voxels an axis and at most :data:`MAX_VOXELS` in all, and its spacing in millimetres.

    Half of the grids are isotropic; in the others one random axis has slices up to six times as far apart, and fewer.
    """
    spacing = np.full(3, shapes.log_uniform(rng, 0.4, 3))
    counts = rng.uniform(54, 96, 3)
    if rng.random() < 0.5:
        axis, ratio = rng.integers(3), shapes.log_uniform(rng, 1.3, 6)
        spacing[axis] *= ratio
        counts[axis] = max(24, counts[axis] / np.sqrt(ratio))
    counts *= min(1.0, (MAX_VOXELS / float(np.prod(counts))) ** (1 / 3))
    i, j, k = np.clip(np.floor(counts), 24, 96).astype(int).tolist()
    return (i, j, k), spacing


def random_scene(rng: np.random.Generator, grid: Grid, spacing: npt.ArrayLike) -> Scene:
    """Paint shapes of several kinds and annotate most of them; at least one object is annotated."""
    while True:
        canvas = Canvas.blank(rng, grid, spacing)
        for painter, chance, most in _KINDS:
            if rng.random() < chance:
                for _ in range(int(rng.integers(1, most + 1))):
                    painter(rng, canvas)
        labels = _annotate(rng, canvas)
        if labels.any():
            return Scene(canvas.tissues, np.array(canvas.classes, dtype=np.int16), labels)


def _annotate(rng: np.random.Generator, canvas: Canvas) -> npt.NDArray[np.int16]:
    """Number the connected parts that are to be annotated, at most 30 of them."""
    parts = _connected_parts(canvas.tissues, background=0, connectivity=1)
    sizes = np.bincount(parts.ravel())
    tissue_of = np.zeros(len(sizes), dtype=np.int16)
    tissue_of[parts.ravel()] = canvas.tissues.ravel()
    wanted = (sizes >= _SMALLEST) & (sizes <= _LARGEST_SHARE * parts.size) & (rng.random(len(sizes)) < _SHARE_ANNOTATED)
    wanted &= ~np.isin(tissue_of, list(canvas.hidden))
    wanted[0] = False
    chosen = rng.permutation(np.flatnonzero(wanted))[:_MAX_OBJECTS]
    numbers = np.zeros(len(sizes), dtype=np.int16)
    numbers[chosen] = np.arange(1, len(chosen) + 1)
    labels: npt.NDArray[np.int16] = numbers[parts]
    return labels
