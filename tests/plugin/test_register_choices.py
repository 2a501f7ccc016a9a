"""What the Register dock is told to do: layers, settings, and what it says before the run."""

from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Points
from registering import Bench

from deformations import oblique
from registration_pairs import blobs
from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import InputError
from voxelsmith.core.volume import Volume
from voxelsmith.plugin.docks.register.material import gather, landmarks
from voxelsmith.plugin.docks.register.parameters import PARAMETERS, settings_for, values
from voxelsmith.plugin.docks.register.preflight import overlap
from voxelsmith.plugin.layers import from_ijk, labels_like, layer_data, placement
from voxelsmith.register import checks
from voxelsmith.register.presets import PRESETS, preset, stopped_at
from voxelsmith.register.request import RegistrationRequest


@pytest.fixture
def bench(qtbot, viewer):
    return Bench(qtbot, viewer)


def add(viewer, volume):
    data, kwargs, kind = layer_data(volume)
    return getattr(viewer, f"add_{kind}")(data, **kwargs)


def chosen(bench):
    return {part: layer.name for part, layer in bench.controller.choices.chosen.items() if layer is not None}


def marks(viewer, image, index, name):
    return viewer.add_layer(Points(from_ijk(image, index), name=name, **placement(image)))


class TestLayers:
    def test_the_first_image_stays_and_the_second_moves(self, bench):
        assert chosen(bench) == {"fixed": "fixed", "moving": "moving"}

    def test_a_renamed_layer_stays_chosen_and_a_removed_one_is_replaced(self, bench):
        bench.viewer.layers["fixed"].name = "atlas"
        assert bench.dock.inputs.combos["fixed"].currentText() == "atlas"
        third = add(bench.viewer, replace(bench.fixed, name="third"))
        assert chosen(bench) == {"fixed": "atlas", "moving": "moving"}
        bench.viewer.layers.remove("moving")
        assert chosen(bench) == {"fixed": "atlas", "moving": "third"}
        bench.viewer.layers.remove(third)
        assert chosen(bench) == {"fixed": "atlas"}
        bench.looked()
        assert "needs two images" in bench.checks
        assert not bench.dock.run_button.isEnabled()

    def test_swapping_takes_all_along(self, bench):
        mask = labels_like(bench.viewer.layers["fixed"], name="mask")
        mask.data[5:9, 5:9, 5:9] = 1
        bench.viewer.add_layer(mask)
        bench.choose("fixed_mask", "mask")
        bench.dock.inputs.swap_button.click()
        assert chosen(bench) == {"fixed": "moving", "moving": "fixed", "moving_mask": "mask"}
        assert bench.dock.inputs.combos["moving_mask"].currentText() == "mask"
        assert bench.dock.inputs.combos["fixed_mask"].currentText() == "none"

    def test_a_layer_can_be_taken_back(self, bench):
        bench.viewer.add_layer(labels_like(bench.viewer.layers["fixed"], name="mask"))
        bench.choose("fixed_mask", "mask")
        assert "mask is empty" in bench.checks
        bench.choose("fixed_mask", "none")
        assert chosen(bench) == {"fixed": "fixed", "moving": "moving"}
        assert bench.dock.run_button.isEnabled()

    def test_one_layer_cannot_be_both(self, bench):
        bench.choose("moving", "fixed")
        assert "the same layer" in bench.checks
        assert not bench.dock.run_button.isEnabled()

    def test_masks_labels_and_landmarks_reach_the_request(self, bench):
        viewer = bench.viewer
        for side in ("fixed", "moving"):
            image = viewer.layers[side]
            for value, kind in ((1, "mask"), (4, "labels")):
                layer = labels_like(image, name=f"{side} {kind}")
                layer.data[5:9, 5:9, 5:9] = value
                viewer.add_layer(layer)
                bench.choose(f"{side}_{kind}", f"{side} {kind}")
            marks(viewer, image, [[1, 2, 3], [9, 8, 7]], f"{side} points")
            bench.choose(f"{side}_points", f"{side} points")
        request = gather(bench.controller.choices.chosen, viewer).request(preset("fast", bench.fixed))
        assert request.fixed_mask.values() == [1]
        assert request.moving_labels.values() == [4]
        assert request.moving_mask.name == "moving mask"
        np.testing.assert_allclose(request.fixed_points, bench.fixed.affine.apply([[1, 2, 3], [9, 8, 7]]))
        assert request.moving_points.shape == (2, 3)


