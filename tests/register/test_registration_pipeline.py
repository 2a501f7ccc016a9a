"""The whole registration: what goes in comes out better, with the numbers, and in the right place."""

from dataclasses import replace

import numpy as np
import pytest

from deformations import smooth_field
from registration_pairs import GRID, another_grid, blobs, error_in_voxels, known_map, moved, tilted
from voxelsmith.core.affine import Affine
from voxelsmith.core.displacement import DisplacementField
from voxelsmith.core.errors import InputError
from voxelsmith.core.progress import Cancelled, run_job
from voxelsmith.core.transform import Transform
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.register import measures
from voxelsmith.register.deformable import DeformableSettings
from voxelsmith.register.pipeline import conclude, register
from voxelsmith.register.request import AffineSettings, RegistrationRequest, RegistrationSettings
from voxelsmith.register.result import Preview

QUICK = DeformableSettings(iterations=20, label_weight=0, landmark_weight=0)
AFFINE = RegistrationSettings(device="cpu")


def halves(volume) -> LabelVolume:
    """The object in two parts."""
    array = (volume.array > 20).astype(np.uint8)
    array[array.shape[0] // 2 :] *= 2
    return LabelVolume(array, volume.affine, "parts")


@pytest.fixture(scope="module")
def deformed():
    """A registration of a turned and bent image, oblique and of unequal voxels, with everything that can be given."""
    fixed = blobs(affine=tilted())
    matrix = known_map(fixed, 9, scale=(1.03, 0.98, 1))
    truth = Transform(matrix, smooth_field(fixed.affine, GRID, 1.2, sigma=6))
    there, grid = another_grid(fixed, matrix), (46, 44, 40)
    back, _ = truth.inverse(there, grid)
    moving = replace(back.pull_image(fixed, there, grid), name="moving")
    points = fixed.affine.apply([[12, 12, 10], [28, 14, 12], [16, 26, 20], [25, 20, 8]])
    request = RegistrationRequest(
        fixed,
        moving,
        fixed_labels=halves(fixed),
        moving_labels=back.pull_image(halves(fixed), there, grid),
        fixed_points=points,
        moving_points=truth.push_points(points),
        settings=RegistrationSettings(AffineSettings(), QUICK, "cpu"),
    )
    seen = []
    return request, run_job(register(request), seen.append), seen


def test_everything_gets_better(deformed):
    _, result, _ = deformed
    found = result.measures
    assert found.similarity == "correlation"
    assert found.similarity_before < found.similarity_affine < found.similarity_after
    assert found.similarity_after > 0.98
    assert set(found.dice) == {1, 2}
    assert all(d.after > 0.9 > d.before for d in found.dice.values())
    assert np.mean(found.tre_after_mm) < 0.4 * np.mean(found.tre_before_mm)
    assert found.folding_share == 0
    assert 0 < found.sdlogj_learn2reg < found.sdlogj < 1
    assert result.notes == ()


def test_the_result_lies_on_the_fixed_image_and_names_its_data(deformed):
    request, result, _ = deformed
    assert result.warped.same_grid(request.fixed, 1e-9)
    assert result.transform.field.affine == request.fixed.affine
    assert result.request is request
    assert result.fingerprints == (request.fixed.fingerprint(), request.moving.fingerprint())
    assert np.corrcoef(result.warped.array.ravel(), request.fixed.array.ravel())[0, 1] > 0.98
    labels = result.warped_labels()
    assert labels.array.dtype == np.uint8
    assert set(np.unique(labels.array)) == {0, 1, 2}


def test_the_inverse_leads_back(deformed):
    request, result, _ = deformed
    inverse, residual = result.inverse()
    assert residual.mean_mm < 0.05
    assert inverse.field.grid == request.moving.grid
    places = request.fixed.affine.apply(np.argwhere(request.fixed.array > 30)[::17])
    returned = inverse.push_points(result.transform.push_points(places))
    assert np.linalg.norm(returned - places, axis=1).mean() < 0.15


def test_progress_grows_and_previews_show_the_moving_image(deformed):
    request, result, seen = deformed
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    previews = [p.partial for p in seen if p.partial is not None]
    assert len(previews) >= 3
    assert all(isinstance(preview, Preview) for preview in previews)
    assert previews[0].warped().same_grid(request.fixed)
    assert len(previews[0].history) < len(previews[-1].history) == len(result.history)
    assert {step.stage for step in result.history} == {"affine", "deformation"}


def test_the_last_preview_becomes_the_result_and_an_earlier_one_less(deformed):
    _, result, seen = deformed
    first, *_, last = (progress.partial for progress in seen if progress.partial is not None)
    kept = run_job(conclude(last))
    assert kept.measures.as_record() == result.measures.as_record()
    np.testing.assert_array_equal(kept.warped.array, result.warped.array)
    assert (kept.history, kept.start, kept.notes) == (result.history, result.start, result.notes)
    assert kept.fingerprints == result.fingerprints
    earlier = run_job(conclude(first))
    assert earlier.transform.field is None
    assert earlier.measures.similarity_after == result.measures.similarity_affine


def test_two_runs_are_alike_bit_for_bit(deformed):
    request, result, _ = deformed
    again = run_job(register(request))
    assert np.array_equal(again.transform.matrix, result.transform.matrix)
    assert np.array_equal(again.transform.field.array, result.transform.field.array)


def test_the_symmetric_mode_gives_the_inverse_and_its_consistency(deformed):
    request, _, _ = deformed
    symmetric = replace(request.settings, deformable=replace(QUICK, symmetric=True))
    result = run_job(register(replace(request, settings=symmetric)))
    assert result.found_inverse.grid == request.fixed.grid
    assert result.measures.inverse_consistency_mm < 0.1 * request.fixed.spacing.max()


def test_an_affine_registration_has_no_field():
    fixed = blobs()
    truth = known_map(fixed, 14)
    result = run_job(register(RegistrationRequest(fixed, moved(fixed, truth), settings=AFFINE)))
    assert result.transform.field is None
    assert error_in_voxels(fixed, truth, result.transform.matrix).mean() < 0.1
    assert result.measures.folding_share is None
    assert "sdlogj" not in result.measures.as_record()


def test_a_mirrored_image_is_warned_of_and_not_flipped():
    fixed = blobs()
    flipped = Volume(fixed.array[::-1].copy(), fixed.affine, "flipped")
    result = run_job(register(RegistrationRequest(fixed, flipped, settings=AFFINE)))
    assert any("left and right are exchanged" in note and "Nothing was flipped" in note for note in result.notes)
    assert np.linalg.det(result.transform.matrix[:3, :3]) > 0


def test_voxels_that_are_not_finite_do_not_stop_it():
    fixed = blobs()
    truth = known_map(fixed, 8, scale=(1, 1, 1))
    holes = np.array(fixed.array)
    holes[::9, ::7, ::5] = np.nan
    moving = moved(fixed, truth)
    request = RegistrationRequest(
        Volume(holes, fixed.affine, "holes"), moving, settings=RegistrationSettings(AffineSettings(), QUICK, "cpu")
    )
    result = run_job(register(request))
    assert error_in_voxels(fixed, truth, result.transform.matrix).mean() < 0.15
    assert np.isfinite(result.transform.field.array).all()


def test_a_constant_image_is_refused():
    fixed = blobs()
    with pytest.raises(InputError, match="constant"):
        run_job(register(RegistrationRequest(fixed, Volume(np.ones(GRID), fixed.affine, "flat"))))


def test_stopped_in_the_deformation_it_leaves_nothing_behind(deformed):
    request, _, _ = deformed
    with pytest.raises(Cancelled):
        run_job(register(request), lambda progress: "Deforming" not in progress.message)


def test_a_negative_background_is_kept_outside():
    fixed = blobs()
    moving = Volume(fixed.array - 1000, fixed.affine.shifted((10, 0, 0)), "ct")
    result = run_job(
        register(RegistrationRequest(fixed, moving, settings=RegistrationSettings(AffineSettings(model="none"))))
    )
    assert result.warped.array[0, 0, 0] == -1000


def test_likeness_sees_no_overlap():
    from voxelsmith.register.preparation import prepare

    one = prepare(blobs())
    away = np.eye(4)
    away[0, 3] = 1000
    assert np.isnan(measures.likeness(one, one, Transform(away), "correlation"))
    assert measures.likeness(one, one, Transform(), "correlation") == pytest.approx(1, abs=1e-5)


def test_dice_and_distances_are_as_defined():
    grid = (4, 4, 4)
    a, b = np.zeros(grid, np.uint8), np.zeros(grid, np.uint8)
    a[:2], b[1:3], b[3] = 1, 1, 9
    dice, hd95_mm = run_job(measures.overlaps(LabelVolume(a), LabelVolume(b), Transform(known_shift(1))))
    assert set(dice) == set(hd95_mm) == {1}
    assert (dice[1].before, dice[1].after) == (0.5, 1.0)
    assert (hd95_mm[1].before, hd95_mm[1].after) == (1, 0)
    assert measures.distances(np.zeros((1, 3)), np.array([[3.0, 4, 0]]), Transform()) == (5.0,)
    zero = DisplacementField.zeros(Affine.from_spacing(), (6, 6, 6))
    assert measures.evenness(zero, None) == (0, 0, 0)


def test_surface_distances_are_millimetres_of_the_fixed_grid_label_by_label():
    affine = Affine.from_spacing((2, 1, 0.5))
    a, b = np.zeros((30, 20, 20), np.uint16), np.zeros((30, 20, 20), np.uint16)
    for label, shift, at in ((7, 3, 2), (900, 1, 10)):
        a[5:9, at : at + 4, 4:9] = label
        b[5 + shift : 9 + shift, at : at + 4, 4:9] = label
    a[0, 0, 0] = b[0, 19, 0] = 40
    fixed, moving = LabelVolume(a, affine), LabelVolume(b, affine)
    seen = []
    dice, hd95_mm = run_job(measures.overlaps(fixed, moving, Transform(known_shift(4))), seen.append)
    found = {label: (c.before, c.after) for label, c in hd95_mm.items()}
    assert found == {7: (6, 2), 40: (19, float("inf")), 900: (2, 2)}
    assert dice[40].after == 0
    shares = [progress.fraction for progress in seen]
    assert shares == sorted(shares)


def known_shift(millimetres) -> np.ndarray:
    matrix = np.eye(4)
    matrix[0, 3] = millimetres
    return matrix
