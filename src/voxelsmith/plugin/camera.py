"""Camera: anatomical planes in napari.

Owns how the viewer is turned so that a physician reads it: axial slices with anterior up, coronal and sagittal ones
with the head up, the patient's right on the left, and 3-D seen from the front. The world of our layers is (S, P, L),
see :mod:`voxelsmith.plugin.placement`; napari draws increasing coordinates downward, so the head is up only when the
vertical axis of the camera is turned where S runs along it.
"""

from __future__ import annotations

from typing import Any

# World axes counted from the last: S -3, P -2, L -1; the first is sliced, the others are drawn as rows and columns.
PLANES = {"axial": (-3, -2, -1), "coronal": (-2, -3, -1), "sagittal": (-1, -3, -2)}


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
    if on and viewer.dims.ndim >= 3:
        viewer.scene.camera.set_view_direction(view_direction=(0, 1, 0), up_direction=(1, 0, 0))


def upright(viewer: Any) -> None:
    """Draw S upward in slices that show it; in 3-D and elsewhere keep napari's right-handed default."""
    dims = viewer.dims
    shows_s_vertically = dims.ndisplay == 2 and dims.ndim >= 3 and dims.order[-2] == dims.ndim - 3
    viewer.scene.camera.orientation2d = ("up" if shows_s_vertically else "down", "right")
