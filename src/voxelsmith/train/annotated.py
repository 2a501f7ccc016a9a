"""The data of a training in the application: volumes of which some slices are annotated.

Owns how examples become working arrays with class indices, which slices judge, how samples are drawn and changed at
random, and how newly painted slices are taken in. A slice that was reviewed and left empty is background; one that was
never looked at says nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from voxelsmith.core.errors import InputError
from voxelsmith.core.support import SupportExample
from voxelsmith.core.volume import Volume
from voxelsmith.segment.plan import Plan, Target
from voxelsmith.segment.prior import Prior
from voxelsmith.segment.shape_prior import shape_prior
from voxelsmith.segment.zoom import FloatArray, Region
from voxelsmith.train.held_out import held_out
from voxelsmith.train.losses import IGNORED
from voxelsmith.train.slice_augmentation import Augmentation, Sample

_OF_A_CLASS = 0.7
_PIXELS = 4096
_LEAST_SIDE, _MULTIPLE = 32, 16


@dataclass(frozen=True, eq=False)
class Prepared:
    """One volume as the network sees it.

    Parameters
    ----------
    volume
        Turned to the plan's orientation.
    region
        Its working grid.
    working : float32 array, shape (D, A, B)
    target : int16 array, shape (D, A, B)
        Class indices; -1 where nothing is known.
    learned, judged
        Slices (rows of the arrays) to learn from, and to judge by.
    plan
        How it was prepared.
    """

    volume: Volume
    region: Region
    working: FloatArray
    target: Target
    learned: tuple[int, ...]
    judged: tuple[int, ...]
    plan: Plan

    @cached_property
    def prior(self) -> Prior | None:
        """What the annotated slices say of the shapes in the others; None if that is nothing."""
        return shape_prior(self.plan, self.target, self.region)


class AnnotatedSlices(Dataset[Mapping[str, npt.NDArray[Any]]]):
    """Batches of patches around annotated slices; batch i is decided by the seed and i alone.

    Parameters
    ----------
    plan
        What a network sees.
    examples
        Annotated volumes; those that are not enabled are left out.
    seed
        Decides everything random.
    batch
        Patches in a sample.
    augmented
        Whether patches are changed at random.
    flips
        Spatial axes of a patch along which it may be flipped.
    spare
        Whether to keep slices apart to judge by, where there are enough.
    judges
        Volumes that only judge; with them, no slices of the others are spared.
    judged
        For each example the rows to judge by, as :attr:`judged_rows` gave them; in place of a new choice.

    Raises
    ------
    InputError
        If nothing is annotated, all of it is of one kind, or an image is constant.
    """

    def __init__(
        self,
        plan: Plan,
        examples: Sequence[SupportExample],
        seed: int = 0,
        *,
        batch: int = 4,
        augmented: bool = True,
        flips: tuple[int, ...] = (),
        spare: bool = True,
        judges: Sequence[SupportExample] = (),
        judged: Sequence[Sequence[int]] | None = None,
    ) -> None:
        self.plan, self.seed, self.batch = plan, seed, batch
        self.patch = plan.patch
        self._spare = spare and not judges
        self._augmentation = Augmentation(plan.dims, flips) if augmented else _unchanged
        self._seen: dict[str, Prepared] = {}
        self._take(examples, judged)
        self.judging = [self._prepare(example, None, everything=True) for example in judges if example.enabled]

    def __getitem__(self, index: int) -> Mapping[str, npt.NDArray[Any]]:
        """A batch: "image" float32 (N, channels, *patch), "target" int64 (N, *patch)."""
        rng = np.random.default_rng((self.seed, index))
        samples = [self._augmentation(rng, self._draw(rng)) for _ in range(self.batch)]
        return {
            "image": np.stack([np.concatenate([s.image, s.places]) for s in samples]),
            "target": np.stack([s.target for s in samples]).astype(np.int64),
        }

    @property
    def slices(self) -> int:
        """Number of slices that are learned from."""
        return sum(len(volume.learned) for volume in self.volumes)

    @property
    def epoch(self) -> int:
        """Batches after which every slice was drawn about once."""
        return -(-self.slices // self.batch)

    @property
    def judged_rows(self) -> tuple[tuple[int, ...], ...]:
        """For each volume the slices kept apart."""
        return tuple(volume.judged for volume in self.volumes)

    @property
    def judges(self) -> list[tuple[Prepared, tuple[int, ...]]]:
        """What judges: volumes, and the rows of each that do."""
        apart = [(volume, volume.judged) for volume in self.volumes if volume.judged]
        return apart + [(volume, volume.learned) for volume in self.judging]

    def take(self, examples: Sequence[SupportExample]) -> None:
        """Go on with other annotations of the same or other volumes, as after painting; same classes.

        Slices that judged go on judging, and none that was learned from begins to.

        Raises
        ------
        InputError
            As for a new data set, or if a class is new; then nothing has changed.
        """
        self._take(examples, None)

    def halve(self) -> bool:
        """Draw patches of half the sides within slices from now on; False if they are as small as they may be."""
        depth, *sides = self.patch
        rows, columns = (min(side, max(_LEAST_SIDE, side // 2 // _MULTIPLE * _MULTIPLE)) for side in sides)
        changed = [rows, columns] != sides
        self.patch = depth, rows, columns
        return changed

    def _take(self, examples: Sequence[SupportExample], judged: Sequence[Sequence[int]] | None) -> None:
        used = [example for example in examples if example.enabled]
        if not any(example.has_foreground for example in used):
            raise InputError("Training needs annotated slices with something painted on them; paint a few first.")
        strange = sorted({int(c) for e in used for c in e.classes} - set(self.plan.classes))
        if strange:
            raise InputError(
                f"The network learns the classes {list(self.plan.classes)}, but the labels have {strange} as well; "
                "train a new one to add classes."
            )
        volumes = [self._prepare(e, None if judged is None else judged[n]) for n, e in enumerate(used)]
        kinds = set().union(*(np.unique(v.target).tolist() for v in volumes)) - {IGNORED}
        if len(kinds) < 2:
            only = "background" if kinds == {0} else "one class"
            raise InputError(
                f"Training needs voxels of two kinds, but all annotated ones are {only}; annotate background as well, "
                "or something beside it."
            )
        self.volumes = volumes
        self.fingerprint = fingerprint(used)
        self._seen = {e.image_fingerprint: v for e, v in zip(used, volumes, strict=True)}
        self._lists = self._listed()

    def _prepare(self, example: SupportExample, judged: Sequence[int] | None, everything: bool = False) -> Prepared:
        plan = self.plan
        before = self._seen.get(example.image_fingerprint)
        volume = plan.oriented(example.image) if before is None else before.volume
        region = plan.region(volume) if before is None else before.region
        working = plan.working(volume, region) if before is None else before.working
        target = plan.target(example, region)
        known = target != IGNORED
        rows = np.flatnonzero(known.any(axis=(1, 2))).tolist()
        if everything:
            return Prepared(volume, region, working, target, tuple(rows), (), plan)
        if judged is not None:
            apart = [row for row in judged if row in rows]
        elif before is not None and before.judged:
            apart = [row for row in before.judged if row in rows]
        else:
            apart = self._apart(rows, target, () if before is None else before.learned)
        learned = tuple(row for row in rows if row not in apart)
        return Prepared(volume, region, working, target, learned, tuple(apart), plan)

    def _apart(self, rows: list[int], target: Target, learned: Sequence[int]) -> list[int]:
        if not self._spare:
            return []
        step = self.plan.ordered_spacing[0]
        shown = [frozenset(int(c) for c in np.unique(target[row]) if c > 0) for row in rows]
        fresh = [n for n, row in enumerate(rows) if row not in learned]
        return [rows[n] for n in held_out([row * step for row in rows], shown, fresh)]

    def _listed(self) -> tuple[list[tuple[int, int]], dict[int, list[tuple[int, int, npt.NDArray[np.intp]]]]]:
        """All (volume, row) to learn from; for each class the same with some of its pixels, shape (N, 2)."""
        every: list[tuple[int, int]] = []
        of_class: dict[int, list[tuple[int, int, npt.NDArray[np.intp]]]] = {}
        rng = np.random.default_rng((self.seed, 0, 0))
        for n, volume in enumerate(self.volumes):
            for row in volume.learned:
                every.append((n, row))
                for kind in np.unique(volume.target[row]).tolist():
                    if kind > 0:
                        pixels = np.argwhere(volume.target[row] == kind)
                        if len(pixels) > _PIXELS:
                            pixels = pixels[rng.choice(len(pixels), _PIXELS, replace=False)]
                        of_class.setdefault(kind, []).append((n, row, pixels))
        return every, of_class

    def _draw(self, rng: np.random.Generator) -> Sample:
        """A patch: mostly around a pixel of a class, each class as often; otherwise anywhere in an annotated slice."""
        every, of_class = self._lists
        if of_class and rng.random() < _OF_A_CLASS:
            places = of_class[int(rng.choice(sorted(of_class)))]
            n, row, pixels = places[int(rng.integers(len(places)))]
            centre = pixels[int(rng.integers(len(pixels)))]
        else:
            n, row = every[int(rng.integers(len(every)))]
            centre = rng.integers(0, self.volumes[n].working.shape[1:])
        return self._cut(rng, self.volumes[n], row, centre)

    def _cut(self, rng: np.random.Generator, volume: Prepared, row: int, centre: npt.NDArray[np.intp]) -> Sample:
        plan, target = self.plan, volume.target
        if plan.dims == "3d":
            depth = min(self.patch[0], len(target))
            first = int(np.clip(row - rng.integers(depth), 0, len(target) - depth))
            channels, here = plan.block_channels(volume.working, first, first + depth), target[first : first + depth]
            sides: tuple[int, ...] = self.patch
        else:
            channels, here = plan.slice_channels(volume.working, row), target[row]
            sides = self.patch[1:]
        starts = [_start(rng, int(c), side, n) for c, side, n in zip(centre, sides[-2:], here.shape[-2:], strict=True)]
        rows, columns = (slice(start, start + side) for start, side in zip(starts, sides[-2:], strict=True))
        channels = _padded(channels[..., rows, columns], sides)
        here = _padded(here[..., rows, columns][None], sides, IGNORED)[0]
        images = channels.shape[0] - 3 * plan.coordinates
        return Sample(channels[:images], channels[images:], here)


def fingerprint(examples: Sequence[SupportExample]) -> str:
    """Hash of the examples' content, whatever their order."""
    digest = hashlib.blake2b(digest_size=16)
    for content in sorted(example.content_hash for example in examples):
        digest.update(content.encode())
    return digest.hexdigest()


def _unchanged(rng: np.random.Generator, sample: Sample) -> Sample:
    return sample


def _start(rng: np.random.Generator, centre: int, side: int, count: int) -> int:
    """Where a window of a side begins that holds a place, which lies in its middle half."""
    jitter = int(rng.integers(-(side // 4), side // 4 + 1))
    return int(np.clip(centre - side // 2 + jitter, 0, max(count - side, 0)))


def _padded(array: npt.NDArray[Any], sides: Sequence[int], fill: int | None = None) -> npt.NDArray[Any]:
    """Channels (C, *grid) made as large as the sides, by the border or by a value."""
    lacking = [(0, side - n) for side, n in zip(sides, array.shape[1:], strict=True)]
    if not any(after for _, after in lacking):
        return array
    if fill is None:
        return np.pad(array, [(0, 0), *lacking], mode="edge")
    return np.pad(array, [(0, 0), *lacking], constant_values=fill)
