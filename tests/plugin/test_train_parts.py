"""What the Train dock is made of, without a training: annotations, classes, settings, runs."""

import os
from types import SimpleNamespace

import numpy as np
import pytest
from training_bench import GRID, PAINTED, answer, row, truth

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import FormatError, InputError, ResourceError
from voxelsmith.core.progress import Progress, run_job
from voxelsmith.core.volume import Volume
from voxelsmith.plugin.docks.prompt.source import Source
from voxelsmith.plugin.docks.train import jobs, runs
from voxelsmith.plugin.docks.train.annotations import Annotations
from voxelsmith.plugin.docks.train.fields import MAIN, MORE, PRESETS, settings_for, values
from voxelsmith.plugin.docks.train.form import Form
from voxelsmith.plugin.docks.train.jobs import Account, Line, Plan, acceptance, training, uncertainty
from voxelsmith.plugin.docks.train.material import ClassChoice, Material, examples, occurring
from voxelsmith.plugin.docks.train.training import duration, joined
from voxelsmith.train.history import HistoryFile
from voxelsmith.train.state import TrainingState
from voxelsmith.train.tvunet import Live, ShowSlice, settings


@pytest.fixture
def scan():
    return Volume(np.random.default_rng(0).normal(size=GRID).astype(np.float32), Affine.from_spacing((1, 1, 2)), "scan")


def material(scan, slices=PAINTED, axis=2):
    return Material(Source(scan), truth(), axis, tuple(slices))


class TestAnnotations:
    def test_slices_are_an_explicit_set_for_each_pair_and_axis(self):
        image, other, labels = object(), object(), object()
        annotations = Annotations()
        annotations.add(image, labels, 2, [7, 3])
        annotations.add(image, labels, 2, [3, 4])
        annotations.add(image, labels, 0, [1])
        annotations.add(other, labels, 2, [9])
        annotations.remove(image, labels, 2, [4, 11])
        assert [(one.image is image, one.axis, one.slices) for one in annotations] == [
            (True, 2, (3, 7)),
            (True, 0, (1,)),
            (False, 2, (9,)),
        ]
        assert len(annotations) == 4
        assert annotations.of(image, 2) == {3, 7}
        assert (annotations.axis_of(image), annotations.axis_of(object())) == (2, None)
        annotations.keep([image, labels])
        assert len(annotations) == 3


class TestExamples:
    def test_all_classes_count_as_looked_for_in_every_slice(self, scan):
        support = run_job(examples((material(scan, (0, 5)),), ClassChoice({1: "ball"})))
        (example,) = support.examples
        assert support.names == {1: "ball", 4: "class 4"}
        assert (example.axis, example.slices, example.classes) == (2, (0, 5), {1, 4})
        np.testing.assert_array_equal(example.labels.array[:, :, 5], truth()[:, :, 5])
        assert not example.labels.array[:, :, 4].any()

    def test_a_class_that_is_left_out_is_background(self, scan):
        support = run_job(examples((material(scan),), ClassChoice(left_out=frozenset({4}))))
        assert support.values == (1,)
        assert set(np.unique(support.examples[0].labels.array)) == {0, 1}

    def test_a_class_may_be_looked_for_without_paint(self, scan):
        support = run_job(examples((material(scan),), ClassChoice(always=frozenset({9}))))
        assert support.examples[0].classes == {1, 4, 9}

    def test_only_annotated_slices_tell_classes(self, scan):
        labels = truth()
        labels[:, :, 11] = 7
        assert run_job(occurring((Material(Source(scan), labels, 2, (3, 4)),))) == {1, 4}

    def test_a_training_without_paint_is_refused_before_a_process_starts(self, scan, tmp_path):
        plan = Plan((material(scan, (0,)),), ClassChoice(), tmp_path / "run", settings())
        with pytest.raises(InputError, match="something painted"):
            run_job(training(plan, Line()))
        assert not (tmp_path / "run").exists()


class TestJobs:
    def test_an_account_loses_nothing(self):
        account = Account(TrainingState.preparing, Progress(0, 9))
        lives = [Live((row(5),), None, ("one",), 0.5, 9.0), None, Live((row(10),), None, ("two",))]
        for number, live in enumerate(lives):
            account = account.after(TrainingState.training, Progress(number, 9, "", live))
        assert [one.step for one in account.rows] == [5, 10]
        assert account.notes == ("one", "two")
        assert (account.seconds_per_step, account.seconds_left) == (0.5, 9.0)
        assert (account.state, account.progress.done) == (TrainingState.training, 2)

    def test_the_map_of_uncertainty_is_that_of_the_entropy(self, scan):
        found = run_job(uncertainty(answer(scan)))
        sure = np.array([0.8, 0.1, 0.1])
        expected = -(sure * np.log(sure)).sum() / np.log(3)
        assert found.shape == GRID
        assert found[4, 6, 5] == pytest.approx(255 * expected, abs=1.5)

    def test_a_model_is_applied_with_what_is_annotated_of_the_image(self, scan, monkeypatch):
        given = []

        def apply(model, image, device, annotated):
            given.extend([model, image, device, *annotated])
            yield Progress(1, 1)
            return answer(image)

        model = SimpleNamespace(plan=SimpleNamespace(classes=(1, 4, 9)))
        monkeypatch.setattr(jobs, "trained_model", lambda folder, best: model)
        monkeypatch.setattr(jobs, "apply", apply)
        image, proposal = run_job(jobs.application(Source(scan), (material(scan),), "run", best=True, device="cpu"))
        assert given[:3] == [model, scan, "cpu"]
        (example,) = given[3:]
        assert example.image is image is scan
        assert (example.axis, example.slices, example.classes) == (2, PAINTED, {1, 4, 9})
        np.testing.assert_array_equal(example.labels.array[..., 5], truth()[..., 5])
        assert proposal.labels.grid == GRID

    def test_accepting_spares_annotated_slices_and_says_when_nothing_is_new(self, scan):
        target = np.zeros(GRID, np.uint8)
        painted = Material(Source(scan), np.zeros(GRID, np.uint8), 2, (6,))
        for commit in run_job(acceptance(target, answer(scan), (painted,), overwrite=True)):
            commit.apply()
        assert not target[:, :, 6].any()
        np.testing.assert_array_equal(target[:, :, 5], truth()[:, :, 5])
        with pytest.raises(InputError, match="nothing new"):
            run_job(acceptance(target, answer(scan), (painted,), overwrite=False))