class TestLandmarks:
    def test_they_lie_where_they_are_seen_in_a_tilted_image(self):
        viewer = ViewerModel()
        volume = Volume(np.ones((20, 24, 16), np.float32), oblique(flip=(-1, 1, 1)), "tilted")
        image = add(viewer, volume)
        index = np.array([[3, 4, 5], [10.5, 20, 8.25]])
        on_image = marks(viewer, image, index, "on the image")
        np.testing.assert_allclose(landmarks(on_image, image), volume.affine.apply(index), atol=1e-4)
        in_world = viewer.add_points([image.data_to_world(p) for p in from_ijk(image, index)], ndim=3)
        np.testing.assert_allclose(landmarks(in_world, image), volume.affine.apply(index), atol=1e-4)

    def test_a_flat_or_empty_layer_is_refused(self, bench):
        image = bench.viewer.layers["fixed"]
        with pytest.raises(InputError, match="has 2 axes"):
            landmarks(Points([[1, 2]], name="flat"), image)
        with pytest.raises(InputError, match="no points yet"):
            landmarks(Points(ndim=3, name="empty"), image)

    def test_they_are_looked_at_again_when_one_is_added(self, bench):
        for side in ("fixed", "moving"):
            marks(bench.viewer, bench.viewer.layers[side], [[1, 2, 3], [9, 8, 7]], f"{side} points")
            bench.choose(f"{side}_points", f"{side} points")
        assert "at least 3 landmarks, got 2" in bench.checks
        bench.viewer.layers["fixed points"].add([4, 4, 4])
        bench.qtbot.waitUntil(lambda: "has 3 and the moving one 2" in bench.checks)
        assert not bench.dock.run_button.isEnabled()


class TestTimeSeries:
    def test_the_frame_that_is_shown_is_taken(self, qtbot, viewer):
        frames = np.stack([blobs(seed=n).array for n in range(3)], axis=-1)
        series = add(viewer, Volume(frames, Affine.from_spacing(), "series", extra_axis="time"))
        add(viewer, replace(blobs(), name="moving"))
        viewer.dims.set_point(0, 2)
        material = gather(dict.fromkeys(("fixed_mask", "moving_mask"), None) | parts(series, viewer.layers[1]), viewer)
        request = material.request(preset("fast", material.images["fixed"].volume))
        np.testing.assert_array_equal(request.fixed.array, frames[..., 2])
        assert material.notes == ("series: Working on frame 2 of 3.",)


def parts(fixed, moving):
    extra = {f"{side}_{kind}": None for side in ("fixed", "moving") for kind in ("mask", "labels", "points")}
    return extra | {"fixed": fixed, "moving": moving}


class TestParameters:
    @pytest.mark.parametrize("name", PRESETS)
    def test_without_changes_they_are_the_preset(self, name):
        fixed = blobs((70, 60, 50))
        assert settings_for(name, {}, fixed) == preset(name, fixed)
        assert set(values(preset(name, fixed))) == {p.key for p in PARAMETERS}

    @pytest.mark.parametrize("name", PRESETS)
    def test_all_values_together_are_the_preset_too(self, name):
        fixed = blobs((70, 60, 50))
        shown = values(preset(name, fixed))
        assert values(settings_for(name, shown, fixed)) == shown

    def test_each_change_arrives(self):
        fixed = blobs((70, 60, 50))
        settings = settings_for("fast", {"model": "rigid", "start": "header", "finest": 1, "window": 7}, fixed)
        assert (settings.affine.model, settings.affine.start) == ("rigid", "header")
        assert settings.deformable.shrinks[-1] == 1
        assert settings.deformable.window == 7
        assert settings_for("fast", {"finest": 0}, fixed).deformable.shrinks == ()
        assert settings_for("fast", {"deform": False, "window": 7}, fixed).deformable is None

    def test_a_wrong_value_is_told_and_stops_the_run(self, bench):
        bench.dock.settings.widgets["window"].setValue(6)
        bench.looked()
        assert "odd number of voxels" in bench.checks
        assert not bench.dock.run_button.isEnabled()

    def test_the_form_follows_the_preset_but_for_what_was_changed(self, bench):
        form = bench.dock.settings
        form.widgets["iterations"].setValue(7)
        form.combo.setCurrentIndex(list(PRESETS).index("cross-modality"))
        form.combo.activated.emit(form.combo.currentIndex())
        bench.looked()
        assert form.widgets["similarity"].currentData() == "mind"
        assert form.widgets["affine_similarity"].currentData() == "mi"
        assert form.widgets["iterations"].value() == 7
        assert "1 parameter changed" in form.note.text()
        form.reset_button.click()
        bench.looked()
        assert form.widgets["iterations"].value() == preset("cross-modality", bench.fixed).deformable.iterations
        assert "changed" not in form.note.text()
        assert bench.dock.changes == {}

    def test_without_a_deformation_its_parameters_cannot_be_changed(self, bench):
        bench.dock.settings.widgets["deform"].setChecked(False)
        bench.looked()
        assert not bench.dock.settings.widgets["window"].isEnabled()
        assert bench.dock.settings.widgets["model"].isEnabled()


