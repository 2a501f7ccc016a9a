"""Random changes of annotated slices and blocks while a network learns from them, with MONAI's transforms.

Owns which transforms there are and how strong: rotation, scale, elastic deformation, contrast, bias field, noise; flips
only along axes that allow them. Each sample is decided by the generator that it is given. Voxels that come in from
outside are without annotation, whatever the labels beside them.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from voxelsmith.segment.plan import Dims, Target
from voxelsmith.segment.zoom import FloatArray
from voxelsmith.train.losses import IGNORED

_DEGREES = 20.0
_SCALES = (-0.2, 0.25)
_RANDOM_STATES = 2**31
# Brightness goes from -2 to 2; a bias field multiplies what is not negative.
_LIFT = 2.0


class Sample(NamedTuple):
    """One patch: image and coordinates (channels, *grid), class indices (*grid)."""

    image: FloatArray
    places: FloatArray
    target: Target


class Augmentation:
    """Changes samples at random.

    Parameters
    ----------
    dims
        "3d" for blocks (D, A, B), which are only turned within their slices; otherwise slices (A, B).
    flips
        Spatial axes of a sample along which it may be flipped; anatomy seldom allows any.
    """

    def __init__(self, dims: Dims, flips: tuple[int, ...] = ()) -> None:
        # MONAI takes seconds to load, so only a training waits for it.
        from monai.transforms.compose import Compose
        from monai.transforms.intensity.dictionary import (
            RandAdjustContrastd,
            RandBiasFieldd,
            RandGaussianNoised,
            RandScaleIntensityd,
            ShiftIntensityd,
        )
        from monai.transforms.spatial.dictionary import Rand2DElasticd, RandAffined, RandFlipd

        angle = math.radians(_DEGREES)
        solid = dims == "3d"
        # A single pair of a sequence turns about the first axis, that of the slices.
        moved: dict[str, Any] = {
            "keys": ("image", "places", "target"),
            "mode": ("bilinear", "bilinear", "nearest"),
            "padding_mode": ("border", "border", "zeros"),
            "allow_missing_keys": True,
        }
        steps: list[Any] = [
            RandAffined(
                prob=0.8,
                rotate_range=((-angle, angle), (0, 0), (0, 0)) if solid else ((-angle, angle),),
                scale_range=((0, 0), _SCALES, _SCALES) if solid else (_SCALES, _SCALES),
                **moved,
            )
        ]
        if not solid:
            steps.append(Rand2DElasticd(prob=0.3, spacing=(24, 24), magnitude_range=(0.5, 2.0), **moved))
        steps += [RandFlipd(keys=moved["keys"], prob=0.5, spatial_axis=axis, allow_missing_keys=True) for axis in flips]
        steps += [
            RandAdjustContrastd(keys="image", prob=0.3, gamma=(0.7, 1.5)),
            ShiftIntensityd(keys="image", offset=_LIFT),
            RandBiasFieldd(keys="image", prob=0.2, degree=2, coeff_range=(0.0, 0.1)),
            RandScaleIntensityd(keys="image", prob=0.3, factors=0.15),
            ShiftIntensityd(keys="image", offset=-_LIFT),
            RandGaussianNoised(keys="image", prob=0.3, std=0.1),
        ]
        self._transform = Compose(steps)

    def __call__(self, rng: np.random.Generator, sample: Sample) -> Sample:
        """The sample, changed as the generator decides."""
        self._transform.set_random_state(seed=int(rng.integers(_RANDOM_STATES)))
        # Shifted by one, what is padded with zeros has no annotation.
        given = {"image": sample.image, "target": (sample.target[None] - IGNORED).astype(np.float32)}
        if len(sample.places):
            given["places"] = sample.places
        changed = self._transform(given)
        target = np.rint(_array(changed["target"])[0]).astype(np.int16) + np.int16(IGNORED)
        places = _array(changed["places"]) if len(sample.places) else sample.places
        return Sample(_array(changed["image"]), places, target)


def _array(values: Any) -> FloatArray:
    """A plain array of what MONAI returns, which carries its history."""
    return np.ascontiguousarray(np.asarray(values), dtype=np.float32)
