"""``voxelsmith segment --text``: an object by its name."""

import nibabel as nib
import numpy as np
import pytest

from segvol_cases import Glow, ct_like
from voxelsmith.core.metrics import dice

BONE = ct_like() > 500


@pytest.fixture
def network(monkeypatch):
    """In place of the published weights."""
    glow = Glow()
    monkeypatch.setattr("voxelsmith.segment.segvol.engine.load_network", lambda device: glow)
    return glow


def test_a_word_alone_gives_a_mask_on_the_grid_of_the_image(command, nifti, tmp_path, network):
    affine = np.array([[0, 0, 2, 5], [-1, 0, 0, 9], [0, 1, 0, 3], [0, 0, 0, 1.0]])
    image, out = nifti(ct_like(), affine=affine), tmp_path / "mask.nii.gz"
    done = command(
        "segment", image, "--out", out, "--model", "segvol", "--text", " spine ", "--device", "cpu", "--json"
    )
    assert done.status == 0, done.err
    assert done.record["engine"] == "segvol"
    assert network.words == ["spine"]
    mask = nib.load(out)
    np.testing.assert_array_equal(mask.affine, affine)
    assert dice(BONE, np.asarray(mask.dataobj)) > 0.98


def test_a_word_and_points_go_together(command, nifti, tmp_path, network):
    arguments = ("--text", "spine", "--point", "46,24,20", "--negative-point", "28,33,22", "--model", "segvol")
    done = command("segment", nifti(ct_like()), "--out", tmp_path / "mask.nii.gz", *arguments, "--device", "cpu")
    assert done.status == 0, done.err
    assert sorted(network.asked[0].labels) == [0, 1]
    assert network.asked[0].text is not None


def test_what_it_was_not_trained_on_is_told_on_standard_error(command, nifti, tmp_path, network):
    arguments = ("--text", "flipper", "--model", "segvol", "--device", "cpu")
    out = "--out", tmp_path / "mask.nii.gz"
    done = command("segment", nifti(ct_like() + 1100), *out, *arguments, "--json")
    assert (done.status, done.err) == (0, f"voxelsmith: {done.record['note']}\n")
    assert "trained on CT alone" in done.record["note"]
    assert "'flipper'" in done.record["note"]
    quiet = command("segment", nifti(ct_like() + 1100), *out, *arguments, "--quiet")
    assert (quiet.status, quiet.out, quiet.err) == (0, "", "")
    usual = command("segment", nifti(ct_like()), *out, "--text", "spine", *arguments[2:], "--json")
    assert (usual.record["note"], usual.err) == ("", "")


def test_the_published_way_can_be_chosen(command, refused, nifti, tmp_path, network):
    arguments = ("--model", "segvol-official", "--device", "cpu", "--box", "41,19,4,51,29,36")
    done = command("segment", nifti(ct_like()), "--out", tmp_path / "mask.nii.gz", *arguments, "--json")
    assert (done.status, done.record["engine"]) == (0, "segvol-official")
    both = (*arguments, "--point", "46,24,20")
    assert "points or a box" in refused("segment", nifti(ct_like()), "--out", tmp_path / "other.nii.gz", *both)


def test_without_the_weights_it_says_how_to_get_them(refused, nifti, tmp_path, monkeypatch):
    monkeypatch.setenv("VOXELSMITH_CACHE", str(tmp_path))
    monkeypatch.setenv("VOXELSMITH_OFFLINE", "1")
    arguments = ("--text", "spine", "--model", "segvol", "--device", "cpu")
    assert "segvol" in refused("segment", nifti(ct_like()), "--out", tmp_path / "mask.nii.gz", *arguments)
    assert not (tmp_path / "mask.nii.gz").exists()
