"""Metrics: numbers worked out by hand, by brute force, and by other libraries."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import cdist
from scipy.spatial.distance import dice as scipy_dice
from skimage.metrics import hausdorff_distance

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import GeometryError
from voxelsmith.core.metrics import (
    compare,
    compare_labels,
    dice,
    hd95,
    iou,
    mean_surface_distance,
    precision,
    sensitivity,
    surface_distances,
)
from voxelsmith.core.volume import LabelVolume

masks = hnp.arrays(np.bool_, st.just((5, 4, 6)))
spacings = st.tuples(*[st.floats(0.3, 4)] * 3)
EMPTY, FULL = np.zeros((3, 3, 3), bool), np.ones((3, 3, 3), bool)


def block(*slices, shape=(8, 8, 8)):
    mask = np.zeros(shape, bool)
    mask[slices] = True
    return mask


def surface_voxels(mask):
    """Voxels of the mask with a face neighbour outside it or outside the image, one by one."""
    steps = [s * np.eye(3, dtype=int)[a] for a in range(3) for s in (-1, 1)]
    inside = {tuple(v) for v in np.argwhere(mask).tolist()}
    return np.array([v for v in inside if any(tuple(np.add(v, s).tolist()) not in inside for s in steps)])


def brute_force(reference, prediction, spacing):
    a, b = (surface_voxels(m) * np.asarray(spacing) for m in (reference, prediction))
    distances = cdist(a, b)
    return distances.min(axis=0), distances.min(axis=1)


def test_overlaps_of_two_blocks():
    reference, prediction = block(slice(0, 4), 0, 0), block(slice(1, 7), 0, 0)
    assert dice(reference, prediction) == pytest.approx(2 * 3 / (4 + 6))
    assert iou(reference, prediction) == pytest.approx(3 / 7)
    assert precision(reference, prediction) == pytest.approx(3 / 6)
    assert sensitivity(reference, prediction) == pytest.approx(3 / 4)


def test_distances_of_two_rods():
    reference, prediction = block(slice(0, 4), 0, 0), block(slice(0, 4), 0, slice(2, 3))
    assert hd95(reference, prediction, (1, 1, 5)) == pytest.approx(10)
    assert mean_surface_distance(reference, prediction, (1, 1, 5)) == pytest.approx(10)


def test_hd95_is_the_larger_of_the_two_directions():
    small, large = block(0, 0, slice(0, 1), shape=(1, 1, 101)), block(0, 0, slice(0, 101), shape=(1, 1, 101))
    assert hd95(small, large) == hd95(large, small) == pytest.approx(95)


def test_the_border_of_the_image_is_surface():
    to_reference, to_prediction = surface_distances(FULL, FULL, 1)
    assert len(to_reference) == len(to_prediction) == 26


@settings(max_examples=60)
@given(masks, masks, spacings)
def test_distances_equal_brute_force(reference, prediction, spacing):
    assume(reference.any() and prediction.any())
    expected = brute_force(reference, prediction, spacing)
    found = surface_distances(reference, prediction, spacing)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.sort(a), np.sort(b), rtol=1e-6)
    assert hd95(reference, prediction, spacing) == pytest.approx(max(np.percentile(d, 95) for d in expected))
    assert mean_surface_distance(reference, prediction, spacing) == pytest.approx(np.concatenate(expected).mean())


@settings(max_examples=40)
@given(masks, masks)
def test_the_largest_distance_is_skimages(reference, prediction):
    assume(reference.any() and prediction.any())
    outlines = []
    for mask in (reference, prediction):
        outline = np.zeros(mask.shape, bool)
        outline[tuple(surface_voxels(mask).T)] = True
        outlines.append(outline)
    largest = max(d.max() for d in surface_distances(reference, prediction, 1))
    assert largest == pytest.approx(hausdorff_distance(*outlines))


@given(masks, masks)
def test_dice_is_scipys(reference, prediction):
    assume(reference.any() or prediction.any())
    assert dice(reference, prediction) == pytest.approx(1 - scipy_dice(reference.ravel(), prediction.ravel()))
    overlap = iou(reference, prediction)
    assert dice(reference, prediction) == pytest.approx(2 * overlap / (1 + overlap))


@given(masks, masks, spacings)
@settings(max_examples=30)
def test_swapping_the_masks_swaps_precision_and_sensitivity(a, b, spacing):
    assert precision(a, b) == sensitivity(b, a)
    assert hd95(a, b, spacing) == hd95(b, a, spacing)
    assert hd95(a, a, spacing) == mean_surface_distance(a, a, spacing) == 0


@pytest.mark.parametrize(
    ("reference", "prediction", "overlaps", "distance"),
    [
        (EMPTY, EMPTY, (1, 1, 1, 1), 0.0),
        (EMPTY, FULL, (0, 0, 0, 0), math.inf),
        (FULL, EMPTY, (0, 0, 0, 0), math.inf),
    ],
)
def test_empty_masks(reference, prediction, overlaps, distance):
    found = compare(reference, prediction)
    assert (found["dice"], found["iou"], found["precision"], found["sensitivity"]) == overlaps
    assert found["hd95_mm"] == found["mean_surface_distance_mm"] == distance
    assert hd95(reference, prediction) == mean_surface_distance(reference, prediction) == distance


@given(masks, masks, spacings)
@settings(max_examples=20)
def test_compare_gathers_every_metric(reference, prediction, spacing):
    found = compare(reference, prediction, spacing)
    assert found["dice"] == dice(reference, prediction)
    assert found["iou"] == iou(reference, prediction)
    assert found["precision"] == precision(reference, prediction)
    assert found["sensitivity"] == sensitivity(reference, prediction)
    assert found["hd95_mm"] == pytest.approx(hd95(reference, prediction, spacing))
    assert found["mean_surface_distance_mm"] == pytest.approx(mean_surface_distance(reference, prediction, spacing))
    assert found["reference_ml"] == pytest.approx(reference.sum() * np.prod(spacing) / 1000)


def test_any_non_zero_value_is_inside():
    assert dice(np.array([[[0, 2, 255]]]), np.array([[[0.0, 0.5, 1.0]]])) == 1


def test_masks_have_one_shape():
    with pytest.raises(GeometryError, match=r"\(3, 3, 3\) and \(1, 1, 1\)"):
        dice(FULL, np.ones((1, 1, 1)))


def test_labels_are_compared_one_by_one():
    reference = LabelVolume(np.array([[[1, 1, 2, 0]]], np.uint8), Affine.from_spacing((10, 10, 10)))
    prediction = LabelVolume(np.array([[[1, 2, 2, 7]]], np.int32), reference.affine)
    rows = compare_labels(reference, prediction)
    assert list(rows) == [1, 2, 7]
    assert [rows[n]["dice"] for n in rows] == pytest.approx([2 / 3, 2 / 3, 0])
    assert rows[1]["reference_ml"] == pytest.approx(2)
    assert rows[7]["hd95_mm"] == math.inf
    with pytest.raises(GeometryError):
        compare_labels(reference, LabelVolume(prediction.array))
