"""Pseudo-masks: the published algorithm, told again in plain Python, and the rules of cleaning, one by one."""

import subprocess
import sys
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from phantoms import ball, noisy
from scipy import ndimage

from voxelsmith.core.errors import GeometryError, InputError
from voxelsmith.core.metrics import iou
from voxelsmith.segment.merging import ascending
from voxelsmith.segment.pseudo_masks import clean, felzenszwalb, pseudo_masks

SHAPES = st.tuples(*[st.integers(1, 5)] * 3)
# Powers of two and small integers, so that every weight is exact however it is computed.
SPACINGS = st.tuples(*[st.sampled_from([0.5, 1.0, 2.0])] * 3)


def edges_of(image, spacing):
    """Weight and ends of every edge, in the order of the axes and then of the voxels."""
    finest = min((h for h, n in zip(spacing, image.shape, strict=True) if n > 1), default=1.0)
    for axis in range(3):
        for start in product(*map(range, image.shape)):
            end = tuple(x + (a == axis) for a, x in enumerate(start))
            if end[axis] < image.shape[axis]:
                yield abs(float(image[end]) - float(image[start])) * finest / spacing[axis], start, end


def reference(image, spacing, scale, min_size):
    """The algorithm of the paper with sets for regions."""
    region = {v: {v} for v in product(*map(range, image.shape))}
    inner = {id(r): 0.0 for r in region.values()}
    edges = sorted(edges_of(image, spacing), key=lambda e: e[0])

    def join(a, b, weight):
        a |= b
        inner[id(a)] = weight
        for voxel in b:
            region[voxel] = a

    for weight, start, end in edges:
        a, b = region[start], region[end]
        if a is not b and weight <= min(inner[id(a)] + scale / len(a), inner[id(b)] + scale / len(b)):
            join(a, b, weight)
    for weight, start, end in edges:
        a, b = region[start], region[end]
        if a is not b and min(len(a), len(b)) < min_size:
            join(a, b, weight)
    number = {}
    return np.array([number.setdefault(id(r), len(number)) for r in region.values()]).reshape(image.shape)


