"""``voxelsmith train cmf``: from a folder of patients to weights of the tumour network, in two stages."""

import nibabel as nib
import numpy as np
import pytest
import torch

from voxelsmith.core.errors import InputError
from voxelsmith.models.crossmodality import TWO, Architecture, CrossModalityNet
from voxelsmith.segment.crossmodality import load_network, save_network, zscored
from voxelsmith.train.checkpoint import load
from voxelsmith.train.history import read_history

AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def patients(tmp_path_factory):
    """Two patients with T1c and FLAIR, named and labelled as in 2018."""
    folder = tmp_path_factory.mktemp("brats")
    rng = np.random.default_rng(0)
    labels = np.zeros((40, 40, 40), np.uint8)
    for value, side in ((2, 10), (1, 14), (4, 17)):
        labels[side:-side, side:-side, side:-side] = value
    for name in ("p1", "p2"):
        (folder / name).mkdir()
        for kind in ("t1ce", "flair"):
            image = (100 + 50 * labels + rng.normal(0, 10, labels.shape)) * (np.indices(labels.shape).min(0) > 3)
            nib.save(nib.Nifti1Image(image.astype(np.float32), AFFINE), folder / name / f"{name}_{kind}.nii.gz")
        nib.save(nib.Nifti1Image(labels, AFFINE), folder / name / f"{name}_seg.nii.gz")
    return folder


@pytest.fixture
def arguments(patients, tmp_path):
    run = ("train", "cmf", patients, "--out", tmp_path / "run", "--sequences", "2", "--side", 48, "--device", "cpu")
    return (*run, "--transition-steps", 1, "--steps", 1, "--validate", "p2")


def test_two_stages_leave_weights_that_load_and_go_on(command, arguments, tmp_path):
    stopped = command(*arguments, "--max-seconds", 1e-6, "--json")
    assert stopped.status == 0, stopped.err
    assert "patients with labels" in stopped.err
    assert "4 enhancing tumour" in stopped.err
    done = command(*arguments, "--resume", "--quiet", "--json")
    assert (done.record["finished"], done.record["modalities"]) == (True, list(TWO))
    assert set(read_history(tmp_path / "run" / "transition")[-1].losses) >= {"paired", "cycle"}
    assert set(read_history(tmp_path / "run")[-1].losses) >= {"fused", "branches"}
    network = load_network(tmp_path / "run")
    assert network.architecture.modalities == TWO
    answer = network(torch.zeros(1, 2, 16, 16, 16), torch.tensor([[True, False]]))
    assert answer.synthetic.tolist() == [[False, True]]


def test_training_may_start_from_weights_and_then_skips_the_first_stage(command, arguments, tmp_path):
    assert command(*arguments, "--quiet").status == 0
    again = [*arguments, "--start", tmp_path / "run", "--quiet", "--json"]
    again[again.index(tmp_path / "run")] = tmp_path / "second"
    done = command(*again)
    assert done.record["finished"], done.err
    assert not (tmp_path / "second" / "transition").exists()
    names = ("generators.0.out.weight",)
    first, second = (load_network(tmp_path / name).state_dict() for name in ("run", "second"))
    assert all(torch.equal(first[name], second[name]) for name in names)


def test_numbers_of_the_second_stage_reach_it(command, arguments, tmp_path):
    done = command(*arguments, "--quiet", "--dropout", 0.1, "--learning-rate", 3e-4, "--average", 0.9)
    assert done.status == 0, done.err
    found = load(tmp_path / "run").settings
    assert (found["dropout"], found["learning_rate"], found["average"]) == (0.1, 3e-4, 0.9)
    first = load(tmp_path / "run" / "transition").settings
    assert (first["learning_rate"], first["average"]) == (1e-3, 0.99)


def test_wrong_use_is_told(refused, arguments, tmp_path):
    assert "steps of 16" in refused(*arguments, "--side", 50)
    assert "convention" in refused(*arguments, "--convention", "brats1999")
    assert "learning_rate of 0 or more" in refused(*arguments, "--learning-rate", -1)
    assert "no patient p9" in refused(*arguments, "--validate", "p9")
    assert "label maps" in refused("train", "cmf", "--out", tmp_path / "none")
    assert "another network" in refused(*arguments, "--quiet", "--start", _other(tmp_path))


def _other(folder):
    """A file with weights of a smaller network."""
    architecture = Architecture(TWO, widths=(4, 8), detail=4)
    file = folder / "other.safetensors"
    save_network(architecture, CrossModalityNet(architecture).state_dict(), file, {})
    return file


def test_z_scores():
    brain = np.zeros((4, 4, 4), bool)
    brain[1:3] = True
    array = np.arange(64.0).reshape(4, 4, 4)
    found = zscored(array, brain)
    assert found.dtype == np.float32
    assert not found[~brain].any()
    assert abs(found[brain].mean()) < 1e-6
    assert abs(found[brain].std() - 1) < 1e-6
    array[1, 0, 0] = 1e9
    assert zscored(array, brain).max() == 5
    for wrong in (np.ones((4, 4, 4)), np.full((4, 4, 4), np.nan)):
        with pytest.raises(InputError, match="constant or not finite"):
            zscored(wrong, brain)
