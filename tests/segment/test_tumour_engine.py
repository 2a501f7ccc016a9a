"""The tumour engine from sequences to regions: what it finds, on which grid, and what it says of missing sequences."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from brain_phantoms import Brightness, geometry, sequences, tissues
from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import InputError
from voxelsmith.core.metrics import dice
from voxelsmith.core.progress import Cancelled, run_job
from voxelsmith.core.regions import REGIONS, convention
from voxelsmith.core.volume import LabelVolume
from voxelsmith.segment.tumour.engine import predict, prepare, preview, run
from voxelsmith.segment.tumour.request import TumourRequest, TumourSettings
from voxelsmith.segment.tumour.result import volumes_ml

COARSE = TumourSettings(spacing=4.0, least_whole_mm3=0, least_enhancing_mm3=0)
SUBSETS = [s for n in range(1, 5) for s in itertools.combinations(("t1", "t1c", "t2", "flair"), n)]


@pytest.fixture(scope="module")
def patient():
    return sequences()


@pytest.fixture(scope="module")
def result(patient):
    return run_job(run(TumourRequest(patient[0], settings=COARSE), Brightness()))


def test_the_tumour_is_found(patient, result):
    images, depth = patient
    assert result.depth.grid == images["t1c"].grid
    assert result.depth.affine == images["t1c"].affine
    for place, least in enumerate((0.95, 0.9, 0.95), start=1):
        assert dice(depth >= place, result.depth.array >= place) > least


def test_the_result_names_where_it_comes_from(patient, result):
    images, _ = patient
    assert result.fingerprints == {name: volume.fingerprint() for name, volume in images.items()}
    assert result.model == "brightness"
    assert (result.unreliable, result.synthetic) == ({}, ())
    assert result.notes == ("The network brightness does not look at T1 and T2.",)


def test_probabilities_are_nested_and_on_the_same_grid(result):
    assert result.probabilities.dtype == np.float16
    assert result.probabilities.shape == (3, *result.depth.grid)
    assert (result.probabilities[1:] <= result.probabilities[:-1]).all()
    volumes = result.probability_volumes()
    assert np.array_equal(volumes["WT"].array > 0.5, result.depth.array > 0)
    assert volumes["ET"].affine == result.depth.affine


def test_volumes_are_in_millilitres(result):
    whole = np.count_nonzero(result.depth.array) * 64 / 1000
    assert result.volumes_ml["WT"] == pytest.approx(whole)
    assert result.volumes_ml["WT"] > result.volumes_ml["TC"] > result.volumes_ml["ET"] > 0
    assert volumes_ml(LabelVolume(np.zeros((2, 2, 2), np.uint8))) == dict.fromkeys(REGIONS, 0.0)


@pytest.mark.parametrize("name", ["brats2013", "brats2018", "brats2023", "msd"])
def test_labels_are_written_as_a_convention_says(result, name):
    labels = result.labels(convention(name))
    assert np.array_equal(convention(name).depth(labels.array), result.depth.array)
    assert set(labels.names) == set(convention(name).codes)
    assert labels.affine == result.depth.affine


@pytest.mark.parametrize("axes", [(1, 1, 1), (-1, 1, -1)])
def test_labels_lie_on_the_image_in_any_orientation(result, axes):
    affine, grid = geometry(4.0, axes)
    images, depth = sequences(affine=affine, grid=grid)
    other = run_job(run(TumourRequest(images, settings=COARSE), Brightness()))
    assert other.depth.affine == affine
    assert dice(depth >= 1, other.depth.array >= 1) > 0.95


def test_an_image_of_another_spacing_gets_its_own_grid_back():
    spacing = np.array([3.0, 5.0, 6.0])
    affine, grid = geometry(spacing)
    tilt = np.deg2rad(10)
    oblique = np.eye(4)
    oblique[1:3, 1:3] = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    affine = Affine(oblique) @ affine
    images, depth = sequences(("t1c", "flair"), affine=affine, grid=grid)
    found = run_job(run(TumourRequest(images, settings=COARSE), Brightness()))
    assert found.depth.grid == grid
    assert found.depth.affine == affine
    assert dice(depth >= 1, found.depth.array >= 1) > 0.85
    assert dice(depth >= 3, found.depth.array >= 3) > 0.75


@pytest.mark.parametrize("names", SUBSETS, ids="-".join)
def test_every_subset_of_sequences_runs(patient, names):
    images = {name: patient[0][name] for name in names}
    network = Brightness(("t1", "t1c", "t2", "flair"))
    found = run_job(run(TumourRequest(images, settings=replace(COARSE, spacing=8.0)), network))
    assert found.depth.grid == images[names[0]].grid
    assert ("ET" in found.unreliable) == ("t1c" not in names)
    assert ("WT" in found.unreliable) == (not {"t2", "flair"} & set(names))
    assert set(found.synthetic) == {"t1", "t1c", "t2", "flair"} - set(names)
    for sentence in found.unreliable.values():
        assert any(sentence in note for note in found.notes)


def test_what_the_network_cannot_see_does_not_make_a_region_reliable(patient):
    found = run_job(run(TumourRequest({m: patient[0][m] for m in ("t1c", "t2")}, settings=COARSE), Brightness()))
    assert "WT" in found.unreliable


def test_windows_equal_one_pass(patient, result):
    small = Brightness(side=16)
    tiled = run_job(run(TumourRequest(patient[0], settings=COARSE), small))
    assert len(small.windows) > 4
    assert np.array_equal(tiled.depth.array, result.depth.array)
    assert np.allclose(tiled.probabilities, result.probabilities, atol=2e-3)


def test_a_preview_is_coarser_and_on_the_same_grid(patient, result):
    images, _ = sequences(spacing=4.0)
    case = run_job(prepare(TumourRequest(images, settings=replace(COARSE, spacing=1.9))))
    network = Brightness()
    quick = run_job(preview(case, network))
    full = run_job(predict(replace(case, request=case.request), Brightness()))
    assert quick.request.settings.spacing == 2.0
    assert quick.depth.grid == full.depth.grid == result.depth.grid
    assert dice(quick.depth.array >= 1, full.depth.array >= 1) > 0.9
    assert TumourSettings().preview().spacing == 2.0


def test_a_preview_in_the_settings(patient):
    assert replace(COARSE, spacing=4.0).preview().spacing == 4.0


def test_progress_names_the_windows_and_grows(patient):
    reports = []
    run_job(run(TumourRequest(patient[0], settings=COARSE), Brightness(side=24)), reports.append)
    done = [r.done for r in reports]
    assert done == sorted(done)
    assert any(r.message.startswith("Window 2 of") for r in reports)


def test_a_stopped_run_computes_no_further_window(patient):
    network = Brightness(side=16)
    with pytest.raises(Cancelled):
        run_job(
            run(TumourRequest(patient[0], settings=COARSE), network), lambda p: not p.message.startswith("Window 2 of")
        )
    assert len(network.windows) == 1


def test_a_network_for_other_sequences_is_told(patient):
    images = {"t1": patient[0]["t1"], "t2": patient[0]["t2"]}
    with pytest.raises(InputError, match="brightness looks at T1 with contrast, FLAIR, but there is none of them"):
        run_job(run(TumourRequest(images, settings=COARSE), Brightness()))


def test_the_brain_bounds_the_tumour(patient):
    images, _ = patient
    kind, _, affine = tissues(4.0)
    mask = LabelVolume(
        ((kind > 0) & (np.arange(kind.shape[0])[:, None, None] > kind.shape[0] // 2)).astype(np.uint8), affine
    )
    found = run_job(run(TumourRequest(images, mask, COARSE), Brightness()))
    assert not found.probabilities[:, mask.array == 0].any()
