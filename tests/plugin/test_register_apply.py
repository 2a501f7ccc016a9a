"""A transform is applied to layers of every type, there and back, saved and opened again."""

import numpy as np
import pytest
from outcomes import finished, tilted_pair
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from voxelsmith.io.transforms import read_transform, write_transform
from voxelsmith.io.transforms.ants import read_ants
from voxelsmith.io.transforms.folder import read_folder
from voxelsmith.plugin.docks.register.apply_part import ApplyPart
from voxelsmith.plugin.docks.register.transform_files import FORMATS
from voxelsmith.plugin.layers import from_ijk, layer_to_volume, placement, to_ijk
from voxelsmith.plugin.runner import JobRunner
from voxelsmith.register.result import warp

PLACES = np.array([[8.0, 9.0, 5.0], [12.5, 6.0, 10.0], [10.0, 12.0, 7.25]])


class Stand:
    """The part on a viewer."""

    def __init__(self, qtbot, viewer):
        self.qtbot, self.viewer = qtbot, viewer
        self.runner = JobRunner(viewer)
        self.part = ApplyPart(viewer, self.runner)
        qtbot.addWidget(self.part)
        self.controller = self.part.controller

    def show(self, **kwargs):
        self.outcome = finished(self.viewer, **kwargs)
        self.controller.show(self.outcome)
        return self.outcome

    def check(self, *names):
        for row in range(self.part.layers.count()):
            item = self.part.layers.item(row)
            item.setCheckState(Qt.CheckState.Checked if item.text() in names else Qt.CheckState.Unchecked)

    def go(self, back):
        self.part.direction.setCurrentIndex(int(back))
        self.part.direction.activated.emit(int(back))

    def choose_grid(self, name):
        row = self.part.grids.findText(name)
        self.part.grids.setCurrentIndex(row)
        self.part.grids.activated.emit(row)

    def settle(self):
        self.qtbot.waitUntil(lambda: not self.runner.running, timeout=20000)

    def apply(self, *names):
        self.check(*names)
        self.part.apply_button.click()
        self.settle()
        return [layer.name for layer in self.viewer.layers]

    def save(self, key, path):
        self.part.save_wanted.emit(key, str(path))
        self.settle()

    def open(self, path):
        self.part.opened.emit(str(path))
        self.settle()

    def add_points(self, image, **style):
        return self.viewer.add_points(from_ijk(image, PLACES), name="marks", **style, **placement(image))


@pytest.fixture
def stand(qtbot, viewer):
    stand = Stand(qtbot, viewer)
    yield stand
    stand.controller.close()
    stand.runner.shutdown()


@pytest.fixture(params=[False, True], ids=["straight", "tilted"])
def run(request, stand):
    """A finished run, also on grids that are drawn otherwise than they lie."""
    affine, moving = tilted_pair() if request.param else (None, None)
    return stand.show(affine=affine, moving_affine=moving)


def ras_over(layer, image, data=None):
    """Where data of a layer lie in an image that it is drawn over."""
    data = layer.data if data is None else data
    at = [image.world_to_data(layer.data_to_world(point)) for point in data]
    return layer_to_volume(image).affine.apply(to_ijk(image, at))


