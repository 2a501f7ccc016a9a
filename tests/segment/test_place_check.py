"""The check of places: what is found elsewhere than in the one example is found, and organs stay where they are."""

import numpy as np
import pytest
from bodies import body, support_of
from scipy import ndimage

from voxelsmith.core.affine import Affine
from voxelsmith.core.metrics import dice
from voxelsmith.core.progress import run_job
from voxelsmith.core.support import SupportSet
from voxelsmith.core.volume import Volume
from voxelsmith.segment.across_volumes import AcrossRequest, AcrossSettings, propose
from voxelsmith.segment.common_grid import sliced_query
from voxelsmith.segment.features import HandMadeEncoder
from voxelsmith.segment.place_check import PlaceCheck

ENCODER = HandMadeEncoder(scales=(1.0, 2.0), structured=())
GRID = (40, 36, 20)


def head(centre, seed):
    """A textured head, the same each time but for its noise, with a bright lesion at ``centre``, in voxels."""
    index = np.stack(np.meshgrid(*map(np.arange, GRID), indexing="ij"), axis=-1)
    middle = (np.array(GRID) - 1) / 2
    inside = (((index - middle) / (0.45 * np.array(GRID))) ** 2).sum(-1) <= 1
    folds = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=GRID), 2)
    lesion = np.linalg.norm(index - centre, axis=-1) <= 4
    image = inside * (100 + 20 * folds / folds.std()) + 120 * lesion
    image = ndimage.gaussian_filter(image, 0.6) + np.random.default_rng(seed).normal(0, 4, GRID)
    volume = Volume(image.astype(np.float32), Affine.from_spacing((2.0, 2.0, 2.0)), f"head {seed}")
    return volume, volume.labels(lesion.astype(np.uint8))


def painted(pair):
    """Every other slice of the lesion, one example each."""
    support = SupportSet()
    for n in np.flatnonzero(pair[1].array.any((0, 1)))[::2].tolist():
        support = support.add(support_of(pair, axis=2, slices=(n,)).examples[0])
    return support


def found(query, support, known_range=None, **settings):
    chosen = AcrossSettings(**{"per_slice": 60, "most": 200} | settings)
    return run_job(propose(AcrossRequest(query, support, ENCODER, known_range, chosen)))


LEFT, RIGHT = (12, 18, 8), (27, 18, 12)


@pytest.mark.parametrize("annotated", [painted, support_of])
def test_a_lesion_on_the_other_side_than_in_the_example_is_found(annotated):
    query, truth = head(RIGHT, 1)
    support = annotated(head(LEFT, 2))
    checked, trusted = (found(query, support, alignment=how) for how in ("auto", "affine"))
    assert dice(truth.mask(), trusted.labels.mask()) < 0.2
    assert dice(truth.mask(), checked.labels.mask()) > 0.45
    assert any(note.startswith("Places did not count") for note in checked.notes)
    assert not any("Places" in note for note in trusted.notes)


def test_places_stay_where_they_are_those_of_the_example():
    query, truth = body(5, shift=(2, -1, 1))
    result = found(query, support_of(body(1)))
    assert any(note.startswith("Places counted:") for note in result.notes)
    assert min(dice(truth.mask(v), result.labels.mask(v)) for v in (1, 2)) > 0.8


def test_what_the_user_settled_is_not_checked():
    query, _ = head(RIGHT, 1)
    support = painted(head(LEFT, 2))
    settled = [found(query, support, (4, 12)), found(query, support, position=False)]
    assert not any("Places" in note for result in settled for note in result.notes)


def test_several_volumes_tell_by_themselves():
    query, _ = head(LEFT, 1)
    support = support_of(head(LEFT, 2), head(LEFT, 3))
    assert not any("Places" in note for note in found(query, support).notes)


class Answers:
    """In place of a bank: what it answers, and what comes back from it."""

    def __init__(self, sizes, explained):
        self.sizes, self.explained = sizes, explained

    def both_ways(self, target, n, features):
        planes = np.zeros((2, 2, 8, 8))
        for plane, size in zip(planes, self.sizes, strict=True):
            plane[1].flat[:size] = 1
        return list(planes), self.explained


def test_slices_count_by_what_is_labelled_in_them():
    check = PlaceCheck(sliced_query(body()[0], 2, 2.0))
    assert check.slices == list(range(12))
    assert check.holds
    check.compare(Answers((1, 9), (0.2, 0.8)), 0, None)
    assert not check.holds
    check.compare(Answers((20, 10), (0.6, 0.4)), 1, None)
    assert check.holds
    assert check.scores == pytest.approx(((10 * 0.2 + 30 * 0.6) / 40, (10 * 0.8 + 30 * 0.4) / 40))
    assert "Dice 0.50 against 0.50" in check.told


@pytest.mark.parametrize(("by_looks", "holds"), [(0.44, True), (0.46, False)])
def test_places_are_dropped_only_for_what_is_clearly_better(by_looks, holds):
    check = PlaceCheck(sliced_query(body()[0], 2, 2.0))
    check.compare(Answers((5, 5), (0.40, by_looks)), 0, None)
    assert check.holds == holds
    assert check.told.startswith("Places counted:" if holds else "Places did not count,")