class TestChecks:
    def test_grids_overlap_and_memory_are_told(self, bench):
        assert "40 × 36 × 30 of 1 × 1 × 1 mm, RAS" in bench.checks
        assert "100% of the fixed grid" in bench.checks
        assert "GiB free" in bench.checks

    @pytest.mark.parametrize(
        ("shift", "share"), [((0, 0, 0), 1.0), ((20, 0, 0), 0.5), ((20, 18, 0), 0.25), ((99, 0, 0), 0)]
    )
    def test_overlap(self, shift, share):
        fixed = blobs()
        there = Affine.from_spacing(origin=shift)
        assert overlap(fixed, replace(fixed, affine=there)) == pytest.approx(share, abs=0.03)

    def test_too_little_memory_is_told_before_the_run(self, bench, monkeypatch):
        monkeypatch.setattr(checks, "memory_at_hand", lambda: 1000)
        bench.looked()
        assert "crop the volumes" in bench.checks
        assert not bench.dock.run_button.isEnabled()

    def test_a_button_chooses_the_level_that_there_is_memory_for(self, bench, monkeypatch):
        button = bench.dock.checks.coarser_button
        assert button.isHidden()
        fixed = bench.fixed
        request = RegistrationRequest(fixed, fixed, settings=preset("same-modality", fixed))
        coarse = replace(request, settings=stopped_at(request.settings, fixed, 2))
        between = (checks.memory_needed(request) + checks.memory_needed(coarse)) // 2
        assert checks.memory_needed(coarse) < between
        monkeypatch.setattr(checks, "memory_at_hand", lambda: between)
        bench.looked()
        assert not bench.dock.run_button.isEnabled()
        assert not button.isHidden()
        assert button.text() == "Stop at 1/2 resolution"
        button.click()
        bench.looked()
        assert bench.dock.changes == {"finest": 2}
        assert bench.dock.run_button.isEnabled()
        assert button.isHidden()

    def test_no_overlap_is_told(self, bench):
        bench.viewer.layers["moving"].translate = (0, 0, 500)
        bench.qtbot.waitUntil(lambda: "does not overlap" in bench.checks)
        assert bench.dock.run_button.isEnabled()
        bench.set_parameter("start", "header")
        bench.looked()
        assert not bench.dock.run_button.isEnabled()

    def test_one_slice_is_refused(self, bench):
        bench.viewer.add_image(np.random.default_rng(0).random((20, 20)), name="slice")
        bench.choose("moving", "slice")
        assert "at least 4 voxels along each axis" in bench.checks

    def test_names_are_text_and_no_markup(self, bench):
        mask = labels_like(bench.viewer.layers["fixed"], name="<b>mask")
        mask.data[2:9, 2:9, 2:9] = 1
        mask.translate = (0.5, 0, 0)
        bench.viewer.add_layer(mask)
        bench.choose("fixed_mask", "<b>mask")
        assert "&lt;b&gt;mask" in bench.checks
