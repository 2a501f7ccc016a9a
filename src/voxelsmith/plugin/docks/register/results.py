"""Controller of the results part: decides.

Owns the layers that show a registration: they are made when they are asked for, those that take long in jobs, and taken
away when they are no longer wanted. A new registration takes away what only explained the last one; its warped image
and labels stay as ordinary layers, hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from voxelsmith.core.progress import Job
from voxelsmith.core.transform import Transform
from voxelsmith.core.volume import LabelVolume
from voxelsmith.plugin import notify
from voxelsmith.plugin.canvas import remove_layers
from voxelsmith.plugin.docks.register import drawings
from voxelsmith.plugin.docks.register.follower import SliceFollower, shown_plane
from voxelsmith.plugin.docks.register.outcome import Outcome
from voxelsmith.plugin.docks.register.place import Place
from voxelsmith.plugin.runner import JobRunner
from voxelsmith.plugin.windows import first_window
from voxelsmith.register import looks
from voxelsmith.register.applying import warp_job
from voxelsmith.register.comparison import checkerboard, difference
from voxelsmith.register.jacobian_map import JacobianMap, jacobian_map

if TYPE_CHECKING:
    from voxelsmith.plugin.docks.register.results_part import ResultsPart

_KEPT = ("warped", "labels")
# From bottom to top.
_ORDER = ("warped", "checkerboard", "difference", "jacobian", "labels", "grid", "arrows")
_DRAWN = ("grid", "arrows")
_BLEND = 0.5


class ResultsController:
    """Decides for a :class:`~voxelsmith.plugin.docks.register.results_part.ResultsPart`.

    Parameters
    ----------
    part
        The widget.
    viewer : napari.components.ViewerModel
        Where layers are shown.
    runner
        Runs the jobs that make them.

    Attributes
    ----------
    layers : dict
        The layer of each kind that is shown.
    """

    def __init__(self, part: ResultsPart, viewer: Any, runner: JobRunner) -> None:
        self._part, self._viewer, self._runner = part, viewer, runner
        self._outcome: Outcome | None = None
        self._place: Place | None = None
        self._jacobian: JacobianMap | None = None
        self._longest: float | None = None
        self._making: set[str] = set()
        self.layers: dict[str, Any] = {}
        self._follower = SliceFollower(viewer, self._redraw, runner)
        part.toggled.connect(self.toggle)
        part.blend_moved.connect(self.blend)
        part.drawing_changed.connect(self._draw_otherwise)
        part.removal_wanted.connect(self.remove_all)
        viewer.layers.events.removed.connect(self._on_removed)
        runner.destroyed.connect(self._let_go)
        self.show(None)

    def close(self) -> None:
        """The dock closes: take away what follows the slice, and let go of the viewer; other layers stay."""
        self._remove([kind for kind in self.layers if kind in _DRAWN])
        self._let_go()

    def _let_go(self) -> None:
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._follower.close()

    def show(self, outcome: Outcome | None) -> None:
        """Speak of a registration, whose warped image is shown at once; None is none."""
        for kind in [*self._making]:
            self._runner.cancel(_key(kind))
        self._making.clear()
        self._remove([kind for kind in self.layers if kind not in _KEPT])
        for layer in self.layers.values():
            layer.visible = False
        self.layers, self._jacobian, self._longest = {}, None, None
        self._outcome = outcome
        self._place = None if outcome is None else Place.of(outcome.request.fixed, outcome.fixed_layer)
        self._part.set_possible(_possible(outcome), deforms=outcome is not None and _deforms(outcome))
        if outcome is not None:
            self._part.set_blend(_BLEND)
            self.toggle("warped", True)
        self._tell()

    # -- what is shown -----------------------------------------------------------------------------------------

    def toggle(self, kind: str, wanted: bool) -> None:
        """Show a kind of look, or no longer."""
        if self._outcome is None:
            return
        if not wanted:
            self._runner.cancel(_key(kind))
            self._making.discard(kind)
            self._remove([kind])
        elif kind not in self.layers and kind not in self._making:
            with notify.sentences():
                self._make(kind, self._outcome)
        self._tell()

    def blend(self, opacity: float) -> None:
        """Show so much of the warped image over the fixed one, 0 to 1."""
        if "warped" in self.layers:
            self.layers["warped"].opacity = opacity

    def remove_all(self) -> None:
        """Take everything away."""
        for kind in [*self._making]:
            self.toggle(kind, False)
        self._remove([*self.layers])
        self._tell()

    def _make(self, kind: str, outcome: Outcome) -> None:
        place = self._place
        assert place is not None
        fixed, warped = outcome.request.fixed, outcome.result.warped
        transform = outcome.result.transform
        if kind == "warped":
            self._add(kind, _warped_layer(outcome, place))
        elif kind == "labels" and outcome.request.moving_labels is not None:
            labels = outcome.request.moving_labels
            self._start(
                kind, lambda: warp_job(transform, labels, fixed.affine, fixed.grid), partial(_labels_layer, outcome)
            )
        elif kind == "checkerboard":
            self._start(kind, lambda: checkerboard(fixed, warped), drawings.checkerboard_layer)
        elif kind == "difference":
            self._start(kind, lambda: difference(fixed, warped), drawings.difference_layer)
        elif kind == "jacobian":
            self._start(kind, lambda: jacobian_map(self._drawn_transform(outcome)), self._jacobian_layer)
        elif kind == "arrows":
            self._add(kind, drawings.arrows_layer(place, "vectors", self._longest_arrow(outcome, place)))
            self._redraw()
        elif kind == "grid":
            self._add(kind, drawings.lines_layer(place, "deformed grid"))
            self._redraw()

    def _start(self, kind: str, job: Callable[[], Job[Any]], layer_of: Callable[[Place, Any], Any]) -> None:
        outcome, place = self._outcome, self._place

        def add(result: Any) -> None:
            if outcome is self._outcome and kind in self._making and place is not None:
                self._making.discard(kind)
                self._add(kind, layer_of(place, result))
                self._tell()

        def give_up(error: Any = None) -> None:
            if outcome is self._outcome:
                self._making.discard(kind)
                self._tell()

        self._making.add(kind)
        title = self._part.boxes[kind].text()
        self._runner.start(job, title=title, key=_key(kind), on_result=add, on_error=give_up, on_cancelled=give_up)

    def _jacobian_layer(self, place: Place, found: JacobianMap) -> Any:
        self._jacobian = found
        return drawings.jacobian_layer(place, found)

    def _add(self, kind: str, layer: Any) -> None:
        """Put a layer below those that are to stay visible over it."""
        self.layers[kind] = layer
        above = [self.layers[other] for other in _ORDER[_ORDER.index(kind) + 1 :] if other in self.layers]
        below_them = min((self._viewer.layers.index(other) for other in above), default=len(self._viewer.layers))
        self._viewer.layers.insert(below_them, layer)

    def _remove(self, kinds: list[str]) -> None:
        remove_layers(self._viewer, [self.layers.pop(kind) for kind in kinds if kind in self.layers])
        if "jacobian" in kinds:
            self._jacobian = None

    def _on_removed(self, event: Any) -> None:
        gone = [kind for kind, layer in self.layers.items() if layer is event.value]
        for kind in gone:
            del self.layers[kind]
        if gone:
            self._tell()

    # -- the deformation ---------------------------------------------------------------------------------------

    def _drawn_transform(self, outcome: Outcome) -> Transform:
        transform = outcome.result.transform
        return transform if self._part.whole or transform.field is None else looks.deformation_of(transform)

    def _longest_arrow(self, outcome: Outcome, place: Place) -> float:
        """In millimetres, among places all through the image."""
        step = looks.step_for(place.affine, place.grid, self._part.number_across)
        found = looks.arrows(self._drawn_transform(outcome), place.affine, place.grid, step)
        self._longest = float(found.lengths.max())
        return self._longest

    def _draw_otherwise(self) -> None:
        """The user wants other vectors or lines."""
        outcome, place = self._outcome, self._place
        if outcome is None or place is None:
            return
        if "arrows" in self.layers:
            self.layers["arrows"].edge_contrast_limits = (0.0, max(self._longest_arrow(outcome, place), 1e-6))
        self._redraw()
        if "jacobian" in self.layers and self._jacobian is not None:
            self._remove(["jacobian"])
            self.toggle("jacobian", True)
        self._tell()

    def _redraw(self) -> None:
        """Draw vectors and lines for the slice that is shown."""
        outcome, place = self._outcome, self._place
        if outcome is None or place is None:
            return
        plane = shown_plane(self._viewer, place)
        across = self._part.number_across if plane is not None else max(2, self._part.number_across // 2)
        step = looks.step_for(place.affine, place.grid, across)
        transform = self._drawn_transform(outcome)
        if "arrows" in self.layers:
            arrows = looks.arrows(transform, place.affine, place.grid, step, plane)
            drawings.show_arrows(self.layers["arrows"], place, arrows, step)
        if "grid" in self.layers:
            lines = looks.grid_lines(transform, place.affine, place.grid, step, plane)
            drawings.show_lines(self.layers["grid"], place, lines, plane, step)

    def _tell(self) -> None:
        self._part.set_shown({*self.layers, *self._making})
        sentences = []
        if "arrows" in self.layers and self._longest is not None:
            sentences.append(f"Vectors are up to {self._longest:.3g} mm long (red).")
        if self._jacobian is not None:
            j = self._jacobian
            share = f"{j.folded:,} of {j.volume.array.size:,} voxels fold ({j.folding_share:.3%})"
            sentences.append(f"Jacobian determinant {j.least:.3g} to {j.greatest:.3g}; {share}.")
        self._part.set_readout("\n".join(sentences))


def _key(kind: str) -> str:
    return f"results: {kind}"


def _deforms(outcome: Outcome) -> bool:
    return outcome.result.transform.field is not None


def _possible(outcome: Outcome | None) -> set[str]:
    """What can be shown of a registration."""
    if outcome is None:
        return set()
    possible = {"warped", "checkerboard", "difference", "arrows", "grid"}
    if outcome.request.moving_labels is not None:
        possible.add("labels")
    if _deforms(outcome):
        possible.add("jacobian")
    return possible


def _warped_layer(outcome: Outcome, place: Place) -> Any:
    moving, warped = outcome.moving_layer, outcome.result.warped
    if moving is None or moving.rgb:
        style: dict[str, Any] = {} if (window := first_window(warped)) is None else {"contrast_limits": window}
    else:
        style = {"colormap": moving.colormap, "contrast_limits": tuple(moving.contrast_limits)}
    return place.layer(warped, name=f"{outcome.moving_name} · warped", opacity=_BLEND, blending="translucent", **style)


def _labels_layer(outcome: Outcome, place: Place, labels: LabelVolume) -> Any:
    return place.layer(labels, name=f"{labels.name} · warped", opacity=0.5)
