"""Prompts of a simulated user: they lie where they say, and the same seed gives the same ones."""

import pickle

import numpy as np
import pytest
from scipy import ndimage

from voxelsmith.core.errors import InputError
from voxelsmith.core.prompts import Box
from voxelsmith.models.promptable import CHANNELS
from voxelsmith.segment.prompted_region import click_map
from voxelsmith.train.prompting import begin, correction, corrupted, jittered, misjudged, pick, stroke, window

GRID = (30, 26, 22)
SPACING = np.array([1.0, 1.0, 1.5])
SEEDS = range(60)


def generator(seed):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def truth():
    """An ellipsoid; its tight box is 6..20, 7..17, 6..14."""
    index = np.stack(np.meshgrid(*map(np.arange, GRID), indexing="ij"), axis=-1)
    return np.linalg.norm((index - [13, 12, 10]) / [7.2, 5.2, 4.2], axis=-1) <= 1


@pytest.fixture(scope="module")
def image(truth):
    return (100 * truth + generator(0).normal(200, 20, GRID)).astype(np.float32)


def channel(episode, name):
    return episode.region.inputs()[CHANNELS.index(name)]


def same(one, other):
    return (
        one.kind == other.kind
        and np.array_equal(one.region.inputs(), other.region.inputs())
        and np.array_equal(one.target, other.target)
    )


def inside_grid(box, grid=GRID):
    return min(box.lo) >= 0 and all(h < n for h, n in zip(box.hi, grid, strict=True))


def test_drawn_boxes_are_exact_or_off_by_a_share_of_the_size(truth):
    tight = Box.around(truth)
    boxes = [jittered(generator(seed), tight, GRID) for seed in range(400)]
    assert all(inside_grid(box) for box in boxes)
    exact = np.mean([box == tight for box in boxes])
    assert 0.3 < exact < 0.6
    outwards = np.array([np.subtract(tight.lo, box.lo) for box in boxes] + [np.subtract(b.hi, tight.hi) for b in boxes])
    shares = outwards / tight.shape
    assert shares.max() <= 0.4
    assert shares.min() >= -0.25
    assert (shares > 0).sum() > 2 * (shares < 0).sum() > 0


def test_a_box_at_the_border_stays_in_the_image():
    grid = (6, 5, 4)
    whole = Box((0, 0, 0), (5, 4, 3))
    boxes = [jittered(generator(seed), whole, grid) for seed in SEEDS]
    boxes += [misjudged(generator(seed), whole, grid, np.array([5, 0, 3])) for seed in SEEDS]
    assert all(inside_grid(box, grid) for box in boxes)


def test_a_single_voxel_can_be_boxed():
    voxel = Box((2, 0, 3), (2, 0, 3))
    assert all(jittered(generator(seed), voxel, (5, 5, 5)).contains((2, 0, 3)) for seed in SEEDS)


def test_misjudged_boxes_hold_the_click_and_differ_in_size(truth):
    tight = Box.around(truth)
    sizes = []
    for seed in SEEDS:
        click = pick(generator(seed), truth, SPACING)
        box = misjudged(generator(1000 + seed), tight, GRID, click)
        assert inside_grid(box)
        assert box.contains(click)
        sizes.append(np.prod(box.shape) / np.prod(tight.shape))
    assert min(sizes) < 0.7
    assert max(sizes) > 1.5
    for corner in (tight.lo, tight.hi):
        assert all(misjudged(generator(seed), tight, GRID, np.array(corner)).contains(corner) for seed in SEEDS)


def test_windows_are_parts_of_the_region_that_hold_some_of_the_object(truth):
    around = Box((1, 2, 1), (28, 24, 19))
    cuts = [window(generator(seed), around, truth, SPACING) for seed in SEEDS]
    for cut in cuts:
        assert around.contains(cut.lo)
        assert around.contains(cut.hi)
        assert truth[cut.slices].any()
        assert min(cut.shape) >= 8
    assert np.mean([cut == around for cut in cuts]) < 0.1


def test_a_window_never_misses_a_single_voxel():
    speck = np.zeros((16, 16, 16), bool)
    speck[8, 8, 8] = True
    around = Box((0, 0, 0), (15, 15, 15))
    cuts = [window(generator(seed), around, speck, SPACING) for seed in range(400)]
    assert all(cut.contains((8, 8, 8)) for cut in cuts)
    assert cuts.count(around) < 10


