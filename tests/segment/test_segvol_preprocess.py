"""SegVol sees every image as its authors' code does, whatever way it is stored."""

from itertools import permutations, product

import numpy as np
import pytest
import torch

from segvol_cases import GOLDEN, ct_like
from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import InputError
from voxelsmith.core.prompts import Box
from voxelsmith.core.resample import reorient
from voxelsmith.core.volume import Volume
from voxelsmith.segment.segvol.geometry import Axes
from voxelsmith.segment.segvol.preprocess import brightness_range, prepare
from voxelsmith.segment.segvol.resize import covered, nearest, nearest_exact, smooth, spread_out, zoomed_out

CT = Volume(ct_like(), Affine(np.array([[-0.8, 0, 0, 30], [0, -0.8, 0, 25], [0, 0, 2.5, -50], [0, 0, 0, 1]])))
ORIENTATIONS = [
    "".join(pair[side] for pair, side in zip(axes, sides, strict=True))
    for axes in permutations(("LR", "PA", "IS"))
    for sides in product((0, 1), repeat=3)
]


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "preprocessing.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize(("case", "window"), [("pre_full", (32, 256, 256)), ("pre_small", (16, 40, 48))])
def test_preprocessing_equals_the_published_one(golden, case, window):
    made = prepare(CT, official=True)
    padding = np.maximum(np.array(window) - made.axes.shape, 0) // 2
    np.testing.assert_array_equal(golden[f"{case}/foreground_start_coord"], made.box.lo + padding)
    np.testing.assert_array_equal(golden[f"{case}/foreground_end_coord"], made.box.hi + padding + 1)
    assert made.crop.dtype == np.float32
    np.testing.assert_allclose(
        made.crop.ravel()[golden[f"{case}/image_idx"]], golden[f"{case}/image_sample"], atol=1e-5
    )
    stats = made.crop.mean(), made.crop.std(), made.crop.min(), made.crop.max()
    np.testing.assert_allclose(stats, golden[f"{case}/image_stats"], atol=1e-5)
    small = zoomed_out(made.crop, window)
    np.testing.assert_allclose(small.ravel()[golden[f"{case}/zoom_idx"]], golden[f"{case}/zoom_sample"], atol=1e-5)


def test_brightness_range_equals_the_published_one(golden):
    np.testing.assert_allclose(brightness_range(CT.array), golden["pre/bounds"][1:3], atol=1e-5)


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_all_orientations_are_seen_the_same_way(codes):
    image = reorient(CT, codes)
    axes = Axes.anatomical(image.affine, image.grid)
    seen = axes.view(image.array)
    np.testing.assert_array_equal(seen, reorient(CT, "LPS").array.transpose(2, 1, 0))
    np.testing.assert_array_equal(axes.back(seen), image.array)
    box = Box((3, 5, 7), (9, 20, 11))
    np.testing.assert_array_equal(seen[axes.box(box).slices], axes.view(image.array[box.slices]))
    assert axes.box_back(axes.box(box)) == box
    d, h, w = axes.index((4, 6, 8))
    assert seen[d, h, w] == image.array[4, 6, 8]
    made = prepare(image)
    np.testing.assert_array_equal(made.crop, prepare(CT).crop)
    np.testing.assert_allclose(made.spacing, (2.5, 0.8, 0.8))


def test_an_oblique_image_is_seen_along_its_closest_axes():
    angle = np.deg2rad(25)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ CT.affine.matrix[:3, :3]
    np.testing.assert_array_equal(prepare(Volume(CT.array, Affine(affine))).crop, prepare(CT).crop)


def test_official_order_depends_on_the_file():
    turned = reorient(CT, "RAS")
    assert not np.array_equal(prepare(turned, official=True).crop, prepare(CT, official=True).crop)
    np.testing.assert_array_equal(prepare(CT).crop, prepare(CT, official=True).crop)


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.full((4, 5, 6), 0.1, np.float32), "constant"),
        (np.full((4, 5, 6), -7, np.int16), "constant"),
        (np.full((4, 5, 6), np.nan), "finite"),
    ],
)
def test_an_image_without_contrast_is_refused(array, sentence):
    with pytest.raises(InputError, match=sentence):
        prepare(Volume(array))


