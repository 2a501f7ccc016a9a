"""The Train dock learns from a folder of pairs, beside annotated slices or without any."""

import numpy as np
import pytest
from training_bench import PAINTED, bench_for, truth

from voxelsmith.core.affine import Affine
from voxelsmith.core.progress import Progress, run_job
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.io import write
from voxelsmith.plugin.docks.train import jobs
from voxelsmith.plugin.docks.train.jobs import Line, Plan, new_labels, training
from voxelsmith.plugin.docks.train.material import ClassChoice, gather
from voxelsmith.plugin.docks.train.pairs_folder import PairsReport, examine
from voxelsmith.train.state import TrainingState
from voxelsmith.train.tvunet import settings

COUNT = 6


def write_pairs(folder, count=COUNT):
    """Pairs with the labels 1 and 7, the last one with coarser slices."""
    folder.mkdir()
    labels = np.where(truth() == 4, 7, truth())
    for n in range(count):
        affine = Affine.from_spacing((1, 1, 5 if n == count - 1 else 2.5))
        noise = np.random.default_rng(n).normal(0, 10, labels.shape)
        write(Volume((100 * labels + noise).astype(np.float32), affine), folder / f"p{n}_image.nii.gz")
        write(LabelVolume(labels, affine), folder / f"p{n}_label.nii.gz")
    return folder


@pytest.fixture
def bench(qtbot, viewer, tmp_path, monkeypatch):
    with bench_for(qtbot, viewer, tmp_path, monkeypatch) as bench:
        yield bench


@pytest.fixture
def dock(bench):
    return bench.dock


@pytest.fixture
def folder(tmp_path):
    return write_pairs(tmp_path / "scans")


def choose(bench, folder, monkeypatch):
    """Press the button and choose a folder; wait until it was read."""
    monkeypatch.setattr(
        "voxelsmith.plugin.docks.train.data_part.QFileDialog.getExistingDirectory", lambda *_: str(folder)
    )
    bench.dock.data.pairs_button.click()
    bench.qtbot.waitUntil(lambda: "Reading" not in bench.dock.data.pairs_note.text(), timeout=20000)


def test_what_lies_in_the_folder_is_said(bench, dock, folder, monkeypatch):
    assert dock.data.pairs_note.isHidden()
    assert dock.data.drop_button.isHidden()
    choose(bench, folder, monkeypatch)
    assert dock.data.pairs_note.text() == (
        "scans: 5 volumes to learn from, 1 more judge. Classes: 1 class 1, 7 class 7. "
        "Voxels of 1 x 1 x 2.5 to 1 x 1 x 5 mm."
    )
    assert dock.data.annotated.text() == "No slice is annotated here; the folder alone is learned from."
    bench.qtbot.waitUntil(lambda: dock.data.choice.names == {1: "class 1", 7: "class 7"})
    dock.data.drop_button.click()
    assert bench.controller.marking.pairs.folder is None
    assert dock.data.pairs_note.isHidden()
    bench.qtbot.waitUntil(lambda: dock.data.classes.rowCount() == 0)


def test_no_folder_chosen_changes_nothing(bench, dock, monkeypatch):
    choose(bench, "", monkeypatch)
    assert bench.controller.marking.pairs.folder is None


def test_a_folder_that_cannot_be_learned_from_is_told_and_not_chosen(bench, dock, folder, monkeypatch, told):
    choose(bench, folder.parent, monkeypatch)
    assert "should hold folders images and labels" in told[-1]
    assert "should hold folders images and labels" in dock.data.pairs_note.text()
    assert bench.controller.marking.pairs.folder is None
    (folder / "p2_label.nii.gz").write_bytes(b"no image")
    choose(bench, folder, monkeypatch)
    assert "p2_label.nii.gz" in dock.data.pairs_note.text()
    dock.training.train_button.click()
    assert "choose a folder of pairs" in told[-1]


def test_the_folder_alone_is_trained_on_without_any_layer(qtbot, viewer, tmp_path, monkeypatch, folder):
    with bench_for(qtbot, viewer, tmp_path, monkeypatch) as bench:
        viewer.layers.clear()
        assert not bench.dock.training.train_button.isEnabled()
        choose(bench, folder, monkeypatch)
        bench.train()
        (plan,) = bench.fake.plans
        assert (plan.material, plan.pairs, plan.show) == ((), folder, None)
        assert plan.folder.name == "scans-1"
        bench.finish()
        assert bench.controller.preview.layers == {}


def test_slices_and_folder_together(bench, folder, monkeypatch):
    choose(bench, folder, monkeypatch)
    bench.dock.data.buttons["painted"].click()
    bench.qtbot.waitUntil(lambda: bench.dock.data.classes.rowCount() == 3)
    bench.train()
    (plan,) = bench.fake.plans
    assert [one.slices for one in plan.material] == [PAINTED]
    assert (plan.pairs, plan.folder.name) == (folder, "scan-1")


class Stop(Exception):
    """Raised instead of starting a process."""


@pytest.fixture
def requested(monkeypatch):
    """The request that would be trained, in place of a training."""
    seen = []

    class Refusing:
        state = TrainingState.preparing

        def __init__(self, make, request):
            seen.append(request)

        def run(self):
            yield Progress(0, 1)
            raise Stop

        def send(self, message):
            seen.append(message)

    monkeypatch.setattr(jobs, "ProcessJob", Refusing)
    return seen


def test_pairs_become_examples_and_judges_with_the_names_and_classes_chosen(requested, folder, tmp_path):
    line = Line()
    choice = ClassChoice({1: "ball"}, frozenset({7}))
    with pytest.raises(Stop):
        run_job(training(Plan((), choice, tmp_path / "run", settings(), pairs=folder), line))
    (request,) = requested
    assert len(request.support.enabled) == 5
    assert len(request.judges) == 1
    assert request.support.names == {1: "ball"}
    assert all(set(np.unique(e.labels.array)) == {0, 1} for e in (*request.support.enabled, *request.judges))
    assert all(e.slices is None for e in request.support.enabled)
    assert str(folder) in (tmp_path / "run" / "dock.json").read_text()


def test_new_labels_leave_the_folder_in_and_volumes_in_their_places(requested, folder, tmp_path, bench):
    bench.add()
    material = gather(bench.controller.marking.annotations, bench.viewer)
    for begun_with, names in (((), ["p0", "p1", "p2", "p3", "p5", "scan"]), (material, None)):
        requested.clear()
        line = Line()
        out = tmp_path / f"run{len(begun_with)}"
        with pytest.raises(Stop):
            run_job(training(Plan(begun_with, ClassChoice(), out, settings(), pairs=folder), line))
        run_job(new_labels(material, ClassChoice(), line))
        found = [example.provenance.split(",")[0].split()[0] for example in requested[-1].examples]
        assert found == (names or ["scan", "p0", "p1", "p2", "p3", "p5"])


def test_that_nothing_judges_is_said(tmp_path):
    only = write_pairs(tmp_path / "one", 1)
    report = run_job(examine(only))
    assert (report.learned, report.judging) == (1, 0)
    assert "none is kept apart to judge by" in report.sentence


def test_of_many_classes_a_few_are_told():
    report = PairsReport(3, 1, {value: f"organ {value}" for value in range(1, 31)}, (1, 1, 1), (1, 1, 1))
    assert "8 organ 8 and 22 more. Voxels of 1 x 1 x 1 mm." in report.sentence
