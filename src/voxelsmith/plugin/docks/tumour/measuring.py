"""Measuring: the volumes and scores of a layer with regions, as they are now.

Owns when to measure: soon after a stroke or its undo, and whenever another layer, reference or convention is chosen. An
undone stroke is reported by napari in the same way as another slice, so the voxels decide whether anything changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QTimer

from voxelsmith.core.regions import Convention
from voxelsmith.core.volume import LabelVolume
from voxelsmith.plugin.binding import Binding
from voxelsmith.plugin.docks.tumour import region_layer
from voxelsmith.plugin.docks.tumour.jobs import measurement
from voxelsmith.plugin.runner import JobRunner
from voxelsmith.segment.tumour.report import ReportRow

Rows = tuple[ReportRow, ...]
_AFTER_MS = 200
_WATCHED = ("paint", "data", "set_data")


class Measuring:
    """Measures one layer at a time.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
    runner
        Of the dock, with which it lives; nothing is shown of the measuring.
    tell
        Called with the rows, whether they have scores or will have some, and a sentence of caution or an empty one.

    Attributes
    ----------
    reference : napari.layers.Labels or None
        What the layer is compared with.
    """

    def __init__(self, viewer: Any, runner: JobRunner, tell: Callable[[Rows, bool, str], None]) -> None:
        self._viewer, self._tell = viewer, tell
        self._runner = JobRunner(viewer, runner, shown=False)
        self._layer: Any = None
        self._known: region_layer.About | None = None
        self._rows: Rows = ()
        self._measured: Binding | None = None
        self.reference: Any = None
        self._soon = QTimer(runner)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_AFTER_MS)
        self._soon.timeout.connect(self._measure_if_changed)

    def close(self) -> None:
        """Stop, and let go of the layer."""
        self._soon.stop()
        self._runner.shutdown()
        self._let_go()

    def of(self, layer: Any, known: region_layer.About | None) -> None:
        """Measure a layer from now on; None measures nothing."""
        self._let_go()
        self._layer, self._known, self._rows = layer, known, ()
        if self.reference is layer:
            self.reference = None
        if layer is not None:
            for name in _WATCHED:
                getattr(layer.events, name).connect(self._on_change)
        self._tell((), False, "")
        self.measure()

    def compare(self, reference: Any) -> None:
        """Compare the layer with another one, or with none."""
        self.reference = reference
        self.measure()

    def _let_go(self) -> None:
        if self._layer is not None:
            for name in _WATCHED:
                getattr(self._layer.events, name).disconnect(self._on_change)
        self._layer = None
        self._forget()

    def _forget(self) -> None:
        if self._measured is not None:
            self._measured.release()
            self._measured = None

    def _on_change(self, event: Any = None) -> None:
        self._soon.start()

    def _measure_if_changed(self) -> None:
        if self._measured is not None and self._measured.broken() is not None:
            self.measure()

    @property
    def busy(self) -> bool:
        """Whether the layer is being measured, or soon will be."""
        return self._soon.isActive() or self._runner.running

    def measure(self) -> None:
        """Measure the layer, and compare it with the reference."""
        self._soon.stop()
        self._forget()
        layer, known, reference = self._layer, self._known, self.reference_labels()
        if layer is None or known is None:
            self._runner.cancel()
            return
        self._measured = Binding(self._viewer, [layer])
        labels, noted = region_layer.labels_of(layer), self.reference_convention()

        def show(measured: tuple[Rows, str]) -> None:
            if layer is self._layer:
                self._rows, doubt = measured
                caution = f"{reference.name}: {doubt}" if reference is not None and doubt else ""
                self._tell(self._rows, reference is not None, caution)

        def refuse(error: Exception) -> None:
            if layer is self._layer:
                self._tell(self._rows, False, str(error))

        self._runner.start(
            lambda: measurement(labels, known.convention, known.unreliable, reference, noted),
            title="Measuring",
            key="measure",
            on_result=show,
            on_partial=show,
            on_error=refuse,
        )

    def reference_labels(self) -> LabelVolume | None:
        """What the layer is compared with."""
        return None if self.reference is None else region_layer.labels_of(self.reference)

    def reference_convention(self) -> Convention | None:
        """What the labels of the reference mean, if that is known."""
        return None if self.reference is None else region_layer.noted_convention(self.reference)