def canonical(labels):
    """Labels renumbered in the order of their first voxels."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].reshape(labels.shape)


def cleaned_whole(regions, least):
    """The rules of ``clean`` on the whole volume, region by region."""
    sizes = np.bincount(regions.ravel())
    dropped = (sizes < least)[regions]
    out = np.zeros(regions.shape, int)
    for value in np.flatnonzero(sizes >= least):
        own = regions == value
        mask = ndimage.binary_dilation(ndimage.binary_erosion(own, border_value=1))
        mask = ndimage.binary_erosion(ndimage.binary_dilation(mask), border_value=1)
        mask &= own | (dropped & (out == 0))
        parts, count = ndimage.label(mask)
        mask = np.isin(parts, [p for p in range(1, count + 1) if (parts == p).sum() >= least])
        if mask.any():
            out[mask] = out.max() + 1
    return out


@settings(max_examples=150)
@given(st.data(), SPACINGS, st.sampled_from([0, 0.5, 3, 8, 40]), st.integers(0, 6))
def test_it_is_the_algorithm_of_the_paper(data, spacing, scale, min_size):
    image = data.draw(arrays(np.float32, SHAPES, elements=st.integers(0, 20)))
    ours = felzenszwalb(image, spacing, scale=scale, sigma_mm=0, min_size=min_size)
    assert ours.dtype == np.int32
    np.testing.assert_array_equal(ours, reference(image, spacing, scale, min_size))


@pytest.mark.parametrize("axes", list(permutations(range(3))))
def test_the_order_of_the_axes_does_not_matter(axes):
    image = np.random.default_rng(1).random((6, 5, 7), dtype=np.float32)
    spacing = (1, 1.5, 3)
    weights = [w for w, _, _ in edges_of(image, spacing)]
    assert np.diff(np.sort(weights)).min() > 1e-7, "ties would leave the choice to the order of the voxels"
    straight = felzenszwalb(image, spacing, scale=0.5, sigma_mm=0, min_size=3)
    turned = felzenszwalb(image.transpose(axes), np.take(spacing, axes), scale=0.5, sigma_mm=0, min_size=3)
    assert straight.max() > 3
    np.testing.assert_array_equal(canonical(turned.transpose(np.argsort(axes))), straight)


@settings(max_examples=60)
@given(st.data(), st.integers(1, 8))
def test_a_larger_least_size_keeps_the_boundaries_it_can(data, min_size):
    image = data.draw(arrays(np.float32, SHAPES, elements=st.integers(0, 9)))
    fine = felzenszwalb(image, (1, 1, 1), scale=2, sigma_mm=0)
    coarse = felzenszwalb(image, (1, 1, 1), scale=2, sigma_mm=0, min_size=min_size)
    assert all(np.unique(coarse[fine == v]).size == 1 for v in range(fine.max() + 1))
    assert coarse.max() == 0 or np.bincount(coarse.ravel()).min() >= min_size


def test_a_ramp_weighs_the_same_along_every_axis():
    i, j, k = np.meshgrid(np.arange(6), np.arange(6), np.arange(4), indexing="ij")
    ramp = i + j + 8.0 * k
    assert felzenszwalb(ramp, (1, 1, 8), scale=1, sigma_mm=0).max() == 0
    assert felzenszwalb(ramp, (1, 1, 1), scale=1, sigma_mm=0).max() > 0


def test_only_ratios_of_millimetres_count():
    image = np.random.default_rng(2).random((9, 8, 7))
    near = felzenszwalb(image, (1, 1, 2), scale=0.5, sigma_mm=1, min_size=5)
    far = felzenszwalb(image, (4, 4, 8), scale=0.5, sigma_mm=4, min_size=5)
    np.testing.assert_array_equal(near, far)


def test_smoothing_is_in_millimetres():
    image = np.zeros((9, 9, 9))
    image[4] = 100
    blurred, kept = (felzenszwalb(image, (h, 1, 1), scale=5, sigma_mm=1).reshape(9, -1)[:, 0].tolist() for h in (1, 10))
    assert kept == [0] * 4 + [1] + [2] * 4
    assert len(set(blurred)) > 3


def test_the_spacing_of_a_single_slice_does_not_matter():
    image = np.random.default_rng(3).random((12, 12, 1))
    thin, thick = (felzenszwalb(image, (1, 1, h), scale=0.2, sigma_mm=0.5, min_size=4) for h in (0.01, 50))
    np.testing.assert_array_equal(thin, thick)
    assert thin.max() > 0


@settings(max_examples=60)
@given(arrays(np.float32, st.integers(0, 300), elements=st.sampled_from([0, 1e-30, 0.5, 0.50001, 1, 7, 3e30])))
def test_edges_are_sorted_stably(weights):
    for index in (np.int32, np.int64):
        edges = np.arange(len(weights), dtype=index)
        np.testing.assert_array_equal(ascending(weights, edges), np.argsort(weights, kind="stable"))


@settings(max_examples=150)
@given(arrays(np.int32, st.tuples(*[st.integers(1, 7)] * 3), elements=st.integers(0, 3)), st.integers(1, 12), st.data())
def test_cleaning_in_crops_is_cleaning_of_the_whole(regions, least, data):
    regions = np.kron(regions, np.ones([data.draw(st.integers(1, 3)) for _ in range(3)], np.int32))
    np.testing.assert_array_equal(clean(regions, least), cleaned_whole(regions, least))


def test_a_region_at_the_border_loses_nothing():
    regions = np.zeros((10, 10, 10), np.int32)
    regions[5:] = 1
    np.testing.assert_array_equal(clean(regions, 1), regions + 1)


@pytest.mark.parametrize("shape", [(12, 12, 1), (1, 12, 12), (12, 2, 12), (30, 1, 1), (1, 1, 1)])
def test_thin_volumes_survive_cleaning(shape):
    regions = np.zeros(shape, np.int32)
    regions[: shape[0] // 2] = 1
    np.testing.assert_array_equal(clean(regions, 1), regions + 1)


def test_small_regions_become_background():
    regions = np.zeros((10, 10, 10), np.int32)
    regions[8:] = 1
    np.testing.assert_array_equal(clean(regions, 200), regions + 1)
    np.testing.assert_array_equal(clean(regions, 201), regions == 0)
    assert not clean(regions, 801).any()


def test_a_thin_tail_is_cut_off():
    regions = np.zeros((20, 12, 12), np.int32)
    regions[2:8, 3:9, 3:9] = 1
    regions[8:16, 5, 5] = 1
    mask = clean(regions, 20) == 2
    assert mask[3:7, 4:8, 4:8].all()
    assert not mask[9:].any()


def test_parts_count_by_themselves():
    regions = np.zeros((30, 12, 12), np.int32)
    regions[2:10, 2:10, 2:10] = 1
    regions[10:20, 5, 5] = 1
    regions[20:25, 3:8, 3:8] = 1
    both, one = clean(regions, 50) == 2, clean(regions, 200) == 2
    assert [both[i, 5, 5] for i in (5, 15, 22)] == [True, False, True]
    assert [one[i, 5, 5] for i in (5, 15, 22)] == [True, False, False]


def test_a_hole_left_by_a_dropped_region_is_closed_and_a_kept_one_is_not():
    regions = np.zeros((9, 9, 9), np.int32)
    regions[4, 4, 4] = 1
    assert (clean(regions, 2) == 1).all()
    regions[3:6, 3:6, 3:6] = 1
    masks = clean(regions, 7)
    assert masks[4, 4, 4] == 2
    assert (masks == 1)[regions == 0].all()
    assert not (masks == 1)[regions == 1].any()


def test_objects_come_out_as_masks():
    shape, spacing = (48, 48, 24), (1, 1, 2)
    inside = [ball(shape, (14, 14, 12), 9, spacing), ball(shape, (33, 32, 11), 8, spacing)]
    image = noisy(inside[0] * 1.0 + inside[1] * 2.0, noise=2, spacing=spacing)
    masks = pseudo_masks(image.array, spacing, scale=0.03)
    for truth in inside:
        assert max(iou(truth, masks == v) for v in range(1, masks.max() + 1)) > 0.8
    assert sorted(set(masks.ravel()) - {0}) == list(range(1, masks.max() + 1))
    np.testing.assert_array_equal(masks, pseudo_masks(image.array, spacing, scale=0.03))


@pytest.fixture
def image():
    return np.round(noisy(ball((20, 18, 12), (9, 8, 6), 5), noise=10).array)


@pytest.mark.parametrize(("gain", "offset"), [(2, 0), (1, -1024), (0.25, 64)])
def test_gain_and_offset_do_not_matter(image, gain, offset):
    assert pseudo_masks(image, (1, 1, 1)).max() > 1
    np.testing.assert_array_equal(pseudo_masks(image * gain + offset, (1, 1, 1)), pseudo_masks(image, (1, 1, 1)))


def test_a_few_extreme_voxels_do_not_set_the_scale(image):
    metal = image.copy()
    metal[0, 0, :4] = 1e6
    away = np.s_[3:, 3:, :]
    spared, plain = (canonical(pseudo_masks(a, (1, 1, 1))[away]) for a in (metal, image))
    assert spared.max() > 0
    assert (spared == plain).mean() > 0.9


def test_what_is_not_finite_counts_as_the_darkest(image):
    dark, broken = image.copy(), image.copy()
    dark[2:5, 2:5, 3] = image.min()
    broken[2:5, 2:5, 3] = np.array([np.nan, np.inf, -np.inf])
    np.testing.assert_array_equal(pseudo_masks(broken, (1, 1, 1)), pseudo_masks(dark, (1, 1, 1)))
    np.testing.assert_array_equal(felzenszwalb(broken, (1, 1, 1), scale=100), felzenszwalb(dark, (1, 1, 1), scale=100))


def test_a_sparse_image_is_not_taken_for_a_constant_one():
    image = np.zeros((20, 20, 20))
    image[:4, :4, :4] = 1
    assert pseudo_masks(image, (1, 1, 1), sigma_mm=0).max() > 1


@pytest.mark.parametrize("shape", [(8, 9, 10), (8, 9, 1), (1, 1, 1)])
@pytest.mark.parametrize("value", [0, -1000, 3e38])
def test_a_constant_image_is_one_region(shape, value):
    if value > 1e30:
        with pytest.raises(InputError, match="no finite voxel"):
            pseudo_masks(np.full(shape, value), (1, 1, 1))
    else:
        assert (felzenszwalb(np.full(shape, value), (1, 1, 1), scale=1) == 0).all()
        assert (pseudo_masks(np.full(shape, value), (1, 1, 1)) == 1).all()


@settings(max_examples=60)
@given(arrays(np.float32, st.tuples(*[st.integers(1, 9)] * 3), elements=st.floats(width=32)), SPACINGS)
def test_any_image_gives_masks_or_a_sentence(image, spacing):
    assume((np.abs(image) < 1e30).any())
    masks = pseudo_masks(image, spacing, least_share=0.05)
    assert masks.shape == image.shape
    assert set(np.unique(masks)) - {0} == set(range(1, masks.max() + 1))


@pytest.mark.parametrize(
    ("image", "spacing", "options", "error", "words"),
    [
        (np.zeros((4, 4)), (1, 1, 1), {}, InputError, "axes"),
        (np.zeros((4, 0, 4)), (1, 1, 1), {}, InputError, "at least one voxel"),
        (np.full((4, 4, 4), np.nan), (1, 1, 1), {}, InputError, "no finite voxel"),
        (np.zeros((4, 4, 4)), (1, 0, 1), {}, GeometryError, "positive"),
        (np.zeros((4, 4, 4)), (1, np.nan, 1), {}, GeometryError, "positive"),
        (np.zeros((4, 4, 4)), (1, 1), {}, GeometryError, "three"),
        (np.zeros((4, 4, 4)), (1, 1, 1), {"scale": -1}, InputError, "scale"),
        (np.zeros((4, 4, 4)), (1, 1, 1), {"sigma_mm": np.inf}, InputError, "sigma_mm"),
        (np.zeros((4, 4, 4)), (1, 1, 1), {"least_share": 1.5}, InputError, "least_share"),
    ],
)
def test_wrong_input_gets_a_sentence(image, spacing, options, error, words):
    with pytest.raises(error, match=words):
        pseudo_masks(image, spacing, **options)


def test_numba_waits_until_it_is_needed():
    script = "import sys, voxelsmith.segment.pseudo_masks; print('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip() == "False"