class TestVolumes:
    def test_moving_images_come_onto_the_fixed_grid(self, stand, run):
        assert stand.apply("moving") == ["fixed", "moving", "moving · in fixed"]
        made = layer_to_volume(stand.viewer.layers[-1])
        run.request.fixed.require_same_grid(made)
        expected = warp(run.result.transform, run.request.moving, run.request.fixed)
        np.testing.assert_allclose(made.array, expected.array, atol=1e-3)

    def test_fixed_images_go_back_by_the_inverse(self, stand, run):
        stand.go(back=True)
        stand.apply("fixed")
        made = layer_to_volume(stand.viewer.layers["fixed · in moving"])
        run.request.moving.require_same_grid(made)
        inverse, _ = run.result.inverse()
        expected = warp(inverse, run.request.fixed, run.request.moving)
        np.testing.assert_allclose(made.array, expected.array, atol=0.5)
        assert "returns within" in stand.part.note.text()

    def test_labels_keep_values_names_and_type(self, stand):
        run = stand.show()
        labels = stand.viewer.add_labels(
            (np.asarray(stand.viewer.layers["moving"].data) > 30).astype(np.uint16) * 300,
            name="seg",
            metadata={"voxelsmith": {"names": {300: "core"}}},
            **placement(stand.viewer.layers["moving"]),
        )
        stand.apply("seg")
        made = layer_to_volume(stand.viewer.layers["seg · in fixed"])
        expected = run.result.transform.pull_image(layer_to_volume(labels), made.affine, made.grid)
        assert np.array_equal(made.array, expected.array)
        assert made.array.dtype == np.uint16
        assert made.names == {300: "core"}

    def test_another_grid_and_the_nearest_voxel_can_be_chosen(self, stand):
        run = stand.show(moving_affine=tilted_pair()[1])
        stand.choose_grid("moving")
        stand.part.interpolation.setCurrentIndex(1)
        stand.apply("moving")
        made = layer_to_volume(stand.viewer.layers["moving · in fixed"])
        run.request.moving.require_same_grid(made)
        assert set(np.unique(made.array)) <= {0, *np.unique(run.request.moving.array)}

    def test_a_time_series_is_carried_frame_by_frame(self, stand):
        run = stand.show()
        moving = stand.viewer.layers["moving"]
        twice = np.stack([moving.data, 2 * moving.data])
        stand.viewer.add_image(
            twice,
            name="series",
            scale=(1, *moving.scale),
            affine=np.block([[np.eye(1), np.zeros((1, 4))], [np.zeros((4, 1)), moving.affine.affine_matrix]]),
            units=("pixel", "mm", "mm", "mm"),
            axis_labels=("t", *moving.axis_labels),
        )
        stand.apply("series")
        made = layer_to_volume(stand.viewer.layers["series · in fixed"])
        assert made.extra_axis == "time"
        np.testing.assert_allclose(made.frame(1).array, 2 * made.frame(0).array, atol=1e-4)
        np.testing.assert_allclose(made.frame(0).array, run.result.warped.array, atol=1e-3)


class TestPlaces:
    def test_points_go_there_and_back(self, stand, run):
        moving, fixed = run.moving_layer, run.fixed_layer
        marks = stand.add_points(moving, features={"kind": ["a", "b", "c"]}, face_color="red", symbol="star")
        stand.apply("marks")
        made = stand.viewer.layers["marks · in fixed"]
        moved = run.result.transform.push_points(ras_over(made, fixed))
        np.testing.assert_allclose(moved, run.request.moving.affine.apply(PLACES), atol=0.02)
        assert made.features["kind"].tolist() == ["a", "b", "c"]
        assert np.array_equal(made.face_color, marks.face_color)
        assert {str(s) for s in made.symbol} == {str(s) for s in marks.symbol}
        stand.go(back=True)
        stand.apply("marks · in fixed")
        again = stand.viewer.layers["marks · in fixed · in moving"]
        np.testing.assert_allclose(ras_over(again, moving), ras_over(marks, moving), atol=0.02)

    @pytest.mark.parametrize(
        ("kind", "made_of", "count"),
        [("rectangle", "polygon", 32), ("ellipse", "polygon", 48), ("path", "path", 25), ("line", "path", 9)],
    )
    def test_shapes_bend(self, stand, kind, made_of, count):
        run = stand.show()
        moving, fixed = run.moving_layer, run.fixed_layer
        corners = from_ijk(moving, [[6, 6, 7], [16, 6, 7], [16, 14, 7], [6, 14, 7]])
        shapes = stand.viewer.add_shapes(
            [corners[:2] if kind == "line" else corners], shape_type=kind, name="shape", **placement(moving)
        )
        stand.apply("shape")
        made = stand.viewer.layers["shape · in fixed"]
        assert made.shape_type == [made_of]
        assert len(made.data[0]) == count
        assert "3-D only" in stand.part.note.text()
        moved = run.result.transform.push_points(ras_over(made, fixed, made.data[0]))
        index = run.request.moving.affine.inverse().apply(moved)
        np.testing.assert_allclose(index[:, 2], 7, atol=0.02)
        if kind == "ellipse":
            radius = np.hypot((index[:, 0] - 11) / 5, (index[:, 1] - 10) / 4)
            np.testing.assert_allclose(radius, 1, atol=0.02)
        else:
            np.testing.assert_allclose(index[0], to_ijk(shapes, shapes.data[0])[0], atol=0.02)
            assert index[:, :2].min() >= 5.9

    def test_flat_shapes_that_are_shifted_are_seen_on_their_slice(self, stand):
        run = stand.show(deforms=False)
        moving = run.moving_layer
        corners = from_ijk(moving, [[6, 6, 7], [16, 6, 7], [16, 14, 7]])
        stand.viewer.add_shapes([corners], shape_type="polygon", name="shape", **placement(moving))
        stand.apply("shape")
        assert stand.part.note.text() == "1 layer was made."
        np.testing.assert_allclose(stand.viewer.layers[-1].data[0][:, 0], 6)

    def test_empty_layers_and_points_in_time_are_refused(self, stand, told):
        stand.show()
        stand.viewer.add_points(np.empty((0, 3)), name="none")
        stand.viewer.add_points([[0, 1, 2, 3]], name="in time", axis_labels=("t", "k", "j", "i"))
        before = stand.apply("none")
        stand.apply("in time")
        assert len(told) == 2
        assert "'none' is empty" in told[0]
        assert "time axis" in told[1]
        assert [layer.name for layer in stand.viewer.layers] == before


