"""``voxelsmith register``, ``warp``, ``invert`` and ``jacobian``: files that other programs apply, and the contract."""

import json

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from registration_pairs import another_grid, blobs, error_in_voxels, known_map, moved, tilted
from voxelsmith.core.affine import Affine
from voxelsmith.core.displacement import DisplacementField
from voxelsmith.core.transform import Transform
from voxelsmith.io import read, read_labels, write
from voxelsmith.io.transforms import read_transform, write_transform

TRUTH_ANGLE = 9


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Fixed and moving image with labels and landmarks on disk, on oblique grids of unequal voxels."""
    folder = tmp_path_factory.mktemp("pair")
    fixed = blobs(affine=tilted())
    truth = known_map(fixed, TRUTH_ANGLE, scale=(1.03, 0.98, 1))
    there, grid = another_grid(fixed, truth), (46, 44, 40)
    moving = moved(fixed, truth, there, grid)
    labels = fixed.labels((fixed.array > 20).astype(np.uint8))
    write(fixed, folder / "fixed.nii.gz")
    write(moving, folder / "moving.nii.gz")
    write(labels, folder / "fixed_labels.nii.gz")
    write(Transform(np.linalg.inv(truth)).pull_image(labels, there, grid), folder / "moving_labels.nii.gz")
    points = fixed.affine.apply([[12, 12, 10], [28, 14, 12], [16, 26, 20], [25, 20, 8]])
    np.savetxt(folder / "fixed.csv", points, delimiter=",", header="x,y,z", comments="")
    np.savetxt(folder / "moving.csv", Affine(truth).apply(points), delimiter=",", header="x,y,z", comments="")
    return folder, fixed, truth


@pytest.fixture(scope="module")
def finished(pair, tmp_path_factory):
    """The folder of one deformable registration, and what the command printed."""
    from contextlib import redirect_stdout
    from io import StringIO

    from voxelsmith.cli import run

    folder, _, _ = pair
    out = tmp_path_factory.mktemp("results") / "new" / "out"
    arguments = ["register", folder / "fixed.nii.gz", folder / "moving.nii.gz", "--out-dir", out, "--json"]
    arguments += ["--preset", "fast", "--device", "cpu", "--no-guide"]
    for name, ending in (("labels", "_labels.nii.gz"), ("points", ".csv")):
        for side in ("fixed", "moving"):
            arguments += [f"--{side}-{name}", folder / f"{side}{ending}"]
    printed = StringIO()
    with redirect_stdout(printed):
        assert run([str(a) for a in arguments]) == 0
    return out, json.loads(printed.getvalue())


def test_all_files_are_there_and_the_report_says_how_good_it_is(finished, pair):
    out, record = finished
    names = {"affine.txt", "displacement.nii.gz", "report.json", "warped.nii.gz", "warped_labels.nii.gz"}
    assert {path.name for path in out.iterdir()} == names
    report = json.loads((out / "report.json").read_text())
    assert report["measures"] == record["measures"]
    assert report["preset"] == "fast"
    assert report["history"][0][0] == "affine"
    found = record["measures"]
    assert found["similarity_after"] > found["similarity_before"]
    assert found["dice"]["1"]["after"] > 0.95
    assert np.mean(found["tre_after_mm"]) < 0.5 < np.mean(found["tre_before_mm"])
    assert found["folding_share"] == 0
    _, fixed, truth = pair
    assert error_in_voxels(fixed, truth, read_transform(out / "affine.txt").matrix).mean() < 0.2


def test_simpleitk_applies_the_field_alone(finished, pair):
    out, _ = finished
    folder, fixed, _ = pair
    field = SimpleITK.ReadImage(str(out / "displacement.nii.gz"), SimpleITK.sitkVectorFloat64)
    still, moving = (SimpleITK.ReadImage(str(folder / f"{name}.nii.gz")) for name in ("fixed", "moving"))
    warped = SimpleITK.Resample(moving, still, SimpleITK.DisplacementFieldTransform(field), SimpleITK.sitkLinear)
    theirs = SimpleITK.GetArrayFromImage(warped).transpose(2, 1, 0)
    ours = read(out / "warped.nii.gz")
    assert ours.same_grid(fixed)
    assert np.abs(ours.array - theirs)[2:-2, 2:-2, 2:-2].max() < 0.05
    assert np.corrcoef(theirs.ravel(), fixed.array.ravel())[0, 1] > 0.98


def test_warp_repeats_what_register_wrote(command, finished, pair, tmp_path):
    out, _ = finished
    folder, fixed, _ = pair
    target = tmp_path / "again.nii.gz"
    arguments = ["--transform", out, "--like", folder / "fixed.nii.gz", "--out", target]
    done = command("warp", folder / "moving.nii.gz", *arguments, "--json")
    assert (done.status, done.record["labels"]) == (0, False)
    assert read(target).array == pytest.approx(read(out / "warped.nii.gz").array, abs=0.01)
    assert command("warp", folder / "moving_labels.nii.gz", *arguments, "--labels").status == 0
    again = read_labels(target)
    assert np.mean(again.array != read_labels(out / "warped_labels.nii.gz").array) < 1e-4
    assert again.same_grid(fixed)


def test_warp_goes_back(command, finished, pair, tmp_path):
    out, _ = finished
    folder, _, _ = pair
    target = tmp_path / "back.nii.gz"
    arguments = ["--transform", out, "--like", folder / "moving.nii.gz", "--out", target, "--inverse", "--json"]
    done = command("warp", folder / "fixed.nii.gz", *arguments)
    assert done.record["inverse_residual_mm"] < 0.05
    moving = read(folder / "moving.nii.gz")
    assert read(target).same_grid(moving)
    assert np.corrcoef(read(target).array.ravel(), moving.array.ravel())[0, 1] > 0.98


def test_an_inverse_as_a_file(command, finished, pair, tmp_path):
    out, _ = finished
    folder, fixed, _ = pair
    target = tmp_path / "inverse.h5"
    done = command("invert", out, "--like", folder / "moving.nii.gz", "--out", target, "--json")
    assert done.status == 0
    assert done.record["residual_mean_mm"] < 0.05
    places = fixed.affine.apply(np.argwhere(fixed.array > 30)[::17])
    there = read_transform(out / "displacement.nii.gz").push_points(places)
    assert np.linalg.norm(read_transform(target).push_points(there) - places, axis=1).mean() < 0.1


def test_the_jacobian_of_a_scaling_is_its_volume(command, pair, tmp_path):
    folder, fixed, _ = pair
    write_transform(Transform(np.diag([1.1, 1.2, 0.9, 1])), tmp_path / "scale.txt")
    target = tmp_path / "jacobian.nii.gz"
    done = command("jacobian", tmp_path / "scale.txt", "--like", folder / "fixed.nii.gz", "--out", target, "--json")
    assert read(target).array == pytest.approx(np.full(fixed.grid, 1.1 * 1.2 * 0.9), abs=1e-4)
    assert done.record["folding_share"] == 0
    assert done.record["sdlogj"] < 1e-4


def test_the_jacobian_counts_folds_inside_a_mask(command, nifti, tmp_path):
    array = np.zeros((10, 10, 10, 3), np.float32)
    array[4, 5, 5, 0], array[6, 5, 5, 0] = 4, -4
    write_transform(Transform(field=DisplacementField(array, Affine.from_spacing())), tmp_path / "fold.nii.gz")
    mask = np.zeros((10, 10, 10), np.uint8)
    mask[5, 5, 5] = 1
    target = tmp_path / "jacobian.nii.gz"
    everywhere = command("jacobian", tmp_path / "fold.nii.gz", "--out", target, "--json").record
    there = command(
        "jacobian", tmp_path / "fold.nii.gz", "--out", target, "--mask", nifti(mask, "mask.nii.gz"), "--json"
    ).record
    assert 0 < everywhere["folding_share"] < 0.1
    assert there["folding_share"] == 1
    assert there["least"] == pytest.approx(read(target).array[5, 5, 5])


def test_rigid_keeps_lengths_and_prints_for_people(command, pair, tmp_path):
    folder, _, _ = pair
    images = folder / "fixed.nii.gz", folder / "moving.nii.gz"
    done = command("register", *images, "--out-dir", tmp_path / "rigid", "--rigid")
    assert done.status == 0
    assert "correlation" in done.out
    linear = read_transform(tmp_path / "rigid" / "affine.txt").matrix[:3, :3]
    assert linear @ linear.T == pytest.approx(np.eye(3), abs=1e-6)
    assert command("register", *images, "--out-dir", tmp_path / "rigid", "--rigid", "--quiet").out == ""


def test_an_initial_map_and_masks_are_used(command, pair, tmp_path):
    folder, fixed, truth = pair
    turned = known_map(fixed, TRUTH_ANGLE + 3)
    write_transform(Transform(turned), tmp_path / "initial.txt")
    done = command(
        "register", folder / "fixed.nii.gz", folder / "moving.nii.gz", "--out-dir", tmp_path / "out", "--affine-only",
        "--initial", tmp_path / "initial.txt", "--fixed-mask", folder / "fixed_labels.nii.gz", "--moving-mask",
        folder / "moving_labels.nii.gz", "--json",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert done.record["start"] == "initial"
    assert error_in_voxels(fixed, truth, read_transform(tmp_path / "out" / "affine.txt").matrix).mean() < 0.3


def test_wrong_input_is_told(refused, pair, nifti, tmp_path):
    folder, _, _ = pair
    images = folder / "fixed.nii.gz", folder / "moving.nii.gz"
    out = "--out-dir", tmp_path / "out"
    assert "same-modality, cross-modality" in refused("register", *images, *out, "--preset", "best")
    assert "no file" in refused("register", images[0], tmp_path / "none.nii.gz", *out)
    assert "leave out" in refused("register", *images, *out, "--rigid", "--symmetric")
    assert "has none" in refused("register", *images, *out, "--affine-only", "--finest", "2")
    assert "come in pairs" in refused("register", *images, *out, "--fixed-points", folder / "fixed.csv")
    flat = nifti(np.zeros((40, 40, 1), np.float32), "flat.nii.gz")
    assert "at least 4 voxels" in refused("register", images[0], flat, *out)
    constant = nifti(np.ones((20, 20, 20), np.float32), "constant.nii.gz")
    assert "constant" in refused("register", images[0], constant, *out)
    sheared = np.eye(4)
    sheared[0, 1] = 0.4
    skewed = nifti(np.random.default_rng(0).random((20, 20, 20)), "skewed.nii.gz", sheared, qform=0)
    assert "sheared" in refused("register", skewed, images[1], *out)
    (tmp_path / "file").write_text("")
    assert "cannot be made" in refused("register", *images, "--out-dir", tmp_path / "file")
    frames = nifti(np.random.default_rng(0).random((20, 20, 20, 2)), "frames.nii.gz")
    assert "Frame 5 does not exist" in refused("register", frames, images[1], *out, "--fixed-frame", "5")


def test_wrong_transforms_are_told(refused, pair, tmp_path):
    folder, _, _ = pair
    image = folder / "fixed.nii.gz"
    rest = "--like", image, "--out", tmp_path / "out.nii.gz"
    assert "holds no displacement.nii.gz" in refused("warp", image, "--transform", tmp_path, *rest)
    assert "holds no displacement.nii.gz" in refused("invert", tmp_path, *rest)
    assert "displacement field" in refused("jacobian", image, "--out", tmp_path / "out.nii.gz")
    write_transform(Transform(), tmp_path / "affine.txt")
    assert "pass both the affine" in refused("jacobian", tmp_path / "affine.txt", "--out", tmp_path / "out.nii.gz")


def test_the_field_has_the_header_that_itk_expects(finished):
    out, _ = finished
    header = nib.load(out / "displacement.nii.gz").header
    assert header.get_intent()[0] == "vector"
    assert header.get_data_shape()[3:] == (1, 3)
