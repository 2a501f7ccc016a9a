"""What a promptable engine is: the contract between sessions and the algorithms or models behind them.

Owns the frozen request that goes in, the segmentation that comes out, and the table of engines by name. An engine keeps
no state that a request depends on, so a request can be computed anywhere: in a thread, a process, or on a cluster.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import InputError, PromptError
from voxelsmith.core.progress import Job
from voxelsmith.core.prompts import Box, Grid, MaskPrompt, ObjectPrompts, Point, Scribble, TextPrompt
from voxelsmith.core.volume import Volume
from voxelsmith.segment.zoom import FloatArray, Region


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
class Probability:
    """How likely each voxel belongs to the object, on a working grid; zero outside its region.

    Parameters
    ----------
    region
        Where it lies in the image.
    values : floating array of shape ``region.grid``
        Probabilities, 0 to 1; engines hand out float16, as sessions keep many of them.
    """

    region: Region
    values: npt.NDArray[np.floating[Any]]

    def dense(self) -> FloatArray:
        """Probabilities at the image's own voxels, float32 of the region box's shape."""
        return self.region.dense(self.values.astype(np.float32, copy=False))

    def fine(self) -> Probability:
        """The same at the image's own voxels: float32 values, much larger, but cut many times as fast."""
        region = self.region
        return Probability(
            Region(region.box, region.box.shape, np.ones(3), region.spacing / region.factors), self.dense()
        )

    def on_grid(self, grid: Grid) -> FloatArray:
        """Probabilities on the whole image, float32; zero outside the region's box."""
        full = np.zeros(grid, dtype=np.float32)
        full[self.region.box.slices] = self.dense()
        return full

    def above(self, threshold: float) -> npt.NDArray[np.bool_]:
        """Which voxels of the region's box are more likely than ``threshold``."""
        out = np.empty(self.region.box.shape, dtype=bool)
        for part, slab in self.region.expand(self.values.astype(np.float32, copy=False)):
            np.greater(slab, threshold, out=out[part])
        return out


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
    probability
        What the mask was cut from, if the engine tells; :meth:`at` cuts it elsewhere.
    threshold
        Where it was cut.
    note
        What the user should know before relying on it, in sentences; empty if there is nothing.
    """

    request: PromptRequest
    box: Box
    mask: npt.NDArray[np.bool_]
    engine: str
    fingerprint: str = ""
    probability: Probability | None = None
    threshold: float = 0.5
    note: str = ""

    @classmethod
    def cut(cls, request: PromptRequest, probability: Probability, engine: str, threshold: float = 0.5) -> Segmentation:
        """From probabilities: what lies above a threshold, with every click and scribble on the side it asks for."""
        mask = probability.above(threshold)
        keep_promises(mask, probability.region.box, request.prompts)
        out = cls.cropped(request, probability.region.box, mask, engine)
        return replace(out, probability=probability, threshold=threshold)

    def at(self, threshold: float) -> Segmentation:
        """The same answer cut at another threshold, between 0 and 1.

        Raises
        ------
        InputError
            If the threshold is out of range, or the engine gave no probabilities.
        """
        check_threshold(threshold)
        out = Segmentation.cut(self.request, self.require_probability(), self.engine, threshold)
        return replace(out, fingerprint=self.fingerprint, note=self.note)

    def require_probability(self) -> Probability:
        """What the mask was cut from; InputError if the engine gave no probabilities."""
        if self.probability is None:
            raise InputError(
                f"A threshold and a probability map need probabilities, but the engine {self.engine!r} gives none; "
                "choose another engine."
            )
        return self.probability

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


_KINDS: dict[type, tuple[str, str]] = {
    Box: ("boxes", "a box"),
    Point: ("points", "a point inside it"),
    Scribble: ("scribbles", "a scribble on it"),
    MaskPrompt: ("earlier masks", "an earlier mask"),
    TextPrompt: ("words", "a word for it"),
}
"""What users call the kinds of prompts, and how each says where the object is."""


def check_threshold(threshold: float) -> None:
    """Raise an InputError unless a threshold lies between 0 and 1."""
    if not 0 < threshold < 1:
        raise InputError(f"A threshold is a probability between 0 and 1, got {threshold:g}; 0.5 is the usual one.")


def keep_promises(mask: npt.NDArray[np.bool_], box: Box, prompts: ObjectPrompts) -> None:
    """Put the voxels that the user clicked or painted on the side asked for; a later prompt has the last word.

    Parameters
    ----------
    mask : bool array of shape ``box.shape``
        Changed in place.
    box
        Where the mask lies in the image.
    prompts
        Prompts in voxel indices of the image; what lies outside the box is left alone.
    """
    for prompt in prompts.prompts:
        if isinstance(prompt, Point | Scribble):
            voxels = (np.array([prompt.voxel]) if isinstance(prompt, Point) else prompt.voxels) - box.lo
            voxels = voxels[((voxels >= 0) & (voxels < mask.shape)).all(axis=1)]
            mask[tuple(voxels.T)] = prompt.positive


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


@dataclass(frozen=True)
class EngineInfo:
    """What a user wants to know before choosing an engine; reading it loads nothing heavy.

    Parameters
    ----------
    name, title
        As in :class:`Engine`.
    good_at
        One sentence: what it is good at, and what not.
    licence
        Licence of the weights, or of the code where there are none.
    speed
        Measured time of a prompt, with the hardware.
    where
        ``"module:Class"``, or a function that makes it.
    learned
        Whether it computes with a network, whose device can be chosen.
    weights
        Which entry of the model zoo it needs; empty if it needs none or they ship.
    """

    name: str
    title: str
    good_at: str
    licence: str
    speed: str
    where: str
    learned: bool = False
    weights: str = ""


_SEGVOL_LICENCE = "licence of the weights unclear; their author's mirror says MIT"
_SEGVOL_SPEED = "5 s for each new view of an image, 0.5 s for a known one, on one CPU core"

_ENGINES = {
    info.name: info
    for info in (
        EngineInfo(
            name="promptable",
            title="Promptable network",
            good_at="Tumours, nuclei and brain structures from a box; knows few organs of the body.",
            licence="BSD-3-Clause",
            speed="0.02 s a click on two CPU cores, 0.6 s on large organs",
            where="voxelsmith.segment.promptable:PromptableEngine",
            learned=True,
        ),
        EngineInfo(
            name="training-free",
            title="Training-free random walk",
            good_at="Anything that its brightness or its edges set apart; knows no anatomy.",
            licence="BSD-3-Clause",
            speed="0.06 s a prompt on two CPU cores",
            where="voxelsmith.segment.training_free:TrainingFreeEngine",
        ),
        EngineInfo(
            name="segvol",
            title="SegVol",
            good_at="Organs and lesions in CT, also by name; it has seen nothing but CT, so expect little elsewhere.",
            licence=_SEGVOL_LICENCE,
            speed=_SEGVOL_SPEED,
            where="voxelsmith.segment.segvol.engine:SegVolEngine",
            learned=True,
            weights="segvol",
        ),
        EngineInfo(
            name="segvol-official",
            title="SegVol as published",
            good_at="For comparing with published figures; takes points or a box, not both, and the axes as stored.",
            licence=_SEGVOL_LICENCE,
            speed=_SEGVOL_SPEED,
            where="voxelsmith.segment.segvol.engine:as_published",
            learned=True,
            weights="segvol",
        ),
    )
}


def engine_infos() -> list[EngineInfo]:
    """The engines that :func:`make_engine` builds, the default first."""
    return list(_ENGINES.values())


def engine_names() -> list[str]:
    """Their names, the default first."""
    return list(_ENGINES)


def engine_info(name: str | None = None) -> EngineInfo:
    """One of them by name (default: the first); InputError if there is none of that name."""
    name = name or engine_names()[0]
    if name not in _ENGINES:
        raise InputError(f"There is no prompt engine {name!r}; choose one of {', '.join(engine_names())}.")
    return _ENGINES[name]


def make_engine(name: str | None = None, device: str = "auto") -> Engine:
    """Build an engine.

    Parameters
    ----------
    name
        One of :func:`engine_names`; default the first.
    device
        Where a learned one computes: "auto", "cpu", "cuda" or "mps". The others compute on the CPU.
    """
    info = engine_info(name)
    module, _, attribute = info.where.partition(":")
    build: Callable[..., Any] = getattr(import_module(module), attribute)
    engine: Engine = build(device=device) if info.learned else build()
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
    check_readable(prompts, engine)
    if not (prompts.boxes or prompts.mask or prompts.texts or len(prompts.seeds(True))):
        ways = [way for prompt, (_, way) in _KINDS.items() if prompt in engine.accepts]
        raise PromptError(f"Say where the object is; {engine.title} takes {' or '.join(ways)}.")


def check_readable(prompts: ObjectPrompts, engine: Engine) -> None:
    """Raise a PromptError if an engine does not understand some of the prompts."""
    given = {type(p) for p in prompts.prompts}
    foreign = [name for prompt, (name, _) in _KINDS.items() if prompt in given - engine.accepts]
    if foreign:
        known = [name for prompt, (name, _) in _KINDS.items() if prompt in engine.accepts]
        raise PromptError(
            f"{engine.title} does not read {' and '.join(foreign)}; it reads {', '.join(known)}. Take the others away "
            "or choose another engine."
        )
