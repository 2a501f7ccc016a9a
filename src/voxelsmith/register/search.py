"""Search: where one image lies in another when neither headers nor centres tell, as a slab of an abdomen in the whole.

Owns the exhaustive search over all shifts on a coarse grid. Images are compared by MIND descriptors inside the body
alone: brightness would lay bone on bone, whichever bones. All shifts are compared at once in the Fourier domain, as in
masked registration (Padfield, IEEE Transactions on Image Processing 21, 2012), here for squared differences. Nothing is
turned or scaled; that is for the registration that starts from here. How unlike the images are at the best shift tells
whether they show the same part of the body at all.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import fft, ndimage

from voxelsmith.core.affine import Affine, FloatArray
from voxelsmith.core.volume import Volume
from voxelsmith.register.mind import mind_ssc
from voxelsmith.register.preparation import Float32Array, Prepared, prepare

Mask = npt.NDArray[np.bool_]

# Voxels along the mean side of the larger image.
_VOXELS = 40
_BODY = 0.15
_PERCENTILES = (5, 95)
# Share of the smaller body that must lie in the other one.
_LEAST_OVERLAP = 0.5
# Forty pairs of hippocampi lie at 0.08 to 0.13, thirty of legs and hips with tumours in MR above 0.13 but for two.
_MATCHED = 0.13
_HALF = 0.5
_TINY = np.float32(1e-6)


@dataclass(frozen=True, eq=False)
class Found:
    """The best shift.

    Parameters
    ----------
    matrix : ndarray, shape (4, 4)
        From the fixed world to the moving world, RAS millimetres; a shift.
    unlike
        Mean squared difference of the descriptors there, 0 to 1.
    """

    matrix: FloatArray
    unlike: float

    @property
    def matched(self) -> bool:
        """Whether the images show the same part of the body, as far as can be told."""
        return self.unlike <= _MATCHED


def search(fixed: Volume, moving: Volume) -> Found:
    """Find the shift under which the images are most alike.

    Parameters
    ----------
    fixed, moving
        3-D images; they may be of different modalities, and either may show a part of the other.

    Raises
    ------
    InputError
        If an image is constant or has no finite voxel.
    """
    spacing = max(float(np.prod(image.spacing * image.grid)) ** (1 / 3) for image in (fixed, moving)) / _VOXELS
    (one, here, at), (other, there, origin) = (
        _described(prepare(_thinned(image, spacing)), fixed.affine.direction, spacing) for image in (fixed, moving)
    )
    grid = [fft.next_fast_len(a + b - 1, real=True) for a, b in zip(here.shape, there.shape, strict=True)]

    def transformed(array: npt.NDArray[Any]) -> npt.NDArray[np.complexfloating[Any, Any]]:
        return np.asarray(fft.rfftn(array.astype(np.float32), grid, axes=(-3, -2, -1)))

    inside, beyond = transformed(here), transformed(there).conj()
    count = fft.irfftn(inside * beyond, grid)
    product = (transformed(one * here) * transformed(other * there).conj()).sum(0)
    squares = transformed((one**2).sum(0) * here) * beyond + inside * transformed((other**2).sum(0) * there).conj()
    unlike = fft.irfftn(squares - 2 * product, grid) / (len(one) * np.maximum(count, 1))
    unlike[count < _LEAST_OVERLAP * min(here.sum(), there.sum())] = np.inf
    best = np.unravel_index(int(np.argmin(unlike)), unlike.shape)
    shift = np.where(np.array(best) < here.shape, best, np.array(best) - grid)
    matrix = np.eye(4)
    matrix[:3, 3] = origin.apply(np.zeros(3)) - at.apply(shift)
    return Found(matrix, float(max(unlike[best], 0)))


def difference(fixed: Prepared, moving: Prepared, matrix: FloatArray) -> tuple[float, float]:
    """How unlike two images are under a linear map, and the share of the fixed body in which that can be told.

    Parameters
    ----------
    fixed, moving
        The images.
    matrix : ndarray, shape (4, 4)
        From the fixed world to the moving world, RAS millimetres.

    Returns
    -------
    float, float
        Mean squared difference of the descriptors where the images overlap, infinite if they do not; and 0 to 1.
    """
    spacing = float(np.prod(fixed.affine.spacing * fixed.grid)) ** (1 / 3) / _VOXELS
    here = fixed.coarser(spacing)
    there = moving.coarser(spacing).onto(Affine(matrix) @ here.affine, here.grid)
    body = here.values > _BODY
    both = body if there.weight is None else body & (there.weight > _HALF)
    if not both.any():
        return float("inf"), 0.0
    with torch.no_grad():
        one, other = (
            mind_ssc(torch.from_numpy(v.astype(np.float32))[None, None])[0] for v in (here.values, there.values)
        )
        unlike = (one - other).square().mean(0).numpy()
    return float(unlike[both].mean()), float(both.sum() / body.sum())


def _thinned(image: Volume, spacing: float) -> Volume:
    """Every so many voxels, at least two for each of the coarse grid."""
    steps = np.maximum(1, (spacing / 2 / image.spacing).astype(int)).tolist()
    scale = np.diag([*steps, 1.0])
    i, j, k = (slice(None, None, step) for step in steps)
    return Volume(np.asarray(image.array)[i, j, k], image.affine @ Affine(scale), image.name)


def _described(image: Prepared, direction: FloatArray, spacing: float) -> tuple[Float32Array, Mask, Affine]:
    """Descriptors (12, I, J, K) on a grid of cubes along the given axes, where the body is, and the grid's affine."""
    corners = image.affine.apply(list(itertools.product(*((-0.5, n - 0.5) for n in image.grid)))) @ direction
    low, high = corners.min(0), corners.max(0)
    i, j, k = np.maximum(1, np.round((high - low) / spacing)).astype(int).tolist()
    matrix = np.eye(4)
    matrix[:3, :3] = direction * spacing
    matrix[:3, 3] = direction @ (low + spacing / 2)
    laid = image.coarser(spacing).onto(Affine(matrix), (i, j, k))
    counted = np.ones(laid.grid, bool) if laid.weight is None else laid.weight > _HALF
    body = _body(laid.values, counted)
    darkest, brightest = np.percentile(laid.values[body], _PERCENTILES)
    flat = np.clip((laid.values - darkest) / (brightest - darkest + _TINY), 0, 1) * body
    with torch.no_grad():
        described = mind_ssc(torch.from_numpy(flat.astype(np.float32))[None, None], dilation=1)[0].numpy()
    return described, body, Affine(matrix)


def _body(values: Float32Array, counted: Mask) -> Mask:
    """The largest piece that is not dark, without holes; all that counts if nothing is bright."""
    pieces, number = ndimage.label(ndimage.binary_opening((values > _BODY) & counted))
    if not number:
        return counted
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    filled: Mask = ndimage.binary_fill_holes(pieces == sizes.argmax()) & counted
    return filled
