"""The affine part: known maps are recovered, the same in every run, whatever the grids."""

import numpy as np
import pytest

from registration_pairs import GRID, another_grid, blobs, error_in_voxels, known_map, moved, tilted
from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import GeometryError
from voxelsmith.core.progress import Cancelled, run_job
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.register.affine import align
from voxelsmith.register.preparation import prepare
from voxelsmith.register.request import AffineSettings
from voxelsmith.register.starts import rigid_of_points


def aligned(fixed, moving, *, landmarks=None, initial=None, **settings):
    return run_job(align(prepare(fixed), prepare(moving), AffineSettings(**settings), landmarks, initial))


@pytest.mark.parametrize("similarity", ["ncc", "mi"])
@pytest.mark.parametrize(("angle", "scale"), [(28, (1.1, 0.9, 1.05)), (-25, (0.88, 1.12, 1)), (5, (1.15, 1.1, 0.86))])
def test_a_known_map_is_recovered_within_a_tenth_of_a_voxel(similarity, angle, scale):
    fixed = blobs()
    truth = known_map(fixed, angle, scale=scale)
    found = aligned(fixed, moved(fixed, truth), similarity=similarity)
    assert error_in_voxels(fixed, truth, found.matrix).mean() < 0.1
    assert not found.mirrored


def test_oblique_and_unequal_voxels_of_different_grids():
    fixed = blobs(affine=tilted())
    truth = known_map(fixed, 18)
    found = aligned(fixed, moved(fixed, truth, another_grid(fixed, truth), (46, 44, 40)))
    assert error_in_voxels(fixed, truth, found.matrix).mean() < 0.1


def test_descriptors_recover_a_map_under_inverted_intensities():
    fixed = blobs()
    truth = known_map(fixed, 12, scale=(1, 1, 1))
    moving = moved(fixed, truth)
    inverted = Volume(np.where(moving.array > 5, 120 - moving.array, 0).astype(np.float32), moving.affine)
    assert error_in_voxels(fixed, truth, aligned(fixed, inverted, similarity="mind").matrix).mean() < 1


def test_a_rigid_map_keeps_lengths():
    fixed = blobs()
    truth = known_map(fixed, 20, scale=(1, 1, 1))
    found = aligned(fixed, moved(fixed, truth), model="rigid")
    assert found.matrix[:3, :3] @ found.matrix[:3, :3].T == pytest.approx(np.eye(3), abs=1e-9)
    assert error_in_voxels(fixed, truth, found.matrix).mean() < 0.1


def test_two_runs_give_the_same_map_bit_for_bit():
    fixed = blobs()
    moving = moved(fixed, known_map(fixed, 15))
    assert np.array_equal(aligned(fixed, moving).matrix, aligned(fixed, moving).matrix)


def test_headers_that_are_far_apart_are_not_relied_on():
    fixed = blobs()
    moving = Volume(fixed.array, fixed.affine.shifted((500, -300, 200)), "far")
    found = aligned(fixed, moving)
    assert found.start != "header"
    truth = known_map(fixed, 0, scale=(1, 1, 1), shift=(500, -300, 200))
    assert error_in_voxels(fixed, truth, found.matrix).max() < 0.1
    with pytest.raises(GeometryError, match="do not overlap"):
        aligned(fixed, moving, start="header")


def test_no_model_keeps_the_start():
    fixed = blobs()
    moving = Volume(fixed.array, fixed.affine.shifted((3, 4, 5)))
    assert np.array_equal(aligned(fixed, moving, model="none", start="header").matrix, np.eye(4))
    assert aligned(fixed, moving, model="none", start="centres").matrix[:3, 3] == pytest.approx([3, 4, 5])
    given = known_map(fixed)
    assert np.array_equal(aligned(fixed, moving, model="none", initial=given).matrix, given)


def test_landmarks_replace_the_start():
    fixed = blobs()
    truth = known_map(fixed, 120, scale=(1, 1, 1))
    points = fixed.affine.apply([[12, 12, 10], [28, 14, 12], [16, 26, 20], [25, 20, 8]])
    moving = moved(fixed, truth)
    found = aligned(fixed, moving, landmarks=(points, Affine(truth).apply(points)))
    assert found.start == "landmarks"
    assert error_in_voxels(fixed, truth, found.matrix).mean() < 0.1


def test_the_map_of_landmarks_is_never_a_mirror_image():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(6, 3)) * 20
    truth = known_map(blobs(), 70, scale=(1, 1, 1))
    assert rigid_of_points(points, Affine(truth).apply(points)) == pytest.approx(truth)
    assert np.linalg.det(rigid_of_points(points, points * [-1, 1, 1])[:3, :3]) == pytest.approx(1)


def test_left_and_right_exchanged_is_noticed_and_left_alone():
    fixed = blobs()
    flipped = Volume(fixed.array[::-1].copy(), fixed.affine)
    found = aligned(fixed, flipped)
    assert found.mirrored
    assert np.linalg.det(found.matrix[:3, :3]) > 0
    assert not aligned(fixed, fixed).mirrored


def test_only_what_the_mask_holds_counts():
    fixed = blobs()
    truth = known_map(fixed, 10, scale=(1, 1, 1))
    moving = moved(fixed, truth)
    disturbed = np.array(fixed.array)
    disturbed[:14] = 150 - disturbed[:14][:, ::-1]
    mask = np.ones(GRID, np.uint8)
    mask[:16] = 0
    spoilt = Volume(disturbed, fixed.affine)
    masked = run_job(align(prepare(spoilt, LabelVolume(mask, fixed.affine)), prepare(moving), AffineSettings()))
    inside = Volume(fixed.array * mask, fixed.affine)
    assert error_in_voxels(inside, truth, masked.matrix).mean() < 0.15
    assert error_in_voxels(inside, truth, aligned(spoilt, moving).matrix).mean() > 0.5


def test_it_can_be_stopped_at_every_step_and_tells_how_it_went():
    fixed = blobs()
    moving = moved(fixed, known_map(fixed, 15))
    job = align(prepare(fixed), prepare(moving), AffineSettings())
    seen = []

    def stop_at_the_fifth(progress):
        seen.append(progress)
        return len(seen) < 5

    with pytest.raises(Cancelled):
        run_job(job, stop_at_the_fifth)
    assert len(seen) == 5
    history = aligned(fixed, moving).history
    assert {step.level for step in history} == {0, 1, 2}
    assert history[-1].similarity > 0.99
