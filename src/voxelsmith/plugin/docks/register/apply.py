"""Controller of the apply part: decides.

Owns which transforms are at hand, those of the last run and of files, what they are applied to, and what is taken away
again. Applying only ever adds layers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import InputError
from voxelsmith.core.inversion import Residual
from voxelsmith.core.progress import Job
from voxelsmith.core.sampling import Grid
from voxelsmith.core.transform import Transform
from voxelsmith.plugin import notify
from voxelsmith.plugin.canvas import remove_layers
from voxelsmith.plugin.docks.register.carrying import (
    Content,
    Errand,
    can_be_carried,
    carried_layer,
    carry,
    errand,
    leaves_its_slice,
)
from voxelsmith.plugin.docks.register.outcome import Outcome
from voxelsmith.plugin.docks.register.place import Place
from voxelsmith.plugin.docks.register.transform_files import read_job, require_fits, write_job
from voxelsmith.plugin.runner import JobRunner
from voxelsmith.register.applying import Reversible

if TYPE_CHECKING:
    from voxelsmith.plugin.docks.register.apply_part import ApplyPart

_JOB = "apply"
_RUN = "of the last run"


@dataclass(frozen=True, eq=False)
class Known:
    """A transform at hand, and its images as far as they are known."""

    name: str
    transform: Transform
    outcome: Outcome | None = None
    reversible: Reversible = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reversible", Reversible(self.transform))

    def place(self, *, moving: bool) -> Place | None:
        """Where the fixed or the moving image lies; None for a transform from a file."""
        if self.outcome is None:
            return None
        request = self.outcome.request
        if moving:
            return Place.of(request.moving, self.outcome.moving_layer)
        return Place.of(request.fixed, self.outcome.fixed_layer)


class ApplyController:
    """Decides for an :class:`~voxelsmith.plugin.docks.register.apply_part.ApplyPart`.

    Parameters
    ----------
    part
        The widget.
    viewer : napari.components.ViewerModel
        Whose layers are offered.
    runner
        Runs the jobs.
    """

    def __init__(self, part: ApplyPart, viewer: Any, runner: JobRunner) -> None:
        self._part, self._viewer, self._runner = part, viewer, runner
        self._known: list[Known] = []
        self._chosen: Known | None = None
        self._back = False
        self._grid: Any = None
        self._layers: list[Any] = []
        self._grids: list[Any] = []
        self._checked: WeakSet[Any] = WeakSet()
        self._applied: list[list[Any]] = []
        part.transform_chosen.connect(self.choose_transform)
        part.direction_chosen.connect(self.choose_direction)
        part.grid_chosen.connect(self.choose_grid)
        part.opened.connect(self.open)
        part.apply_wanted.connect(self.apply)
        part.undo_wanted.connect(self.undo)
        part.save_wanted.connect(self.save)
        for emitter in self._list_events():
            emitter.connect(self._on_list)
        runner.destroyed.connect(self.close)
        self.show(None)

    def _list_events(self) -> tuple[Any, ...]:
        events = self._viewer.layers.events
        return events.inserted, events.removed, events.reordered, events.renamed

    def close(self) -> None:
        """Let go of the viewer; layers that were made stay."""
        for emitter in self._list_events():
            emitter.disconnect(self._on_list)

    # -- choices -----------------------------------------------------------------------------------------------

    def show(self, outcome: Outcome | None) -> None:
        """Offer the transform of a run; those of files stay."""
        self._known = [known for known in self._known if known.outcome is None]
        if outcome is not None:
            name = f"{outcome.moving_name} → {outcome.fixed_name}, {_RUN}"
            self._known.insert(0, Known(name, outcome.result.transform, outcome))
            self._chosen, self._grid = self._known[0], None
        elif self._chosen not in self._known:
            self._chosen = next(iter(self._known), None)
        self._offer()

    def choose_transform(self, row: int) -> None:
        """The user chose the transform at this position of the list."""
        self._chosen = self._known[row]
        self._offer()

    def choose_direction(self, back: bool) -> None:
        """Layers go from moving to fixed, or back; the grid is then that of the other image."""
        self._back, self._grid = back, None
        self._offer()

    def choose_grid(self, row: int) -> None:
        """The user chose the grid at this position of the list."""
        self._grid = self._grids[row]

    def _on_list(self, event: Any = None) -> None:
        self._checked = WeakSet(self._layers[n] for n in self._part.checked)
        self._applied = [kept for made in self._applied if (kept := [m for m in made if m in self._viewer.layers])]
        self._offer(keep_checks=False)

    def _offer(self, *, keep_checks: bool = True) -> None:
        """Show what there is to choose from."""
        from napari.layers import Image, Labels

        if keep_checks:
            self._checked = WeakSet(self._layers[n] for n in self._part.checked)
        rows = [n for n, known in enumerate(self._known) if known is self._chosen]
        self._part.set_transforms([known.name for known in self._known], rows[0] if rows else -1)
        self._layers = [layer for layer in self._viewer.layers if can_be_carried(layer)]
        self._part.set_layers(
            [layer.name for layer in self._layers], [layer in self._checked for layer in self._layers]
        )
        volumes = [layer for layer in self._layers if isinstance(layer, Image | Labels)]
        own = self._chosen is not None and self._chosen.outcome is not None
        self._grids = [*([None] if own else []), *volumes]
        if self._grid not in self._grids:
            self._grid = next(iter(self._grids), None)
        names = [self._own_grid_name() if layer is None else layer.name for layer in self._grids]
        self._part.set_grids(names, self._grids.index(self._grid) if self._grids else -1)
        self._part.set_undoable(bool(self._applied))

    def _own_grid_name(self) -> str:
        return "the moving image's" if self._back else "the fixed image's"

    # -- actions -----------------------------------------------------------------------------------------------

    def apply(self) -> None:
        """Bring the checked layers through the transform."""
        with notify.sentences():
            known = self._needed()
            layers = [self._layers[n] for n in self._part.checked]
            if not layers:
                raise InputError("Applying a transform needs layers, but none is checked; check those to bring along.")
            place, back = self._target(known), self._back
            source = known.place(moving=not back)
            errands = [errand(layer, source) for layer in layers]
            interpolation = self._part.interpolation_wanted

            def add(result: tuple[list[Content], Residual | None]) -> None:
                self._add(errands, result, place, "in moving" if back else "in fixed")

            self._part.set_note("")
            self._runner.start(
                lambda: carry(errands, known.reversible, back, _grid_of(place), interpolation),
                title="Apply",
                layers=layers,
                key=_JOB,
                on_result=add,
            )

    def _add(
        self,
        errands: list[Errand],
        result: tuple[list[Content], Residual | None],
        place: Place | None,
        suffix: str,
    ) -> None:
        contents, residual = result
        made = [carried_layer(one, content, place, suffix) for one, content in zip(errands, contents, strict=True)]
        for layer in made:
            self._viewer.add_layer(layer)
        self._applied.append(made)
        self._part.set_undoable(True)
        self._part.set_note(_told(made, residual))

    def undo(self) -> None:
        """Take away what was applied last."""
        if self._applied:
            made = self._applied.pop()
            remove_layers(self._viewer, made)
            self._part.set_note("")
            self._part.set_undoable(bool(self._applied))

    def open(self, path: str) -> None:
        """Read a transform from a file or a folder; .npz files lie on the chosen grid."""
        file = Path(path)

        def add(transform: Transform) -> None:
            self._chosen = Known(file.name, transform)
            self._known.append(self._chosen)
            self._offer()
            self._part.set_note(
                f"Opened {file.name}: {'an affine map' if transform.field is None else 'a deformation'}."
            )

        with notify.sentences():
            known, back = self._chosen, self._back
            fixed = self._target(known) if not back or known is None else known.place(moving=False)
            self._runner.start(lambda: read_job(file, _grid_of(fixed)), title="Open transform", key=_JOB, on_result=add)

    def save(self, key: str, path: str) -> None:
        """Write the transform, or its inverse if layers go back, in a format."""
        with notify.sentences():
            known = self._needed()
            require_fits(known.transform, key)
            own = known.place(moving=self._back)
            onto = _grid_of(own)
            if onto is None and (known.transform.field is None or self._back):
                onto = _grid_of(self._target(known))
            self._runner.start(
                lambda: _save(known.reversible, self._back, key, Path(path), onto),
                title="Save transform",
                key=_JOB,
                on_result=lambda files: self._part.set_note("Saved " + ", ".join(str(file) for file in files) + "."),
            )

    def _needed(self) -> Known:
        if self._chosen is None:
            raise InputError("There is no transform yet; register two images, or open one from a file.")
        return self._chosen

    def _target(self, known: Known | None) -> Place | None:
        """Where things come out."""
        if self._grid is not None:
            return Place.of_layer(self._grid)
        return None if known is None else known.place(moving=self._back)


def _grid_of(place: Place | None) -> tuple[Affine, Grid] | None:
    return None if place is None else (place.affine, place.grid)


def _save(
    reversible: Reversible, back: bool, key: str, path: Path, onto: tuple[Affine, Grid] | None
) -> Job[list[Path]]:
    transform = reversible.transform
    if back:
        if onto is None:
            raise InputError("An inverse is sampled on a grid; open the moving image and choose it under Grid.")
        transform, _ = yield from reversible.inverse_job(*onto)
    return (yield from write_job(transform, key, path, onto))


def _told(made: list[Any], residual: Residual | None) -> str:
    """What Apply did, for people."""
    sentences = ["1 layer was made." if len(made) == 1 else f"{len(made)} layers were made."]
    if residual is not None and residual.inside and residual.max_mm:
        sentences.append(f"The inverse returns within {residual.mean_mm:.3g} mm on average.")
    if any(leaves_its_slice(layer) for layer in made):
        sentences.append("napari shows shapes that are no longer flat in 3-D only.")
    return " ".join(sentences)
