"""``voxelsmith tumour``: sequences from files or a folder, labels in a convention, a report, sentences for errors."""

import csv

import numpy as np
import pytest
import torch

from brain_phantoms import Brightness, sequences
from voxelsmith.core.regions import convention
from voxelsmith.io import read, read_labels
from voxelsmith.models.crossmodality import Architecture, CrossModalityNet
from voxelsmith.segment import crossmodality
from voxelsmith.segment.tumour import engine

OPTIONS = ("t1", "t1c", "t2", "flair")


@pytest.fixture(scope="module")
def patient():
    return sequences()


@pytest.fixture
def files(patient, nifti):
    images, depth = patient
    paths = {name: nifti(v.array, f"case_{name}.nii.gz", v.affine.matrix) for name, v in images.items()}
    truth = nifti(convention("msd").labels(depth), "truth_seg.nii.gz", images["t1"].affine.matrix)
    return paths, truth


@pytest.fixture
def bright(monkeypatch):
    monkeypatch.setattr(engine, "load_network", lambda *asked: Brightness())


def arguments(paths):
    return [part for name, path in paths.items() for part in (f"--{name}", path)]


def test_four_files_become_labels(command, files, bright, patient, tmp_path):
    paths, truth = files
    out, report = tmp_path / "out.nii.gz", tmp_path / "report.csv"
    done = command(
        *("tumour", *arguments(paths), "--preview", "--out", out, "--convention", "brats2018", "--json"),
        *("--probabilities", tmp_path / "p.nii.gz", "--reference", truth, "--report", report),
    )
    assert done.status == 0, done.err
    labels = read_labels(out)
    assert labels.affine.allclose(patient[0]["t1c"].affine)
    assert labels.values() == [1, 2, 4]
    record = done.record
    assert (record["convention"], record["reference_convention"]) == ("brats2018", "msd")
    assert any("Medical Segmentation Decathlon" in note for note in record["notes"])
    assert record["regions"]["WT"]["dice"] > 0.9
    assert record["regions"]["WT"]["volume_ml"] == pytest.approx(np.count_nonzero(labels.array) * 64 / 1000)
    probabilities = read(tmp_path / "p.nii.gz")
    assert probabilities.array.shape == (*labels.grid, 3)
    assert probabilities.affine.allclose(labels.affine)
    assert (np.asarray(probabilities.array)[..., 0] > 0.9).any()
    with open(report, newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert [float(row["dice"]) for row in rows] == [record["regions"][r]["dice"] for r in ("WT", "TC", "ET")]


def test_a_folder_is_sorted_and_a_file_goes_before_it(command, files, bright, tmp_path):
    paths, _ = files
    options = ("--folder", tmp_path, "--preview", "--out", tmp_path / "o.nii.gz")
    done = command("tumour", *options, "--t2", paths["t1"], "--json")
    assert done.status == 0, done.err
    assert done.record["sequences"] == ["t1", "t1c", "t2", "flair"]
    assert done.record["fingerprints"]["t2"] == done.record["fingerprints"]["t1"]
    assert [line.split("\t")[0] for line in command("tumour", *options).out.splitlines()[-3:]] == ["WT", "TC", "ET"]


def test_missing_sequences_are_told(command, files, bright, tmp_path):
    paths, _ = files
    done = command("tumour", "--flair", paths["flair"], "--preview", "--out", tmp_path / "o.nii.gz", "--json")
    regions = done.record["regions"]
    assert regions["WT"]["unreliable"] is None
    assert "T1 with contrast" in regions["ET"]["unreliable"]
    assert done.record["sequences"] == ["flair"]
    assert done.record["synthetic"] == ["t1c"]


def test_a_real_network_of_a_run_folder_answers(command, files, tmp_path):
    paths, _ = files
    torch.manual_seed(0)
    architecture = Architecture(widths=(4, 6), detail=2)
    state = CrossModalityNet(architecture).state_dict()
    crossmodality.save_network(architecture, state, tmp_path / crossmodality.WEIGHTS, {})
    done = command(
        "tumour",
        *arguments({"t1c": paths["t1c"]}),
        "--model",
        tmp_path,
        "--preview",
        "--out",
        tmp_path / "o.nii.gz",
        "--json",
    )
    assert done.status == 0, done.err
    assert done.record["synthetic"] == ["t2", "flair"]
    assert read_labels(tmp_path / "o.nii.gz").grid == read(paths["t1c"]).grid


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "give --t1, --t1c, --t2, --flair or --folder"),
        (["--t1c", "missing.nii.gz"], "no file"),
        (["--folder", "missing"], "no folder"),
        (["--convention", "brats1999"], "A label convention is"),
        (["--reference-convention", "brats1999"], "A label convention is"),
    ],
)
def test_wrong_use_is_told(refused, tmp_path, options, words):
    assert words in refused("tumour", *options, "--out", tmp_path / "o.nii.gz")


def test_a_reference_of_unknown_labels_is_told(refused, files, nifti, patient, tmp_path):
    array = np.zeros(patient[1].shape, np.uint8)
    array[4:9, 4:9, 4:9] = 7
    strange = nifti(array, "strange.nii.gz", patient[0]["t1"].affine.matrix)
    sentence = refused("tumour", *arguments(files[0]), "--out", tmp_path / "o.nii.gz", "--reference", strange)
    assert "Tumour labels have values 1 to 4" in sentence


def test_a_reference_on_another_grid_is_told_before_the_run(refused, files, nifti, tmp_path):
    elsewhere = nifti(np.ones((9, 9, 9), np.uint8), "elsewhere.nii.gz")
    sentence = refused(
        *("tumour", *arguments(files[0]), "--out", tmp_path / "o.nii.gz"),
        *("--reference", elsewhere, "--reference-convention", "brats2018"),
    )
    assert "must lie on the grid" in sentence


def test_missing_weights_are_told(refused, files, tmp_path):
    sentence = refused(
        "tumour", *arguments(files[0]), "--out", tmp_path / "o.nii.gz", "--model", tmp_path / "no.safetensors"
    )
    assert "voxelsmith train cmf" in sentence
