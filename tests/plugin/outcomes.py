"""Finished registrations with a known transform, as the Register dock hands them to its parts."""

import weakref

import numpy as np

from deformations import smooth_field
from registration_pairs import blobs
from voxelsmith.core.affine import Affine
from voxelsmith.core.transform import Transform
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.plugin.docks.register.outcome import Outcome
from voxelsmith.plugin.layers import layer_data
from voxelsmith.register.request import RegistrationRequest
from voxelsmith.register.result import Change, Measures, RegistrationResult, warp

GRID = (24, 20, 16)
LANDMARKS = ((8.0, 9.0, 5.0), (12.0, 6.0, 10.0))


def finished(viewer, affine=None, deforms=True, labels=True, moving_affine=None) -> Outcome:
    """A pair of images in a viewer and what registering them gave."""
    fixed = blobs(GRID, affine=affine)
    field = smooth_field(fixed.affine, GRID, voxels=1.0, sigma=4) if deforms else None
    matrix = np.eye(4)
    matrix[:3, 3] = (2, -1, 1)
    transform = Transform(matrix, field)
    moving = Volume(blobs(GRID, seed=5).array, moving_affine or fixed.affine, "moving")
    structures = LabelVolume((moving.array > 30).astype(np.uint8) * 4, moving.affine, "structures", names={4: "core"})
    points = fixed.affine.apply(LANDMARKS)
    request = RegistrationRequest(
        fixed,
        moving,
        fixed_labels=structures if labels else None,
        moving_labels=structures if labels else None,
        fixed_points=points,
        moving_points=points + 1,
    )
    measures = Measures(
        "correlation",
        0.5,
        0.75,
        0.9,
        {4: Change(0.25, 0.875)} if labels else {},
        {4: Change(6.0, 1.25)} if labels else {},
        (3.0, 5.0),
        (0.5, 1.5),
        0.0125 if deforms else None,
        0.31 if deforms else None,
        0.07 if deforms else None,
    )
    layers = []
    for volume in (fixed, moving):
        data, kwargs, _ = layer_data(volume)
        layers.append(viewer.add_image(data, **kwargs))
    result = RegistrationResult(
        request, ("", ""), transform, None, warp(transform, moving, fixed), measures, "header", (), ()
    )
    return Outcome(result, 1.0, True, weakref.ref(layers[0]), weakref.ref(layers[1]))


def tilted_pair():
    """Two grids that are drawn otherwise than they lie, with their axes in another order."""
    from deformations import oblique

    turned = oblique(spacing=(1.0, 1.4, 2.0), origin=(5, -8, 3), angles=(10, -15, 20)).matrix[:, [1, 2, 0, 3]]
    return oblique(spacing=(1.2, 0.9, 1.6), origin=(0, 0, 0), angles=(17, -9, 12)), Affine(turned)
