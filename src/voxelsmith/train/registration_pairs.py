"""Pairs to learn registration from: two subjects on one grid, laid over each other roughly, as after an affine part.

Owns where pairs come from. Synthetic ones are made of label maps after Hoffmann et al. (SynthMorph, IEEE TMI 2022): two
subjects, or one twice, are bent at random and rendered, each in a contrast of its own or both in the same. Real ones
are two images of one group. :mod:`voxelsmith.train.subjects` lays the subjects over each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset

from voxelsmith.core.errors import InputError
from voxelsmith.train import instrument, warp
from voxelsmith.train.anatomy import compacted, renumbered
from voxelsmith.train.appearance import render
from voxelsmith.train.entry import Entry
from voxelsmith.train.noise import smooth_noise
from voxelsmith.train.sample import Field, Labels, Vector
from voxelsmith.train.shapes import log_uniform
from voxelsmith.train.subjects import Group, Subject

SOURCES = ("synthetic", "real")

_TWICE, _ALIKE, _STRIPPED = 0.2, 0.75, 0.7
_LEAST_VOXELS = 20
# Windows of percentiles that become 0 and 1, as in the preparation of a registration.
_PERCENTILES = (1, 99)
# By how much both images of a pair differ from the common world, and the moving one from the fixed one: degrees,
# logarithm of the stretch, and shares of the grid.
_BOTH, _MOVING = (8.0, 0.12, 0.04), (4.0, 0.04, 0.02)
_ELASTICITY = {"synthetic": 0.06, "real": 0.03}


class ImagePair(NamedTuple):
    """A sample. Arrays have the shape (R, A, S), along right, anterior and superior.

    Parameters
    ----------
    moving, fixed : float32
        Intensities of about 0 to 1.
    moving_labels, fixed_labels : uint8
        The same structures in both, numbered 1, 2, ...; all 0 if none are known.
    alike
        Whether both have one contrast, so that intensities may be compared.
    """

    moving: Field
    fixed: Field
    moving_labels: Labels
    fixed_labels: Labels
    alike: bool


class RegistrationPairs(Dataset[ImagePair]):
    """Endless pairs; pair ``i`` depends on the volumes, the seed and ``i`` alone.

    Two in a row are one pair in both directions.

    Parameters
    ----------
    listed
        Volumes to draw from. Those with an anatomy give synthetic pairs with others of their group, or with themselves;
        those with an image give real pairs with other patients of their group.
    seed
        Decides the pairs.
    augmented
        Whether subjects are turned, stretched and bent beyond what they are.

    Raises
    ------
    InputError
        If there is nothing to pair.
    """

    def __init__(self, listed: Iterable[Entry], seed: int = 0, *, augmented: bool = True) -> None:
        listed = list(listed)
        self._seed, self._augmented = seed, augmented
        synthetic = _by_group(e for e in listed if e.anatomy)
        real = [g for g in _by_group(e for e in listed if e.image is not None) if len({e.patient for e in g}) > 1]
        self._groups = {
            "synthetic": [Group(entries, synthetic=True) for entries in synthetic],
            "real": [Group(entries, synthetic=False) for entries in real],
        }
        if not self.sources:
            raise InputError(
                "A pair is of two patients of one group with images, or of one label map with an anatomy, but the "
                "volumes allow neither; list more of them, or give them one group."
            )
        self._last: tuple[int, ImagePair] | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """Which of :data:`SOURCES` the volumes allow."""
        return tuple(source for source in SOURCES if self._groups[source])

    def __getitem__(self, index: int) -> ImagePair:
        """The pair; its source and everything else are random."""
        number = index // 2
        if self._last is None or self._last[0] != number:
            rng = np.random.default_rng((self._seed, number))
            self._last = number, self.pair(rng, str(rng.choice(self.sources)))
        pair = self._last[1]
        return pair if index % 2 == 0 else swapped(pair)

    def pair(self, rng: np.random.Generator, source: str, *, alike: bool | None = None) -> ImagePair:
        """A pair of one of the :attr:`sources`.

        Parameters
        ----------
        rng
            Decides it.
        source
            "synthetic" or "real".
        alike
            Whether a synthetic pair has one contrast; None leaves it to chance.

        Raises
        ------
        FormatError, GeometryError, InputError
            If a volume cannot be used; see :class:`voxelsmith.train.subjects.Group`.
        """
        groups = self._groups[source]
        group = groups[int(rng.integers(len(groups)))]
        if source == "synthetic":
            return self._synthetic(rng, group, rng.random() < _ALIKE if alike is None else alike)
        return self._real(rng, group)

    def _synthetic(self, rng: np.random.Generator, group: Group, alike: bool) -> ImagePair:
        twice = len(group.entries) == 1 or (self._augmented and rng.random() < _TWICE)
        chosen = rng.choice(len(group.entries), 1 if twice else 2, replace=False)
        subjects = [group.subject(group.entries[int(n)]) for n in (chosen[0], chosen[-1])]
        places = self._places(rng, group, subjects, _ELASTICITY["synthetic"])
        raw: Labels = np.stack([s.labels_at(p) for s, p in zip(subjects, places, strict=True)])
        scheme = subjects[0].scheme
        unannotated = list(scheme.unannotated)
        if scheme.air and (not self._augmented or rng.random() < _STRIPPED):
            raw[np.isin(raw, unannotated)] = 0
        whole = renumbered(np.arange(int(raw.max()) + 1), scheme.aliases)
        tissues, classes = compacted(raw, renumbered(whole, scheme.pairs))
        size = np.full(3, group.spacing)
        fixed = render(rng, tissues[0], size, classes=classes, air=scheme.air)
        if alike:
            moving = in_the_contrast_of(rng, fixed, tissues[0], tissues[1], size)
        else:
            moving = render(rng, tissues[1], size, classes=classes, air=scheme.air)
        annotated = np.where(np.isin(whole, unannotated), 0, whole)[raw]
        return ImagePair(_scaled(moving), _scaled(fixed), *_common(annotated[1], annotated[0]), alike)

    def _real(self, rng: np.random.Generator, group: Group) -> ImagePair:
        first = group.entries[int(rng.integers(len(group.entries)))]
        others = [entry for entry in group.entries if entry.patient != first.patient]
        subjects = [group.subject(entry) for entry in (first, others[int(rng.integers(len(others)))])]
        places = self._places(rng, group, subjects, _ELASTICITY["real"])
        fixed, moving = (s.image_at(p) for s, p in zip(subjects, places, strict=True))
        labels, moving_labels = (s.labels_at(p) for s, p in zip(subjects, places, strict=True))
        return ImagePair(moving, fixed, *_common(moving_labels, labels), True)

    def _places(
        self, rng: np.random.Generator, group: Group, subjects: Sequence[Subject], elasticity: float
    ) -> tuple[Field, Field]:
        """Where the voxels of the pair lie in the fixed and in the moving subject, in voxels of those."""
        size, extent = np.full(3, group.spacing), group.spacing * np.array(group.grid)
        middle, linear = group.centre, np.eye(3)
        if self._augmented:
            linear, shift = _jitter(rng, size, extent, _BOTH)
            middle = middle + shift
            linear = linear @ np.diag([rng.choice([-1, 1]), 1, 1])
        found = []
        for role, subject in zip(("fixed", "moving"), subjects, strict=True):
            own, shift, bent = np.eye(3), np.zeros(3), 0.0
            if self._augmented:
                bent = rng.uniform(0, elasticity)
                if role == "moving":
                    own, shift = _jitter(rng, size, extent, _MOVING)
            place = subject.place
            matrix, centre = place.matrix[:3, :3] @ own @ linear * size, place.apply(middle + shift)
            found.append(warp.random_places(rng, group.grid, size, matrix, centre, place.inverse().spacing, bent))
        return found[0], found[1]


def swapped(pair: ImagePair) -> ImagePair:
    """The pair in the other direction."""
    return ImagePair(pair.fixed, pair.moving, pair.fixed_labels, pair.moving_labels, pair.alike)


def _by_group(entries: Iterable[Entry]) -> list[list[Entry]]:
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.group, []).append(entry)
    return list(groups.values())


def _jitter(
    rng: np.random.Generator, size: Vector, extent: Vector, much: tuple[float, float, float]
) -> tuple[Vector, Vector]:
    """A random linear map near the identity, and a shift in millimetres."""
    degrees, stretch, shift = much
    linear: Vector = warp.random_rotation(rng, size, degrees) * np.exp(rng.uniform(-stretch, stretch, 3))
    return linear, rng.uniform(-shift, shift, 3) * extent


def in_the_contrast_of(
    rng: np.random.Generator, image: Field, tissues: Labels, others: Labels, spacing: Vector
) -> Field:
    """Other tissues, as bright on average as those of an image, with noise and texture of their own."""
    count = int(max(tissues.max(), others.max())) + 1
    voxels = np.bincount(tissues.ravel(), minlength=count)
    sums = np.bincount(tissues.ravel(), image.ravel(), minlength=count)
    means = np.where(voxels > 0, sums / np.maximum(voxels, 1), image.mean()).astype(np.float32)
    spread = float(np.median(np.abs(image - means[tissues])))
    painted: Field = means[others]
    texture = smooth_noise(rng, painted.shape, spacing, log_uniform(rng, 3, 8) * float(spacing[0]))
    painted = instrument.blur(painted + np.float32(rng.uniform(0, 0.5) * spread) * texture, rng.uniform(0.2, 0.75))
    if rng.random() < 0.5:
        painted = instrument.bias_field(rng, painted, spacing, rng.uniform(0, 0.25))
    return instrument.gaussian_noise(rng, painted, rng.uniform(0.3, 1.2) * spread + 1e-4)


def _scaled(image: Field) -> Field:
    """From 0 at the 1st percentile to 1 at the 99th; an image that is constant becomes 0."""
    low, high = np.percentile(image, _PERCENTILES).astype(np.float32)
    scaled: Field = np.clip((image - low) / max(high - low, np.float32(1e-6)), 0, 1)
    return scaled


def _common(moving: Labels, fixed: Labels) -> tuple[Labels, Labels]:
    """Labels that both have, numbered 1, 2, ..., at most 255 of them; small ones are left out."""
    count = int(max(moving.max(), fixed.max())) + 1
    least = np.minimum(*(np.bincount(x.ravel(), minlength=count) for x in (moving, fixed)))
    least[0] = 0
    kept = np.flatnonzero(least >= _LEAST_VOXELS)[:255]
    table = np.zeros(count, np.uint8)
    table[kept] = np.arange(1, len(kept) + 1)
    return table[moving], table[fixed]