class TestSettings:
    def test_fields_show_the_settings_they_become(self):
        changes = {"width": 64, "minutes": 1.5, "flips": (0, 1), "variation": 0.1}
        for preset in PRESETS:
            made = settings_for(preset, changes)
            assert (made.width, made.max_seconds, made.flips, made.variation) == (64, 90.0, (0, 1), 0.1)
            shown = values(preset, changes)
            assert shown["minutes"] == 1.5
            assert {field.key for field in (*MAIN, *MORE)} <= set(shown)
        assert settings_for(PRESETS[0], {"minutes": 0.0}) == settings()
        assert settings_for(PRESETS[1], {}).overlap == 0

    def test_a_value_that_cannot_be_is_refused(self):
        with pytest.raises(InputError, match="multiple of 16"):
            settings_for(PRESETS[0], {"patch": 50})

    @pytest.mark.parametrize("preset", PRESETS, ids=lambda p: p.title)
    def test_a_form_shows_values_without_changing_them(self, qtbot, preset):
        form = Form((*MAIN, *MORE))
        qtbot.addWidget(form)
        told = []
        form.changed.connect(lambda key, value: told.append((key, value)))
        form.set_values(values(preset, {}))
        assert told == []
        for field in (*MAIN, *MORE):
            widget = form.widgets[field.key]
            before = values(preset, {})[field.key]
            if hasattr(widget, "value"):
                assert widget.value() == pytest.approx(before, abs=0.5 * 10**-field.decimals)
        form.widgets["batch"].setValue(7)
        form.widgets["width"].activated.emit(0)
        form.widgets["augmented"].click()
        assert told == [("batch", 7), ("width", None), ("augmented", not values(preset, {})["augmented"])]


class TestRuns:
    def test_what_was_written_is_listed_the_latest_first(self, tmp_path):
        chosen = settings(steps=20, flips=(1,), width=16)
        for number, name in enumerate(("old", "new")):
            runs.write_record(tmp_path / name, chosen, {"classes": [1, 4]})
            HistoryFile(tmp_path / name, (row(10, 2.0, 0.5), row(20, 1.0, 0.25)) if number else ())
            os.utime(tmp_path / name, (number, number))
        (tmp_path / "something else").mkdir()
        new, old = run_job(runs.look(tmp_path))
        assert [new.name, old.name] == ["new", "old"]
        assert (new.settings, new.classes) == (chosen, {1, 4})
        assert (new.step, new.best, new.loss, new.finished) == (20, 0.5, 1.0, True)
        assert (old.step, old.best, old.loss, old.finished) == (0, None, None, False)

    def test_a_run_of_the_command_line_is_listed_by_its_history(self, tmp_path):
        (tmp_path / "run").mkdir()
        HistoryFile(tmp_path / "run", (row(10),))
        (run,) = run_job(runs.look(tmp_path))
        assert (run.step, run.settings, run.finished) == (10, None, False)

    def test_a_damaged_record_is_explained_and_left_out(self, tmp_path):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / runs.RECORD).write_text("{")
        with pytest.raises(FormatError, match="cannot be read; remove it"):
            runs.read_run(tmp_path / "run")
        assert run_job(runs.look(tmp_path)) == ()
        assert run_job(runs.look(tmp_path / "nowhere")) == ()

    def test_a_folder_that_cannot_be_made_is_told(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(ResourceError, match="cannot be made"):
            runs.write_record(tmp_path / "file" / "run", settings(), {})

    def test_names_are_not_taken_and_hold_nothing_strange(self, tmp_path):
        first = runs.fresh_folder(tmp_path, "brain MR: a/b")
        assert first == tmp_path / "brain-MR-a-b-1"
        first.mkdir()
        assert runs.fresh_folder(tmp_path, "brain MR: a/b").name == "brain-MR-a-b-2"
        assert runs.fresh_folder(tmp_path, "??").name == "run-1"


def test_what_a_resumed_training_does_again_counts_once():
    earlier = (row(5), row(10), row(15))
    assert [one.step for one in joined(earlier, (row(10), row(15)))] == [5, 10, 15]
    assert joined(earlier, ()) == earlier


def test_times_are_told_in_a_unit_that_suits():
    assert [duration(s) for s in (12.4, 600, 7200)] == ["12 s", "10 min", "2.0 h"]


def test_a_message_without_a_training_goes_nowhere():
    Line().send(ShowSlice(3))
