"""Preparation of tumour cases: one grid, one brain, z-scores; and where each sequence came from is kept."""

import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from brain_phantoms import geometry, sequences
from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import InputError, ModelUnavailableError
from voxelsmith.core.progress import run_job
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.segment.tumour import brain
from voxelsmith.segment.tumour.laying import working_grid
from voxelsmith.segment.tumour.preparation import at_spacing, prepare
from voxelsmith.segment.tumour.request import TumourRequest, TumourSettings

COARSE = TumourSettings(spacing=4.0)


@pytest.fixture(scope="module")
def patient():
    return sequences()


def prepared(images, mask=None, **settings):
    return run_job(prepare(TumourRequest(images, mask, replace(COARSE, **settings))))


def turned(degrees, shift):
    """A rigid motion around S, in RAS millimetres."""
    a = np.deg2rad(degrees)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    matrix[:3, 3] = shift
    return Affine(matrix)


def test_sequences_are_z_scored_in_the_brain(patient):
    images, _ = patient
    case = prepared(images)
    inside = images["t1"].array != 0
    assert np.array_equal(case.brain.array, inside)
    for name, volume in case.images.items():
        values = images[name].array[inside]
        expected = np.clip((values - values.mean()) / values.std(), -5, 5)
        assert np.allclose(volume.array[inside], expected, atol=1e-3)
        assert not volume.array[~inside].any()
        assert volume.affine == images["t1"].affine
        assert case.fingerprints[name] == images[name].fingerprint()


@pytest.mark.parametrize("axes", [(-1, -1, 1), (1, 1, 1), (1, -1, -1)])
def test_the_working_grid_runs_to_left_posterior_superior(axes):
    affine, grid = geometry(4.0, axes)
    images, _ = sequences(["t1c"], affine=affine, grid=grid)
    case = prepared(images)
    assert case.images["t1c"].affine.axcodes == "LPS"
    assert np.array_equal(np.sort(case.brain.array, axis=None), np.sort(images["t1c"].array != 0, axis=None))
    flips = [axis for axis, sign in enumerate(axes) if sign != (-1, -1, 1)[axis]]
    assert np.array_equal(np.flip(images["t1c"].array != 0, flips), case.brain.array > 0)


def test_the_working_voxels_have_the_size_that_was_asked():
    volume = Volume(np.zeros((20, 30, 12)), Affine.from_spacing((0.9, 1.005, 6.0)))
    affine, grid = working_grid(volume, 1.0)
    assert affine.axcodes == "LPS"
    assert affine.spacing == pytest.approx([1.0, 1.005, 1.0])
    assert grid == (18, 30, 72)


def test_a_finer_image_is_averaged_onto_the_working_grid():
    fine, _ = sequences(["flair"], spacing=2.0)
    rough, _ = sequences(["flair"], spacing=2.0, seed=5)
    one, other = (prepared(images).images["flair"].array for images in (fine, rough))
    between = np.abs(one - other)[(one != 0) & (other != 0)]
    assert between.mean() < 0.06


def test_a_moved_sequence_is_brought_back(patient):
    images, _ = patient
    motion = turned(7, (9, -6, 5))
    away = replace(images["flair"], affine=motion @ images["flair"].affine)
    case = prepared({**images, "flair": away})
    still = prepared(images)
    found = Affine(case.transforms["flair"].matrix)
    corners = np.array([[50, 60, 40], [-50, 60, -40], [50, -60, 40], [-50, -60, -40.0]])
    assert np.abs(found.apply(corners) - motion.apply(corners)).max() < 3.0
    inside = still.brain.array > 0
    pair = np.corrcoef(case.images["flair"].array[inside], still.images["flair"].array[inside])
    assert pair[0, 1] > 0.9
    assert np.array_equal(case.transforms["t2"].matrix, np.eye(4))


def test_headers_may_be_relied_on(patient):
    images, _ = patient
    away = replace(images["flair"], affine=turned(0, (8, 0, 0)) @ images["flair"].affine)
    case = prepared({**images, "flair": away}, registration="never")
    assert np.array_equal(case.transforms["flair"].matrix, np.eye(4))
    assert np.array_equal(case.images["flair"].array[1:] != 0, (case.images["flair"].array != 0)[1:])
    assert not np.array_equal(case.images["flair"].array != 0, case.images["t1c"].array != 0)


