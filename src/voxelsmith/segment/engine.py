"""What a promptable engine is: the contract between sessions and the algorithms or models behind them.

Owns the frozen request that goes in, the segmentation that comes out, and the table of engines by name. An engine keeps
no state that a request depends on, so a request can be computed anywhere: in a thread, a process, or on a cluster.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import InputError, PromptError
from voxelsmith.core.progress import Job
from voxelsmith.core.prompts import Box, Grid, ObjectPrompts
from voxelsmith.core.volume import Volume


@dataclass(frozen=True, eq=False)
class PromptRequest:
    """One object to segment.

    Parameters
    ----------
    image
        A 3-D volume; its array must not change while the request is computed.
    prompts
        The object's prompts in voxel indices of the image, oldest first.
    obj
        Number of the object in its prompt set.
    """

    image: Volume
    prompts: ObjectPrompts
    obj: int = 1


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A mask, kept in the box that it needs.

    Parameters
    ----------
    request
        What it answers.
    box
        Where ``mask`` lies in the image; voxels outside are background.
    mask : bool array of shape ``box.shape``
    engine
        Name of the engine that made it.
    fingerprint
        :meth:`Volume.fingerprint` of the image that it was computed from; empty if nobody asked.
    """

    request: PromptRequest
    box: Box
    mask: npt.NDArray[np.bool_]
    engine: str
    fingerprint: str = ""

    @classmethod
    def cropped(cls, request: PromptRequest, region: Box, mask: npt.NDArray[np.bool_], engine: str) -> Segmentation:
        """From a mask on a region of the image, keeping only the tight box around it (one voxel if it is empty)."""
        tight = Box.around(mask) if mask.any() else Box((0, 0, 0), (0, 0, 0))
        lo, hi = (np.add(corner, region.lo).tolist() for corner in (tight.lo, tight.hi))
        return cls(request, Box(tuple(lo), tuple(hi)), mask[tight.slices].copy(), engine)

    def on_grid(self, grid: Grid | None = None) -> npt.NDArray[np.bool_]:
        """The mask on the whole image."""
        full = np.zeros(grid or self.request.image.grid, dtype=bool)
        full[self.box.slices] = self.mask
        return full


class Engine(Protocol):
    """Turns prompts into a mask."""

    @property
    def name(self) -> str:
        """Short name for the command line."""

    @property
    def title(self) -> str:
        """What the user reads."""

    @property
    def accepts(self) -> frozenset[type]:
        """The prompt types it understands."""

    def segment(self, request: PromptRequest) -> Job[Segmentation]:
        """The computation, as a job."""


_ENGINES: dict[str, str] = {"training-free": "voxelsmith.segment.training_free:TrainingFreeEngine"}


def engine_names() -> list[str]:
    """Names that :func:`make_engine` takes, the default first."""
    return list(_ENGINES)


def make_engine(name: str | None = None) -> Engine:
    """Build an engine by name (default: the first of :func:`engine_names`)."""
    name = name or engine_names()[0]
    if name not in _ENGINES:
        raise InputError(f"There is no prompt engine {name!r}; choose one of {', '.join(engine_names())}.")
    module, _, attribute = _ENGINES[name].partition(":")
    build: Callable[[], Any] = getattr(import_module(module), attribute)
    engine: Engine = build()
    return engine


def check_request(request: PromptRequest, engine: Engine) -> None:
    """Raise a PromptError or InputError for a request that no engine, or not this one, can answer."""
    image, prompts = request.image, request.prompts
    if image.array.ndim != 3:
        raise InputError(
            f"Prompting needs one 3-D image, got {image.array.ndim} axes with {image.array.shape[-1]} frames along "
            f"{image.extra_axis}; pick a frame first."
        )
    if image.array.dtype.kind not in "iufb":
        raise InputError(f"Prompting needs real numbers, got voxels of type {image.array.dtype}.")
    prompts.check(image.grid)
    foreign = sorted({type(p).__name__ for p in prompts.prompts if type(p) not in engine.accepts})
    if foreign:
        known = ", ".join(sorted(t.__name__ for t in engine.accepts))
        raise PromptError(f"{engine.title} does not read {', '.join(foreign)}; it reads {known}.")
    if not (prompts.boxes or prompts.mask or prompts.texts or len(prompts.seeds(True))):
        raise PromptError("Say where the object is: a box, a point inside it, a scribble on it, or an earlier mask.")
