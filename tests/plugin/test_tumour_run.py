"""Runs of the Tumour dock: what they find, keep, and leave when they are stopped."""

import numpy as np
import pytest
from tumour_bench import Bench, FakeNetwork, depth

from voxelsmith.core.errors import ModelUnavailableError
from voxelsmith.core.regions import CONVENTIONS
from voxelsmith.plugin.layers import layer_to_volume
from voxelsmith.segment.tumour import engine
from voxelsmith.segment.tumour.names import MODALITIES


@pytest.fixture
def bench(qtbot, viewer, monkeypatch):
    return Bench(qtbot, viewer, monkeypatch)


@pytest.fixture
def prepared(monkeypatch):
    """The requests that were prepared."""
    requests, as_usual = [], engine.prepare

    def prepare(request):
        requests.append(request)
        return as_usual(request)

    monkeypatch.setattr(engine, "prepare", prepare)
    return requests


@pytest.fixture
def gated(bench):
    """A run that waits in its first window."""
    bench.network.gate.clear()
    bench.dock.run_button.click()
    bench.qtbot.waitUntil(bench.network.reached.is_set, timeout=30000)
    bench.qtbot.waitUntil(lambda: "Window 1 of" in bench.dock.progress.message.text())
    return bench.network


def agreement(layer, convention="brats2018"):
    truth = CONVENTIONS[convention].labels(np.maximum(depth(), 0))
    return (layer_to_volume(layer).array == truth)[depth() >= 0].mean()


class TestResult:
    def test_regions_lie_on_the_grid_of_t1c_with_colours_and_names(self, bench, told):
        bench.run()
        assert told == []
        found = layer_to_volume(bench.result)
        assert found.same_grid(layer_to_volume(bench.viewer.layers["T1 with contrast"]))
        assert agreement(bench.result) > 0.99
        assert found.names == {1: "necrotic and non-enhancing core", 2: "oedema", 4: "enhancing tumour"}
        red, green, blue, _ = bench.result.get_color(2)
        assert green > 2 * max(red, blue)
        red, green, blue, _ = bench.result.get_color(1)
        assert red > 2 * max(green, blue)
        red, green, blue, _ = bench.result.get_color(4)
        assert min(red, green) > 2 * blue
        assert bench.dock.folds["Result"].opened
        assert "Full resolution: WT" in bench.status
        assert bench.loaded == [("auto", MODALITIES, "auto")]

    def test_the_convention_that_is_chosen_is_written(self, bench):
        bench.pick(bench.dock.result.combos["convention"], "BraTS 2023")
        bench.run()
        assert agreement(bench.result, "brats2023") > 0.99
        assert bench.result.data.max() == 3

    def test_missing_sequences_make_regions_grey_and_synthetic_ones_are_named(self, qtbot, viewer, monkeypatch):
        bench = Bench(qtbot, viewer, monkeypatch, ("t1", "flair"))
        bench.run()
        assert "Synthetic: T1 with contrast, T2." in bench.note
        assert "TC and ET cannot be relied on." in bench.note
        assert [row[0] for row in bench.rows] == ["WT", "TC ⚠", "ET ⚠"]
        shades = [bench.dock.result.table.topLevelItem(n).foreground(0).color().alphaF() for n in range(3)]
        assert shades[1] == shades[2] < 0.6 < shades[0]
        assert "alone shows what enhances" in bench.dock.result.table.topLevelItem(2).toolTip(0)

    def test_what_only_the_run_found_out_is_told_and_nothing_twice(self, qtbot, viewer, monkeypatch):
        bench = Bench(qtbot, viewer, monkeypatch, ("t1", "flair"))
        bench.network.modalities = ("t1c", "flair")
        monkeypatch.setattr(
            FakeNetwork, "__call__", lambda net, images, available: np.repeat(images[1:] > 1, 3, axis=0)
        )
        bench.run()
        assert "does not look at T1" in bench.status
        assert "cannot be relied on" in bench.findings
        assert "cannot be relied on" not in bench.status

    def test_probabilities_are_layers_on_demand(self, bench):
        bench.run()
        boxes = bench.dock.result.boxes
        boxes["ET"].click()
        assert bench.layers[-2:] == ["ET probability", "tumour"]
        shown = layer_to_volume(bench.viewer.layers["ET probability"]).array
        np.testing.assert_array_equal(shown > 0.5, layer_to_volume(bench.result).array == 4)
        bench.viewer.layers.remove("ET probability")
        assert not boxes["ET"].isChecked()
        boxes["WT"].click()
        boxes["WT"].click()
        assert bench.layers[-1] == "tumour"
        assert "WT probability" not in bench.layers


