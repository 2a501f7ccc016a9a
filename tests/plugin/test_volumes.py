"""The Volumes dock tells the truth about a layer, and opens and exports without losing any of it."""

import os
from unittest.mock import MagicMock

import nibabel as nib
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer, Points
from orientations import oriented

from voxelsmith import io
from voxelsmith.core.progress import run_job
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.io import Series
from voxelsmith.plugin.camera import keep_upright
from voxelsmith.plugin.docks.volumes import controller as controller_module
from voxelsmith.plugin.docks.volumes.controller import VolumesController
from voxelsmith.plugin.docks.volumes.details import details
from voxelsmith.plugin.docks.volumes.view import VolumesDock
from voxelsmith.plugin.layers import labels_like, layer_data, layer_to_volume
from voxelsmith.plugin.runner import JobRunner
from voxelsmith.plugin.windows import Statistics, hounsfield, statistics, windows


def as_layer(volume):
    return Layer.create(*layer_data(volume))


def ct(shape=(8, 9, 10), **metadata):
    array = np.linspace(-1000, 1500, int(np.prod(shape))).reshape(shape).astype(np.int16)
    return Volume(array, oriented(), name="ct", metadata=metadata)


class TestStatistics:
    def test_every_voxel_counts(self):
        array = np.zeros((5, 6, 7), np.float32)
        array[1, 2, 3], array[4, 5, 6] = -7, 9
        known = run_job(statistics(Volume(array)))
        assert (known.low, known.high, known.finite) == (-7, 9, True)

    def test_percentiles_are_those_of_the_voxels(self):
        array = np.random.default_rng(0).normal(size=(80, 90, 60))
        known = run_job(statistics(Volume(array)))
        assert known.percentile_1 == pytest.approx(np.percentile(array, 1), abs=0.02)
        assert known.percentile_99 == pytest.approx(np.percentile(array, 99), abs=0.02)

    def test_other_than_finite_values_are_left_out(self):
        array = np.ones((3, 4, 5))
        array[0, 0, 0], array[0, 0, 1] = np.nan, np.inf
        known = run_job(statistics(Volume(array)))
        assert (known.low, known.high, known.finite) == (1, 1, False)
        assert run_job(statistics(Volume(np.full((2, 2, 2), np.nan)))).low is None

    def test_a_time_series_is_looked_at_whole(self):
        array = np.zeros((3, 4, 5, 2), np.uint8)
        array[0, 0, 0, 1] = 200
        assert run_job(statistics(Volume(array, extra_axis="time"))).high == 200


class TestWindows:
    def test_ct_gets_its_windows(self):
        volume = ct()
        offered = {w.name: (w.low, w.high) for w in windows(volume, run_job(statistics(volume)))}
        assert offered["CT soft tissue"] == (-160, 240)
        assert offered["CT lung"] == (-1350, 150)
        assert offered["CT bone"] == (-500, 1300)
        assert offered["CT brain"] == (0, 80)
        assert offered["full range"] == (-1000, 1500)

    @pytest.mark.parametrize(
        ("low", "high", "modality", "expected"),
        [
            (-1024, 3071, None, True),
            (0, 3057, None, False),
            (-3000, 3000, "MR", False),
            (0, 100, "CT", True),
            (-1e6, 1e6, None, False),
            (None, None, None, False),
        ],
    )
    def test_hounsfield_units_are_recognised(self, low, high, modality, expected):
        volume = ct(**({"dicom": {"Modality": modality}} if modality else {}))
        assert hounsfield(volume, Statistics(low, high)) is expected

    def test_a_constant_volume_has_none(self):
        volume = Volume(np.ones((3, 3, 3)))
        assert windows(volume, run_job(statistics(volume))) == []


