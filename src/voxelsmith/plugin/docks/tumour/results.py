"""Controller of the result part: decides.

Owns which layer holds the regions, the brush that keeps them nested, the table that follows it, and the probabilities
of the run that made the layer. What leaves the dock, prompts, training and files, is :mod:`handing`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from voxelsmith.core.errors import InputError, VoxelsmithError
from voxelsmith.core.regions import Region, convention
from voxelsmith.core.volume import LabelVolume
from voxelsmith.plugin import notify
from voxelsmith.plugin.canvas import remove_layers
from voxelsmith.plugin.docks.offered import offered
from voxelsmith.plugin.docks.tumour import region_layer
from voxelsmith.plugin.docks.tumour.choices import NONE
from voxelsmith.plugin.docks.tumour.handing import Handing
from voxelsmith.plugin.docks.tumour.measuring import Measuring, Rows
from voxelsmith.plugin.docks.tumour.painting import NestedPainting
from voxelsmith.plugin.docks.tumour.probabilities import Probabilities
from voxelsmith.plugin.docks.tumour.run import Outcome
from voxelsmith.plugin.runner import JobRunner
from voxelsmith.segment.tumour.names import MODALITY_TITLES

if TYPE_CHECKING:
    from voxelsmith.plugin.docks.tumour.result_part import ResultPart


class ResultController:
    """Decides for a :class:`~voxelsmith.plugin.docks.tumour.result_part.ResultPart`.

    Parameters
    ----------
    part
        The widget.
    viewer : napari.components.ViewerModel
    runner
        Runs what the user waits for; its parent lives as long as the dock.

    Attributes
    ----------
    layer : napari.layers.Labels or None
        The layer with the regions.
    known : About or None
        What is known of it.
    measures : Measuring
        Fills the table.
    """

    def __init__(self, part: ResultPart, viewer: Any, runner: JobRunner) -> None:
        self._part, self._viewer = part, viewer
        self.layer: Any = None
        self.known: region_layer.About | None = None
        self.painting: NestedPainting | None = None
        self.probabilities = Probabilities(viewer, self._show_probabilities)
        self.handing = Handing(part, viewer, runner, self)
        self._preview: Any = None
        self._caution = ""
        self.measures = Measuring(viewer, runner, self._show_rows)
        part.layer_chosen.connect(self.choose_layer)
        part.reference_chosen.connect(self.choose_reference)
        part.convention_chosen.connect(self.choose_convention)
        part.brush_chosen.connect(self.choose_brush)
        part.eraser_toggled.connect(self.erase)
        part.probability_toggled.connect(self.show_probability)
        for emitter in self._list_events():
            emitter.connect(self._on_list)
        self.adopt(None)

    def _list_events(self) -> tuple[Any, ...]:
        events = self._viewer.layers.events
        return events.inserted, events.removed, events.reordered, events.renamed

    def close(self) -> None:
        """The dock closes: stop all jobs and let go of the viewer; layers stay."""
        self.measures.close()
        for emitter in self._list_events():
            emitter.disconnect(self._on_list)
        self.probabilities.close()
        self._release()

    # -- which layer -------------------------------------------------------------------------------------------

    def show(self, outcome: Outcome) -> None:
        """Add the layer of a finished run, and speak of it; a preview that nobody painted on goes."""
        result, reference = outcome.result, outcome.reference_ref()
        titles = tuple(MODALITY_TITLES[m] for m in result.synthetic)
        written = convention(self._part.convention)
        known = region_layer.About(written, result.unreliable, titles, result.model)
        layer = region_layer.result_layer(result, reference, known, "tumour preview" if outcome.coarse else "tumour")
        if self._preview is not None:
            remove_layers(self._viewer, [self._preview])
        self._viewer.add_layer(layer)
        self._preview = layer if outcome.coarse else None
        self.adopt(layer)
        self.probabilities.of(layer, result)

    def choose_layer(self, name: str) -> None:
        """The user chose a layer with regions by name, or none."""
        try:
            self.adopt(next((layer for layer in self._candidates() if layer.name == name), None))
        except VoxelsmithError as error:
            self.adopt(None)
            self._part.set_note(f"✕ {error}")

    def adopt(self, layer: Any) -> None:
        """Speak of a layer with regions, None is none.

        Raises
        ------
        InputError
            If its labels are of no known convention.
        """
        known = None if layer is None else region_layer.about(layer)
        self._release()
        self.layer, self.known = layer, known
        if known is not None:
            region_layer.dress(layer, known)
            self.painting = NestedPainting(layer, known.convention, self._show_brush)
            layer.events.mode.connect(self._show_brush)
            layer.events.paint.connect(self._on_paint)
            self._part.set_convention(known.convention.name)
        self.probabilities.of(layer, None)
        self._part.set_possible(layer is not None)
        self.measures.of(layer, known)
        self._on_list()
        self._show_brush()

    def choose_reference(self, name: str) -> None:
        """The user chose what to compare with, or nothing."""
        self.measures.compare(next((layer for layer in self._candidates() if layer.name == name), None))
        self._on_list()

    def choose_convention(self, name: str) -> None:
        """The user chose in which convention the layer is to be."""
        if self.layer is None or self.known is None or self.painting is None:
            return
        with notify.sentences():
            self.known = region_layer.turned(self.layer, self.known, convention(name))
            self.painting.convention = self.known.convention
            self.painting.choose(self.painting.region)
        self._part.set_convention(self.known.convention.name)
        self.measures.of(self.layer, self.known)

    def _release(self) -> None:
        if self.painting is not None:
            self.painting.release()
            self.layer.events.mode.disconnect(self._show_brush)
            self.layer.events.paint.disconnect(self._on_paint)
            self.painting = None

    def _candidates(self) -> list[Any]:
        from napari.layers import Labels

        return [layer for layer in offered(self._viewer) if isinstance(layer, Labels)]

    def _on_list(self, event: Any = None) -> None:
        layers = self._candidates()
        if self._preview not in layers:
            self._preview = None
        if self.layer is not None and self.layer not in layers:
            self.adopt(None)
            return
        if self.measures.reference not in layers:
            self.measures.reference = None
        self.handing.look()
        others = [layer for layer in layers if layer is not self.layer]
        for kind, offer, now in (("layer", layers, self.layer), ("reference", others, self.measures.reference)):
            names = [NONE, *(layer.name for layer in offer)]
            self._part.set_choices(kind, names, NONE if now is None else now.name)

    # -- brush -------------------------------------------------------------------------------------------------

    def choose_brush(self, region: Region) -> None:
        """Let the brush paint a region, or erase it if it erases."""
        if self.layer is None or self.painting is None:
            return
        self.painting.choose(region)
        if self.layer.mode not in ("paint", "erase", "fill", "polygon"):
            self.layer.mode = "paint"
        self._viewer.layers.selection.active = self.layer
        self._show_brush()

    def erase(self, on: bool) -> None:
        """Let the brush erase, or paint."""
        if self.layer is not None:
            self.layer.mode = "erase" if on else "paint"
            self._viewer.layers.selection.active = self.layer

    def _show_brush(self, event: Any = None) -> None:
        painting = self.painting
        region = None if painting is None else painting.region
        self._part.set_brush(region, erasing=painting is not None and painting.layer.mode == "erase")

    # -- table -------------------------------------------------------------------------------------------------

    def _on_paint(self, event: Any = None) -> None:
        self._preview = None

    def _show_rows(self, rows: Rows, scored: bool, caution: str) -> None:
        self._part.set_rows(rows, scored=scored)
        self._caution = caution
        self._tell()

    def labels_as_they_are(self) -> LabelVolume | None:
        """A copy of the regions, as the user may go on painting while it is used; None if there are none."""
        if self.layer is None:
            return None
        labels = region_layer.labels_of(self.layer)
        return replace(labels, array=np.array(labels.array, order="K"))

    def _tell(self) -> None:
        known = self.known
        if known is None:
            self._part.set_note()
            return
        reasons: dict[str, list[str]] = {}
        for region, why in known.unreliable.items():
            reasons.setdefault(why, []).append(region)
        self._part.set_note(
            *(f"⚠ {why} {' and '.join(regions)} cannot be relied on." for why, regions in reasons.items()),
            f"Synthetic: {', '.join(known.synthetic)}." if known.synthetic else "",
            f"⚠ {known.warning}" if known.warning else "",
            f"⚠ {self._caution}" if self._caution else "",
            f"Model: {Path(known.model).name}." if known.model else "",
        )

    # -- probabilities -----------------------------------------------------------------------------------------

    def show_probability(self, region: Region, wanted: bool) -> None:
        """Show the probability of a region as a layer, or no longer."""
        self.probabilities.show(region, wanted)

    def _show_probabilities(self) -> None:
        self._part.set_probabilities(self.probabilities.possible, self.probabilities.layers)

    # -- corrections -------------------------------------------------------------------------------------------

    def put(self, region: Region, mask: Any) -> int:
        """Make a region what a mask in the axes of the layer says; returns how many voxels changed.

        Raises
        ------
        InputError
            If there is no layer with regions.
        """
        if self.painting is None:
            raise InputError("A corrected region goes into a layer with regions, but none is chosen; choose one.")
        return self.painting.put(region, np.asarray(mask, bool))
