"""Prompts: what is accepted, what is refused, and undo and redo against a plain model."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from voxelsmith.core.errors import PromptError
from voxelsmith.core.prompts import Box, MaskPrompt, ObjectPrompts, Point, PromptSet, Scribble, TextPrompt

corners = st.tuples(*[st.integers(-5, 15)] * 3)


@st.composite
def boxes(draw):
    a, b = draw(corners), draw(corners)
    return Box(tuple(map(min, a, b)), tuple(map(max, a, b)))


def voxels_of(box, grid=(10, 9, 8)):
    """The voxels of an image that lie in a box, counted one by one."""
    index = np.argwhere(np.ones(grid, bool))
    return {tuple(v) for v in index[((index >= box.lo) & (index <= box.hi)).all(axis=1)].tolist()}


@pytest.mark.parametrize(
    ("index", "voxel"), [((0, 0, 0), (0, 0, 0)), ((0.49, 0.5, -0.5), (0, 1, 0)), ((1.5, 2.5, -0.51), (2, 3, -1))]
)
def test_a_point_lies_in_the_voxel_whose_centre_is_nearest(index, voxel):
    assert Point(index).voxel == voxel


@pytest.mark.parametrize("index", [(1, 2), (1, 2, 3, 4), (np.nan, 0, 0), (0, np.inf, 0)])
def test_points_are_three_finite_numbers(index):
    with pytest.raises(PromptError, match="three finite"):
        Point(index)


def test_both_corners_of_a_box_belong_to_it():
    box = Box((1, 2, 3), (1, 4, 6))
    assert box.shape == (1, 3, 4)
    assert np.zeros((9, 9, 9))[box.slices].shape == box.shape
    assert box.contains((1, 4, 6))
    assert not box.contains((1, 5, 6))


def test_an_empty_box_is_refused():
    with pytest.raises(PromptError, match=r"empty.*\(3, 0, 0\).*smaller"):
        Box((3, 0, 0), (2, 5, 5))
    with pytest.raises(PromptError, match="three voxel indices"):
        Box((0, 0), (1, 1))


@given(boxes(), boxes())
def test_the_union_is_the_smallest_box_around_both(a, b):
    union = a.union(b)
    assert union == b.union(a)
    for corner in (a.lo, a.hi, b.lo, b.hi):
        assert union.contains(corner)
    assert all(lo in (x, y) for lo, x, y in zip(union.lo, a.lo, b.lo, strict=True))
    assert all(hi in (x, y) for hi, x, y in zip(union.hi, a.hi, b.hi, strict=True))


@given(boxes())
def test_clipping_keeps_the_voxels_of_the_image(box):
    grid = (10, 9, 8)
    inside = voxels_of(box, grid)
    if inside:
        clipped = box.clipped(grid)
        assert voxels_of(clipped) == inside
        assert np.prod(clipped.shape) == len(inside)
    else:
        with pytest.raises(PromptError, match="outside the image"):
            box.clipped(grid)


def test_growing_rounds_up():
    assert Box((2, 2, 2), (3, 3, 3)).grown((0, 1, 1.2)) == Box((2, 1, 0), (3, 4, 5))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6), st.integers(0, 7)), min_size=1), st.integers(0, 3))
def test_the_box_around_a_mask_is_tight(voxels, margin):
    mask = np.zeros((6, 7, 8), np.uint8)
    mask[tuple(np.array(voxels).T)] = 3
    at = np.argwhere(mask)
    expected = Box(tuple(at.min(axis=0)), tuple(at.max(axis=0))).grown(margin).clipped(mask.shape)
    assert Box.around(mask, margin) == expected


def test_nothing_has_no_box():
    with pytest.raises(PromptError, match="empty"):
        Box.around(np.zeros((3, 3, 3)))


@pytest.mark.parametrize("voxels", [[], [1, 2, 3], [[1, 2]], np.zeros((0, 3))])
def test_scribbles_are_lists_of_voxels(voxels):
    with pytest.raises(PromptError, match=r"shape \(N, 3\)"):
        Scribble(voxels)


def test_prompts_keep_their_own_copy():
    voxels, mask = np.array([[1, 2, 3]]), np.ones((2, 2, 2), bool)
    scribble, start = Scribble(voxels), MaskPrompt(mask)
    voxels[:], mask[:] = 0, False
    assert scribble.voxels.tolist() == [[1, 2, 3]]
    assert start.mask.all()
    with pytest.raises(ValueError, match="read-only"):
        scribble.voxels[0, 0] = 5


def test_a_mask_to_start_from_is_kept_in_its_box():
    mask = np.zeros((5, 6, 7), np.uint8)
    mask[1:3, 2:5, 4] = 9
    start = MaskPrompt.cropped(mask)
    assert start.box == Box((1, 2, 4), (2, 4, 4))
    assert start.mask.all()
    for empty in (np.zeros((2, 2, 2)), np.ones((2, 2))):
        with pytest.raises(PromptError):
            MaskPrompt(empty)


def test_a_text_names_something():
    for text in ("", "  ", "?!", "42"):
        with pytest.raises(PromptError, match="at least one word"):
            TextPrompt(text)
    assert TextPrompt("L5 vertebra").text == "L5 vertebra"


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        (Point((0, 0, 4)), "click inside"),
        (Point((-0.6, 0, 0)), "click inside"),
        (Box((9, 9, 9), (12, 12, 12)), "outside the image"),
        (Scribble([[0, 0, 0], [0, 0, 4]]), "scribble leaves"),
        (Scribble([[0, -1, 0]]), "scribble leaves"),
        (MaskPrompt(np.ones((2, 3, 5), bool)), "resample it"),
        (MaskPrompt(np.ones((1, 1, 1), bool), (0, 0, 4)), "does not fit"),
        (MaskPrompt(np.ones((1, 1, 1), bool), (-1, 0, 0)), "does not fit"),
    ],
)
def test_prompts_outside_the_image_are_refused(prompt, sentence):
    with pytest.raises(PromptError, match=sentence):
        ObjectPrompts((prompt,)).check((2, 3, 4))


def test_prompts_on_the_border_are_inside():
    border = (Point((1.4, 2, 3)), Box((-4, -4, -4), (0, 9, 9)), Scribble([[1, 2, 3]]), MaskPrompt(np.ones((2, 3, 4))))
    ObjectPrompts(border).check((2, 3, 4))


def test_prompts_are_sorted_by_kind_and_sign():
    first, last = MaskPrompt(np.ones((1, 1, 1))), MaskPrompt(np.ones((2, 2, 2)))
    point, no, scribble = Point((1, 1, 1)), Point((2, 2, 2), False), Scribble([[3, 3, 3], [4, 4, 4]])
    word, box = TextPrompt("liver"), Box((0, 0, 0), (5, 5, 5))
    prompts = ObjectPrompts((first, point, box, no, word, scribble, last))
    assert prompts.points == (point, no)
    assert prompts.boxes == (box,)
    assert prompts.scribbles == (scribble,)
    assert prompts.texts == (word,)
    assert prompts.mask is last
    assert prompts.seeds(True).tolist() == [[1, 1, 1], [3, 3, 3], [4, 4, 4]]
    assert prompts.seeds(False).tolist() == [[2, 2, 2]]
    assert ObjectPrompts().seeds(True).shape == (0, 3)
    assert ObjectPrompts().mask is None
    assert not ObjectPrompts()


def test_a_refused_change_is_no_step():
    prompts = PromptSet()
    with pytest.raises(PromptError, match="numbered from 1"):
        prompts.add(Point((0, 0, 0)), obj=0)
    assert not prompts.can_undo


class UndoMachine(RuleBasedStateMachine):
    """PromptSet against lists of plain dictionaries."""

    def __init__(self):
        super().__init__()
        self.real = PromptSet()
        self.states, self.at = [{}], 0

    def push(self, state):
        self.states[self.at + 1 :] = [state]
        self.at += 1

    @rule(obj=st.integers(1, 3), indices=st.lists(st.tuples(*[st.integers(0, 9)] * 3), min_size=1, max_size=3))
    def add(self, obj, indices):
        new = [Point(i) for i in indices]
        self.real.add(new if len(new) > 1 else new[0], obj)
        self.push({**self.states[self.at], obj: [*self.states[self.at].get(obj, []), *new]})

    @rule(obj=st.integers(1, 3), index=st.tuples(*[st.integers(0, 9)] * 3))
    def replace(self, obj, index):
        self.real.replace(obj, [Point(index)])
        self.push({**self.states[self.at], obj: [Point(index)]})

    @rule(obj=st.sampled_from([None, 1, 2, 3]))
    def clear(self, obj):
        self.real.clear(obj)
        now = self.states[self.at]
        if obj in now or (obj is None and now):
            self.push({} if obj is None else {k: v for k, v in now.items() if k != obj})

    @rule(steps=st.integers(1, 4))
    def undo(self, steps):
        for _ in range(steps):
            assert self.real.undo() == (self.at > 0)
            self.at = max(0, self.at - 1)

    @rule(steps=st.integers(1, 4))
    def redo(self, steps):
        for _ in range(steps):
            assert self.real.redo() == (self.at + 1 < len(self.states))
            self.at = min(len(self.states) - 1, self.at + 1)

    @invariant()
    def agrees(self):
        assert {k: list(v.prompts) for k, v in self.real.objects.items()} == self.states[self.at]
        assert [set(state) for state in self.real.states] == [set(state) for state in self.states]
        assert (self.real.can_undo, self.real.can_redo) == (self.at > 0, self.at + 1 < len(self.states))
        assert list(self.real[2].prompts) == self.states[self.at].get(2, [])


UndoMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestUndoAndRedo = UndoMachine.TestCase
