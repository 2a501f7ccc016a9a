"""Shapes between annotated slices, weighed with what a trained network says."""

import numpy as np
import pytest
from scipy import ndimage

from voxelsmith.core.affine import Affine
from voxelsmith.core.resample import reorient
from voxelsmith.core.support import SupportExample
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.segment.plan import Normalisation, Plan
from voxelsmith.segment.shape_prior import annotated_target, shape_prior, weighed

GRID = (32, 28, 20)
PAINTED = (4, 10, 16)
PLAN = Plan("2d", 2, "RAS", (1.0, 1.0, 2.0), (1, 32, 32), (1, 3), ("rod", "block"), Normalisation())


def scan(seed=0):
    """A rod of label 1 and a block of label 3 along the slices, in noise."""
    i, j, _ = np.indices(GRID)
    labels = np.zeros(GRID, np.uint8)
    labels[(i - 9) ** 2 + (j - 14) ** 2 < 25] = 1
    labels[18:26, 8:20] = 3
    affine = Affine.from_spacing((1, 1, 2))
    image = np.random.default_rng(seed).normal(size=GRID).astype(np.float32)
    return Volume(image, affine, "scan"), LabelVolume(labels, affine)


def example(image=None, labels=None, slices=PAINTED, axis=2, **more):
    own, truth = scan()
    return SupportExample(image or own, labels or truth, axis, slices, **{"classes": frozenset({1, 3}), **more})


def target_of(*examples, image=None):
    image = image or examples[0].image
    return annotated_target(PLAN, image, PLAN.region(PLAN.oriented(image)), examples)


def prior_of(*examples):
    return shape_prior(PLAN, target_of(*examples), PLAN.region(examples[0].image))


def test_only_examples_of_the_very_image_count():
    one = example()
    found = target_of(one, example(image=scan(1)[0]))
    assert np.flatnonzero((found >= 0).any(axis=(1, 2))).tolist() == list(PAINTED)
    np.testing.assert_array_equal(found[10], np.array([0, 1, 0, 2])[one.labels.array[..., 10]])
    assert target_of(example(image=scan(1)[0]), image=one.image) is None
    assert target_of(one.switched(False), image=one.image) is None


def test_where_examples_differ_the_later_one_counts():
    empty = LabelVolume(np.zeros(GRID, np.uint8), scan()[0].affine)
    found = target_of(example(), example(labels=empty, slices=(10, 12)))
    assert np.flatnonzero((found >= 0).any(axis=(1, 2))).tolist() == [4, 10, 12, 16]
    assert not found[10].any()
    assert found[4].any()


def test_the_same_slices_in_any_orientation():
    image, labels = (reorient(volume, "PIL") for volume in scan())
    turned = SupportExample(image, labels, 1, tuple(GRID[2] - 1 - n for n in PAINTED), frozenset({1, 3}))
    np.testing.assert_array_equal(target_of(turned), target_of(example()))


@pytest.mark.parametrize(
    ("changes", "there"),
    [
        ({}, True),
        ({"slices": (4, 10)}, True),
        ({"slices": (4,)}, False),
        ({"slices": tuple(range(11))}, False),
        ({"axis": 0, "slices": (4, 10, 16)}, False),
        ({"ignored": np.indices(GRID)[0] < 1}, False),
        ({"classes": frozenset({1, 3, 4})}, True),
    ],
)
def test_shapes_lie_between_a_few_slices_that_are_annotated_as_a_whole(changes, there):
    assert (prior_of(example(**changes)) is not None) == there


def test_where_the_network_is_undecided_shapes_decide():
    one = example()
    likely = np.full((2, *GRID[:2]), 1 / 3, np.float32)
    found = weighed(likely, prior_of(one), 7, compete=True)
    truth = scan()[1].array[..., 7]
    answer = np.where(found.max(axis=0) > 0.5, np.array([1, 3])[found.argmax(axis=0)], 0)
    for value in (1, 3):
        mask = truth == value
        assert (answer[ndimage.binary_erosion(mask)] == value).all()
        assert (answer[~ndimage.binary_dilation(mask, iterations=2)] != value).all()
    assert found.dtype == np.float32
    assert (found.sum(axis=0) <= 1 + 1e-6).all()


def test_a_speck_far_from_all_shapes_goes_and_what_the_network_sees_at_the_border_stays():
    prior, likely = prior_of(example()), np.full((2, *GRID[:2]), 0.01, np.float32)
    likely[0, 9, 14:21] = 0.98
    likely[0, 1, 1] = 0.9
    found = weighed(likely, prior, 7, compete=True)
    assert found[0, 9, 14:20].min() > 0.5
    assert found[0, 1, 1] < 0.2
    assert found[1].max() < 0.5


def test_shapes_count_less_the_farther_the_next_annotated_slice_is():
    prior, likely = prior_of(example()), np.full((2, *GRID[:2]), 0.01, np.float32)
    likely[0, 1, 1] = 0.9
    found = [weighed(likely, prior, row, compete=True)[0, 1, 1] for row in (4, 5, 6, 7)]
    assert found == sorted(found)
    assert found[0] < 0.01 < found[-1]


def test_classes_by_themselves_are_weighed_by_themselves():
    prior, likely = prior_of(example()), np.full((2, *GRID[:2]), 0.5, np.float32)
    found = weighed(likely, prior, 7, compete=False)
    truth = scan()[1].array[..., 7]
    np.testing.assert_array_equal(found[0] > 0.5, truth == 1)
    np.testing.assert_array_equal(found[1] > 0.5, truth == 3)
    likely[0] = 0.9
    np.testing.assert_array_equal(weighed(likely, prior, 7, compete=False)[1], found[1])