class TestOffer:
    def test_without_a_transform_nothing_can_be_applied_or_saved(self, stand):
        assert not stand.part.apply_button.isEnabled()
        assert not stand.part.save_button.isEnabled()
        assert not stand.part.undo_button.isEnabled()
        assert stand.part.note.isHidden()

    def test_checks_stay_when_layers_come_go_and_change_their_names(self, stand):
        stand.show()
        stand.add_points(stand.viewer.layers["moving"])
        stand.check("marks")
        stand.viewer.layers["marks"].name = "spots"
        stand.viewer.add_image(np.zeros((3, 3, 3)), name="other")
        stand.viewer.layers.remove("fixed")
        texts = [stand.part.layers.item(row).text() for row in range(stand.part.layers.count())]
        assert texts == ["moving", "spots", "other"]
        assert stand.part.checked == [1]

    def test_nothing_checked_is_told(self, stand, told):
        stand.show()
        stand.apply()
        assert "none is checked" in told[0]

    def test_undo_takes_away_what_was_applied_last(self, stand):
        stand.show()
        stand.apply("fixed")
        stand.apply("fixed", "moving")
        stand.part.undo_button.click()
        assert [layer.name for layer in stand.viewer.layers] == ["fixed", "moving", "fixed · in fixed"]
        stand.part.undo_button.click()
        assert [layer.name for layer in stand.viewer.layers] == ["fixed", "moving"]
        assert not stand.part.undo_button.isEnabled()

    def test_what_the_user_deleted_is_not_undone(self, stand):
        stand.show()
        stand.apply("moving")
        stand.viewer.layers.remove("moving · in fixed")
        assert not stand.part.undo_button.isEnabled()

    def test_a_layer_that_changes_meanwhile_gets_no_result(self, stand, told):
        stand.show()
        stand.check("moving")
        stand.part.apply_button.click()
        stand.viewer.layers["moving"].data = np.array(stand.viewer.layers["moving"].data)
        stand.settle()
        assert "was changed" in told[0]
        assert len(stand.viewer.layers) == 2