class TestDetails:
    def test_geometry_is_told_as_stored(self):
        rows = dict(details(ct(), Statistics(-1000, 1500)))
        assert rows["Grid"] == "8 × 9 × 10"
        assert rows["Voxel size"] == "0.7 × 1.1 × 3.3 mm"
        assert rows["Orientation"] == "RAS"
        assert rows["Origin"] == "R -90.3  A 12.7  S 55.1 mm"
        assert rows["Data type"] == "int16, 1.44 kB"
        assert rows["Values"] == "-1000 to 1500"
        assert rows["File"] == "none (made here)"

    def test_obliqueness_is_told(self):
        volume = Volume(np.zeros((3, 4, 5)), oriented((1, 0, 2), (-1, 1, 1), tilt=10))
        assert dict(details(volume))["Orientation"].startswith("PRS, oblique by 1")

    def test_frames_labels_and_history_appear_when_there_are_any(self):
        assert dict(details(Volume(np.zeros((3, 4, 5, 6)), extra_axis="time")))["Frames"] == "6"
        labels = LabelVolume(np.zeros((3, 4, 5), np.uint8), names={2: "spleen", 1: "liver"}, history=("resampled",))
        rows = dict(details(labels))
        assert (rows["Labels"], rows["History"]) == ("1 liver, 2 spleen", "resampled")


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def view():
    return MagicMock(spec=VolumesDock)


@pytest.fixture
def runner(viewer, qtbot):
    return JobRunner(viewer)


@pytest.fixture
def controller(viewer, view, runner):
    controller = VolumesController(viewer, view, runner)
    yield controller
    controller.close()


def shown(view):
    title, rows = view.set_details.call_args.args
    return title, dict(rows)


class TestSelectedLayer:
    def test_it_is_described_with_its_values(self, qtbot, viewer, view, controller):
        viewer.add_layer(as_layer(ct()))
        qtbot.waitUntil(lambda: "Values" in shown(view)[1])
        assert shown(view)[0] == "ct"
        assert shown(view)[1]["Values"] == "-1000 to 1500"
        assert "CT lung" in view.set_windows.call_args.args[0]
        view.set_usable.assert_called_with(True)

    def test_moving_or_replacing_it_is_noticed(self, qtbot, viewer, view, controller):
        layer = viewer.add_layer(as_layer(ct()))
        qtbot.waitUntil(lambda: "Values" in shown(view)[1])
        layer.scale = (1, 1, 1)
        assert shown(view)[1]["Voxel size"] == "1 × 1 × 1 mm"
        layer.data = np.full((10, 9, 8), 4, np.int16)
        qtbot.waitUntil(lambda: shown(view)[1].get("Values") == "4 to 4")

    def test_points_and_nothing_disable_the_dock(self, viewer, view, controller):
        viewer.add_layer(Points(np.zeros((1, 3))))
        view.set_usable.assert_called_with(False)
        viewer.layers.clear()
        view.set_usable.assert_called_with(False)

    def test_an_unusable_layer_is_explained(self, viewer, view, controller):
        layer = as_layer(ct())
        layer.units = ("second", "mm", "mm")
        viewer.add_layer(layer)
        assert "set it to mm" in shown(view)[1]["Unusable"]
        view.set_usable.assert_called_with(False)

    def test_a_window_sets_the_contrast(self, qtbot, viewer, view, controller):
        layer = viewer.add_layer(as_layer(ct()))
        qtbot.waitUntil(lambda: view.set_windows.call_args.args[0] != [])
        controller.apply_window(view.set_windows.call_args.args[0].index("CT lung"))
        assert tuple(layer.contrast_limits) == (-1350, 150)
        controller.apply_window(-1)
        assert tuple(layer.contrast_limits) == (-1350, 150)

    def test_labels_have_no_windows(self, qtbot, viewer, view, controller):
        volume = ct()
        viewer.add_layer(as_layer(volume.labels((volume.array > 0).astype(np.uint8))))
        qtbot.waitUntil(lambda: "Values" in shown(view)[1])
        view.set_windows.assert_called_with([])


