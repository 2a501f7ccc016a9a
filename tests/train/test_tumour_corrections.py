"""Learning from corrected patients: a network goes on, and it is told whether it is better for it."""

import numpy as np
import pytest
import torch
from tumour_cases import GRID, TINY, patient

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import InputError
from voxelsmith.core.progress import run_job
from voxelsmith.core.regions import CONVENTIONS
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.io import write
from voxelsmith.models.crossmodality import CrossModalityNet
from voxelsmith.segment.crossmodality import load_network, save_network
from voxelsmith.train import crossmodality, tumour_corrections
from voxelsmith.train.checkpoint import export
from voxelsmith.train.tumour_corrections import WRITTEN_AS, learn


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Some steps on small windows, on one thread."""
    whole = crossmodality.fusion_settings
    monkeypatch.setattr(tumour_corrections, "_STEPS", 25)
    monkeypatch.setattr(
        crossmodality,
        "fusion_settings",
        lambda **given: whole(**{**given, "side": 24, "device": "cpu", "warm_up": 1, "learning_rate": 0.01}),
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def start(tmp_path):
    """Weights of a network that knows nothing."""
    torch.manual_seed(0)
    save_network(TINY, CrossModalityNet(TINY).state_dict(), tmp_path / "start.safetensors", {})
    return tmp_path / "start.safetensors"


def put(folder, seed):
    """A patient as files."""
    case, affine = patient(seed), Affine(np.diag([-1.0, -1.0, 1.0, 1.0]))
    target = folder / f"patient-{seed}"
    target.mkdir(parents=True)
    for name, image in zip(TINY.modalities, case.x, strict=True):
        write(Volume(image, affine), target / f"{name}.nii.gz")
    write(LabelVolume(CONVENTIONS[WRITTEN_AS].labels(case.depth), affine), target / "seg.nii.gz")
    brain = (case.x != 0).any(0).astype(np.uint8)
    write(LabelVolume(brain, affine), target / "brain_mask.nii.gz")


def test_a_network_learns_from_a_patient_and_says_so(tmp_path, start):
    put(tmp_path / "patients", 1)
    learned = run_job(learn(tmp_path / "patients", start, tmp_path / "run", 600))
    assert (learned.patients, learned.judges) == (1, ())
    assert learned.after["WT"] > learned.before["WT"] + 0.1
    assert learned.better
    network = load_network(learned.folder)
    name = "branches.0.out.weight"
    begun, trained = load_network(start).state_dict()[name], export(learned.folder)[name]
    assert (begun - trained).abs().max() > 1e-2
    torch.testing.assert_close(network.state_dict()[name], (begun + trained) / 2, rtol=0, atol=1e-3)
    x = torch.from_numpy(patient(1).x[None, :, :32, :40, :32])
    assert x.shape[2:] <= GRID
    with torch.no_grad():
        found = network(x, torch.ones(1, 2, dtype=torch.bool)).logits[0, 0] > 0
    assert found.any()


def test_of_five_patients_one_judges(tmp_path, start, monkeypatch):
    monkeypatch.setattr(tumour_corrections, "_STEPS", 1)
    for seed in range(1, 6):
        put(tmp_path / "patients", seed)
    learned = run_job(learn(tmp_path / "patients", start, tmp_path / "run", 600))
    assert (learned.patients, learned.judges) == (4, ("patient-5",))


def test_a_folder_without_patients_is_told(tmp_path, start):
    (tmp_path / "patients").mkdir()
    with pytest.raises(InputError, match="should hold a folder for each patient"):
        run_job(learn(tmp_path / "patients", start, tmp_path / "run", 600))