def test_corrupted_masks_are_partly_wrong():
    truth = np.zeros((36, 36, 36), bool)
    truth[6:30, 6:30, 6:30] = True
    overlaps = []
    for seed in SEEDS:
        wrong = corrupted(generator(seed), truth.astype(np.float32))
        assert wrong.shape == truth.shape
        assert set(np.unique(wrong)) <= {0, 1}
        mask = wrong > 0
        overlaps.append(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))
    assert 0.3 < min(overlaps) < 0.8 < np.median(overlaps) < 0.97
    assert max(overlaps) < 1


def test_a_mask_that_would_vanish_is_kept():
    share = np.zeros((9, 9, 9), np.float32)
    share[4, 4, 4] = 1
    assert all(corrupted(generator(seed), share).any() for seed in SEEDS)


def test_picks_lie_in_the_mask_deep_or_anywhere(truth):
    depth = ndimage.distance_transform_edt(truth, sampling=SPACING)
    deep = [depth[tuple(pick(generator(seed), truth, SPACING, deep=1))] for seed in SEEDS]
    anywhere = [depth[tuple(pick(generator(seed), truth, SPACING, deep=0))] for seed in SEEDS]
    assert min(deep) >= 0.6 * depth.max()
    assert min(anywhere) > 0
    assert min(anywhere) < 0.3 * depth.max() < max(anywhere)


def test_depth_is_measured_in_millimetres():
    slab = np.zeros((20, 20, 5), bool)
    slab[5:15, 5:15, 1:4] = True
    thick = [pick(generator(seed), slab, np.array([1, 1, 10]), deep=1) for seed in SEEDS]
    assert {int(voxel[2]) for voxel in thick} == {1, 2, 3}
    thin = [pick(generator(seed), slab, np.array([10, 10, 1]), deep=1) for seed in SEEDS]
    assert {int(voxel[2]) for voxel in thin} == {2}


def test_strokes_stay_on_their_side_as_clicks_or_as_scribbles(truth):
    lengths = []
    for seed in range(150):
        made = stroke(generator(seed), ~truth, SPACING, False, 2)
        assert not made.positive
        assert not truth[tuple(made.voxels.T)].any()
        lengths.append(len(made.voxels))
        if len(made.voxels) > 2:
            # A scribble: in one slice, without a gap.
            assert (np.ptp(made.voxels, axis=0) == 0).any()
            painted = np.zeros(GRID, bool)
            painted[tuple(made.voxels.T)] = True
            assert ndimage.label(painted, np.ones((3, 3, 3)))[1] == 1
    assert 0.05 < np.mean(np.array(lengths) > 2) < 0.3


def test_corrections_lie_on_errors_and_mostly_on_the_largest():
    truth, answer = np.zeros(GRID, bool), np.zeros(GRID, bool)
    truth[3:9, 3:9, 3:9] = answer[3:9, 3:9, 3:9] = True
    truth[14:22, 3:11, 3:11] = True
    answer[3:6, 16:21, 3:7] = True
    positive = 0
    for seed in SEEDS:
        made = correction(generator(seed), truth, answer, SPACING)
        at = tuple(made.voxels.T)
        assert (truth[at] == made.positive).all()
        assert (answer[at] != made.positive).all()
        positive += made.positive
    assert positive >= 50
    found = {correction(generator(seed), truth, truth ^ answer, SPACING).positive for seed in SEEDS}
    assert found == {True, False}


def test_each_correction_keeps_to_one_part_of_the_errors():
    truth = np.zeros((20, 6, 6), bool)
    truth[1:5], truth[8:12] = True, True
    for seed in SEEDS:
        made = correction(generator(seed), truth, np.zeros_like(truth), np.ones(3))
        first = made.voxels[:, 0]
        assert made.positive
        assert first.max() < 5 or (first.min() >= 8 and first.max() < 12)


def test_a_part_inside_the_box_of_another_is_a_part_of_its_own():
    truth = np.zeros((24, 24, 5), bool)
    truth[2:22, 2:22, 1:4] = True
    truth[4:20, 4:20] = False
    truth[10:14, 10:14, 1:4] = True
    middle = np.zeros_like(truth)
    middle[10:14, 10:14] = True
    made = [correction(generator(seed), truth, np.zeros_like(truth), np.ones(3)) for seed in SEEDS]
    assert sum(middle[tuple(m.voxels.T)].any() for m in made) <= 4


