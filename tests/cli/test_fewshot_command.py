"""``voxelsmith fewshot``: sets are written, volumes labelled, and labels judged where nothing was annotated."""

import numpy as np
import pytest

from voxelsmith.core.metrics import dice
from voxelsmith.io import read_labels
from voxelsmith.io.support import read_support

GRID = (30, 32, 16)
PAINTED = "k:2,8,13"


@pytest.fixture(scope="module")
def truth():
    i, j, k = np.meshgrid(*map(np.arange, GRID), indexing="ij")
    labels = np.zeros(GRID, np.uint8)
    labels[np.hypot(i - 9 - k / 3, j - 14) < 5] = 1
    labels[np.hypot(i - 22, j - 18 + k / 4) < 4] = 3
    return labels


@pytest.fixture
def files(nifti, truth):
    noise = np.random.default_rng(0).normal(0, 12, GRID)
    image = nifti((100 * (truth > 0) + 30 * (truth == 3) + noise).astype(np.float32), affine=np.diag([1, 1, 2.5, 1]))
    labels = nifti(truth, "labels.nii.gz", affine=np.diag([1, 1, 2.5, 1]))
    return image, labels


def test_the_rest_of_a_volume_from_three_slices(command, files, truth, tmp_path):
    image, labels = files
    out = tmp_path / "out.nii.gz"
    done = command(
        *("fewshot", "predict", "--support", image, labels, "--slices", PAINTED),
        *("--query", image, "--out", out, "--json"),
    )
    assert done.status == 0, done.err
    record, found = done.record, np.asarray(read_labels(out).array)
    assert record["engine"] == "same-volume"
    assert "rest is learned" in record["reason"]
    for value in (1, 3):
        assert dice(truth == value, found == value) > 0.85
        assert record["classes"][str(value)]["voxels"] == (found == value).sum()
    for index in (2, 8, 13):
        np.testing.assert_array_equal(found[:, :, index], truth[:, :, index])
        assert record["confidence"][index] == 1
    assert 0 <= record["worst_slice"] < GRID[2]


def test_a_set_is_written_and_judged_where_nothing_was_annotated(command, files, tmp_path):
    image, labels = files
    saved = tmp_path / "set.zip"
    done = command(
        *("fewshot", "fit", "--support", image, labels, "--slices", PAINTED),
        *("--name", "3=spleen", "--out", saved, "--json"),
    )
    assert done.status == 0, done.err
    support = read_support(saved)
    assert support.names == {1: "class 1", 3: "spleen"}
    assert support.examples[0].slices == (2, 8, 13)
    assert done.record["examples"] == [support.examples[0].content_hash]
    table = tmp_path / "scores.csv"
    done = command(
        *("fewshot", "evaluate", "--support-set", saved, "--query", image, "--reference", labels),
        *("--csv", table, "--json"),
    )
    assert done.status == 0, done.err
    assert done.record["mean_dice"] > 0.85
    # Three of sixteen slices were annotated, so some of the reference does not count.
    whole = float((np.asarray(read_labels(labels).array) == 1).sum() * 2.5 / 1000)
    assert done.record["labels"]["1"]["reference_ml"] < whole
    assert table.read_text().splitlines()[0].startswith("label,name,dice")
    assert len(table.read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--slices", "x:1"], "axis i, j or k"),
        (["--slices", "k:99"], "0 to 15"),
        (["--slices", "k:1", "--slices", "k:2"], "once for each"),
        (["--slices", "k:15", "--engine", "nonsense"], "nonsense"),
        (["--range", "9,2"], "first and the last"),
    ],
)
def test_wrong_options_are_a_sentence(refused, files, tmp_path, options, sentence):
    image, labels = files
    assert sentence in refused(
        *("fewshot", "predict", "--support", image, labels, "--query", image, "--out", tmp_path / "o.nii.gz"), *options
    )
    assert not (tmp_path / "o.nii.gz").exists()


def test_examples_are_needed(refused, files, tmp_path):
    image, labels = files
    assert "--support IMAGE LABELS" in refused("fewshot", "fit", "--out", tmp_path / "set.zip")
    assert "nothing to judge" in refused(
        "fewshot", "evaluate", "--support", image, labels, "--query", image, "--reference", labels
    )
    assert "requires 2 arguments" in refused("fewshot", "fit", "--out", tmp_path / "set.zip", "--support", image)
    twice = ["--support", image, labels] * 2
    assert "already in the support set" in refused("fewshot", "fit", *twice, "--out", tmp_path / "set.zip")


def test_a_trained_network_is_used_when_it_is_named(command, refused, files, tmp_path):
    from voxelsmith.segment import episodic

    image, labels = files
    run = tmp_path / "run"
    run.mkdir()
    options = ["fewshot", "predict", "--support", image, labels, "--query", image, "--out", tmp_path / "out.nii.gz"]
    assert "there is none" in refused(*options, "--encoder", run)
    episodic.save_network("film", episodic.made("film").state_dict(), run / episodic.WEIGHTS, {})
    done = command(*options, "--encoder", run, "--device", "cpu", "--json")
    assert done.status == 0, done.err
    assert done.record["engine"] == "conditional"
    assert "run was named" in done.record["reason"]
    assert read_labels(tmp_path / "out.nii.gz").grid == GRID