def test_voxels_that_are_not_finite_are_background():
    array = CT.array.astype(np.float32)
    array[0, 0, 0], array[-1, -1, -1], array[36, 30, 20] = np.inf, -np.inf, np.nan
    made, whole = prepare(Volume(array, CT.affine)), prepare(CT)
    assert made.box == whole.box
    assert np.isfinite(made.crop).all()
    assert np.mean(made.crop != whole.crop) < 0.01


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float64])
def test_of_two_values_the_brighter_is_the_foreground(dtype):
    array = np.zeros((8, 9, 10), dtype)
    array[2:5, 3:8, 4:6] = 1
    made = prepare(Volume(array), official=True)
    assert made.source_box(Box((0, 0, 0), (1, 4, 2))) == Box((2, 3, 4), (4, 7, 5))
    assert (made.crop == 1).all()


@pytest.mark.parametrize("shape", [(20, 280, 255), (33, 256, 100), (1, 3, 512), (97, 301, 7)])
def test_resizing_agrees_with_torch(shape):
    crop = np.random.default_rng(0).random((shape[0], 1, shape[2]), dtype=np.float32)
    tensor = torch.from_numpy(crop)[None, None]
    exact = torch.nn.functional.interpolate(tensor, (32, 1, 256), mode="nearest-exact")[0, 0].numpy()
    np.testing.assert_array_equal(crop[nearest_exact(shape[0], 32)][:, :, nearest_exact(shape[2], 256)], exact)
    view = np.random.default_rng(1).random((32, 8, 256), dtype=np.float32)
    out = torch.nn.functional.interpolate(torch.from_numpy(view)[None, None], (shape[0], 8, shape[2]), mode="nearest")
    np.testing.assert_array_equal(spread_out(view, (shape[0], 8, shape[2])), out[0, 0].numpy())
    assert nearest(32, shape[0]).max() < 32


def test_the_smooth_way_up_is_trilinear_and_can_be_cut():
    view = np.random.default_rng(2).random((4, 8, 8), dtype=np.float32)
    shape = (9, 8, 21)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(view)[None, None], shape, mode="trilinear", align_corners=False
    )[0, 0].numpy()
    whole = smooth(view, shape, Box((0, 0, 0), (8, 7, 20)))
    np.testing.assert_allclose(whole, expected, atol=1e-6)
    part = Box((2, 3, 5), (6, 3, 20))
    np.testing.assert_allclose(smooth(view, shape, part), whole[part.slices], atol=1e-6)


def test_the_smooth_way_down_skips_no_voxel():
    view = np.random.default_rng(3).random((32, 16, 16), dtype=np.float32)
    shape = (5, 16, 3)
    small = smooth(view, shape, Box((0, 0, 0), (4, 15, 2)))
    np.testing.assert_allclose(small.mean(), view.mean(), rtol=1e-5)
    speck = np.zeros((32, 4, 4), dtype=np.float32)
    for d in range(32):
        speck[d] = 1
        assert smooth(speck, (5, 4, 4), Box((0, 0, 0), (4, 3, 3))).sum() > 0
        speck[d] = 0


def test_covered_holds_every_voxel_that_shows_a_part_of_the_view():
    part, shape = Box((3, 10, 250), (4, 12, 255)), (50, 100, 600)
    box = covered(part, shape)
    for axis, window in enumerate((32, 256, 256)):
        source = nearest(window, shape[axis])
        shown = np.flatnonzero((source >= part.lo[axis]) & (source <= part.hi[axis]))
        assert box.lo[axis] <= shown.min()
        assert shown.max() <= box.hi[axis]
    assert box.hi[2] == 599
