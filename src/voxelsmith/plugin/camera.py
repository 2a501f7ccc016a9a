"""Camera: anatomical planes in napari.

Owns how the viewer is turned so that a physician reads it: axial slices with anterior up, coronal and sagittal ones
with the head up, the patient's right on the left, and 3-D seen from the front. The world of our layers is (S, P, L),
see :mod:`voxelsmith.plugin.placement`. napari draws increasing coordinates downward, so the head is up only when the
vertical axis of the camera is turned where S runs along it; and it draws the first axis towards the viewer, which in
this world would mirror the body in 3-D, so the depth axis of the camera follows the order of the axes.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakSet, ref

from voxelsmith.plugin.layers import namespaced

# World axes counted from the last: S -3, P -2, L -1; the first is sliced, the others are drawn as rows and columns.
PLANES = {"axial": (-3, -2, -1), "coronal": (-2, -3, -1), "sagittal": (-1, -3, -2)}
_UNTOUCHED = (0.0, 0.0, 0.0)
_kept: WeakSet[Any] = WeakSet()


def show_plane(viewer: Any, plane: str) -> None:
    """Show slices of a plane, one of "axial", "coronal" and "sagittal", keeping the position."""
    ndim = viewer.dims.ndim
    if ndim < 3:
        return
    viewer.dims.ndisplay = 2
    viewer.dims.order = (*range(ndim - 3), *(ndim + axis for axis in PLANES[plane]))
    upright(viewer)
    viewer.reset_view()


def show_rendering(viewer: Any, on: bool) -> None:
    """Switch between slices and 3-D, which begins with a view from the front, head up."""
    viewer.dims.ndisplay = 3 if on else 2
    if on:
        viewer.dims.order = tuple(range(viewer.dims.ndim))
    upright(viewer)
    viewer.reset_view()
    if on:
        _from_the_front(viewer)


def upright(viewer: Any) -> None:
    """Draw S upward where it runs vertically, and the body as it is, not its mirror image."""
    up, mirrored = False, True
    axes = tuple(axis - viewer.dims.ndim for axis in viewer.dims.order[-3:])
    if sorted(axes) == [-3, -2, -1]:
        up = axes[1] == -3
        # (S, P, L) with S away from the viewer, P down and L to the right is no mirror image; each swap or flip makes
        # one of it.
        swapped = axes in ((-3, -1, -2), (-2, -3, -1), (-1, -2, -3))
        mirrored = swapped != up
    viewer.scene.camera.orientation = ("towards" if mirrored else "away", "up" if up else "down", "right")


def keep_upright(viewer: Any) -> None:
    """From now on keep a viewer upright, whichever of napari's buttons turns it, while it shows volumes of ours.

    A view in 3-D that the user has not turned yet begins at the front. This lasts as long as the viewer: letting go of
    it in a coronal slice would leave the axial ones upside down.
    """
    if viewer in _kept:
        return
    _kept.add(viewer)
    # The viewer's own events must not keep it alive.
    weak = ref(viewer)

    def turn(event: Any = None) -> None:
        alive = weak()
        if alive is None or not any("affine" in namespaced(layer) for layer in alive.layers):
            return
        upright(alive)
        if alive.dims.ndisplay == 3 and alive.scene.camera.angles == _UNTOUCHED:
            _from_the_front(alive)

    viewer.dims.events.order.connect(turn)
    viewer.dims.events.ndisplay.connect(turn)
    turn()


def _from_the_front(viewer: Any) -> None:
    """Look towards P, head up."""
    axes = [axis - viewer.dims.ndim for axis in viewer.dims.displayed]
    if sorted(axes) == [-3, -2, -1]:
        towards, up = (tuple(float(axis == wanted) for axis in axes) for wanted in (-2, -3))
        viewer.scene.camera.set_view_direction(view_direction=towards, up_direction=up)