def test_there_is_nothing_to_correct_in_a_right_answer(truth):
    assert correction(generator(0), truth, truth, SPACING) is None


@pytest.mark.parametrize("kind", ["box", "click", "mask"])
def test_episodes_show_what_their_kind_says(truth, image, kind):
    shown = []
    for seed in range(12):
        episode = begin(generator(seed), image, truth, SPACING, 3000, kind)
        inputs = episode.region.inputs()
        assert episode.kind == kind
        assert episode.target.shape == inputs.shape[1:] == episode.region.region.grid
        assert inputs.shape[0] == len(CHANNELS)
        assert np.isfinite(inputs).all()
        assert episode.target.size <= 6000
        assert (episode.target > 0.5).any()
        shown.append(channel(episode, "box").any())
        if kind == "click":
            assert channel(episode, "positive").max() == 1
        if kind == "mask":
            assert channel(episode, "guess").any()
    assert all(shown) if kind == "box" else not any(shown) if kind == "click" else 0 < sum(shown) < 12


def test_the_target_is_the_share_of_the_object_in_each_working_voxel(truth, image):
    episode = begin(generator(1), image, truth, SPACING, 1000, "box")
    region = episode.region.region
    assert not region.is_full
    np.testing.assert_allclose(episode.target, region.shrink(truth), atol=1e-3)
    assert ((episode.target > 0) & (episode.target < 1)).any()


def test_first_clicks_lie_on_the_side_that_they_say(truth, image):
    clicks = {"positive": 0, "negative": 0}
    for seed in range(40):
        episode = begin(generator(seed), image, truth, SPACING, 3000)
        inside = episode.target > 0.5
        near = ndimage.binary_dilation(inside, np.ones((9, 9, 9)))
        for sign in clicks:
            at = np.argwhere(channel(episode, sign) == 1)
            clicks[sign] += len(at)
            assert (inside[tuple(at.T)] == (sign == "positive")).all()
            assert near[tuple(at.T)].all()
            np.testing.assert_array_equal(channel(episode, sign), click_map(inside.shape, at))
    assert min(clicks.values()) >= 5


def test_kinds_come_in_their_shares(truth, image):
    kinds = [begin(generator(seed), image, truth, SPACING, 400).kind for seed in range(60)]
    counts = {kind: kinds.count(kind) for kind in ("box", "click", "mask")}
    assert sum(counts.values()) == 60
    assert counts["box"] > counts["click"] > 5
    assert counts["mask"] > 2


def test_a_seed_gives_the_same_episode_again_and_through_a_pipe(truth, image):
    for seed in range(4):
        once, again = (begin(generator(seed), image, truth, SPACING, 2000) for _ in range(2))
        assert same(once, again)
        assert same(once, pickle.loads(pickle.dumps(once)))
        assert not same(once, begin(generator(seed + 100), image, truth, SPACING, 2000))


def test_a_correction_leaves_the_episode_that_it_branched_from_alone(truth, image):
    episode = begin(generator(2), image, truth, SPACING, 2000, "box")
    before = episode.region.inputs()
    twin = episode.region.branch()
    answer = np.zeros(episode.target.shape, np.float32)
    made = correction(generator(3), episode.target > 0.5, answer > 0.5, twin.region.spacing)
    twin.take(answer)
    twin.add(made)
    assert not np.array_equal(twin.inputs(), before)
    np.testing.assert_array_equal(episode.region.inputs(), before)


def test_a_constant_image_cannot_be_prompted(truth):
    with pytest.raises(InputError, match="constant"):
        begin(generator(0), np.ones(GRID, np.float32), truth, SPACING, 20_000)


def test_values_that_are_not_finite_do_not_reach_the_network(truth, image):
    broken = image.copy()
    broken[12, 12, 10], broken[0], broken[13, 12, 10] = np.nan, np.inf, -np.inf
    for kind in ("box", "click", "mask"):
        assert np.isfinite(begin(generator(4), broken, truth, SPACING, 2000, kind).region.inputs()).all()
