"""``voxelsmith train tvunet`` and ``voxelsmith predict``."""

import numpy as np
import pytest

from voxelsmith.io import read_labels

GRID = (40, 36, 12)
FAST = ("--width", 4, "--steps", 3, "--device", "cpu")


def scan(seed=0):
    """A bright ball, label 1, and a brighter rod, label 3, in noise."""
    i, j, k = np.indices(GRID)
    labels = np.zeros(GRID, np.uint8)
    labels[(i - 12) ** 2 + (j - 18) ** 2 + (2 * (k - 6)) ** 2 < 81] = 1
    labels[(i - 30) ** 2 + (j - 12) ** 2 < 16] = 3
    image = np.random.default_rng(seed).normal(0, 0.15, GRID) + labels / 2
    return image.astype(np.float32), labels


@pytest.fixture
def painted(nifti):
    image, labels = scan()
    return nifti(image), nifti(labels, "labels.nii.gz")


@pytest.fixture
def trained(command, painted, tmp_path):
    """A run folder, and what the command printed."""
    image, labels = painted
    arguments = ("--image", image, "--labels", labels, "--slices", "k:2,4,6,8,10", *FAST)
    done = command("train", "tvunet", "--out", tmp_path / "run", *arguments, "--json")
    assert done.status == 0, done
    return tmp_path / "run", done.record, arguments


def test_it_trains_on_slices_and_writes_a_model(trained):
    out, record, _ = trained
    assert record["finished"]
    assert record["step"] == 3
    assert record["notes"] == []
    assert record["best_step"] == 3
    assert record["weights"] == str(out / "model.safetensors")
    assert (out / "model.safetensors").exists()


def test_predict_writes_labels_on_the_grid_of_the_image(command, trained, painted, tmp_path):
    out, target = trained[0], tmp_path / "found.nii.gz"
    done = command("predict", out, painted[0], "--out", target, "--device", "cpu", "--json")
    assert done.status == 0, done
    labels = read_labels(target)
    assert labels.grid == GRID
    assert set(labels.values()) <= {1, 3}
    assert done.record["labels"].keys() == {"1", "3"}
    assert done.record["labels"]["1"]["voxels"] == int((labels.array == 1).sum())
    assert done.record["model"] == "run"
    again = tmp_path / "again.nii.gz"
    command("predict", out / "model.safetensors", painted[0], "--out", again, "--device", "cpu")
    np.testing.assert_array_equal(read_labels(again).array, labels.array)


def test_annotated_slices_of_the_image_guide_the_answer(command, trained, painted, tmp_path):
    arguments = ("predict", trained[0], painted[0], "--device", "cpu", "--json")
    alone = command(*arguments, "--out", tmp_path / "alone.nii")
    told = command(
        *arguments, "--out", tmp_path / "told.nii", "--labels", painted[1], "--slices", "k:2,4,6,8,10", "--quiet"
    )
    assert (alone.record["annotated_slices"], told.record["annotated_slices"]) == (0, 5)
    truth = read_labels(painted[1]).array
    found = [read_labels(tmp_path / f"{name}.nii").array for name in ("alone", "told")]
    wrong = [int((labels != truth)[..., 3:10:2].sum()) for labels in found]
    assert wrong[1] < wrong[0] / 2


@pytest.mark.parametrize("given", [("--labels", "labels.nii.gz"), ("--slices", "k:2,4")])
def test_labels_without_slices_and_slices_without_labels_are_told(refused, trained, painted, tmp_path, given):
    sentence = refused("predict", trained[0], painted[0], "--out", tmp_path / "a.nii", *given)
    assert "give both --labels and --slices" in sentence


def test_filters_reach_the_cut(command, trained, painted, tmp_path):
    arguments = ("predict", trained[0], painted[0], "--device", "cpu", "--json")
    loose = command(*arguments, "--out", tmp_path / "a.nii", "--threshold", 0.2).record["labels"]
    one = command(*arguments, "--out", tmp_path / "b.nii", "--threshold", 0.2, "--largest-only", "--fill").record
    assert {row["components"] for row in one["labels"].values()} <= {0, 1}
    assert sum(row["components"] for row in loose.values()) > 2
    none = command(*arguments, "--out", tmp_path / "c.nii", "--least-voxels", 10**6).record["labels"]
    assert {row["voxels"] for row in none.values()} == {0}


def test_a_training_goes_on_where_it_stopped(command, refused, trained, tmp_path):
    out, _, arguments = trained
    assert "already holds a training" in refused("train", "tvunet", "--out", out, *arguments)
    stopped = command("train", "tvunet", "--out", tmp_path / "b", *arguments, "--max-seconds", 1e-6)
    assert "step 1 of 3" in stopped.out
    assert command("train", "tvunet", "--out", tmp_path / "b", *arguments, "--resume", "--json").record["finished"]


def test_a_folder_of_pairs(command, nifti, tmp_path):
    folder = tmp_path / "pairs"
    folder.mkdir()
    for n in range(5):
        image, labels = scan(n)
        nifti(image[..., 4:8], f"pairs/p{n}_image.nii.gz")
        nifti(labels[..., 4:8], f"pairs/p{n}_label.nii.gz")
    done = command("train", "tvunet", "--pairs", folder, "--out", tmp_path / "run", *FAST, "--json")
    assert done.status == 0, done
    assert done.record["best_score"] is not None


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "give --image and --labels, or --pairs"),
        (("--slices", "5:1,2"), "AXIS:3,9,15 with the axis i, j or k, got '5:1,2'"),
        (("--slices", "k:1,x"), "AXIS:3,9,15"),
        (("--slices", "k:1,99"), "some of 0 to 11, got"),
        (("--slices", "k:6", "--variation", "-1"), "variation of 0 or more, got -1"),
        (("--pairs", "."), "leave out --image, --labels and --slices"),
    ],
)
def test_wrong_use_is_told(refused, painted, tmp_path, arguments, sentence):
    given = ("--image", painted[0], "--labels", painted[1]) if arguments else ()
    assert sentence in refused("train", "tvunet", "--out", tmp_path / "run", *given, *arguments)


def test_a_folder_without_a_training_is_told(refused, painted, tmp_path):
    assert "holds no checkpoint.pt" in refused("predict", tmp_path, painted[0], "--out", tmp_path / "a.nii")
