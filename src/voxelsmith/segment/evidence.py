"""Evidence: what brightness, position and clicks say about each voxel of a working grid.

Owns the three sources that the training-free engine adds up as log-odds: an appearance model (joint histograms of
brightness at two scales, refitted as the mask changes), the shape that objects have in a tight box, and the reach of a
click through similar tissue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.graph import MCP_Geometric

FloatArray: TypeAlias = npt.NDArray[np.float32]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

_KNOTS = 65
# How often a voxel belongs to the object, as log-odds by its distance from the centre of the tight box, where 1 is the
# surface of the ellipsoid that fills the box. Averaged over organs, tumours and nuclei of the development data.
_RADII = (0.0, 0.44, 0.7, 0.94, 1.06, 1.3, 1.6)
_LOG_ODDS = (1.2, 1.15, 0.6, -0.5, -1.4, -2.8, -4.5)


@dataclass(frozen=True)
class AppearanceSettings:
    """Parameters of :class:`Appearance`; scales are in working voxels."""

    bins: int = 24
    rank_share: float = 0.85
    fine_scale: float = 0.7
    coarse_scale: float = 0.9
    blur: float = 0.8
    floor: float = 0.1
    limit: float = 1.5


class Appearance:
    """Brightness of object and background, fitted to a probability map.

    Parameters
    ----------
    image : float array, shape (I, J, K)
        The working image.
    focus : bool array
        Where the brightness scale is set, 0 to 1: between the values themselves, which keep noise small, and their
        ranks, which make room for the contrast that the focus has, whatever the modality.
    spacing
        Working voxel size in millimetres.
    settings
        Scales and bins.
    """

    def __init__(
        self, image: FloatArray, focus: BoolArray, spacing: npt.NDArray[np.float64], settings: AppearanceSettings
    ) -> None:
        self._settings = settings
        self._knots = np.unique(np.quantile(image[focus], np.linspace(0, 1, _KNOTS)))
        low, high = self._knots[[len(self._knots) // 50, -1 - len(self._knots) // 50]]
        linear = np.clip((self._knots - low) / max(high - low, np.finfo(np.float32).tiny), 0, 1)
        ranks = np.linspace(0, 1, len(self._knots))
        self._levels = settings.rank_share * ranks + (1 - settings.rank_share) * linear
        level = self.normalise(image)
        relative = spacing.min() / spacing
        self.fine: FloatArray = ndimage.gaussian_filter(level, settings.fine_scale * relative)
        coarse = ndimage.gaussian_filter(level, settings.coarse_scale * relative)
        bins = settings.bins
        rows, columns = (np.minimum((x * bins).astype(np.intp), bins - 1) for x in (self.fine, coarse))
        self._bin = (rows * bins + columns).ravel()

    def normalise(self, image: npt.NDArray[np.float32]) -> FloatArray:
        """Brightness on the scale of the focus, 0 to 1; voxels that are not finite count as the darkest."""
        image = np.where(np.isfinite(image), image, self._knots[0])
        level: FloatArray = np.interp(image, self._knots, self._levels).astype(np.float32)
        return level

    def _density(self, weight: FloatArray) -> npt.NDArray[np.float64]:
        bins = self._settings.bins
        counts = np.bincount(self._bin, weight.ravel(), bins * bins).reshape(bins, bins)
        density: npt.NDArray[np.float64] = ndimage.gaussian_filter(counts, self._settings.blur) + 1e-9
        density /= density.sum()
        return density + self._settings.floor / (bins * bins)

    def log_ratio(self, object_weight: FloatArray, background_weight: FloatArray) -> FloatArray:
        """Log of how much likelier each voxel's brightness is in the object than in the background, limited."""
        ratio = np.log(self._density(object_weight) / self._density(background_weight))
        limited: FloatArray = np.clip(ratio, -self._settings.limit, self._settings.limit).astype(np.float32)
        chosen: FloatArray = limited.ravel()[self._bin].reshape(self.fine.shape)
        return chosen


def box_distance(
    grid: tuple[int, int, int], centre: npt.NDArray[np.float64], radius: npt.NDArray[np.float64]
) -> tuple[FloatArray, BoolArray]:
    """Position relative to a box, in working voxels.

    Returns
    -------
    distance
        1 on the ellipsoid that touches the box, 0 at its centre.
    inside
        Whether the voxel lies in the box.
    """
    axes = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in grid), indexing="ij", sparse=True)
    scaled = [np.abs(x - c) / r for x, c, r in zip(axes, centre, radius, strict=True)]
    distance = np.sqrt(scaled[0] ** 2 + scaled[1] ** 2 + scaled[2] ** 2).astype(np.float32)
    inside = (scaled[0] <= 1) & (scaled[1] <= 1) & (scaled[2] <= 1)
    return distance, inside


def box_log_odds(distance: FloatArray) -> FloatArray:
    """What the position in a tight box says, as log-odds."""
    return np.interp(distance, _RADII, _LOG_ODDS).astype(np.float32)


def click_reach(
    level: FloatArray,
    spacing: npt.NDArray[np.float64],
    voxels: npt.NDArray[np.intp],
    radius_mm: float,
    similarity: float,
    resistance: float,
) -> FloatArray:
    """How far a click or scribble carries, 1 at the click and falling with the path length through similar tissue.

    Parameters
    ----------
    level : array, shape (I, J, K)
        Normalised brightness.
    spacing
        Working voxel size in millimetres.
    voxels : integer array, shape (N, 3)
        The voxels clicked, in working coordinates.
    radius_mm
        Path length at which the reach has fallen to 0.61.
    similarity
        Brightness difference that counts as one unit of dissimilarity.
    resistance
        How much longer a millimetre becomes for each squared unit of dissimilarity (at most nine of them count).
    """
    margin = np.ceil(3 * radius_mm / spacing).astype(int)
    low = np.maximum(voxels.min(axis=0) - margin, 0)
    high = np.minimum(voxels.max(axis=0) + margin + 1, level.shape)
    cut = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    own = float(np.median(level[tuple(voxels.T)]))
    unlike = np.minimum(np.abs(level[cut] - own) / similarity, 3.0)
    paths = MCP_Geometric(1 + resistance * unlike**2, sampling=tuple(spacing))
    length, _ = paths.find_costs([tuple(int(x) for x in v - low) for v in voxels])
    reach = np.zeros(level.shape, dtype=np.float32)
    reach[cut] = np.exp(-0.5 * (length / radius_mm) ** 2)
    return reach