class TestFiles:
    @pytest.mark.parametrize("back", [False, True])
    @pytest.mark.parametrize("key", FORMATS)
    def test_each_format_holds_the_transform(self, stand, tmp_path, key, back):
        deforms = FORMATS[key].deforms
        run = stand.show(deforms=deforms)
        stand.go(back)
        target = tmp_path / "folder" if key == "folder" else tmp_path / "saved"
        if key == "folder":
            target.mkdir()
        stand.save(key, target)
        onto = run.request.moving if back else run.request.fixed
        if key == "ants":
            found = read_ants(target)
            assert (tmp_path / "saved1InverseWarp.nii.gz").is_file()
        elif key == "folder":
            found = read_folder(target)
        else:
            found = read_transform(tmp_path / f"saved{FORMATS[key].ending}", onto.affine, onto.grid)
        expected = run.result.inverse()[0] if back else run.result.transform
        places = onto.affine.apply(PLACES)
        np.testing.assert_allclose(found.push_points(places), expected.push_points(places), atol=0.02)
        assert stand.part.note.text().startswith("Saved ")

    def test_a_deformation_fits_no_affine_file(self, stand, tmp_path, told):
        stand.show()
        stand.save("txt", tmp_path / "a")
        assert "hold affine maps" in told[0]
        assert list(tmp_path.iterdir()) == []

    def test_a_transform_from_a_file_is_applied(self, stand, tmp_path):
        run = stand.show()
        path = write_transform(run.result.transform, tmp_path / "t.h5")
        stand.controller.show(None)
        assert not stand.part.apply_button.isEnabled()
        stand.open(path)
        assert stand.part.transforms.currentText() == "t.h5"
        assert stand.part.note.text() == "Opened t.h5: a deformation."
        stand.choose_grid("fixed")
        stand.add_points(run.moving_layer)
        stand.apply("moving", "marks")
        made = layer_to_volume(stand.viewer.layers["moving · in fixed"])
        np.testing.assert_allclose(made.array, run.result.warped.array, atol=1e-3)
        points = stand.viewer.layers["marks · in fixed"]
        moved = run.result.transform.push_points(ras_over(points, run.fixed_layer))
        np.testing.assert_allclose(moved, run.request.moving.affine.apply(PLACES), atol=0.02)

    def test_files_stay_at_hand_after_a_run_and_can_be_chosen_again(self, stand, tmp_path):
        path = write_transform(finished(stand.viewer, deforms=False).result.transform, tmp_path / "t.txt")
        stand.open(path)
        stand.show()
        names = [stand.part.transforms.itemText(n) for n in range(stand.part.transforms.count())]
        assert names == ["moving → fixed, of the last run", "t.txt"]
        assert stand.part.transforms.currentIndex() == 0
        assert stand.part.grids.currentText() == "the fixed image's"
        stand.part.transforms.activated.emit(1)
        assert stand.part.transforms.currentIndex() == 1
        assert stand.part.grids.currentText() == "fixed"

    @pytest.mark.parametrize("name", ["broken.h5", "none.h5", "word.docx"])
    def test_a_file_that_is_no_transform_is_told(self, stand, tmp_path, told, name):
        if name != "none.h5":
            (tmp_path / name).write_bytes(b"no transform")
        stand.open(tmp_path / name)
        assert len(told) == 1
        assert name in told[0]
        assert not stand.part.apply_button.isEnabled()

    def test_the_buttons_ask_for_places(self, stand, tmp_path, monkeypatch):
        stand.show()
        asked = []
        monkeypatch.setattr(
            QFileDialog, "getSaveFileName", lambda *args: (asked.append(args[2:]) or str(tmp_path / "b"), "")
        )
        stand.part.save_button.click()
        stand.settle()
        assert asked == [("transform.h5", ".h5 ITK composite (*.h5)")]
        assert (tmp_path / "b.h5").is_file()
        monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *args, **kwargs: (str(tmp_path / "b.h5"), ""))
        stand.part.open_button.menu().actions()[0].trigger()
        stand.settle()
        assert stand.part.transforms.currentText() == "b.h5"
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *args: str(tmp_path))
        stand.part.formats.setCurrentIndex(stand.part.formats.findData("folder"))
        stand.part.save_button.click()
        stand.settle()
        stand.part.open_button.menu().actions()[1].trigger()
        stand.settle()
        assert stand.part.transforms.currentText() == tmp_path.name


def test_widgets_have_tooltips_and_fit(stand):
    stand.show()
    part = stand.part
    widgets = (part.transforms, part.direction, part.layers, part.grids, part.interpolation, part.formats)
    buttons = (part.open_button, part.apply_button, part.undo_button, part.save_button)
    assert all(widget.toolTip() for widget in (*widgets, *buttons))
    assert part.minimumSizeHint().width() <= 300
