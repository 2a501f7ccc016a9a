"""What accepting a proposal writes, and what it never touches."""

import numpy as np
import pytest

from voxelsmith.core.errors import GeometryError, InputError
from voxelsmith.core.prompts import Box
from voxelsmith.core.support import SupportExample, SupportSet
from voxelsmith.core.volume import Volume
from voxelsmith.segment.acceptance import plan_acceptance
from voxelsmith.segment.proposal import Proposal, Provenance

SHAPE = (6, 5, 4)


@pytest.fixture
def image():
    return Volume(np.random.default_rng(0).normal(size=SHAPE).astype(np.float32))


@pytest.fixture
def proposal(image):
    labels = np.zeros(SHAPE, np.uint8)
    labels[:3], labels[3:5] = 1, 2
    return Proposal(
        image.labels(labels, names={1: "liver", 2: "spleen"}),
        (1, 2),
        np.zeros((2, *SHAPE), np.float16),
        Box((0, 0, 0), (5, 4, 3)),
        2,
        np.ones(4, np.float32),
        Provenance("same-volume", image.fingerprint(), ()),
    )


def example(image, painted, index, **more):
    labels = np.zeros(SHAPE, np.uint8)
    labels[:, :, index] = painted
    return SupportSet().add(SupportExample(image, image.labels(labels), 2, (index,), **more))


def write(target, commits):
    for commit in commits:
        commit.apply()
    return target


def test_everything_into_an_empty_layer_and_back(proposal):
    target = np.zeros(SHAPE, np.uint16)
    commits = plan_acceptance(target, proposal, SupportSet())
    np.testing.assert_array_equal(write(target, commits), proposal.labels.array)
    assert [(c.label, c.name, c.engine) for c in commits] == [(1, "liver", "same-volume"), (2, "spleen", "same-volume")]
    for commit in reversed(commits):
        commit.revert()
    assert not target.any()


@pytest.mark.parametrize(("values", "index"), [({2}, None), (None, 1), ({1}, 3)])
def test_one_class_or_one_slice(proposal, values, index):
    target = np.zeros(SHAPE, np.uint16)
    write(target, plan_acceptance(target, proposal, SupportSet(), values=values, index=index))
    expected = np.array(proposal.labels.array)
    if values:
        expected[~np.isin(expected, list(values))] = 0
    if index is not None:
        expected[:, :, np.arange(4) != index] = 0
    assert expected.any()
    np.testing.assert_array_equal(target, expected)


def test_committed_labels_stay_unless_the_user_asks(proposal):
    target = np.zeros(SHAPE, np.uint16)
    target[1, 1], target[4, 4] = 9, 1
    kept = write(target.copy(), ())
    for overwrite in (False, True):
        out = target.copy()
        write(out, plan_acceptance(out, proposal, SupportSet(), overwrite=overwrite))
        assert (out[kept > 0] == kept[kept > 0]).all() != overwrite
    np.testing.assert_array_equal(out, proposal.labels.array)


def test_painted_slices_stay_even_when_others_are_overwritten(image, proposal):
    painted = np.zeros(SHAPE[:2], np.uint8)
    painted[0], painted[5] = 1, 2
    support = example(image, painted, 1)
    target = np.zeros(SHAPE, np.uint16)
    target[:, :, 1] = painted
    write(target, plan_acceptance(target, proposal, support, overwrite=True))
    np.testing.assert_array_equal(target[:, :, 1], painted)
    np.testing.assert_array_equal(target[:, :, 2], proposal.labels.array[:, :, 2])
    off = support.switch(support.examples[0].content_hash, False)
    assert not plan_acceptance(np.zeros(SHAPE, np.uint8), proposal, off, values={2}, index=1)


def test_a_class_that_was_not_looked_for_may_be_added_beside_what_was_painted(image, proposal):
    painted = np.zeros(SHAPE[:2], np.uint8)
    painted[3] = 1
    target = np.zeros(SHAPE, np.uint16)
    write(target, plan_acceptance(target, proposal, example(image, painted, 1, classes=frozenset({1})), index=1))
    # Row 3 was painted as class 1, rows 0 to 2 were said not to be class 1; of class 2 only row 4 is left.
    assert np.unique(target[:3, :, 1]).tolist() == [0]
    assert (target[4, :, 1] == 2).all()
    assert not target[3, :, 1].any()


def test_voxels_that_were_ignored_are_open(image, proposal):
    ignored = np.zeros(SHAPE, bool)
    ignored[0] = True
    support = example(image, np.zeros(SHAPE[:2], np.uint8), 1, classes=frozenset({1}), ignored=ignored)
    target = np.zeros(SHAPE, np.uint16)
    write(target, plan_acceptance(target, proposal, support, values={1}, index=1))
    assert (target[0, :, 1] == 1).all()
    assert not target[1:, :, 1].any()


def test_slices_painted_on_another_image_do_not_count(image, proposal):
    other = Volume(np.array(image.array) + 1)
    support = example(other, np.ones(SHAPE[:2], np.uint8), 1)
    target = np.zeros(SHAPE, np.uint16)
    write(target, plan_acceptance(target, proposal, support))
    np.testing.assert_array_equal(target, proposal.labels.array)


def test_a_target_that_does_not_fit(proposal):
    with pytest.raises(GeometryError, match="grid"):
        plan_acceptance(np.zeros((6, 5, 3), np.uint8), proposal, SupportSet())
    with pytest.raises(InputError, match="larger integer"):
        plan_acceptance(np.zeros(SHAPE, bool), proposal, SupportSet())
