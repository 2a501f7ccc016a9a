"""Where an affine registration may begin.

Owns the list of first guesses: as the headers say, grid on grid, intensities on intensities, or landmarks on landmarks;
those without landmarks also turned by up to 30 degrees about each axis.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from voxelsmith.core.affine import FloatArray
from voxelsmith.core.errors import InputError
from voxelsmith.register.preparation import Prepared
from voxelsmith.register.request import Start as StartName

_ANGLES = (0, -30, 30)


@dataclass(frozen=True, eq=False)
class Start:
    """A first guess.

    Parameters
    ----------
    name
        What it rests on.
    matrix : ndarray, shape (4, 4)
        From the fixed world to the moving world, RAS millimetres.
    plain
        Whether it turns nothing.
    """

    name: str
    matrix: FloatArray
    plain: bool = True


def starts(
    fixed: Prepared,
    moving: Prepared,
    name: StartName,
    landmarks: tuple[FloatArray, FloatArray] | None,
    initial: FloatArray | None,
) -> list[Start]:
    """The guesses, those that turn nothing first; InputError if they should come from landmarks and there are none."""
    if initial is not None:
        return [Start("initial", initial)]
    if landmarks is not None and name in ("auto", "landmarks"):
        return [Start("landmarks", rigid_of_points(*landmarks))]
    if name == "landmarks":
        raise InputError("A start from landmarks takes at least three in both volumes, on no line; give them.")
    pairs = {
        "header": (np.zeros(3), np.zeros(3)),
        "moments": (fixed.mass()[0], moving.mass()[0]),
        "centres": (fixed.centre(), moving.centre()),
    }
    chosen = {key: pair for key, pair in pairs.items() if name in ("auto", key)}
    plain = [Start(key, _shift(b - a)) for key, (a, b) in chosen.items()]
    middle = fixed.mass()[0]
    turned = [
        Start(start.name, start.matrix @ _turn(angles, middle), plain=False)
        for start in plain
        for angles in itertools.product(_ANGLES, repeat=3)
        if any(angles)
    ]
    return plain + turned


def rigid_of_points(fixed: FloatArray, moving: FloatArray) -> FloatArray:
    """The turn and shift that brings points (N, 3) nearest to their partners; never a mirror image."""
    a, b = fixed.mean(axis=0), moving.mean(axis=0)
    rotation, _ = Rotation.align_vectors(moving - b, fixed - a)
    matrix = np.eye(4)
    matrix[:3, :3] = rotation.as_matrix()
    matrix[:3, 3] = b - matrix[:3, :3] @ a
    return matrix


def _shift(vector: FloatArray) -> FloatArray:
    matrix = np.eye(4)
    matrix[:3, 3] = vector
    return matrix


def _turn(angles: tuple[int, ...], centre: FloatArray) -> FloatArray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre
    return matrix