def test_the_mask_that_is_given_is_the_brain(patient):
    images, _ = patient
    half = (images["t1"].array != 0).astype(np.uint8)
    half[:, :, : half.shape[2] // 2] = 0
    case = prepared(images, LabelVolume(half, images["t1"].affine))
    assert np.array_equal(case.brain.array, half)
    assert all(not volume.array[half == 0].any() for volume in case.images.values())


def test_nan_does_not_spread(patient):
    images, _ = patient
    array = images["t1"].array.copy()
    array[20, 20, 15] = np.nan
    case = prepared({**images, "t1": replace(images["t1"], array=array)})
    assert all(np.isfinite(volume.array).all() for volume in case.images.values())


def test_another_spacing_needs_no_registration_again(patient, monkeypatch):
    images, _ = patient
    away = replace(images["t2"], affine=turned(3, (4, 0, 0)) @ images["t2"].affine)
    case = prepared({**images, "t2": away})
    monkeypatch.setattr("voxelsmith.segment.tumour.preparation.register", None)
    coarser = run_job(at_spacing(case, 8.0))
    assert coarser.images["t2"].spacing == pytest.approx(8.0)
    assert coarser.request.settings.spacing == 8.0
    assert coarser.transforms["t2"] is case.transforms["t2"]
    assert run_job(at_spacing(case, 4.0)) is case


def test_what_forbids_the_run_is_raised(patient):
    with pytest.raises(InputError, match="same value everywhere"):
        prepared({"t1": replace(patient[0]["t1"], array=np.ones_like(patient[0]["t1"].array))})


def test_progress_counts_up_to_the_end(patient):
    reports = []
    run_job(prepare(TumourRequest(patient[0], settings=COARSE)), reports.append)
    done = [report.done for report in reports]
    assert done == sorted(done)
    assert all(report.total == 100 for report in reports)
    assert any("Resampling FLAIR" in report.message for report in reports)


def heads(images):
    """The same sequences with something bright and noisy all around the brain."""
    rng = np.random.default_rng(0)
    return {
        name: replace(v, array=np.where(v.array != 0, v.array, rng.normal(90, 5, v.grid)).astype(np.float32))
        for name, v in images.items()
    }


def test_deepbet_finds_the_brain_where_there_is_a_skull(patient, monkeypatch):
    images, _ = patient
    inside = images["t1"].array != 0
    asked = []

    class BrainExtraction:
        def __init__(self, no_gpu=False):
            asked.append(no_gpu)

        def run(self, image):
            asked.append(image)
            mask = nib.Nifti1Image(inside.astype(np.uint8), image.affine)
            return image, mask, 0.0

    package = ModuleType("deepbet")
    package.BrainExtraction = BrainExtraction
    monkeypatch.setitem(sys.modules, "deepbet", package)
    monkeypatch.setattr(brain, "can_strip", lambda: True)
    case = prepared(heads(images))
    assert np.array_equal(case.brain.array, inside)
    assert np.array_equal(asked[1].affine, images["t1"].affine.matrix)
    assert any("deepbet" in finding.sentence for finding in case.findings)


def test_a_search_for_the_brain_in_vain_is_told(patient, monkeypatch):
    def fail(self, image):
        raise AssertionError

    extraction = type("BrainExtraction", (), {"__init__": lambda self, no_gpu=False: None, "run": fail})
    monkeypatch.setitem(sys.modules, "deepbet", SimpleNamespace(BrainExtraction=extraction))
    monkeypatch.setattr(brain, "can_strip", lambda: True)
    with pytest.raises(ModelUnavailableError, match="deepbet found no brain"):
        prepared(heads(patient[0]))


def test_without_deepbet_the_sentence_says_how_to_install_it(patient, monkeypatch):
    monkeypatch.setattr(brain, "can_strip", lambda: False)
    with pytest.raises(ModelUnavailableError, match=r"napari-voxelsmith\[strip\]"):
        brain.strip(patient[0])
