"""Rendered label maps: numbers survive, tissues that nobody annotates stay unannotated, views differ."""

import numpy as np
import pytest

from voxelsmith.core.errors import InputError
from voxelsmith.train.anatomy import FREESURFER, LabelScheme, anatomy_sample

SPACING = np.array([1.0, 1.0, 1.0])


def head(size=96) -> np.ndarray:
    """A ball of skull (501) with left (2, 10) and right (41, 49) halves inside."""
    offsets = (np.indices((size, size, size)) + 0.5) / size - 0.5
    radius = np.sqrt((offsets**2).sum(axis=0))
    labels = np.where(radius < 0.45, 501, 0)
    left = offsets[0] < 0
    labels[radius < 0.38] = np.where(left, 2, 41)[radius < 0.38]
    labels[radius < 0.2] = np.where(left, 10, 49)[radius < 0.2]
    return labels.astype(np.uint16)


HEAD = head()


def test_a_seed_gives_the_same_view_again_whatever_the_memory_order():
    first = anatomy_sample(np.random.default_rng(1), HEAD, SPACING)
    again = anatomy_sample(np.random.default_rng(1), np.asfortranarray(HEAD), SPACING)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.labels, again.labels)


def test_views_are_finite_annotated_and_differ_in_grid_and_spacing():
    samples = [anatomy_sample(np.random.default_rng(s), HEAD, SPACING, scheme=FREESURFER, name="h") for s in range(20)]
    for sample in samples:
        assert sample.image.dtype == np.float32
        assert sample.labels.dtype == np.int16
        assert np.isfinite(sample.image).all()
        assert sample.image.size <= 600_000
        assert sample.name == "h"
        assert sample.labels.any()
        assert set(np.unique(sample.labels)) <= {0, 2, 10, 41, 49}
    assert len({sample.grid for sample in samples}) > 10
    assert len({tuple(np.round(sample.spacing, 3)) for sample in samples}) > 10


def test_left_and_right_are_sometimes_merged_and_mostly_alike():
    merged, same = 0, []
    for seed in range(40):
        sample = anatomy_sample(np.random.default_rng(seed), HEAD, SPACING, scheme=FREESURFER)
        present = set(np.unique(sample.labels))
        if 41 in present and 2 in present:
            inner = [sample.image[sample.labels == label].mean() for label in (2, 41)]
            same.append(abs(inner[0] - inner[1]) < 0.1)
        merged += not present & {41, 49}
    assert 4 <= merged <= 25
    assert np.mean(same) > 0.7


def test_without_a_scheme_every_number_is_annotated():
    seen = set()
    for seed in range(10):
        seen |= set(np.unique(anatomy_sample(np.random.default_rng(seed), HEAD, SPACING).labels).tolist())
    assert seen == {0, 2, 10, 41, 49, 501}


def test_a_part_is_annotated_as_its_whole():
    sample = anatomy_sample(np.random.default_rng(0), HEAD, SPACING, scheme=LabelScheme(aliases={10: 2, 49: 41}))
    assert set(np.unique(sample.labels)) <= {0, 2, 41, 501}


def test_objects_stand_out_from_each_other():
    differences = []
    for seed in range(30):
        sample = anatomy_sample(np.random.default_rng(seed), HEAD, SPACING)
        inner, outer = sample.labels == 10, sample.labels == 2
        if inner.any() and outer.any():
            image = sample.image
            differences.append(abs(image[inner].mean() - image[outer].mean()) / (image[inner].std() + 1e-6))
    assert len(differences) > 15
    assert np.mean(np.array(differences) > 1) > 0.6


def test_crumbs_are_not_annotated():
    labels = np.zeros((60, 60, 60), np.uint8)
    labels[10:50, 10:50, 10:50] = 1
    labels[30, 30, 30] = 2
    for seed in range(10):
        sample = anatomy_sample(np.random.default_rng(seed), labels, SPACING)
        counts = np.bincount(sample.labels.ravel(), minlength=3)
        assert counts[2] == 0 or counts[2] >= 20


def test_the_tables_of_freesurfer_do_not_contradict_each_other():
    assert not set(FREESURFER.pairs) & set(FREESURFER.pairs.values())
    assert not (set(FREESURFER.pairs) | set(FREESURFER.aliases.values())) & FREESURFER.unannotated


def test_a_map_that_is_not_one_gets_a_sentence():
    with pytest.raises(InputError, match="3-D array of integers"):
        anatomy_sample(np.random.default_rng(0), HEAD.astype(np.float32), SPACING)
