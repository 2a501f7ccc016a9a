"""Nested tumour regions: conventions there and back, what labels seem to mean, and painting that keeps the nesting."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from voxelsmith.core.errors import GeometryError, InputError
from voxelsmith.core.regions import CONVENTIONS, REGIONS, convention, depth_of, detect, keep_nested, region_masks

DEPTHS = arrays(np.uint8, (3, 4, 2), elements=st.integers(0, 3))
EVERY = pytest.mark.parametrize("name", list(CONVENTIONS))
FEW = settings(max_examples=12)


def onion(codes):
    """Cubes in each other: the first code outermost."""
    labels = np.zeros((12, 12, 12), np.uint8)
    for step, code in enumerate(codes):
        inner = slice(1 + step, 11 - step)
        labels[inner, inner, inner] = code
    return labels


@EVERY
@FEW
@given(DEPTHS)
def test_regions_survive_every_convention(name, depth):
    written = convention(name).labels(depth)
    assert np.array_equal(convention(name).depth(written), depth)
    assert np.array_equal(depth_of(region_masks(convention(name).depth(written))), depth)


@EVERY
def test_labels_that_are_written_are_named(name):
    meaning = convention(name)
    assert [meaning.depths[code] for code in meaning.codes] == [1, 2, 3]
    assert set(meaning.names) == set(meaning.depths)


@pytest.mark.parametrize(
    ("name", "whole", "core", "enhancing"),
    [
        ("brats2013", {1, 2, 3, 4}, {1, 3, 4}, {4}),
        ("brats2018", {1, 2, 4}, {1, 4}, {4}),
        ("brats2021", {1, 2, 4}, {1, 4}, {4}),
        ("brats2023", {1, 2, 3}, {1, 3}, {3}),
        ("brats2024", {1, 2, 3}, {1, 3}, {3}),
        ("msd", {1, 2, 3}, {2, 3}, {3}),
    ],
)
def test_which_labels_make_a_region(name, whole, core, enhancing):
    labels = np.array(sorted(convention(name).depths))
    masks = region_masks(convention(name).depth(labels))
    assert [set(labels[mask].tolist()) for mask in masks] == [whole, core, enhancing]


def test_a_region_inside_counts_as_the_regions_around_it():
    masks = np.zeros((3, 2, 2, 2), bool)
    masks[2, 0, 0, 0] = masks[1, 1, 1, 1] = True
    depth = depth_of(masks)
    assert (depth[0, 0, 0], depth[1, 1, 1], depth.sum()) == (3, 2, 5)


def test_an_unknown_convention_is_told_with_the_choices():
    with pytest.raises(InputError, match=r"brats2018.*msd, got 'brats1999'"):
        convention("brats1999")


@pytest.mark.parametrize("strange", [5, -1, 300])
def test_labels_that_a_convention_does_not_know_are_told(strange):
    with pytest.raises(InputError, match=rf"BraTS 2018 are 0, 1, 2, 4, got {strange};"):
        convention("brats2018").depth(np.array([0, 1, strange]))


def test_a_resection_cavity_is_known_but_in_no_region():
    assert convention("brats2024").depth(np.array([4, 3])).tolist() == [0, 3]


@pytest.mark.parametrize(
    ("codes", "name"),
    [((2, 1, 4), "brats2018"), ((2, 3, 1, 4), "brats2013"), ((2, 1, 3), "brats2023"), ((1, 2, 3), "msd")],
)
def test_values_and_what_lies_outermost_tell_the_convention(codes, name):
    assert detect(onion(codes)).convention.name == name


def test_values_that_only_one_kind_has_leave_no_doubt():
    found = detect(onion((2, 1, 4)))
    assert (found.alternatives, found.warning) == ((), "")
    assert not detect(np.zeros((3, 3, 3), int)).warning


def test_the_decathlon_is_always_a_doubt():
    for codes, other in (((2, 1, 3), "msd"), ((1, 2, 3), "brats2023")):
        found = detect(onion(codes))
        assert other in [c.name for c in found.alternatives]
        assert f"label {codes[0]} lies outermost" in found.warning


def test_four_labels_may_be_of_2013_or_2024():
    found = detect(onion((2, 3, 1, 4)))
    assert [c.name for c in found.alternatives] == ["brats2024"]
    assert "BraTS 2013 and BraTS 2024" in found.warning
    assert "outermost" not in found.warning


@pytest.mark.parametrize("code", [5, 255, -2])
def test_labels_of_no_convention_are_refused(code):
    labels = onion((2, 1)).astype(int)
    labels[0, 0, 0] = code
    with pytest.raises(InputError, match="Tumour labels have values 1 to 4"):
        detect(labels)


def test_painting_whole_tumour_over_its_core_leaves_the_core():
    b18 = convention("brats2018")
    labels = np.array([[[0, 1, 2, 4]]])
    assert keep_nested(labels, "WT", labels >= 0, convention=b18).tolist() == [[[2, 1, 2, 4]]]


def test_painting_what_enhances_brings_the_regions_around_it():
    msd = convention("msd")
    painted = keep_nested(np.zeros((2, 2, 2), int), "ET", np.ones((2, 2, 2), bool), convention=msd)
    assert region_masks(msd.depth(painted)).all()


def test_erasing_a_region_takes_what_lies_inside_it():
    old = convention("brats2013")
    labels = np.array([[[0, 1, 2, 3, 4]]])
    everywhere = np.ones(labels.shape, bool)
    assert keep_nested(labels, "ET", everywhere, erase=True, convention=old).tolist() == [[[0, 1, 2, 3, 1]]]
    assert keep_nested(labels, "TC", everywhere, erase=True, convention=old).tolist() == [[[0, 2, 2, 2, 2]]]
    assert not keep_nested(labels, "WT", everywhere, erase=True, convention=old).any()


@EVERY
@FEW
@given(DEPTHS, arrays(bool, (3, 4, 2)), st.sampled_from(REGIONS), st.booleans())
def test_painting_does_what_it_says_and_nothing_else(name, depth, mask, region, erase):
    meaning = convention(name)
    labels = meaning.labels(depth)
    kept = labels.copy()
    new = keep_nested(labels, region, mask, erase=erase, convention=meaning)
    assert np.array_equal(labels, kept)
    assert new.dtype == labels.dtype
    assert np.array_equal(new[~mask], labels[~mask])
    before, after = region_masks(depth), region_masks(meaning.depth(new))
    place = REGIONS.index(region)
    assert (after[place][mask] != erase).all()
    assert (after[1:] <= after[:-1]).all()
    untouched = slice(0, place) if erase else slice(place + 1, 3)
    assert np.array_equal(after[untouched], before[untouched])


def test_a_mask_of_another_shape_is_told():
    with pytest.raises(GeometryError, match="shape of the labels"):
        keep_nested(np.zeros((2, 2, 2), int), "WT", np.ones((2, 2, 3), bool), convention=convention("msd"))
