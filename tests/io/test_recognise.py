"""Images and label maps are told apart by their names and their values."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from scipy import ndimage

from voxelsmith.io.recognise import looks_like_labels, named_so

RNG = np.random.default_rng(11)


def organs(dtype: str = "uint8") -> np.ndarray:
    """Five balls of different labels on background."""
    labels = np.zeros((40, 40, 30), dtype)
    grid = np.indices(labels.shape)
    for value, centre in (
        (1, (10, 10, 10)),
        (2, (28, 12, 15)),
        (5, (15, 28, 20)),
        (9, (30, 30, 8)),
        (20, (20, 20, 25)),
    ):
        labels[((grid - np.array(centre)[:, None, None, None]) ** 2).sum(0) < 40] = value
    return labels


def smooth(levels: int, shape: tuple[int, int, int] = (48, 48, 24)) -> np.ndarray:
    """A smooth image of few grey levels on a black background, as an 8-bit image of low contrast."""
    field = ndimage.gaussian_filter(RNG.normal(size=shape), 4)
    field = (field - field.min()) / (field.max() - field.min())
    return np.where(field < 0.3, 0, np.round(field * levels)).astype(np.uint8)


@pytest.mark.parametrize(
    "name",
    [
        "case_seg.nii.gz",
        "BraTS-00000-seg.nii.gz",
        "brainMask.nrrd",
        "sub-01_dseg.nii",
        "aparc+aseg.nii",
        "Labels.mha",
        "segmentation.seg.nrrd",
        "img_ROI.nii",
        "labels01.nii.gz",
    ],
)
def test_names_of_labels(name):
    assert named_so(name)


@pytest.mark.parametrize("name", ["unmasked.nii", "segue.nii", "img.nii.gz", "heroic.nii", "maskedbrain.mha", ""])
def test_other_names(name):
    assert not named_so(name)


class TestLabels:
    def test_few_integers_in_patches(self):
        assert looks_like_labels(organs())
        assert looks_like_labels(organs("int64"))

    @pytest.mark.parametrize("high", [1, 255])
    def test_binary_masks(self, high):
        assert looks_like_labels((organs() > 0).astype(np.uint8) * np.uint8(high))

    def test_booleans(self):
        assert looks_like_labels(organs() > 0)

    def test_a_tight_crop_with_little_background(self):
        assert looks_like_labels(organs()[5:16, 5:16, 5:16])

    def test_many_instances_that_the_name_calls_labels(self):
        nuclei = np.zeros((60, 60, 60), np.uint16)
        corners = np.argwhere(np.ones((12, 12, 12))) * 5
        for n, (i, j, k) in enumerate(corners, start=1):
            nuclei[i : i + 4, j : j + 4, k : k + 4] = n
        assert looks_like_labels(nuclei, "nuclei_labels.nrrd")
        assert not looks_like_labels(nuclei, "nuclei.nrrd")

    def test_floats_only_by_name(self):
        assert looks_like_labels(organs("float32"), "organs_label.nii.gz")
        assert not looks_like_labels(organs("float32"), "organs.nii.gz")

    def test_empty_ones_only_by_name(self):
        assert looks_like_labels(np.zeros((5, 5, 5), np.uint8), "mask.nii")
        assert not looks_like_labels(np.zeros((5, 5, 5), np.uint8), "scan.nii")

    def test_lazy_ones_only_by_name_and_type(self):
        def fail(block):
            raise AssertionError("a lazy array was computed")

        lazy = da.zeros((9, 9, 9), dtype=np.uint16).map_blocks(fail, dtype=np.uint16, meta=np.empty(0, np.uint16))
        assert looks_like_labels(lazy, "cells_mask.zarr")
        assert not looks_like_labels(lazy, "cells.zarr")
        assert not looks_like_labels(lazy.astype(np.float32), "cells_mask.zarr")


class TestImages:
    @pytest.mark.parametrize("levels", [12, 30, 60])
    def test_of_few_smooth_grey_levels(self, levels):
        image = smooth(levels)
        assert len(np.unique(image)) <= 64
        assert not looks_like_labels(image)

    def test_of_few_photons(self):
        assert not looks_like_labels(RNG.poisson(3, (40, 40, 20)).astype(np.uint16))

    def test_of_low_contrast_and_noise_inside_a_black_frame(self):
        image = np.zeros((50, 50, 20), np.uint8)
        image[10:40, 10:40] = RNG.integers(3, 40, (30, 30, 20))
        assert not looks_like_labels(image)

    def test_of_ct_whatever_the_name(self):
        ct = RNG.normal(0, 300, (30, 30, 30)).astype(np.int16)
        assert not looks_like_labels(ct)
        assert not looks_like_labels(ct, "liver_roi.nii.gz")

    def test_of_mr_crops_called_roi(self):
        assert not looks_like_labels(RNG.integers(0, 900, (30, 30, 30)).astype(np.int16), "roi.nii.gz")

    def test_that_are_constant(self):
        assert not looks_like_labels(np.full((5, 5, 5), 7, np.uint8))

    def test_of_probabilities_called_segmentation(self):
        assert not looks_like_labels(RNG.random((9, 9, 9)).astype(np.float32), "segmentation.nii.gz")
