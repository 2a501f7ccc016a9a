"""Commits: nothing is overwritten unasked, and everything can be taken back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxelsmith.core.errors import GeometryError, InputError
from voxelsmith.core.prompts import Box, ObjectPrompts
from voxelsmith.core.volume import Volume
from voxelsmith.segment.commit import next_free_label, plan_commit
from voxelsmith.segment.engine import PromptRequest, Segmentation

GRID = (4, 5, 6)
BOX = Box((1, 1, 1), (2, 3, 4))


def segmentation(seed=0, box=BOX):
    mask = np.random.default_rng(seed).random(box.shape) > 0.4
    return Segmentation(PromptRequest(Volume(np.zeros(GRID)), ObjectPrompts()), box, mask, "test")


def labels(seed=1, highest=3):
    return np.random.default_rng(seed).integers(0, highest + 1, GRID).astype(np.uint8)


def test_planning_changes_nothing():
    target = labels()
    before = target.copy()
    plan_commit(target, segmentation())
    np.testing.assert_array_equal(target, before)


@given(st.integers(0, 99), st.integers(0, 99), st.booleans())
def test_only_free_voxels_are_taken_unless_asked(seed, other, overwrite):
    target, found = labels(seed), segmentation(other)
    before = target.copy()
    commit = plan_commit(target, found, 9, overwrite=overwrite)
    assert commit.apply() == BOX
    mask = found.on_grid()
    taken = mask if overwrite else mask & (before == 0)
    np.testing.assert_array_equal(target, np.where(taken, 9, before))
    assert commit.count == taken.sum()
    commit.revert()
    np.testing.assert_array_equal(target, before)
    commit.apply()
    np.testing.assert_array_equal(target, np.where(taken, 9, before))


@settings(max_examples=40)
@given(st.lists(st.tuples(*[st.integers(0, n - 1) for n in GRID]), max_size=10), st.booleans())
def test_what_was_painted_since_survives_undo_and_redo(painted, overwrite):
    target = labels()
    before = target.copy()
    commit = plan_commit(target, segmentation(), 9, overwrite=overwrite)
    commit.apply()
    applied = target.copy()
    touched = np.zeros(GRID, bool)
    touched[tuple(np.array(painted, int).reshape(-1, 3).T)] = True
    target[touched] = 77
    commit.revert()
    np.testing.assert_array_equal(target, np.where(touched, 77, before))
    commit.apply()
    np.testing.assert_array_equal(target, np.where(touched, 77, applied))


def test_labels_are_numbered_on():
    target = labels(highest=3)
    assert next_free_label(target) == 4
    assert next_free_label(np.zeros(GRID, np.uint8)) == 1
    commit = plan_commit(target, segmentation(), name="liver")
    assert (commit.label, commit.name) == (4, "liver")


@pytest.mark.parametrize(
    ("target", "label"),
    [
        (np.full(GRID, 255, np.uint8), None),
        (np.zeros(GRID, np.int8), 128),
        (np.zeros(GRID, np.uint8), 0),
        (np.zeros(GRID, np.uint8), -1),
        (np.zeros(GRID, np.float32), 1),
        (np.zeros(GRID, bool), 1),
    ],
)
def test_labels_that_do_not_fit_are_refused(target, label):
    before = target.copy()
    with pytest.raises(InputError, match="cannot take label"):
        plan_commit(target, segmentation(), label)
    np.testing.assert_array_equal(target, before)


def test_the_target_lies_on_the_grid_of_the_image():
    with pytest.raises(GeometryError, match=r"\(4, 5, 6\), but have \(6, 5, 4\)"):
        plan_commit(np.zeros((6, 5, 4), np.uint8), segmentation())
