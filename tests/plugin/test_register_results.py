"""What the Register dock shows of a registration lies where it belongs, and goes when it is not wanted."""

import threading

import numpy as np
import pytest
from outcomes import finished, tilted_pair

from voxelsmith.core.progress import Progress
from voxelsmith.core.volume import Volume
from voxelsmith.plugin.docks.offered import PREVIEW
from voxelsmith.plugin.docks.register.results_part import KINDS, ResultsPart
from voxelsmith.plugin.layers import layer_data, layer_to_volume, namespaced, to_ijk, to_stored
from voxelsmith.plugin.runner import JobRunner


class Stand:
    """The part on a viewer."""

    def __init__(self, qtbot, viewer):
        self.qtbot, self.viewer = qtbot, viewer
        self.runner = JobRunner(viewer)
        self.part = ResultsPart(viewer, self.runner)
        qtbot.addWidget(self.part)
        self.controller = self.part.controller

    def show(self, **kwargs):
        self.outcome = finished(self.viewer, **kwargs)
        self.controller.show(self.outcome)
        return self.outcome

    def check(self, kind, on=True):
        self.part.boxes[kind].setChecked(on)
        self.qtbot.waitUntil(lambda: not self.runner.running)

    def settle(self):
        self.qtbot.wait(20)

    @property
    def shown(self):
        return {kind for kind, box in self.part.boxes.items() if box.isChecked()}

    def layer(self, kind):
        return self.controller.layers[kind]


@pytest.fixture
def stand(qtbot, viewer):
    stand = Stand(qtbot, viewer)
    yield stand
    stand.controller.close()
    stand.runner.shutdown()


def drawn(layer):
    """Starts and ends of vectors, in voxel indices (i, j, k)."""
    starts = to_ijk(layer, layer.data[:, 0])
    return starts, starts + to_ijk(layer, layer.data[:, 1])


class TestBoxes:
    def test_nothing_can_be_shown_before_a_run(self, stand):
        assert not any(box.isEnabled() for box in stand.part.boxes.values())
        assert not stand.part.remove_button.isEnabled()
        assert stand.part.readout.isHidden()

    def test_the_warped_image_comes_by_itself_and_is_blended(self, stand):
        outcome = stand.show()
        assert stand.shown == {"warped"}
        warped = stand.layer("warped")
        assert np.array_equal(to_stored(warped, warped.data), outcome.result.warped.array)
        stand.part.blend.setValue(80)
        assert warped.opacity == pytest.approx(0.8)

    def test_what_there_is_not_cannot_be_shown(self, stand):
        stand.show(deforms=False, labels=False)
        assert not stand.part.boxes["labels"].isEnabled()
        assert not stand.part.boxes["jacobian"].isEnabled()
        assert stand.part.boxes["arrows"].isEnabled()
        assert stand.part.whole
        assert not stand.part.whole_box.isEnabled()

    @pytest.mark.parametrize("kind", KINDS)
    def test_each_is_shown_and_taken_away(self, stand, kind):
        stand.show()
        stand.check("warped", False)
        before = [*stand.viewer.layers]
        stand.check(kind)
        assert stand.layer(kind) in stand.viewer.layers
        stand.check(kind, False)
        assert [*stand.viewer.layers] == before
        assert stand.shown == set()

    def test_remove_takes_all_away(self, stand):
        stand.show()
        for kind in KINDS:
            stand.check(kind)
        assert len(stand.viewer.layers) == 2 + len(KINDS)
        stand.part.remove_button.click()
        assert [layer.name for layer in stand.viewer.layers] == ["fixed", "moving"]
        assert stand.shown == set()

    def test_a_layer_that_the_user_deletes_is_unchecked(self, stand):
        stand.show()
        stand.check("checkerboard")
        stand.viewer.layers.remove(stand.layer("checkerboard"))
        assert stand.shown == {"warped"}
        stand.check("checkerboard")
        assert stand.layer("checkerboard") in stand.viewer.layers

    def test_lines_lie_over_images_whatever_the_order(self, stand):
        stand.show()
        for kind in ("arrows", "labels", "checkerboard"):
            stand.check(kind)
        order = [stand.viewer.layers.index(stand.layer(k)) for k in ("warped", "checkerboard", "labels", "arrows")]
        assert order == sorted(order)

    def test_a_new_run_keeps_the_warped_image_of_the_last_and_drops_its_looks(self, stand):
        stand.show()
        stand.check("jacobian")
        stand.check("arrows")
        first, looks = stand.layer("warped"), [stand.layer("jacobian"), stand.layer("arrows")]
        stand.show()
        assert first in stand.viewer.layers
        assert not first.visible
        assert not any(layer in stand.viewer.layers for layer in looks)
        assert stand.shown == {"warped"}

    def test_looks_are_not_offered_as_images_to_register(self, stand):
        stand.show()
        for kind in ("checkerboard", "difference", "jacobian", "arrows", "grid"):
            stand.check(kind)
            assert namespaced(stand.layer(kind))[PREVIEW]
        assert PREVIEW not in namespaced(stand.layer("warped"))

    def test_cancel_leaves_the_box_empty_and_errors_too(self, stand, monkeypatch, told):
        gate = threading.Event()

        def slow(*args):
            while not gate.wait(0.01):
                yield Progress(0, 1)
            raise ValueError

        monkeypatch.setattr("voxelsmith.plugin.docks.register.results.checkerboard", slow)
        stand.show()
        stand.part.boxes["checkerboard"].setChecked(True)
        assert "checkerboard" in stand.shown
        stand.runner.cancel()
        stand.qtbot.waitUntil(lambda: not stand.runner.running)
        assert stand.shown == {"warped"}
        gate.set()
        stand.check("checkerboard")
        assert stand.shown == {"warped"}
        assert len(told) == 1


