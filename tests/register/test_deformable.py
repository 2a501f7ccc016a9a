"""Deformable instance optimisation: known deformations are found, and everything that is asked for counts."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy import ndimage

from voxelsmith.core.errors import GeometryError, InputError
from voxelsmith.core.jacobian import folding_share, inside, jacobian_determinant
from voxelsmith.core.progress import Cancelled, run_job
from voxelsmith.models.warp import compose, pull
from voxelsmith.register.deformable import DeformableSettings, deform
from voxelsmith.register.problem import Problem

GRID = (36, 40, 32)
INNER = (slice(6, -6),) * 3


def texture(grid=GRID, seed=0, sigma=2.0):
    """A smooth random image in 0..1 that shows how everything moves."""
    image = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(grid), sigma, mode="nearest")
    return ((image - image.min()) / (image.max() - image.min())).astype(np.float32)


def wave(grid=GRID, size=(1.5, 1.5, 1.5)):
    """A smooth displacement of up to ``size`` voxels along each axis that ends at the border."""
    i, j, k = np.meshgrid(*(np.linspace(0, 1, count) for count in grid), indexing="ij")
    window = np.sin(np.pi * i) * np.sin(np.pi * j) * np.sin(np.pi * k)
    parts = np.sin(2 * np.pi * j), np.cos(2 * np.pi * k), np.sin(2 * np.pi * i + 1)
    return np.stack([s * window * part for s, part in zip(size, parts, strict=True)]).astype(np.float32)


def warped(image, displacement):
    """The image as seen through a displacement, by cubic interpolation."""
    places = np.indices(image.shape) + displacement
    return ndimage.map_coordinates(image, places, order=3, mode="nearest").astype(np.float32)


def known(grid=GRID, size=(1.5, 1.5, 1.5), spacing=(1.0, 1.0, 1.0), seed=0, **others):
    """A problem and the displacement that solves it."""
    moving, truth = texture(grid, seed), wave(grid, size)
    return Problem(warped(moving, truth), moving, spacing, **others), truth


def solve(problem, **settings):
    return run_job(deform(problem, DeformableSettings(**settings)))


def error(found, truth, where=INNER):
    """Mean distance in voxels away from the border."""
    return float(np.linalg.norm(found - truth, axis=0)[where].mean())


def as_tensor(displacement):
    return torch.from_numpy(displacement)[None]


# ------------------------------------------------------------------------------------------------ what must be reached


@pytest.mark.parametrize("similarity", ["lncc", "mse", "mind"])
def test_known_field_is_recovered_without_folds(similarity):
    problem, truth = known()
    found = solve(problem, similarity=similarity)
    assert found.displacement.shape == (3, *GRID)
    assert found.displacement.dtype == np.float32
    assert error(0 * truth, truth) > 0.7
    assert error(found.displacement, truth) < 0.3
    assert folding_share(inside(jacobian_determinant(found.displacement))) == 0
    assert found.inverse is None


def test_mutual_information_follows_remapped_intensities():
    problem, truth = known()
    problem = dataclasses.replace(problem, fixed=4 * problem.fixed * (1 - problem.fixed))
    found = solve(problem, similarity="mi", shrinks=(2,)).displacement
    assert error(found, truth) < 0.75 * error(0 * truth, truth)


def test_inverted_contrast_is_matched_by_mind():
    problem, truth = known()
    problem = dataclasses.replace(problem, fixed=1 - problem.fixed)
    assert error(solve(problem, similarity="mind").displacement, truth) < 0.3


def test_symmetric_gives_both_directions():
    problem, truth = known()
    found = solve(problem, symmetric=True)
    assert error(found.displacement, truth) < 0.3
    there_and_back = compose(as_tensor(found.displacement), as_tensor(found.inverse))[0].numpy()
    assert error(there_and_back, 0) < 0.1
    assert error(found.inverse, 0) > 0.5


def test_swapped_images_give_the_inverse():
    problem, _ = known()
    swapped = dataclasses.replace(problem, fixed=problem.moving, moving=problem.fixed)
    forth, back = solve(problem, symmetric=True), solve(swapped, symmetric=True)
    np.testing.assert_allclose(back.displacement, forth.inverse, atol=1e-3)
    np.testing.assert_allclose(back.inverse, forth.displacement, atol=1e-3)


def test_anisotropic_voxels_are_smoothed_evenly_in_millimetres():
    grid, spacing = (48, 48, 16), (1.0, 1.0, 3.0)
    problem, truth = known(grid, (2.0, 2.0, 0.7), spacing)
    found = solve(problem).displacement
    assert error(found, truth, (slice(6, -6), slice(6, -6), slice(2, -2))) < 0.35
    assert folding_share(inside(jacobian_determinant(found))) == 0


def test_two_runs_agree_bit_for_bit():
    problem, _ = known()
    for settings in ({}, {"symmetric": True}, {"similarity": "mi"}, {"convex": True}):
        first, second = (solve(problem, shrinks=(2, 1), iterations=4, **settings) for _ in range(2))
        assert np.array_equal(first.displacement, second.displacement)


def test_convex_start_finds_large_motion():
    shift = np.zeros((3, *GRID), np.float32)
    shift[0], shift[2] = 7, -4
    moving = texture(sigma=1.5)
    problem = Problem(warped(moving, shift), moving, (1.0, 1.0, 1.0))
    centre = (slice(12, -12),) * 3
    assert error(solve(problem, convex=True, iterations=0).displacement, shift, centre) < 1
    assert error(solve(problem, convex=True).displacement, shift, centre) < 0.2


def test_convex_start_builds_on_the_start():
    problem, truth = known(size=(3.0, 3.0, 3.0))
    begun = dataclasses.replace(problem, start=truth)
    assert error(solve(begun, convex=True, iterations=0).displacement, truth) < 0.3


# ------------------------------------------------------------------------------------------------- what else may count


def test_voxels_outside_the_masks_do_not_count():
    problem, truth = known()
    wrong = np.zeros(GRID, bool)
    wrong[11:25, 13:27, 9:23] = True
    spoilt = problem.fixed.copy()
    spoilt[wrong] = np.roll(spoilt, 3, axis=0)[wrong]
    spoilt = dataclasses.replace(problem, fixed=spoilt)
    masked = dataclasses.replace(spoilt, fixed_mask=~wrong)
    rim = ndimage.binary_dilation(wrong, iterations=3) & ~wrong
    assert error(solve(masked).displacement, truth, rim) < 0.8 * error(solve(spoilt).displacement, truth, rim)


def test_moving_mask_counts():
    problem, truth = known()
    wrong = np.zeros(GRID, bool)
    wrong[11:25, 13:27, 9:23] = True
    spoilt = problem.moving.copy()
    spoilt[wrong] = np.roll(spoilt, 3, axis=0)[wrong]
    spoilt = dataclasses.replace(problem, moving=spoilt)
    masked = dataclasses.replace(spoilt, moving_mask=~wrong)
    rim = ndimage.binary_dilation(wrong, iterations=3) & ~wrong
    assert error(solve(masked).displacement, truth, rim) < 0.8 * error(solve(spoilt).displacement, truth, rim)


def flat_problem(**others):
    """Images that show little, with a square of another size in each as label."""
    fixed, moving = np.zeros(GRID, np.uint8), np.zeros(GRID, np.uint8)
    fixed[10:26, 11:29, 8:24] = 4
    moving[12:24, 13:27, 10:22] = 4
    return Problem(
        texture(seed=1) * 0.01, texture(seed=1) * 0.01, (1.0, 1.0, 1.0), fixed_labels=fixed, moving_labels=moving
    )


@pytest.mark.parametrize("symmetric", [False, True])
def test_labels_are_brought_onto_each_other(symmetric):
    problem = flat_problem()

    def overlap(found):
        moved = pull(torch.from_numpy(problem.moving_labels == 4)[None, None], as_tensor(found.displacement))[0, 0]
        moved = moved.numpy() > 0.5
        fixed = problem.fixed_labels == 4
        return 2 * (moved & fixed).sum() / (moved.sum() + fixed.sum())

    settings = {"similarity": "mse", "symmetric": symmetric}
    assert overlap(solve(problem, label_weight=0, **settings)) < 0.7
    assert overlap(solve(problem, label_weight=1, **settings)) > 0.9


@pytest.mark.parametrize("symmetric", [False, True])
def test_landmarks_are_brought_onto_each_other(symmetric):
    fixed = np.array([[11.0, 13, 10], [25.5, 19, 15], [18, 28, 22]])
    moving = fixed + np.array([[2.0, 0, -1], [-1, 2.5, 0], [0, -2, 2]])
    image = texture(seed=1)
    problem = Problem(image, image, (1.0, 1.0, 1.0), fixed_points=fixed, moving_points=moving)

    def missed(found):
        there = [ndimage.map_coordinates(part, fixed.T, order=1) for part in found.displacement]
        return np.linalg.norm(fixed + np.transpose(there) - moving, axis=1).mean()

    assert missed(solve(problem, landmark_weight=0, symmetric=symmetric)) > 2
    assert missed(solve(problem, landmark_weight=0.5, symmetric=symmetric)) < 0.8


def test_a_start_is_built_on():
    problem, truth = known()
    begun = dataclasses.replace(problem, start=truth)
    assert error(solve(begun, iterations=0).displacement, truth) < 0.1
    np.testing.assert_array_equal(solve(problem, iterations=0).displacement, 0)


def test_empty_space_is_left_out_and_changes_nothing_inside():
    problem, truth = known()
    wide = [(12, 9), (15, 10), (11, 14)]
    core = np.zeros(GRID, bool)
    core[INNER] = True
    inner = Problem(problem.fixed * core, problem.moving * core, problem.spacing)
    outer = Problem(np.pad(inner.fixed, wide), np.pad(inner.moving, wide), problem.spacing)
    found = solve(outer).displacement
    assert found.shape == (3, *outer.grid)
    part = tuple(slice(before, -after) for before, after in wide)
    assert error(found[:, *part], truth, (slice(12, -12),) * 3) < 0.4


# ------------------------------------------------------------------------------------------- progress, cancel, stopping


def test_progress_goes_on_and_levels_give_partial_results():
    problem, _ = known()
    reports = []
    found = run_job(deform(problem, DeformableSettings(shrinks=(2, 1), iterations=2)), reports.append)
    assert [r.done for r in reports] == sorted(r.done for r in reports)
    assert reports[-1].done == reports[-1].total
    partial = [r.partial for r in reports if r.partial is not None]
    assert [p.displacement.shape for p in partial] == [(3, *GRID)] * 2
    assert [p.history[-1].shrink for p in partial] == [2, 1]
    assert np.abs(partial[0].displacement - partial[1].displacement).max() > 0.01
    assert [i.shrink for i in found.history] == sorted((i.shrink for i in found.history), reverse=True)
    assert found.history[-1].similarity > found.history[0].similarity


def test_cancel_between_steps():
    problem, _ = known()
    with pytest.raises(Cancelled):
        run_job(deform(problem), lambda report: report.done < 3)


def test_full_resolution_takes_fewer_steps():
    problem, _ = known()
    found = solve(problem, shrinks=(2, 1), iterations=7, fine_iterations=3, tolerance=0)
    assert [step.shrink for step in found.history] == [2] * 7 + [1] * 3
    found = solve(problem, shrinks=(1,), iterations=2, fine_iterations=3, tolerance=0)
    assert len(found.history) == 2


@pytest.mark.parametrize(("shrinks", "differs"), [((4, 2, 1), True), ((2, 1), False), ((8, 4, 2), False)])
def test_detail_is_smoothed_as_asked_at_full_resolution_after_two_levels(shrinks, differs):
    problem, _ = known()
    sharp, soft = (
        solve(problem, shrinks=shrinks, iterations=4, tolerance=0, detail_field_sigma=sigma).displacement
        for sigma in (0.0, 2.0)
    )
    assert np.array_equal(sharp, soft) != differs
    if differs:
        rough = [np.square(np.diff(u, axis=1)).mean() for u in (sharp, soft)]
        assert rough[0] > rough[1]


def test_a_level_keeps_its_best_displacement():
    """Smoothing that is too strong undoes what the first steps found; the last steps are not what is kept."""
    problem, truth = known(size=(3.0, 3.0, 3.0))
    settings = {"shrinks": (1,), "tolerance": 0, "field_sigma": 3.0, "step": 1.0}
    found = solve(problem, iterations=30, fine_iterations=30, **settings)
    seen = [step.similarity for step in found.history]
    assert int(np.argmax(seen)) < len(seen) - 1
    again = solve(dataclasses.replace(problem, start=found.displacement), iterations=1, **settings)
    assert again.history[0].similarity == pytest.approx(max(seen), abs=2e-6)
    assert max(seen) - seen[-1] > 2e-5
    assert error(found.displacement, truth) < error(0 * truth, truth)


def test_a_level_ends_when_nothing_gets_better():
    image = texture()
    problem = Problem(image, image, (1.0, 1.0, 1.0))
    found = solve(problem, shrinks=(1,), iterations=60)
    assert len(found.history) < 15
    assert np.abs(found.displacement).max() == 0


# ------------------------------------------------------------------------------------------------------ wrong input


def test_constant_and_broken_images_are_refused():
    image = texture()
    with pytest.raises(InputError, match="fixed image is constant"):
        Problem(np.ones(GRID, np.float32), image, (1.0, 1.0, 1.0))
    with pytest.raises(InputError, match="moving image has NaN"):
        Problem(image, np.where(image > 0.9, np.nan, image), (1.0, 1.0, 1.0))
    with pytest.raises(InputError, match="mask of the fixed image is empty"):
        Problem(image, image, (1.0, 1.0, 1.0), fixed_mask=np.zeros(GRID, bool))


def test_what_does_not_fit_together_is_refused():
    image = texture()
    with pytest.raises(GeometryError, match="moving lies on the grid"):
        Problem(image, image[1:], (1.0, 1.0, 1.0))
    with pytest.raises(GeometryError, match="spacing"):
        Problem(image, image, (1.0, 0.0, 1.0))
    with pytest.raises(GeometryError, match="begin with"):
        Problem(image, image, (1.0, 1.0, 1.0), start=np.zeros((3, 4, 4, 4), np.float32))
    with pytest.raises(InputError, match="points of one image"):
        Problem(image, image, (1.0, 1.0, 1.0), fixed_points=np.zeros((3, 3)))
    with pytest.raises(InputError, match="pairs"):
        Problem(image, image, (1.0, 1.0, 1.0), fixed_points=np.zeros((3, 3)), moving_points=np.zeros((2, 3)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"shrinks": (2, 4)},
        {"shrinks": (2, 0)},
        {"window": 4},
        {"step": 2.0},
        {"iterations": -1},
        {"ease": -1.0},
        {"field_sigma": np.nan},
        {"similarity": "ssd"},
    ],
)
def test_settings_outside_their_range_are_refused(wrong):
    with pytest.raises(InputError):
        DeformableSettings(**wrong)


def test_a_single_slice_deforms_within_itself():
    moving = texture((40, 40, 1), sigma=(2, 2, 0))
    truth = np.zeros((3, 40, 40, 1), np.float32)
    i, j = np.meshgrid(*[np.linspace(0, 1, 40)] * 2, indexing="ij")
    truth[0, ..., 0] = 1.5 * np.sin(np.pi * i) * np.sin(np.pi * j)
    problem = Problem(warped(moving, truth), moving, (1.0, 1.0, 5.0))
    found = solve(problem).displacement
    assert error(found, truth, (slice(6, -6), slice(6, -6), slice(None))) < 0.3
    assert np.abs(found[2]).max() == 0
