"""``voxelsmith demo``: the first click, without a window."""

import numpy as np

from voxelsmith.core.metrics import dice
from voxelsmith.io import read_labels, samples


def test_the_demo_tries_the_engines_that_ship_and_keeps_the_better_mask(command, tmp_path):
    done = command("demo", "--no-window", "--out-dir", tmp_path / "demo", "--json")
    assert (done.status, done.err) == (0, "")
    assert done.record["screenshot"] is None
    for case, truth in (("tumour", "brain1_label"), ("nodule", "lung1_label")):
        record = done.record[case]
        (other,) = record["others"]
        assert {record["engine"], other["engine"]} == {"promptable", "training-free"}
        for one in (record, other):
            assert len(one["dice"]) == len(one["seconds_per_prompt"]) <= 6
        assert record["dice"][-1] > max(0.8, other["dice"][-1])
        mask = read_labels(record["out"])
        assert mask.same_grid(samples.load(truth))
        reference = samples.load(truth).array != 0
        np.testing.assert_allclose(dice(reference, mask.array), record["dice"][-1])


def test_the_demo_of_one_engine(command, tmp_path):
    done = command("demo", "--no-window", "--out-dir", tmp_path, "--model", "training-free", "--json")
    assert (done.status, done.err) == (0, "")
    for case in ("tumour", "nodule"):
        assert (done.record[case]["engine"], done.record[case]["others"]) == ("training-free", [])
        assert done.record[case]["dice"][-1] > 0.8


def test_the_demo_for_people(command, tmp_path):
    done = command("demo", "--no-window", "--out-dir", tmp_path)
    lines = done.out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        *(
            f"{case}, {what}"
            for case, better in (("tumour", "Training-free random walk"), ("nodule", "Promptable network"))
            for what in ("Promptable network", "Training-free random walk", f"mask of the {better}")
        ),
        "window",
    ]
    assert "no window was opened" in lines[-1]
    assert {p.name for p in tmp_path.glob("*.nii.gz")} == {
        "tumour.nii.gz",
        "nodule.nii.gz",
        "brain1_image.nii.gz",
        "lung1_image.nii.gz",
    }
    assert not (tmp_path / "demo.png").exists()


def test_a_file_in_place_of_the_folder_is_told(refused, tmp_path):
    (tmp_path / "demo").write_text("")
    assert "folder" in refused("demo", "--no-window", "--out-dir", tmp_path / "demo")