class TestGeometry:
    @pytest.mark.parametrize("tilted", [False, True])
    def test_results_lie_on_the_fixed_grid(self, stand, tilted):
        affine, moving = tilted_pair() if tilted else (None, None)
        outcome = stand.show(affine=affine, moving_affine=moving)
        for kind in ("warped", "labels", "jacobian", "difference", "checkerboard"):
            stand.check(kind)
            volume = layer_to_volume(stand.layer(kind))
            outcome.request.fixed.require_same_grid(volume)
        assert layer_to_volume(stand.layer("labels")).names == {4: "core"}
        assert set(np.unique(stand.layer("labels").data)) == {0, 4}

    def test_a_fixed_layer_that_napari_turned_is_covered_as_it_is_drawn(self, qtbot, viewer):
        stand = Stand(qtbot, viewer)
        outcome = finished(viewer)
        layer = outcome.fixed_layer
        layer.metadata = {}
        turned = np.deg2rad(25)
        layer.rotate = [[1, 0, 0], [0, np.cos(turned), -np.sin(turned)], [0, np.sin(turned), np.cos(turned)]]
        volume = layer_to_volume(layer)
        moved = type(outcome.request)(volume, outcome.request.moving)
        result = type(outcome.result)(
            moved,
            ("", ""),
            type(outcome.result.transform)(),
            None,
            Volume(volume.array, volume.affine),
            outcome.result.measures,
            "header",
            (),
            (),
        )
        stand.controller.show(type(outcome)(result, 1.0, True, outcome.fixed_ref, outcome.moving_ref))
        warped = stand.layer("warped")
        corner = (3, 4, 5)
        np.testing.assert_allclose(warped.data_to_world(corner), layer.data_to_world(corner))
        np.testing.assert_allclose(layer_to_volume(warped).affine.matrix, volume.affine.matrix, atol=1e-9)
        stand.controller.close()

    def test_a_fixed_layer_that_has_gone_does_not_matter(self, stand):
        outcome = stand.show(affine=tilted_pair()[0])
        stand.check("warped", False)
        stand.viewer.layers.remove("fixed")
        stand.controller.show(outcome)
        outcome.request.fixed.require_same_grid(layer_to_volume(stand.layer("warped")))

    @pytest.mark.parametrize("tilted", [False, True])
    def test_vectors_of_the_slice_lead_where_the_deformation_leads(self, stand, tilted):
        affine, moving = tilted_pair() if tilted else (None, None)
        outcome = stand.show(affine=affine, moving_affine=moving)
        stand.check("arrows")
        fixed = outcome.request.fixed
        starts, ends = drawn(stand.layer("arrows"))
        moved = outcome.result.transform.field.push_points(fixed.affine.apply(starts))
        np.testing.assert_allclose(fixed.affine.apply(ends), moved, atol=1e-6)
        lengths = np.linalg.norm(moved - fixed.affine.apply(starts), axis=1)
        np.testing.assert_allclose(stand.layer("arrows").features["length_mm"], lengths, atol=1e-6)


