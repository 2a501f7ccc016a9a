"""Run: segmentations in the viewer, one after the other.

Owns the preparation that a preview leaves for the full run. It serves as long as the layers that it was made from, and
the settings of the preparation, are as they were.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from voxelsmith.plugin.binding import Binding
from voxelsmith.plugin.docks.tumour.jobs import segmentation
from voxelsmith.plugin.docks.tumour.material import gather
from voxelsmith.plugin.runner import JobRunner
from voxelsmith.segment.tumour.request import TumourSettings
from voxelsmith.segment.tumour.result import TumourResult

if TYPE_CHECKING:
    from voxelsmith.segment.tumour.engine import PreparedCase

JOB = "tumour"
# A window of a large network takes seconds; Cancel answers sooner.
_PATIENCE_S = 0.2


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a run gave.

    Parameters
    ----------
    result
        Regions, probabilities and notes.
    seconds
        How long it took.
    coarse
        Whether it was a preview.
    reference_ref
        Weak reference to the Image layer on whose grid the result lies.
    """

    result: TumourResult
    seconds: float
    coarse: bool
    reference_ref: weakref.ref[Any] = field(repr=False)


@dataclass(eq=False)
class _Kept:
    """A preparation, and what it was made from."""

    case: PreparedCase
    layers: Mapping[str, Any]
    how: tuple[str, str]
    binding: Binding

    def serves(self, layers: Mapping[str, Any], how: tuple[str, str]) -> bool:
        """Whether it can be used for these layers."""
        same = all(layers[slot] is self.layers[slot] for slot in self.layers)
        return same and self.how == how and self.binding.broken() is None


class Runs:
    """Starts segmentations.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
    runner
        Runs the jobs.
    on_outcome
        Called with what a run gave.
    on_end
        Called with a sentence when nothing came of a run.
    """

    def __init__(
        self, viewer: Any, runner: JobRunner, on_outcome: Callable[[Outcome], None], on_end: Callable[[str], None]
    ) -> None:
        self._viewer, self._runner = viewer, runner
        self._on_outcome, self._on_end = on_outcome, on_end
        self._kept: _Kept | None = None
        self.running = False

    def close(self) -> None:
        """Forget the preparation."""
        self._keep(None)

    def prepared_for(self, chosen: Mapping[str, Any], settings: TumourSettings) -> PreparedCase | None:
        """The preparation that serves these layers and settings; None if there is none."""
        kept = self._kept
        return kept.case if kept is not None and kept.serves(chosen, how(settings)) else None

    def start(self, chosen: Mapping[str, Any], settings: TumourSettings, *, coarse: bool) -> None:
        """Segment the chosen layers, as a preview or at full resolution.

        Raises
        ------
        VoxelsmithError
            If the layers cannot be used.
        """
        material = gather(chosen, self._viewer)
        chosen = dict(chosen)
        reference = chosen[material.request(settings).reference]
        prepared = self.prepared_for(chosen, settings)
        wanted = settings.preview() if coarse else settings
        began = time.monotonic()
        layers = [layer for layer in chosen.values() if layer is not None]

        def keep(case: PreparedCase) -> None:
            self._keep(_Kept(case, chosen, how(settings), Binding(self._viewer, layers)))

        def finish(made: tuple[PreparedCase, TumourResult]) -> None:
            case, result = made
            keep(case)
            self.running = False
            self._on_outcome(Outcome(result, time.monotonic() - began, coarse, weakref.ref(reference)))

        self.running = True
        self._runner.start(
            lambda: segmentation(material, wanted, prepared),
            title="Preview" if coarse else "Segmenting",
            layers=layers,
            key=JOB,
            on_result=finish,
            on_partial=keep,
            on_error=lambda error: self._give_up(str(error)),
            on_cancelled=lambda: self._give_up("Stopped; nothing was changed."),
            patience=_PATIENCE_S,
        )

    def _give_up(self, why: str) -> None:
        self.running = False
        self._on_end(why)

    def _keep(self, kept: _Kept | None) -> None:
        if self._kept is not None:
            self._kept.binding.release()
        self._kept = kept


def how(settings: TumourSettings) -> tuple[str, str]:
    """The settings that a preparation depends on."""
    return settings.registration, settings.strip
