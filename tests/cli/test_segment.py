"""``voxelsmith segment``: the contract that scripts rely on."""

import gzip
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from blob import BlobEngine, offer
from voxelsmith.cli import app, run, segment
from voxelsmith.core.errors import ResourceError
from voxelsmith.core.metrics import dice
from voxelsmith.core.progress import Cancelled
from voxelsmith.core.prompts import Point
from voxelsmith.core.volume import Volume
from voxelsmith.io import read, read_labels
from voxelsmith.segment.session import PromptSession

SHAPE, CENTRE = (30, 26, 16), np.array([14, 12, 8])
SPACING = np.array([1.0, 1.0, 2.0])
INDEX = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
TRUTH = np.linalg.norm((INDEX - CENTRE) * SPACING, axis=-1) < 8
ARRAY = (TRUTH * 100 + np.random.default_rng(0).normal(200, 10, SHAPE)).astype(np.int16)
BOX = "7,5,5,21,19,11"
CLICK = "14,12,8"
FREE = ("--model", "training-free")


def oblique_las():
    """An oblique affine whose axes run left, anterior and superior, with thick slices."""
    tilt = Rotation.from_euler("xyz", [14, -9, 6], degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = tilt @ np.diag([-1.0, 1.0, 1.0]) * SPACING
    affine[:3, 3] = (31, -12, 400)
    return affine


@pytest.fixture
def image(nifti):
    return nifti(ARRAY, affine=np.diag([*SPACING, 1]))


@pytest.fixture
def out(tmp_path):
    return tmp_path / "mask.nii.gz"


def mask_in(path):
    return np.asarray(nib.load(path).dataobj)


@pytest.mark.parametrize(
    ("prompts", "least"),
    [
        (["--box", BOX], 0.95),
        (["--point", CLICK], 0.85),
        (["--box", BOX, "--point", CLICK, "--negative-point", "24,12,8"], 0.95),
    ],
)
def test_prompts_give_a_mask(command, image, out, prompts, least):
    done = command("segment", image, "--out", out, *prompts)
    assert (done.status, done.err) == (0, "")
    assert str(out) in done.out
    mask = mask_in(out)
    assert set(np.unique(mask)) == {0, 1}
    assert dice(TRUTH, mask) > least


def test_several_prompts_of_a_kind_all_count(command, nifti, out):
    array = ARRAY.copy()
    array[26:29, 20:25, 12:15] += 100
    image = nifti(array, affine=np.diag([*SPACING, 1]))
    both = ["--point", CLICK, "--point", "2,2,2", "--negative-point", "14,12,9", "--negative-point", "14,12,7"]
    assert command("segment", image, "--out", out, "--box", BOX, "--box", "26,20,12,28,24,14", *both).status == 0
    mask = mask_in(out)
    assert mask[14, 12, 8]
    assert mask[2, 2, 2]
    assert not mask[14, 12, 9]
    assert not mask[14, 12, 7]
    assert mask[27, 22, 13]


@pytest.mark.parametrize(("sform", "qform"), [(1, 1), (2, 0), (0, 1), (4, 3)])
def test_the_mask_has_the_grid_and_codes_of_the_image(command, nifti, out, sform, qform):
    image = nifti(ARRAY, affine=oblique_las(), sform=sform, qform=qform)
    assert command("segment", image, "--out", out, "--box", BOX, "--quiet").status == 0
    source, mask = nib.load(image), nib.load(out)
    assert mask.shape == source.shape
    assert mask.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(mask.affine, source.affine)
    for form in ("get_sform", "get_qform"):
        (a, code), (b, other) = (getattr(x, form)(coded=True) for x in (source, mask))
        assert code == other
        assert a is b is None or np.array_equal(a, b)


def test_millimetres_are_the_same_as_voxels(command, nifti, tmp_path):
    affine = oblique_las()
    image, one, two = nifti(ARRAY, affine=affine), tmp_path / "voxels.nii.gz", tmp_path / "mm.nii.gz"
    click, no = nib.affines.apply_affine(affine, [[14, 12, 8], [24, 12, 8]])
    in_mm = [",".join(f"{x:.4f}" for x in p) for p in (click, no)]
    assert "-" in "".join(in_mm)
    command("segment", image, "--out", one, "--point", CLICK, "--negative-point", "24,12,8")
    done = command("segment", image, "--out", two, "--mm", "--point", in_mm[0], "--negative-point", in_mm[1])
    assert done.status == 0
    assert mask_in(one).any()
    np.testing.assert_array_equal(mask_in(one), mask_in(two))


def test_a_box_in_millimetres_holds_all_of_its_corners(command, nifti, tmp_path):
    affine = np.diag([-1.0, 1.0, 2.0, 1.0])
    image, one, two = nifti(ARRAY, affine=affine), tmp_path / "voxels.nii.gz", tmp_path / "mm.nii.gz"
    command("segment", image, "--out", one, "--box", BOX)
    done = command("segment", image, "--out", two, "--mm", "--box", "-21,5,10,-7,19,22")
    assert done.status == 0
    np.testing.assert_array_equal(mask_in(one), mask_in(two))


def test_json_is_one_object(command, image, out):
    done = command("segment", image, "--out", out, "--box", BOX, "--json")
    assert done.status == 0
    assert done.out.count("\n") == 1
    mask = mask_in(out)
    assert done.record["voxels"] == mask.sum()
    assert done.record["volume_ml"] == pytest.approx(mask.sum() * SPACING.prod() / 1000)
    assert done.record["engine"] == "promptable"
    assert (done.record["threshold"], done.record["probability"]) == (0.5, None)
    assert done.record["out"] == str(out)
    assert len(done.record["image_fingerprint"]) == 32


def test_quiet_prints_nothing(command, image, out):
    done = command("segment", image, "--out", out, "--box", BOX, "--quiet", "--device", "cuda", *FREE)
    assert (done.status, done.out, done.err) == (0, "", "")


def test_a_device_that_changes_nothing_is_said(command, image, out):
    done = command("segment", image, "--out", out, "--box", BOX, "--device", "cuda", "--json", *FREE)
    assert done.status == 0
    assert done.record["threshold"] is done.record["probability"] is None
    assert "CPU" in done.err
    assert done.record["device"] == "cpu"


def test_an_earlier_mask_alone_is_written_as_it_was(command, image, nifti, out):
    start = nifti(TRUTH.astype(np.uint8), "start.nii.gz", affine=np.diag([*SPACING, 1]))
    assert command("segment", image, "--out", out, "--init", start).status == 0
    np.testing.assert_array_equal(mask_in(out), TRUTH)


def test_an_earlier_mask_is_corrected_by_a_click(command, image, nifti, out):
    half = TRUTH.copy()
    half[16:] = False
    start = nifti(half.astype(np.uint8), "start.nii.gz", affine=np.diag([*SPACING, 1]))
    assert command("segment", image, "--out", out, "--init", start, "--point", "18,12,8").status == 0
    assert dice(TRUTH, mask_in(out)) > dice(TRUTH, half)


def test_a_threshold_cuts_the_probabilities_that_are_written(command, nifti, monkeypatch, out, tmp_path):
    offer(monkeypatch, BlobEngine)
    image, likely = nifti(ARRAY, affine=oblique_las(), sform=2, qform=1), tmp_path / "likely.nii.gz"
    arguments = ["--model", "blob", "--point", CLICK, "--threshold", "0.3", "--probability", likely, "--json"]
    done = command("segment", image, "--out", out, *arguments)
    assert done.status == 0, done.err
    assert (done.record["threshold"], done.record["probability"]) == (0.3, str(likely))
    written, source = nib.load(likely), nib.load(image)
    assert written.get_data_dtype() == np.float32
    np.testing.assert_array_equal(written.affine, source.affine)
    assert (written.header["sform_code"], written.header["qform_code"]) == (2, 1)
    values = np.asarray(written.dataobj)
    assert 0.9 < values.max() <= 1
    np.testing.assert_array_equal(mask_in(out) == 1, values > 0.3)
    session = PromptSession(BlobEngine())
    session.set_image(read(image))
    session.prompt(Point((14, 12, 8)))
    session.set_threshold(0.3)
    np.testing.assert_array_equal(mask_in(out) == 1, session.mask())


def test_mask_and_probabilities_need_two_files(refused, image, monkeypatch, out):
    offer(monkeypatch, BlobEngine)
    arguments = ["--model", "blob", "--point", CLICK, "--probability", out]
    assert "two files" in refused("segment", image, "--out", out, *arguments)
    assert not out.exists()


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii"])
def test_other_formats(command, image, tmp_path, suffix):
    target = tmp_path / f"mask{suffix}"
    assert command("segment", image, "--out", target, "--box", BOX).status == 0
    assert dice(TRUTH, read_labels(target).array) > 0.9


def test_frames_of_a_series(command, refused, nifti, out):
    series = nifti(np.stack([ARRAY[::-1], ARRAY], axis=3), "series.nii.gz")
    assert command("segment", series, "--out", out, "--point", CLICK, "--frame", "1").status == 0
    second = mask_in(out)
    assert second.shape == SHAPE
    assert dice(TRUTH, second) > 0.9
    assert command("segment", series, "--out", out, "--point", "15,12,8").status == 0
    assert dice(TRUTH[::-1], mask_in(out)) > 0.9
    assert "Frame 2 does not exist" in refused("segment", series, "--out", out, "--point", CLICK, "--frame", "2")


def test_a_frame_of_a_single_image(refused, image, out):
    assert "the image has one" in refused("segment", image, "--out", out, "--point", CLICK, "--frame", "1")


def test_colours(command, tmp_path, out):
    colours = np.zeros(SHAPE, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    colours["B"] = np.clip(ARRAY - 150, 0, 255)
    nib.save(nib.Nifti1Image(colours, np.eye(4)), tmp_path / "rgb.nii.gz")
    assert command("segment", tmp_path / "rgb.nii.gz", "--out", out, "--box", BOX).status == 0
    assert mask_in(out).shape == SHAPE
    assert dice(TRUTH, mask_in(out)) > 0.9
    assert nib.load(out).get_data_dtype() == np.uint8
    assert command("segment", tmp_path / "rgb.nii.gz", "--out", out, "--box", BOX, "--frame", "2").status == 0
    assert dice(TRUTH, mask_in(out)) > 0.9


def test_colours_become_their_luminance_without_their_opacity():
    array = np.zeros((2, 2, 2, 4), np.uint8)
    array[..., 0], array[..., 3] = 100, 255
    grey = segment.image_to_prompt(Volume(array, extra_axis="channel"))
    assert grey.extra_axis is None
    np.testing.assert_allclose(grey.array, 21.26, rtol=1e-5)


@pytest.mark.parametrize("prompts", [["--box", "7,5,0,21,19,0"], ["--point", "14,12,0", *FREE]], ids=["box", "click"])
def test_a_single_slice(command, nifti, out, prompts):
    flat = nifti(ARRAY[:, :, 8:9])
    assert command("segment", flat, "--out", out, *prompts).status == 0
    assert dice(TRUTH[:, :, 8:9], mask_in(out)) > 0.9


def test_voxels_without_a_value(command, nifti, out):
    array = ARRAY.astype(np.float32)
    array[::7, ::5, ::3] = np.nan
    assert command("segment", nifti(array), "--out", out, "--box", BOX).status == 0
    assert dice(TRUTH, mask_in(out)) > 0.9


def test_a_label_map_can_be_the_image(command, nifti, out):
    assert command("segment", nifti(TRUTH.astype(np.uint8), "labels.nii.gz"), "--out", out, "--box", BOX).status == 0
    assert dice(TRUTH, mask_in(out)) > 0.95


@pytest.mark.parametrize(
    ("prompts", "sentence"),
    [
        ([], "Say where the object is"),
        (["--point", "99,0,0"], "outside the image"),
        (["--point", "1,2"], "--point takes 3 numbers"),
        (["--point", "1,2,nan"], "--point takes 3 numbers"),
        (["--negative-point", "a,b,c"], "--negative-point takes 3 numbers"),
        (["--negative-point", CLICK], "Say where the object is"),
        (["--box", "1,2,3,4,5"], "--box takes 6 numbers"),
        (["--box", "9,9,9,2,12,12"], "The box is empty"),
        (["--box", "1.5,2,3,9,9,9"], "whole voxel indices"),
        (["--box", "50,50,50,60,60,60"], "outside the image"),
        (["--text", "ball"], "does not read words"),
        (["--box", BOX, "--model", "magic"], "no prompt engine 'magic'"),
        (["--box", BOX, "--init", "missing.nii.gz"], "no file missing.nii.gz"),
        (["--box", BOX, "--device", "abacus"], "--device"),
        (["--box", BOX, "--frame", "one"], "--frame"),
        (["--shape", "round"], "--shape"),
        (["--box", BOX, "--threshold", "0.4", *FREE], "'training-free' gives none"),
        (["--box", BOX, "--threshold", "1.2"], "between 0 and 1"),
        (["--box", BOX, "--probability", "map.nii.gz", *FREE], "'training-free' gives none"),
    ],
)
def test_wrong_use_is_told_and_nothing_is_written(refused, image, out, prompts, sentence):
    assert sentence in refused("segment", image, "--out", out, *prompts)
    assert not out.exists()


@pytest.mark.parametrize("arguments", [[], ["segment"], ["segment", "image.nii.gz"], ["paint"]])
def test_incomplete_commands_are_wrong_usage(command, arguments):
    done = command(*arguments)
    assert done.status == 2
    assert "voxelsmith" in done.err


def test_a_mask_on_another_grid_is_refused(refused, image, nifti, out):
    for start in (
        nifti(TRUTH.astype(np.uint8), "moved.nii.gz"),
        nifti(TRUTH[1:].astype(np.uint8), "cut.nii.gz", affine=np.diag([*SPACING, 1])),
    ):
        assert "must lie on the grid" in refused("segment", image, "--out", out, "--init", start)


def test_an_empty_mask_to_start_from_is_refused(refused, image, nifti, out):
    start = nifti(np.zeros(SHAPE, np.uint8), "start.nii.gz", affine=np.diag([*SPACING, 1]))
    assert "empty" in refused("segment", image, "--out", out, "--init", start)


def test_a_constant_image_is_told(refused, nifti, out):
    flat = nifti(np.full(SHAPE, 7, np.int16))
    for prompt in (["--box", BOX], ["--point", CLICK]):
        assert "constant" in refused("segment", flat, "--out", out, *prompt)


def test_a_missing_file_is_told(refused, tmp_path, out):
    assert "There is no file" in refused("segment", tmp_path / "nothing.nii.gz", "--out", out, "--box", BOX)


def test_a_truncated_file_is_told(refused, image, out):
    image.write_bytes(image.read_bytes()[:-200])
    assert "truncated" in refused("segment", image, "--out", out, "--box", BOX)
    image.write_bytes(gzip.compress(b"no header"))
    assert "image.nii.gz" in refused("segment", image, "--out", out, "--box", BOX)


def test_voxels_without_a_size_are_told(refused, tmp_path, out):
    img = nib.Nifti1Image(ARRAY, np.eye(4))
    header = img.header.copy()
    header["pixdim"][1:4] = 0
    header["sform_code"] = header["qform_code"] = 0
    header["vox_offset"] = 352
    path = tmp_path / "flat.nii"
    path.write_bytes(header.binaryblock.ljust(352, b"\0") + ARRAY.tobytes(order="F"))
    sentence = refused("segment", path, "--out", out, "--box", BOX)
    assert "size" in sentence


@pytest.mark.parametrize(
    ("target", "sentence"), [("mask.png", ".nii.gz"), ("no/such/folder/mask.nii.gz", "does not exist"), (".", "")]
)
def test_targets_that_cannot_be_written_are_told(refused, image, tmp_path, target, sentence):
    assert sentence in refused("segment", image, "--out", tmp_path / target, "--box", BOX)


def test_a_failure_leaves_the_old_mask(refused, image, out):
    out.write_bytes(b"old")
    refused("segment", image, "--out", out, "--point", "99,0,0")
    assert out.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (ResourceError("The disk\nis full."), 2, "The disk is full."),
        (Cancelled("stop"), 1, "Stopped; nothing was written."),
        (KeyboardInterrupt(), 1, "Stopped; nothing was written."),
        (MemoryError(), 1, "Memory ran out"),
        (ZeroDivisionError("division by zero"), 1, "Unexpected ZeroDivisionError: division by zero"),
    ],
)
def test_every_error_ends_in_one_line(command, image, out, monkeypatch, error, status, sentence):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(segment, "read", fail)
    done = command("segment", image, "--out", out, "--box", BOX, "--json")
    assert (done.status, done.out) == (status, "")
    assert sentence in done.err
    assert done.err.count("\n") == 1


def test_the_program_itself(image, out):
    program = Path(sys.executable).with_name("voxelsmith")
    done = subprocess.run(
        [program, "segment", image, "--out", out, "--point", CLICK], capture_output=True, text=True, check=True
    )
    assert str(out) in done.stdout
    assert done.stderr == ""
    done = subprocess.run([program, "segment", image, "--out", out], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("voxelsmith: Say where the object is")


def test_help_names_every_command(capsys):
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(command.name in shown for command in app.registered_commands)
