"""Proposal: what a few-shot engine answers.

Owns the frozen result that every few-shot engine returns: the labels to show, the probabilities behind them, how sure
the engine is slice by slice, and where the answer comes from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from voxelsmith.core.prompts import Box
from voxelsmith.core.volume import LabelVolume
from voxelsmith.segment.zoom import FloatArray

SAME_VOLUME, PROTOTYPES, PROPAGATION, CONDITIONAL = "same-volume", "prototypes", "propagation", "conditional"
"""Names of the few-shot engines in :attr:`Provenance.engine`."""


@dataclass(frozen=True)
class Provenance:
    """Where a proposal comes from.

    Parameters
    ----------
    engine
        Name of the engine.
    image
        :meth:`~voxelsmith.core.volume.Volume.fingerprint` of the image that was segmented.
    support
        Content hashes of the examples that were used, in their order.
    settings
        The engine's settings, as text.
    """

    engine: str
    image: str
    support: tuple[str, ...]
    settings: str = ""


@dataclass(frozen=True, eq=False)
class Proposal:
    """Labels for an image, made from examples.

    Parameters
    ----------
    labels
        On the image's whole grid; 0 where nothing is proposed.
    classes
        The label values, one a channel of ``probabilities``.
    probabilities : float16 array, shape (C, *box.shape)
        How likely each voxel belongs to each class, 0 to 1; the background has the rest.
    box
        Where the probabilities lie in the image; they are 0 outside.
    axis
        The array axis along which slices are counted, 0 to 2.
    confidence : float32 array, one value a slice along ``axis``
        0 to 1; 1 where the user painted, NaN where the engine looked at nothing.
    provenance
        Where it comes from.
    notes
        What the user should know before relying on it, in sentences.
    """

    labels: LabelVolume
    classes: tuple[int, ...]
    probabilities: npt.NDArray[np.float16]
    box: Box
    axis: int
    confidence: FloatArray
    provenance: Provenance
    notes: tuple[str, ...] = ()

    def probability(self, value: int) -> FloatArray:
        """How likely each voxel of the whole grid belongs to one class, float32."""
        full = np.zeros(self.labels.grid, dtype=np.float32)
        full[self.box.slices] = self.probabilities[self.classes.index(value)]
        return full

    @property
    def worst_slice(self) -> int | None:
        """The slice along ``axis`` that wants looking at first; None if none was looked at."""
        return None if np.isnan(self.confidence).all() else int(np.nanargmin(self.confidence))
