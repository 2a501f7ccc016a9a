"""Other anatomy from real annotated volumes: stretched, turned, bent, mirrored, with its axes in another order.

Owns :func:`deform`, which moves image and labels together with a single resampling. What changes brightness is in
:mod:`~voxelsmith.train.augment`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from voxelsmith.train import warp
from voxelsmith.train.sample import Annotated


def deform(
    rng: np.random.Generator,
    annotated: Annotated,
    *,
    scaling: tuple[float, float] = (0.7, 1.4),
    degrees: float = 15.0,
    elasticity: float = 0.1,
    flips: bool = True,
    permute: bool = True,
) -> Annotated:
    """A random deformation of an annotated crop.

    Parameters
    ----------
    rng
        Where the randomness comes from.
    annotated
        An image with labels, at most a few hundred thousand voxels.
    scaling
        Least and greatest factor by which the anatomy grows along each axis. Where it shrinks the grid shrinks with it,
        where it grows the grid stays and shows a part; the spacing stays.
    degrees
        Greatest angle of rotation about each axis; less across thick slices.
    elasticity
        Greatest strength of the smooth displacement, 0 to about 0.12; above, space may fold.
    flips
        Mirror each axis half of the time.
    permute
        Put the axes into a random order; the spacing follows.

    Returns
    -------
    Annotated
        Labels keep their numbers and type; some may lie outside the new grid.
    """
    spacing = np.asarray(annotated.spacing, dtype=np.float64)
    grid = np.array(annotated.grid)
    low, high = np.log(scaling).tolist()
    factors = np.exp(rng.uniform(low, high, 3))
    shape = np.maximum(np.floor(grid * np.minimum(factors, 1)), np.minimum(grid, 8)).astype(int)
    i, j, k = shape.tolist()
    matrix = warp.random_rotation(rng, spacing, degrees) / factors[:, None] * spacing / spacing[:, None]
    slack = np.maximum(grid - shape / factors, 0) / 2
    centre = (grid - 1) / 2 + rng.uniform(-1, 1, 3) * slack
    places = warp.random_places(rng, (i, j, k), spacing, matrix, centre, spacing, rng.uniform(0, elasticity))
    warp.reflect(places, annotated.grid)
    image, labels = warp.look_up_linear(annotated.image, places), warp.look_up_nearest(annotated.labels, places)
    order = rng.permutation(3) if permute else np.arange(3)
    mirrored = tuple(slice(None, None, -1 if flips and rng.random() < 0.5 else 1) for _ in range(3))
    return replace(
        annotated,
        image=np.ascontiguousarray(image.transpose(order)[mirrored]),
        labels=np.ascontiguousarray(labels.transpose(order)[mirrored]),
        spacing=spacing[order],
    )
