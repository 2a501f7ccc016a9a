"""Controller of the Volumes dock.

Owns what the dock does: which layer it speaks of, how volumes are opened and exported, and how the viewer is turned to
axial, sagittal and coronal slices. Slow work, reading, writing and looking at every voxel, runs as jobs.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from voxelsmith import io
from voxelsmith.core.errors import VoxelsmithError
from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.resample import resample_to
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.io.zarr import is_zarr
from voxelsmith.plugin import notify
from voxelsmith.plugin.camera import keep_upright, show_plane, show_rendering, upright
from voxelsmith.plugin.docks.volumes.details import details
from voxelsmith.plugin.layers import grid_of, layer_affine, layer_data, layer_to_volume
from voxelsmith.plugin.runner import JobRunner
from voxelsmith.plugin.windows import Statistics, Window, statistics, windows

if TYPE_CHECKING:
    from voxelsmith.plugin.docks.volumes.view import VolumesDock

_WATCHED = ("data", "name", "scale", "translate", "rotate", "shear", "affine", "units", "metadata")


class VolumesController:
    """Decides for a :class:`~voxelsmith.plugin.docks.volumes.view.VolumesDock`.

    Parameters
    ----------
    viewer : napari.Viewer or napari.components.ViewerModel
    view
        The dock.
    runner
        Runs opening and exporting; its progress is shown in the dock.
    """

    def __init__(self, viewer: Any, view: VolumesDock, runner: JobRunner) -> None:
        self._viewer = viewer
        self._view = view
        self._runner = runner
        # Looking at the voxels is no business of the user's, so its progress is not shown.
        self._quiet_runner = JobRunner(viewer, runner, shown=False)
        self._layer: Any = None
        self._known: WeakKeyDictionary[Any, Statistics] = WeakKeyDictionary()
        self._windows: list[Window] = []
        view.set_formats(list(io.WRITE_SUFFIXES))
        view.files_chosen.connect(self.open_files)
        view.folder_chosen.connect(self.open_folder)
        view.window_chosen.connect(self.apply_window)
        view.plane_chosen.connect(self.show_plane)
        view.rendering_chosen.connect(self.show_rendering)
        view.export_requested.connect(self.export)
        viewer.layers.selection.events.active.connect(self._on_active)
        for emitter in self._list_events():
            emitter.connect(self._on_list)
        viewer.dims.events.ndisplay.connect(self._on_dims)
        viewer.dims.events.order.connect(self._on_dims)
        self._on_active()
        self._on_list()
        self._on_dims()
        keep_upright(viewer)

    def _list_events(self) -> tuple[Any, ...]:
        events = self._viewer.layers.events
        return events.inserted, events.removed, events.reordered

    def close(self) -> None:
        """Let go of the viewer and stop all jobs."""
        self._watch(None)
        self._viewer.layers.selection.events.active.disconnect(self._on_active)
        for emitter in self._list_events():
            emitter.disconnect(self._on_list)
        self._viewer.dims.events.ndisplay.disconnect(self._on_dims)
        self._viewer.dims.events.order.disconnect(self._on_dims)
        self._runner.shutdown()
        self._quiet_runner.shutdown()

    def _on_active(self, event: Any = None) -> None:
        self._watch(self._viewer.layers.selection.active)
        self._describe()

    def _watch(self, layer: Any) -> None:
        if self._layer is not None:
            for name in _WATCHED:
                getattr(self._layer.events, name).disconnect(self._on_layer)
        self._layer = layer if _is_volume(layer) else None
        if self._layer is not None:
            for name in _WATCHED:
                getattr(self._layer.events, name).connect(self._on_layer)

    def _on_layer(self, event: Any) -> None:
        if event.type == "data":
            self._known.pop(self._layer, None)
        self._describe()

    def _on_list(self, event: Any = None) -> None:
        self._view.set_references([layer.name for layer in self._references()])

    def _references(self) -> list[Any]:
        from napari.layers import Image

        return [layer for layer in self._viewer.layers if isinstance(layer, Image) and not layer.rgb]

    def _on_dims(self, event: Any = None) -> None:
        self._view.set_rendering(self._viewer.dims.ndisplay == 3)
        upright(self._viewer)

    def _describe(self) -> None:
        layer = self._layer
        self._windows = []
        try:
            volume = layer_to_volume(layer) if layer is not None else None
        except VoxelsmithError as error:
            self._view.set_details(layer.name, [("Unusable", str(error))])
            volume = None
        else:
            if volume is None:
                self._view.set_details("Select an image or labels layer.", [])
        self._view.set_usable(volume is not None)
        if volume is not None:
            known = self._known.get(layer)
            self._view.set_details(volume.name, details(volume, known))
            if known is not None and not isinstance(volume, LabelVolume):
                self._windows = windows(volume, known)
            if known is None and isinstance(volume.array, np.ndarray):
                self._look_at(layer, volume)
        self._view.set_windows([window.name for window in self._windows])

    def _look_at(self, layer: Any, volume: Volume) -> None:
        def remember(known: Statistics) -> None:
            self._known[layer] = known
            if layer is self._layer:
                self._describe()

        self._quiet_runner.start(lambda: statistics(volume), title="Statistics", key="statistics", on_result=remember)

    def apply_window(self, index: int) -> None:
        """Show the grey values of the window at this position of the list; -1 leaves them as they are."""
        if self._layer is not None and 0 <= index < len(self._windows):
            window = self._windows[index]
            self._layer.contrast_limits = (window.low, window.high)

    def show_plane(self, plane: str) -> None:
        """Show "axial", "sagittal" or "coronal" slices."""
        show_plane(self._viewer, plane)

    def show_rendering(self, on: bool) -> None:
        """Switch between slices and volume rendering."""
        show_rendering(self._viewer, on)

    def open_files(self, paths: list[str]) -> None:
        """Open each file as a layer of its own; none if one of them fails."""
        self._open([(path, None) for path in paths])

    def open_folder(self, folder: str) -> None:
        """Open an OME-Zarr folder, or the DICOM series that the user picks."""
        if is_zarr(Path(folder)):
            self._open([(folder, None)])
        else:
            self._runner.start(
                lambda: _list_series(folder), title="Look for series", on_result=lambda found: self._pick(folder, found)
            )

    def _pick(self, folder: str, found: list[io.Series]) -> None:
        picked = [0] if len(found) == 1 else self._view.choose_series([str(series) for series in found])
        self._open([(folder, found[n].uid) for n in picked])

    def _open(self, sources: list[tuple[str, str | None]]) -> None:
        if sources:
            self._runner.start(lambda: _read(sources), title="Open", on_result=self._add)

    def _add(self, volumes: list[Volume]) -> None:
        for volume in volumes:
            data, kwargs, kind = layer_data(volume)
            (self._viewer.add_labels if kind == "labels" else self._viewer.add_image)(data, **kwargs)

    def export(self, reference: int) -> None:
        """Save the selected layer, on its own grid (-1) or on that of an image."""
        if self._layer is None:
            return
        with notify.sentences():
            volume = layer_to_volume(self._layer)
            if isinstance(volume, LabelVolume):
                # The user may go on painting while the file is written.
                volume = replace(volume, array=np.array(volume.array, order="K"))
            other = self._references()[reference] if reference >= 0 else None
            grid = None if other is None else (layer_affine(other), grid_of(other))
            if path := self._view.choose_target(volume.name):
                self._runner.start(lambda: _export(volume, path, grid), title="Export", on_result=_tell_saved)


def _is_volume(layer: Any) -> bool:
    from napari.layers import Image, Labels

    return isinstance(layer, Image | Labels)


def _list_series(folder: str) -> Job[list[io.Series]]:
    yield Progress(0, 0, Path(folder).name)
    return io.list_series(folder)


def _read(sources: list[tuple[str, str | None]]) -> Job[list[Volume]]:
    volumes: list[Volume] = []
    for done, (path, series) in enumerate(sources):
        yield Progress(done, len(sources), Path(path).name)
        volumes.append(io.read(path, series=series) if series else io.read(path))
    return volumes


def _export(volume: Volume, path: str, grid: Any) -> Job[Path]:
    if grid is not None:
        yield Progress(0, 2, "resampling")
        volume = resample_to(volume, *grid)
    yield Progress(1, 2, Path(path).name)
    return io.write(volume, path)


def _tell_saved(path: Path) -> None:
    from napari.utils.notifications import show_info

    show_info(f"Saved {path}.")
