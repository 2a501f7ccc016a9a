"""A run of the Register dock: what it finds, shows on the way, and leaves when it is stopped."""

import gc

import numpy as np
import pytest
from registering import Bench, GatedJob

from registration_pairs import error_in_voxels, tilted
from voxelsmith.plugin.layers import labels_like, to_stored
from voxelsmith.register.presets import PRESETS
from voxelsmith.register.result import Measures


@pytest.fixture
def bench(qtbot, viewer):
    return Bench(qtbot, viewer)


@pytest.fixture
def gated(bench, monkeypatch):
    """A run that shows one picture and then waits."""
    job = GatedJob(bench)
    monkeypatch.setattr("voxelsmith.plugin.docks.register.run.registration", job)
    bench.dock.run_button.click()
    bench.qtbot.waitUntil(lambda: job.seen.is_set() and bool(bench.dock.curve.traces))
    return job


class TestOutcome:
    def test_a_known_map_is_found_and_told(self, bench, told):
        bench.rigid_only()
        assert bench.dock.status.isHidden()
        bench.run()
        (outcome,) = bench.outcomes
        assert outcome.complete
        assert outcome.seconds > 0
        assert error_in_voxels(bench.fixed, bench.matrix, outcome.result.transform.matrix).max() < 0.3
        assert outcome.result.fingerprints == (bench.fixed.fingerprint(), bench.moving.fingerprint())
        m = outcome.result.measures
        assert f"Correlation {m.similarity_before:.3f} → {m.similarity_after:.3f}" in bench.dock.status.text()
        assert not bench.dock.status.isHidden()
        assert sum(len(trace.points) for trace in bench.dock.curve.traces) == len(outcome.result.history)
        assert told == []
        assert outcome.fixed_layer is bench.viewer.layers["fixed"]
        assert outcome.moving_layer is bench.viewer.layers["moving"]
        bench.viewer.layers.clear()
        gc.collect()
        assert outcome.fixed_layer is None
        assert (outcome.fixed_name, outcome.moving_name) == ("fixed", "moving")

    def test_a_tilted_pair_is_computed_where_it_lies(self, qtbot, viewer):
        bench = Bench(qtbot, viewer, affine=tilted())
        bench.rigid_only()
        bench.run()
        (outcome,) = bench.outcomes
        assert outcome.request.fixed.affine == tilted()
        assert error_in_voxels(bench.fixed, bench.matrix, outcome.result.transform.matrix).max() < 0.3

    def test_the_moving_image_makes_room_and_the_preview_goes(self, bench, gated):
        assert bench.layers == ["fixed", "moving", "moving · registering"]
        bench.dock.keep_box.setChecked(True)
        bench.dock.progress.cancel_button.click()
        gated.gate.set()
        bench.settle()
        assert "moving · registering" not in bench.layers
        assert not bench.viewer.layers["moving"].visible

    def test_a_changed_layer_parks_it(self, bench, gated, told):
        bench.viewer.layers["moving"].translate = (1, 2, 3)
        gated.gate.set()
        bench.settle()
        assert bench.outcomes == []
        assert len(told) == 1
        assert "'moving' was changed" in told[0]
        assert bench.layers == ["fixed", "moving"]
        assert bench.viewer.layers["moving"].visible
        assert "'moving' was changed" in bench.dock.status.text()

    def test_notes_become_warnings(self, bench, gated, told):
        bench.dock.keep_box.setChecked(True)
        bench.dock.progress.cancel_button.click()
        gated.gate.set()
        bench.settle()
        assert told == ["A note."]
        assert "A note." in bench.dock.status.text()


class TestPreview:
    def test_it_lies_on_the_fixed_image(self, bench, gated):
        layer, fixed = bench.viewer.layers["moving · registering"], bench.viewer.layers["fixed"]
        np.testing.assert_array_equal(to_stored(layer, layer.data), gated.warped.array)
        np.testing.assert_array_equal(layer.extent.world, fixed.extent.world)
        assert layer.contrast_limits == bench.viewer.layers["moving"].contrast_limits
        assert 0 < layer.opacity < 1
        assert not bench.viewer.layers["moving"].visible

    def test_it_is_offered_for_nothing(self, bench, gated):
        combo = bench.dock.inputs.combos["fixed"]
        assert [combo.itemText(n) for n in range(combo.count())] == ["fixed", "moving"]

    def test_it_stays_away_if_the_user_deletes_it(self, bench, gated):
        bench.viewer.layers.remove("moving · registering")
        gated.gate.set()
        with bench.qtbot.waitSignal(bench.dock.runner.finished):
            pass
        assert bench.layers == ["fixed", "moving"]

    def test_it_follows_the_levels(self, bench):
        seen = []
        fast = list(PRESETS).index("fast")
        bench.dock.settings.combo.setCurrentIndex(fast)
        bench.dock.settings.combo.activated.emit(fast)
        bench.looked()
        bench.viewer.layers.events.inserted.connect(lambda event: seen.append(event.value))
        bench.run()
        assert [layer.name for layer in seen] == ["moving · registering", "moving · warped"]
        preview, warped = (to_stored(layer, layer.data) for layer in seen)
        assert preview.shape == bench.fixed.grid
        apart = [np.abs(image - bench.fixed.array).mean() for image in (preview, warped)]
        moving = bench.viewer.layers["moving"]
        before = np.abs(to_stored(moving, moving.data) - bench.fixed.array)
        # Which level is seen last depends on the machine; each of them is far closer than the start.
        assert max(apart) < 0.5 * before.mean()
        titles = [trace.title for trace in bench.dock.curve.traces]
        assert titles[:3] == ["affine 1", "affine 2", "affine 3"]
        assert titles[3:] == ["1/2", "full"]


