"""Carrying: layers of any type through a transform, into new layers.

Owns what is taken out of a layer before the job, the job, and the layers that its results become. Images and labels
are resampled, points and the vertices of shapes are moved; edges of shapes are divided first, so that they can bend.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from voxelsmith.core.affine import Affine, FloatArray
from voxelsmith.core.errors import InputError
from voxelsmith.core.inversion import Residual
from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.pull import Interpolation
from voxelsmith.core.sampling import Grid
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.plugin.docks.offered import PREVIEW
from voxelsmith.plugin.docks.register.place import Place, places_in
from voxelsmith.plugin.layers import layer_to_volume, namespaced, stored_axes
from voxelsmith.plugin.windows import first_window
from voxelsmith.register.applying import Reversible, pull_points, warp_job

Content: TypeAlias = Volume | list[FloatArray]

_PIECES = 8
_ROUND = 48
_FLAT = 1e-6


@dataclass(frozen=True, eq=False)
class Errand:
    """A layer that is to be carried.

    Parameters
    ----------
    layer
        Image, Labels, Points or Shapes.
    content
        Its volume, or its places in RAS millimetres: an array (N, 3) of points, or one for each shape.
    kinds
        Of shapes, what each is.
    """

    layer: Any
    content: Content
    kinds: tuple[str, ...] = ()


def can_be_carried(layer: Any) -> bool:
    """Whether a layer is of a type that goes through a transform."""
    from napari.layers import Image, Labels, Points, Shapes

    return isinstance(layer, Image | Labels | Points | Shapes) and PREVIEW not in namespaced(layer)


def errand(layer: Any, place: Place | None) -> Errand:
    """Take out of a layer what a job needs, in the main thread.

    Parameters
    ----------
    layer
        Image, Labels, Points or Shapes.
    place
        The image that points and shapes were set on; None if it is not known.

    Raises
    ------
    InputError
        If the layer is empty, or points or shapes have a time axis.
    GeometryError
        If its transform is unusable.
    """
    from napari.layers import Image, Labels, Points

    if isinstance(layer, Image | Labels):
        volume = layer_to_volume(layer)
        # The user may go on painting.
        return Errand(layer, replace(volume, array=volume.array.copy()) if isinstance(volume, LabelVolume) else volume)
    if not len(layer.data):
        raise InputError(f"{layer.name!r} is empty; add to it first, or leave it out.")
    if layer.ndim > len(stored_axes(layer)):
        raise InputError(
            f"Points and shapes are moved in space, but {layer.name!r} has a time axis; copy those of one frame into "
            "a 3-D layer."
        )
    if isinstance(layer, Points):
        return Errand(layer, [places_in(layer, layer.data, place)])
    outlines = [_outline(kind, np.asarray(data)) for kind, data in zip(layer.shape_type, layer.data, strict=True)]
    return Errand(
        layer,
        [places_in(layer, vertices, place) for _, vertices in outlines],
        tuple(kind for kind, _ in outlines),
    )


def carry(
    errands: list[Errand],
    reversible: Reversible,
    back: bool,
    onto: tuple[Affine, Grid] | None,
    interpolation: Interpolation,
) -> Job[tuple[list[Content], Residual | None]]:
    """Job that brings contents through a transform.

    Parameters
    ----------
    errands
        What to bring.
    reversible
        The transform from the fixed world to the moving world.
    back
        Whether things go from fixed to moving instead of from moving to fixed.
    onto
        The grid that volumes come out on; points need none.
    interpolation
        "linear" or "nearest".

    Returns
    -------
    list of contents, Residual or None
        In the order of the errands; and by how much the inverse fails to return, if one was needed.

    Raises
    ------
    InputError
        If a volume has no grid to come out on, or points cannot be brought back.
    """
    transform = reversible.transform
    pulling, residual = transform, None
    if back and onto is not None and any(isinstance(e.content, Volume) for e in errands):
        pulling, residual = yield from reversible.inverse_job(*onto)
    carried: list[Content] = []
    for done, one in enumerate(errands):
        yield Progress(done, len(errands), one.layer.name)
        if isinstance(one.content, Volume):
            if onto is None:
                raise InputError(f"{one.content.name!r} needs a grid to come out on; open the image and choose it.")
            carried.append((yield from warp_job(pulling, one.content, *onto, interpolation)))
        elif back:
            carried.append([transform.push_points(places) for places in one.content])
        else:
            carried.append([pull_points(transform, places) for places in one.content])
    return carried, residual


def carried_layer(one: Errand, content: Content, place: Place | None, suffix: str) -> Any:
    """The new layer, drawn at a place, by default where the old one is drawn, with the looks of the old one."""
    name = f"{one.layer.name} · {suffix}"
    if isinstance(content, Volume):
        assert place is not None
        return place.layer(content, name=name, **_looks(one.layer, content))
    from napari.layers import Points, Shapes

    target = Place.of_points(one.layer) if place is None else place
    coordinates = [target.coordinates(target.affine.inverse().apply(places)) for places in content]
    # Sizes are in voxels.
    larger = float(Place.of_points(one.layer).affine.spacing.mean() / target.affine.spacing.mean())
    if isinstance(one.layer, Points):
        return Points(
            coordinates[0],
            name=name,
            features=one.layer.features,
            size=one.layer.size * larger,
            symbol=one.layer.symbol,
            face_color=one.layer.face_color,
            border_color=one.layer.border_color,
            **target.arguments,
        )
    return Shapes(
        coordinates,
        shape_type=list(one.kinds),
        name=name,
        features=one.layer.features,
        edge_width=[width * larger for width in one.layer.edge_width],
        edge_color=one.layer.edge_color,
        face_color=one.layer.face_color,
        **target.arguments,
    )


def leaves_its_slice(layer: Any) -> bool:
    """Whether a layer has a shape that lies on no slice, which napari cannot show in 2-D."""
    from napari.layers import Shapes

    if not isinstance(layer, Shapes):
        return False
    return any(np.ptp(vertices, axis=0).min() > _FLAT for vertices in layer.data)


def _looks(layer: Any, content: Volume) -> dict[str, Any]:
    """How an image or labels layer is shown."""
    if isinstance(content, LabelVolume):
        return {"opacity": layer.opacity, "colormap": layer.colormap}
    if layer.rgb:
        return {}
    limits = first_window(content) if content.extra_axis else tuple(layer.contrast_limits)
    return {"colormap": layer.colormap} | ({} if limits is None else {"contrast_limits": limits})


def _outline(kind: str, vertices: FloatArray) -> tuple[str, FloatArray]:
    """A shape as a polygon or a path with edges short enough to bend."""
    if kind == "ellipse":
        middle = vertices.mean(axis=0)
        a, b = (vertices[1] - vertices[0]) / 2, (vertices[3] - vertices[0]) / 2
        angle = np.linspace(0, 2 * np.pi, _ROUND, endpoint=False)[:, np.newaxis]
        return "polygon", middle + np.cos(angle) * a + np.sin(angle) * b
    closed = kind in ("rectangle", "polygon")
    ends = np.roll(vertices, -1, axis=0) if closed else vertices[1:]
    share = np.arange(_PIECES)[:, np.newaxis] / _PIECES
    pieces = [a + share * (b - a) for a, b in zip(vertices, ends, strict=False)]
    if not closed:
        pieces.append(vertices[-1:])
    return ("polygon" if closed else "path"), np.concatenate(pieces)
