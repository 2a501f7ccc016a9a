"""Learning from corrections in the Tumour dock: what is handed to the training, and what is made of what it gives."""

from typing import ClassVar

import numpy as np
import pytest
from tumour_bench import Bench, affine, depth, truth

from voxelsmith.core.progress import Progress
from voxelsmith.core.regions import CONVENTIONS, REGIONS
from voxelsmith.core.volume import LabelVolume
from voxelsmith.io import read, read_labels
from voxelsmith.plugin.docks.tumour import learning
from voxelsmith.segment.tumour.names import match_folder
from voxelsmith.train.trained_runs import home
from voxelsmith.train.tumour_corrections import WRITTEN_AS, Learned, learn


def dice(value):
    return dict.fromkeys(("score", *REGIONS), value)


class Training:
    """Stands in for the process that trains: keeps what it is asked for, and answers with ``after``."""

    asked: ClassVar[list] = []
    after = 0.9

    def __init__(self, job, patients, start, out, seconds):
        assert job is learn
        Training.asked.append((patients, start, out, seconds))
        self.out = out

    def run(self):
        yield Progress(0, 600, "Training")
        return Learned(self.out, 1, (), dice(0.8), dice(Training.after))


@pytest.fixture
def bench(qtbot, viewer, monkeypatch, tmp_path):
    monkeypatch.setenv("VOXELSMITH_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(learning, "ProcessJob", Training)
    monkeypatch.setattr(Training, "asked", [])
    bench = Bench(qtbot, viewer, monkeypatch, ("t1c", "flair"))
    bench.add(LabelVolume(truth("brats2023"), affine(), "drawn"))
    bench.pick(bench.dock.result.combos["layer"], "drawn")
    bench.pick(bench.dock.result.combos["convention"], "BraTS 2023")
    bench.measured()
    return bench


def press(bench):
    bench.dock.result.buttons["learning"].click()
    bench.settle()


def test_the_patient_joins_those_learned_from_in_one_convention(bench):
    bench.dock.result.minutes.setValue(7)
    press(bench)
    ((patients, start, out, seconds),) = Training.asked
    assert patients.parent == out.parent == home()
    assert (start, seconds) == ("cmf-2", 420)
    (folder,) = patients.iterdir()
    found = match_folder(folder)
    labels = read_labels(found.labels)
    np.testing.assert_array_equal(
        np.bincount(CONVENTIONS[WRITTEN_AS].depth(labels.array).ravel(), minlength=4)[1:],
        [np.count_nonzero(depth() == place) for place in (1, 2, 3)],
    )


def test_a_better_network_is_chosen_and_told(bench):
    press(bench)
    assert bench.dock.settings.settings.model == Training.asked[0][2]
    assert "WT 0.80 → 0.90" in bench.status
    assert "is the model now" in bench.status
    assert bench.dock.result.buttons["learning"].isEnabled()
    press(bench)
    # It goes on from what was learned before, with the same patient once.
    assert Training.asked[1][1] == Training.asked[0][2]
    assert len(list(Training.asked[1][0].iterdir())) == 1


def test_a_network_that_is_no_better_is_not_chosen(bench, monkeypatch):
    monkeypatch.setattr(Training, "after", 0.7)
    press(bench)
    assert bench.dock.settings.settings.model == "auto"
    assert "the model stays" in bench.status


def test_without_regions_there_is_nothing_to_learn_from(bench):
    bench.pick(bench.dock.result.combos["layer"], "none")
    assert not bench.dock.result.buttons["learning"].isEnabled()
    bench.dock.result.learning_wanted.emit(1)
    assert Training.asked == []


def test_a_training_case_is_what_the_training_reads(bench, tmp_path):
    parent = tmp_path / "patients"
    bench.dock.result.case_saved.emit(str(parent))
    bench.settle()
    assert f"voxelsmith train cmf {parent}" in bench.status
    (folder,) = parent.iterdir()
    found = match_folder(folder)
    images = {modality: read(path) for modality, path in found.images.items()}
    labels, brain = read_labels(found.labels), read_labels(found.mask)
    assert list(images) == ["t1c", "flair"]
    assert all(volume.same_grid(labels) for volume in (*images.values(), brain))
    assert [np.count_nonzero(labels.array == code) for code in (1, 2, 3)] == [
        np.count_nonzero(truth("brats2023") == code) for code in (1, 2, 3)
    ]
    assert np.median(images["t1c"].array[labels.array == 3]) > 3
    assert np.count_nonzero(brain.array) == np.count_nonzero(depth() >= 0)


def test_a_patient_that_is_saved_again_takes_the_place_of_the_earlier_one(bench, tmp_path):
    parent = tmp_path / "patients"
    bench.dock.result.case_saved.emit(str(parent))
    bench.settle()
    bench.choose("flair", "none")
    bench.dock.result.case_saved.emit(str(parent))
    bench.settle()
    (folder,) = parent.iterdir()
    assert list(match_folder(folder).images) == ["t1c"]