class TestPlanes:
    @pytest.mark.parametrize(
        ("plane", "order", "vertical"),
        [("axial", (0, 1, 2), "down"), ("coronal", (1, 0, 2), "up"), ("sagittal", (2, 0, 1), "up")],
    )
    def test_slices_are_turned_as_a_physician_reads_them(self, viewer, view, controller, plane, order, vertical):
        viewer.add_layer(as_layer(ct()))
        controller.show_plane(plane)
        assert viewer.dims.order == order
        assert [str(o) for o in viewer.scene.camera.orientation2d] == [vertical, "right"]

    def test_3d_is_no_mirror_image_and_seen_from_the_front(self, viewer, view, controller):
        viewer.add_layer(as_layer(ct()))
        controller.show_plane("coronal")
        controller.show_rendering(True)
        camera = viewer.scene.camera
        assert [str(o) for o in camera.orientation] == ["away", "down", "right"]
        assert np.allclose(camera.view_direction, (0, 1, 0), atol=1e-6)
        assert np.allclose(camera.up_direction, (1, 0, 0), atol=1e-6)
        view.set_rendering.assert_called_with(True)

    def test_time_stays_a_slider(self, viewer, view, controller):
        viewer.add_layer(as_layer(Volume(np.zeros((3, 4, 5, 6)), extra_axis="time")))
        controller.show_plane("sagittal")
        assert viewer.dims.order == (0, 3, 1, 2)

    def test_a_2d_image_is_left_alone(self, viewer, view, controller):
        viewer.add_image(np.zeros((4, 5)))
        controller.show_plane("coronal")
        assert viewer.dims.order == (0, 1)


class TestOpen:
    def test_each_file_becomes_a_layer(self, qtbot, tmp_path, viewer, controller, runner):
        paths = [str(io.write(ct(), tmp_path / f"{name}.nii")) for name in "ab"]
        with qtbot.waitSignal(runner.finished):
            controller.open_files(paths)
        assert [layer.name for layer in viewer.layers] == ["a", "b"]
        assert layer_to_volume(viewer.layers[1]).affine == ct().affine

    def test_a_damaged_file_opens_nothing(self, qtbot, tmp_path, viewer, controller, runner, told):
        good = str(io.write(ct(), tmp_path / "good.nii"))
        (tmp_path / "bad.nii").write_bytes(b"x")
        with qtbot.waitSignal(runner.finished):
            controller.open_files([good, str(tmp_path / "bad.nii")])
        assert len(viewer.layers) == 0
        assert "bad.nii" in told[0]

    @pytest.mark.parametrize(
        ("n_series", "picked", "read"), [(1, None, ["s0"]), (3, [0, 2], ["s0", "s2"]), (2, [], [])]
    )
    def test_of_several_series_the_user_picks(
        self, qtbot, tmp_path, viewer, view, controller, runner, monkeypatch, n_series, picked, read
    ):
        found = [Series(f"s{n}", "thorax", "CT", 10, (8, 9, 10)) for n in range(n_series)]
        monkeypatch.setattr(controller_module.io, "list_series", lambda folder: found)
        monkeypatch.setattr(controller_module.io, "read", lambda path, series: Volume(np.zeros((2, 2, 2)), name=series))
        view.choose_series.return_value = picked
        controller.open_folder(str(tmp_path))
        qtbot.waitUntil(lambda: not runner.running)
        assert [layer.name for layer in viewer.layers] == read
        assert view.choose_series.called == (n_series > 1)


