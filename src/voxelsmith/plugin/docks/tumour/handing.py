"""Handing over: what goes from the dock to other docks and to files, and what comes back.

Owns the correction of one region with prompts. The Prompt dock gets the region as a mask to start from and an empty
layer to accept into; what was accepted there becomes the region, as one step that can be undone. Owns the writing of
labels and report, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from voxelsmith import io
from voxelsmith.core.errors import InputError
from voxelsmith.core.progress import Job, Progress
from voxelsmith.core.regions import REGIONS, Region
from voxelsmith.core.volume import LabelVolume
from voxelsmith.plugin import notify
from voxelsmith.plugin.canvas import remove_layers
from voxelsmith.plugin.docks.models.opening import PLUGIN
from voxelsmith.plugin.docks.tumour.jobs import measurement
from voxelsmith.plugin.layers import labels_like, layer_to_volume
from voxelsmith.plugin.runner import JobRunner
from voxelsmith.segment.tumour.report import write_report

if TYPE_CHECKING:
    from voxelsmith.plugin.docks.tumour.result_part import ResultPart
    from voxelsmith.plugin.docks.tumour.results import ResultController


@dataclass(frozen=True, eq=False)
class _Correction:
    """A region of a layer that is being corrected: its mask, and the layer that prompts are accepted into."""

    region: Region
    layer: Any
    start: Any
    target: Any


class Handing:
    """Hands regions over for a :class:`~voxelsmith.plugin.docks.tumour.results.ResultController`.

    Parameters
    ----------
    part
        The widget.
    viewer : napari.components.ViewerModel
    runner
        Runs its jobs.
    owner
        Knows the layer with the regions.
    """

    def __init__(self, part: ResultPart, viewer: Any, runner: JobRunner, owner: ResultController) -> None:
        self._part, self._viewer, self._runner, self._owner = part, viewer, runner, owner
        self._correction: _Correction | None = None
        part.prompts_wanted.connect(self.prompt)
        part.taking_wanted.connect(self.take)
        part.labels_saved.connect(self.save_labels)
        part.report_saved.connect(self.save_report)

    def look(self) -> None:
        """Forget a correction whose layers have gone, and offer one that belongs to the chosen layer."""
        going, layers = self._correction, self._viewer.layers
        if going is not None and (going.target not in layers or going.layer not in layers):
            self._correction = going = None
        self._part.set_taking(going.region if going is not None and going.layer is self._owner.layer else "")

    # -- prompts -----------------------------------------------------------------------------------------------

    def prompt(self, region: Region) -> None:
        """Hand a region to the Prompt dock."""
        with notify.sentences():
            layer, known = self._owner.layer, self._owner.known
            if layer is None or known is None:
                raise InputError("A region is corrected in a layer with regions, but none is chosen; choose one.")
            image = self._image_below(layer)
            inside = known.convention.depth(layer.data) > REGIONS.index(region)
            start = labels_like(layer, inside.astype(np.uint16), name=f"{region} to correct")
            target = labels_like(layer, np.zeros(inside.shape, np.uint16), name=f"{region} corrected")
            start.visible = False
            if self._correction is not None:
                remove_layers(self._viewer, [self._correction.start, self._correction.target])
            for one in (start, target):
                self._viewer.add_layer(one)
            self._correction = _Correction(region, layer, start, target)
            self.look()
            dock = open_dock(self._viewer, "Prompt")
            dock.controller.choices.image = image
            dock.controller.choices.mask, dock.controller.choices.target = start, target
            dock.controller.choices.offer()

    def take(self) -> None:
        """Make the region what was accepted."""
        with notify.sentences():
            going = self._correction
            if going is None:
                return
            mask = np.asarray(going.target.data) != 0
            if not mask.any():
                raise InputError(
                    f"The corrected {going.region} is what was accepted into {going.target.name!r}, but that is empty; "
                    "accept an object there first."
                )
            self._owner.put(going.region, mask)
            self._correction = None
            remove_layers(self._viewer, [going.start, going.target])
            self.look()

    def _image_below(self, layer: Any) -> Any:
        """The uppermost image on the grid of a layer, one that is visible if there is one.

        Raises
        ------
        InputError
            If there is none.
        """
        from napari.layers import Image

        volume = layer_to_volume(layer)
        fitting = [
            image
            for image in reversed(self._viewer.layers)
            if isinstance(image, Image) and not image.rgb and layer_to_volume(image).same_grid(volume)
        ]
        if not fitting:
            raise InputError(
                f"Corrections need an image on the grid of {layer.name!r}, but none is open; open the sequence that it "
                "was made on."
            )
        return next((image for image in fitting if image.visible), fitting[0])

    # -- files -------------------------------------------------------------------------------------------------

    def save_labels(self, path: str) -> None:
        """Write the regions in the convention of the layer."""
        labels = self._owner.labels_as_they_are()
        if labels is not None:
            self._save("Save labels", lambda: _write(labels, path))

    def save_report(self, path: str) -> None:
        """Write the table, measured anew, as CSV."""
        labels, known = self._owner.labels_as_they_are(), self._owner.known
        if labels is None or known is None:
            return
        target = path if path.lower().endswith(".csv") else f"{path}.csv"
        reference, noted = self._owner.measures.reference_labels(), self._owner.measures.reference_convention()

        def report() -> Job[Path]:
            rows, _ = yield from measurement(labels, known.convention, known.unreliable, reference, noted)
            write_report(rows, target)
            return Path(target)

        self._save("Save report", report)

    def _save(self, title: str, job: Callable[[], Job[Path]]) -> None:
        from napari.utils.notifications import show_info

        self._runner.start(job, title=title, on_result=lambda saved: show_info(f"Saved {saved}."))


def open_dock(viewer: Any, name: str) -> Any:
    """One of our docks in the window of a viewer, shown beside this one."""
    frame, dock = viewer.window.add_plugin_dock_widget(PLUGIN, name, tabify=True)
    frame.show()
    frame.raise_()
    return dock


def _write(labels: LabelVolume, path: str) -> Job[Path]:
    yield Progress(0, 1, Path(path).name)
    return io.write(labels, path)