class TestSlices:
    def test_vectors_and_lines_follow_the_slice(self, stand):
        stand.show()
        stand.check("arrows")
        stand.check("grid")
        layers = [stand.layer("arrows"), stand.layer("grid")]
        for plane in (3, 9):
            stand.viewer.dims.point = (float(plane), 0, 0)
            stand.settle()
            for layer in layers:
                np.testing.assert_allclose(layer.data[:, 0, 0], plane)

    def test_they_follow_the_plane_and_3_d(self, stand):
        stand.show()
        stand.check("arrows")
        layer = stand.layer("arrows")
        flat = len(layer.data)
        stand.viewer.dims.order = (1, 0, 2)
        stand.settle()
        assert len(np.unique(layer.data[:, 0, 1])) == 1
        assert len(np.unique(layer.data[:, 0, 0])) > 1
        stand.viewer.dims.ndisplay = 3
        stand.settle()
        assert all(len(np.unique(layer.data[:, 0, axis])) > 1 for axis in range(3))
        assert flat > 0

    def test_lines_stay_on_their_slice(self, stand):
        stand.show()
        stand.check("grid")
        assert np.all(stand.layer("grid").data[:, 1, 0] == 0)

    def test_density_and_affine_part_change_what_is_drawn(self, stand):
        outcome = stand.show()
        stand.part.across.setValue(8)
        stand.check("arrows")
        few = len(stand.layer("arrows").data)
        stand.part.across.setValue(16)
        assert len(stand.layer("arrows").data) > 2 * few
        told = stand.part.readout.text()
        stand.part.whole_box.setChecked(True)
        assert stand.part.readout.text() != told
        fixed = outcome.request.fixed
        starts, ends = drawn(stand.layer("arrows"))
        pushed = outcome.result.transform.push_points(fixed.affine.apply(starts))
        np.testing.assert_allclose(fixed.affine.apply(ends), pushed, atol=1e-6)
        lengths = stand.layer("arrows").features["length_mm"]
        assert stand.layer("arrows").edge_contrast_limits[1] >= lengths.max() * 0.9

    def test_colours_mean_the_same_on_every_slice(self, stand):
        stand.show()
        stand.check("arrows")
        limits = stand.layer("arrows").edge_contrast_limits
        stand.viewer.dims.point = (2.0, 0, 0)
        stand.settle()
        assert stand.layer("arrows").edge_contrast_limits == limits
        # Long vectors are red, short ones blue.
        layer = stand.layer("arrows")
        longest, shortest = (pick(layer.features["length_mm"].to_numpy()) for pick in (np.argmax, np.argmin))
        assert layer.edge_color[shortest][2] > layer.edge_color[longest][2]

    def test_closing_takes_away_what_follows_the_slice(self, stand):
        stand.show()
        for kind in ("arrows", "grid", "jacobian"):
            stand.check(kind)
        stand.controller.close()
        names = [layer.name for layer in stand.viewer.layers]
        assert names == ["fixed", "moving", "moving · warped", "Jacobian determinant"]
        stand.viewer.dims.point = (2.0, 0, 0)
        stand.settle()


def test_folding_is_counted_and_told(stand):
    outcome = stand.show()
    stand.check("jacobian")
    determinant = outcome.result.transform.field.jacobian_determinant()
    text = stand.part.readout.text()
    assert f"{determinant.min():.3g} to {determinant.max():.3g}" in text
    assert f"{int((determinant <= 0).sum()):,} of {determinant.size:,} voxels fold" in text
    stand.check("jacobian", False)
    assert stand.part.readout.isHidden()


def test_another_layer_of_the_user_is_left_alone(stand):
    stand.show()
    data, kwargs, _ = layer_data(Volume(np.ones((4, 4, 4), np.float32), name="other"))
    other = stand.viewer.add_image(data, **kwargs)
    stand.part.remove_button.click()
    assert other in stand.viewer.layers
    assert other.visible