class TestPreparation:
    def test_a_preview_and_the_full_run_are_prepared_once(self, bench, prepared):
        bench.run(bench.dock.preview_button)
        assert bench.layers[-1] == "tumour preview"
        assert "preview: WT" in bench.status
        coarse = agreement(bench.result)
        bench.run()
        assert bench.layers[-1] == "tumour"
        assert "tumour preview" not in bench.layers
        assert len(prepared) == 1
        assert agreement(bench.result) > coarse

    def test_a_preview_that_was_painted_on_stays(self, bench):
        bench.run(bench.dock.preview_button)
        bench.result.paint((20, 20, 20), 2)
        bench.run()
        assert bench.layers[-2:] == ["tumour preview", "tumour"]

    def test_a_changed_layer_or_way_is_prepared_anew_and_another_model_is_not(self, bench, prepared):
        bench.run()
        bench.dock.settings.choose_model("cmf-4")
        bench.looked()
        bench.run()
        assert len(prepared) == 1
        assert bench.loaded[-1][0] == "cmf-4"
        bench.viewer.layers["T2"].translate = (0, 0, 1e-4)
        bench.looked()
        bench.run()
        assert len(prepared) == 2
        bench.pick(bench.dock.settings.choices["registration"], "none")
        bench.looked()
        bench.run()
        assert len(prepared) == 3
        assert prepared[-1].settings.registration == "never"


class TestInterrupted:
    def test_cancel_changes_nothing_and_keeps_the_preparation(self, bench, gated, prepared):
        before = bench.layers
        assert not bench.dock.run_button.isEnabled()
        bench.dock.progress.cancel_button.click()
        bench.qtbot.waitUntil(lambda: "Stopped" in bench.status)
        assert bench.dock.run_button.isEnabled()
        gated.gate.set()
        bench.settle()
        assert bench.layers == before
        bench.run()
        assert prepared == []
        assert bench.layers[-1] == "tumour"

    def test_a_layer_deleted_meanwhile_parks_the_result(self, bench, gated, told):
        bench.viewer.layers.remove("T2")
        gated.gate.set()
        bench.settle()
        assert bench.result is None
        assert "'T2' was removed" in told[-1]
        assert "'T2' was removed" in bench.status
        bench.looked()
        assert bench.dock.run_button.isEnabled()

    def test_a_dock_closed_meanwhile_leaves_the_viewer_alone(self, bench, gated):
        before = bench.layers
        gated.gate.set()
        bench.dock.close()
        bench.qtbot.wait(100)
        assert bench.layers == before
        bench.viewer.layers["T1"].name = "other"
        assert bench.chosen("t1") == "T1"

    def test_missing_weights_are_told_before_anything_is_prepared(self, bench, prepared, monkeypatch, told):
        def missing(*args):
            raise ModelUnavailableError("There are no weights; train your own with voxelsmith train cmf.")

        monkeypatch.setattr("voxelsmith.plugin.docks.tumour.jobs.load_network", missing)
        bench.run()
        assert "train your own" in bench.status
        assert "train your own" in told[0]
        assert prepared == []
        assert bench.dock.run_button.isEnabled()