class TestExport:
    @pytest.fixture
    def image(self, viewer, controller):
        return viewer.add_layer(as_layer(ct()))

    def export(self, qtbot, view, controller, runner, path, reference=-1):
        view.choose_target.return_value = str(path)
        with qtbot.waitSignal(runner.finished):
            controller.export(reference)

    def test_on_its_own_grid(self, qtbot, tmp_path, view, controller, runner, image, told):
        self.export(qtbot, view, controller, runner, tmp_path / "out.nii.gz")
        saved = nib.load(tmp_path / "out.nii.gz")
        assert np.array_equal(saved.affine, ct().affine.matrix)
        assert np.array_equal(saved.dataobj, ct().array)
        assert "out.nii.gz" in told[-1]

    def test_labels_onto_the_grid_of_an_image(self, qtbot, tmp_path, viewer, view, controller, runner, image):
        finer = Volume(np.zeros((16, 18, 20)), ct().affine.scaled((0.5, 0.5, 0.5)), name="finer")
        viewer.add_layer(as_layer(finer))
        data = np.zeros(image.data.shape, np.uint8)
        data[3, 4, 5] = 7
        viewer.layers.selection.active = viewer.add_layer(labels_like(image, data))
        assert view.set_references.call_args.args[0] == ["ct", "finer"]
        self.export(qtbot, view, controller, runner, tmp_path / "out.nii", reference=1)
        saved = io.read_labels(tmp_path / "out.nii")
        assert saved.same_grid(finer)
        assert np.count_nonzero(saved.array) == 8
        assert set(np.unique(saved.array)) == {0, 7}

    def test_cancelling_the_dialog_writes_nothing(self, view, controller, runner, image):
        view.choose_target.return_value = ""
        controller.export(-1)
        assert not runner.running

    @pytest.mark.parametrize("target", ["missing/out.nii", "out.xyz"])
    def test_a_refusal_is_told(self, qtbot, tmp_path, view, controller, runner, image, told, target):
        self.export(qtbot, view, controller, runner, tmp_path / target)
        assert len(told) == 1
        assert os.listdir(tmp_path) == []


def test_a_closed_controller_lets_go(viewer, view, runner):
    layer = viewer.add_layer(as_layer(ct()))
    keep_upright(viewer)
    before = len(layer.events.scale.callbacks), len(viewer.dims.events.order.callbacks)
    controller = VolumesController(viewer, view, runner)
    controller.close()
    assert (len(layer.events.scale.callbacks), len(viewer.dims.events.order.callbacks)) == before
    view.reset_mock()
    layer.name = "other"
    viewer.layers.clear()
    assert view.mock_calls == []


class TestView:
    @pytest.fixture
    def dock(self, viewer, qtbot):
        dock = VolumesDock(viewer)
        qtbot.addWidget(dock)
        yield dock
        dock.close()

    def test_it_shows_the_layer(self, qtbot, viewer, dock):
        viewer.add_layer(as_layer(ct()))
        assert dock.title.text() == "ct"
        qtbot.waitUntil(dock.windows.isEnabled)
        dock.windows.setCurrentText("CT bone")
        dock.windows.activated.emit(dock.windows.currentIndex())
        assert tuple(viewer.layers[0].contrast_limits) == (-500, 1300)

    def test_it_fits_320_pixels(self, viewer, dock):
        layer = as_layer(ct(path="/a/very/long/path/" + "x" * 300))
        layer.name = "n" * 300
        viewer.add_layer(layer)
        assert dock.minimumSizeHint().width() <= 320

    def test_buttons_have_keys_and_tooltips(self, dock):
        buttons = [dock.open_files, dock.open_folder, *dock.planes.values(), dock.rendering, dock.export_button]
        keys = [button.shortcut().toString() for button in buttons]
        assert all(keys)
        assert len(set(keys)) == len(keys)
        assert all(button.toolTip() for button in buttons)

    def test_buttons_ask_the_controller(self, viewer, dock):
        viewer.add_layer(as_layer(ct()))
        dock.planes["coronal"].click()
        assert viewer.dims.order == (1, 0, 2)
        dock.rendering.click()
        assert viewer.dims.ndisplay == 3
        viewer.dims.ndisplay = 2
        assert not dock.rendering.isChecked()

    def test_the_chosen_reference_survives_new_layers(self, viewer, dock):
        viewer.add_layer(as_layer(ct()))
        dock.references.setCurrentText("of ct")
        viewer.add_image(np.zeros((3, 4, 5)), name="other")
        assert dock.references.currentText() == "of ct"
        viewer.layers.remove("ct")
        assert dock.references.currentText() == "its own"

    def test_closing_it_lets_go_of_the_viewer(self, viewer, dock):
        dock.close()
        viewer.add_layer(as_layer(ct()))
        assert dock.title.text() != "ct"