class TestMovingSide:
    def test_it_is_hidden_and_shown_again_if_nothing_comes_of_it(self, bench, monkeypatch):
        image, layers = bench.viewer.layers["moving"], bench.viewer.layers
        for name in ("own", "shared", "other"):
            labels = labels_like(image, name=name)
            labels.data[4:9, 4:9, 4:9] = 1
            layers.append(labels)
        for part, name in (("moving_labels", "own"), ("moving_mask", "shared"), ("fixed_mask", "shared")):
            bench.choose(part, name)
        job = GatedJob(bench)
        monkeypatch.setattr("voxelsmith.plugin.docks.register.run.registration", job)
        bench.dock.run_button.click()
        bench.qtbot.waitUntil(lambda: "moving · registering" in bench.layers)
        hidden = [layer.name for layer in layers if not layer.visible]
        assert hidden == ["moving", "own"]
        bench.dock.progress.cancel_button.click()
        job.gate.set()
        bench.settle()
        assert all(layer.visible for layer in layers)


class TestCancel:
    def test_it_answers_within_a_second_whatever_the_job_does(self, bench, gated):
        bench.dock.progress.cancel_button.click()
        bench.qtbot.waitUntil(lambda: not bench.dock.runner.running, timeout=1000)
        assert not gated.ended
        assert bench.layers == ["fixed", "moving"]
        assert bench.viewer.layers["moving"].visible
        assert bench.outcomes == []
        assert "nothing was changed" in bench.dock.status.text()
        assert bench.dock.run_button.isEnabled()
        assert bench.dock.progress.isHidden()

    def test_a_hidden_moving_image_stays_hidden(self, qtbot, viewer, monkeypatch):
        bench = Bench(qtbot, viewer)
        viewer.layers["moving"].visible = False
        job = GatedJob(bench)
        monkeypatch.setattr("voxelsmith.plugin.docks.register.run.registration", job)
        bench.dock.run_button.click()
        qtbot.waitUntil(lambda: len(viewer.layers) == 3)
        bench.dock.progress.cancel_button.click()
        job.gate.set()
        bench.settle()
        assert not viewer.layers["moving"].visible

    def test_the_last_level_is_kept_if_asked(self, bench, gated):
        bench.dock.keep_box.setChecked(True)
        bench.dock.progress.cancel_button.click()
        gated.gate.set()
        bench.settle()
        (outcome,) = bench.outcomes
        assert not outcome.complete
        np.testing.assert_array_equal(outcome.result.transform.matrix, bench.matrix)
        np.testing.assert_allclose(outcome.result.warped.array, gated.warped.array)
        assert isinstance(outcome.result.measures, Measures)
        assert outcome.result.measures.similarity_after > outcome.result.measures.similarity_before
        assert outcome.result.start == "header"
        assert "Stopped early" in bench.dock.status.text()

    def test_keeping_can_be_cancelled_too(self, bench, gated):
        bench.dock.keep_box.setChecked(True)
        bench.dock.progress.cancel_button.click()
        bench.qtbot.waitUntil(lambda: "last level becomes the result" in bench.dock.status.text(), timeout=1000)
        assert bench.dock.runner.running
        bench.dock.progress.cancel_button.click()
        gated.gate.set()
        bench.settle()
        assert bench.outcomes == []
        assert bench.layers == ["fixed", "moving"]

    def test_nothing_is_kept_before_the_first_level(self, bench, monkeypatch):
        job = GatedJob(bench, pictured=False)
        monkeypatch.setattr("voxelsmith.plugin.docks.register.run.registration", job)
        bench.dock.keep_box.setChecked(True)
        bench.dock.run_button.click()
        bench.qtbot.waitUntil(job.seen.is_set)
        bench.dock.progress.cancel_button.click()
        job.gate.set()
        bench.settle()
        assert bench.outcomes == []
        assert "nothing was changed" in bench.dock.status.text()

    def test_a_closed_dock_leaves_nothing(self, bench, gated):
        gated.gate.set()
        bench.dock.close()
        assert bench.layers == ["fixed", "moving"]
        assert bench.viewer.layers["moving"].visible
        bench.viewer.layers["moving"].name = "other"
        assert bench.dock.inputs.combos["moving"].currentText() == "moving"

    def test_closing_after_a_run_changes_nothing(self, bench, gated):
        bench.dock.keep_box.setChecked(True)
        bench.dock.progress.cancel_button.click()
        gated.gate.set()
        bench.settle()
        bench.dock.close()
        assert not bench.viewer.layers["moving"].visible

    def test_the_next_run_begins_when_the_thread_is_free(self, bench, gated, monkeypatch):
        bench.dock.progress.cancel_button.click()
        bench.qtbot.waitUntil(lambda: not bench.dock.runner.running)
        second = GatedJob(bench)
        monkeypatch.setattr("voxelsmith.plugin.docks.register.run.registration", second)
        bench.dock.run_button.click()
        bench.qtbot.wait(100)
        assert not second.seen.is_set()
        gated.gate.set()
        bench.qtbot.waitUntil(second.seen.is_set)
        second.gate.set()
        bench.dock.progress.cancel_button.click()
        bench.settle()
