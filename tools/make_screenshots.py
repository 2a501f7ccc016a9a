"""Take the pictures of the documentation, in the real window, on the sample data.

    tools/with_display.sh .venv/bin/python tools/make_screenshots.py [--out docs/images]

Owns what each picture shows. The docks are driven as a user drives them: a rectangle and points are put on the prompt
layers, buttons are pressed, and a picture is taken when the answer is there. The simulated user of
``voxelsmith.segment.simulate`` chooses where to click.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import napari
import numpy as np
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from voxelsmith.core.prompts import Box
from voxelsmith.plugin.docks.prompt.boxes import outline
from voxelsmith.plugin.layers import from_ijk, label_names, labels_like, to_stored
from voxelsmith.plugin.showcase import arrange, settle
from voxelsmith.segment.simulate import next_click
from voxelsmith.train.trained_runs import HOME as RUNS
from voxelsmith.weights.cache import CACHE

PLUGIN = "napari-voxelsmith"
PICTURE_SIZE = (1280, 800)
DOCK_WIDTH = 320
DOCK_HEIGHTS = {
    "fewshot": 980,
    "models": 620,
    "prompt": 840,
    "register": 980,
    "train": 1300,
    "tumour": 1150,
    "volumes": 620,
}
CLICKS = 3
PAINTED_SLICES = 5
# In the average brain, a slice through the ventricles.
MIDDLE = (49, 58, 45)
LUNG = (-1350, 150)
# The windpipe of the chest CT, by eye.
TRACHEA = Box((164, 119, 9), (198, 159, 17))
# Of the brain MR: slices that a user painted or found empty, and one through the tumour that nobody painted.
PAINTED, UNPAINTED = (5, 12, 14, 16, 21), 13
TRAINED_STEPS = 150


class Studio:
    """A napari window with one dock of ours, and a camera.

    Parameters
    ----------
    folder
        Where the pictures go.
    dock
        Name of the dock.
    sample
        Key of the sample data to open.
    """

    def __init__(self, folder: Path, dock: str, sample: str) -> None:
        self.folder = folder
        self.viewer: Any = napari.Viewer(title="napari")
        self.frame, self.dock = self.viewer.window.add_plugin_dock_widget(PLUGIN, dock)
        self.viewer.open_sample(PLUGIN, sample)
        arrange(self.frame, size=PICTURE_SIZE)
        self.viewer.reset_view()

    def shoot(self, name: str) -> None:
        """A picture of the window."""
        settle()
        save(self.viewer.screenshot(canvas_only=False, flash=False), self.folder / f"{name}.png")

    def shoot_dock(self, name: str) -> None:
        """Pictures of the dock alone, dark and light, at its smallest promised width."""
        window = self.frame.parentWidget()
        self.frame.setFloating(True)
        self.frame.resize(DOCK_WIDTH, DOCK_HEIGHTS[name])
        for theme in ("dark", "light"):
            self.viewer.theme = theme
            settle()
            picture = self.frame.widget().grab().toImage()
            path = self.folder / f"dock_{name}_{theme}.png"
            picture.save(str(path))
            save(np.asarray(Image.open(path).convert("RGB")), path)
        self.viewer.theme = "dark"
        self.frame.setFloating(False)
        window.resizeDocks([self.frame], [DOCK_WIDTH], Qt.Orientation.Horizontal)
        settle()

    def answer(self) -> None:
        """Wait until the engine has answered."""
        settle()
        while self.dock.runner.running:
            QTest.qWait(20)
        settle()

    def look_at(self, voxel: Any) -> None:
        """Show the slice through a voxel (i, j, k) of the first image."""
        image = self.viewer.layers[0]
        self.viewer.dims.point = image.data_to_world(from_ijk(image, [voxel])[0])
        self.shown = int(voxel[2])

    def start(self, image: Any) -> None:
        """Start a session on an image."""
        self.choose("image", image)
        self.dock.session_button.click()
        settle()

    def choose(self, kind: str, layer: Any) -> None:
        """Choose a layer in the dock."""
        choice = self.dock.choices[kind]
        choice.setCurrentText(layer.name)
        choice.activated.emit(choice.currentIndex())
        settle()

    @property
    def live(self) -> Any:
        """The session."""
        return self.dock.controller.prompting

    def draw(self, box: Box) -> None:
        """Draw a box on the slice that is shown and set its depth."""
        self.dock.press("box")
        layer = self.live.layers.layers["box"]
        layer.add(from_ijk(layer, outline(box, 2, self.shown)), shape_type="rectangle")
        self.dock.depth_slider.setValue((box.lo[2], box.hi[2]))
        self.answer()

    def correct(self, truth: np.ndarray, clicks: int) -> None:
        """Click where a user who knows the truth would."""
        self.dock.press("points")
        layers = self.live.layers
        points = layers.layers["points"]
        for _ in range(clicks):
            click = next_click(truth, layers.mask, self.live.source.volume.spacing)
            if click.positive != layers.positive:
                self.dock.press("polarity")
            points.add(from_ijk(points, [click.index])[0])
            self.answer()
            self.look_at(click.index)
        if not layers.positive:
            self.dock.press("polarity")
            settle()


def save(picture: np.ndarray, path: Path) -> None:
    """Write a picture with 256 colours."""
    image = Image.fromarray(picture[..., :3])
    image.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def prompt_pictures(folder: Path) -> None:
    """The Prompt dock on the brain MR: a box, then corrections."""
    studio = Studio(folder, "Prompt", "brain_mr")
    image, truth_layer = studio.viewer.layers
    truth = to_stored(truth_layer, truth_layer.data) != 0
    truth_layer.visible = False
    studio.start(image)
    studio.look_at(np.argwhere(truth).mean(axis=0).round())
    studio.draw(Box.around(truth))
    studio.shoot("prompt_box")
    studio.correct(truth, CLICKS)
    studio.dock.name_edit.setText("tumour")
    studio.shoot("prompt_corrected")
    studio.viewer.close()


def overview_pictures(folder: Path) -> None:
    """The Prompt dock on the chest CT: an accepted object and the next one."""
    studio = Studio(folder, "Prompt", "chest_ct")
    image, truth_layer = studio.viewer.layers
    truth = to_stored(truth_layer, truth_layer.data) != 0
    truth_layer.visible = False
    image.contrast_limits = LUNG
    studio.start(image)
    middle = np.argwhere(truth).mean(axis=0).round()
    studio.look_at(middle)
    studio.draw(Box.around(truth))
    studio.correct(truth, CLICKS)
    studio.dock.name_edit.setText("nodule")
    studio.dock.accept_button.click()
    studio.look_at(middle)
    studio.draw(TRACHEA)
    studio.dock.name_edit.setText("trachea")
    studio.shoot("overview")
    studio.shoot_dock("prompt")
    studio.viewer.close()


def rendering_picture(folder: Path) -> None:
    """A box and its mask in 3-D."""
    studio = Studio(folder, "Prompt", "glioma_phantom")
    viewer = studio.viewer
    image, truth = viewer.layers["glioma FLAIR"], viewer.layers["glioma truth"]
    for layer in viewer.layers:
        layer.visible = layer is image
    studio.start(image)
    tight = Box.around(to_stored(truth, truth.data))
    studio.look_at((np.array(tight.lo) + tight.hi) // 2)
    studio.draw(tight)
    image.rendering = "attenuated_mip"
    viewer.dims.ndisplay = 3
    viewer.reset_view(reset_camera_angle=False)
    studio.shoot("prompt_3d")
    viewer.close()


def volumes_pictures(folder: Path) -> None:
    """The Volumes dock: the chest CT in its lung window."""
    studio = Studio(folder, "Volumes", "chest_ct")
    viewer, dock = studio.viewer, studio.dock
    image, nodule = viewer.layers
    viewer.layers.selection.active = image
    studio.look_at(np.argwhere(to_stored(nodule, nodule.data)).mean(axis=0))
    while dock.windows.findText("CT lung") < 0:
        QTest.qWait(20)
    place = dock.windows.findText("CT lung")
    dock.windows.setCurrentIndex(place)
    dock.windows.activated.emit(place)
    studio.shoot("volumes")
    studio.shoot_dock("volumes")
    viewer.close()


def register_pictures(folder: Path) -> None:
    """The Register dock: Colin27 and its regions are brought onto the average brain."""
    studio = Studio(folder, "Register", "mni152")
    viewer, dock = studio.viewer, studio.dock
    viewer.open_sample(PLUGIN, "colin27")
    viewer.reset_view()
    labels = dock.inputs.combos["moving_labels"]
    labels.setCurrentIndex(1)
    labels.activated.emit(1)
    studio.look_at(MIDDLE)
    while not dock.run_button.isEnabled() or dock.controller.looking:
        QTest.qWait(20)
    dock.run_button.click()
    studio.answer()
    dock.results.boxes["labels"].click()
    studio.answer()
    studio.look_at(MIDDLE)
    studio.shoot("register_labels")
    dock.results.boxes["labels"].click()
    for look in ("grid", "arrows"):
        dock.results.boxes[look].click()
    studio.answer()
    studio.shoot("register_grid")
    studio.shoot_dock("register")
    viewer.close()


def fewshot_pictures(folder: Path) -> None:
    """The Few-shot dock on the glioma phantom: some slices are painted, the rest is proposed."""
    studio = Studio(folder, "Few-shot", "glioma_phantom")
    viewer, dock = studio.viewer, studio.dock
    image, truth_layer = viewer.layers["glioma FLAIR"], viewer.layers["glioma truth"]
    for layer in viewer.layers:
        layer.visible = layer is image
    studio.choose("image", image)
    truth, names = to_stored(truth_layer, truth_layer.data), label_names(truth_layer)
    middle = np.argwhere(truth).mean(axis=0).round()
    slices = np.flatnonzero(truth.any(axis=(0, 1)))
    dock.classes.paint_button.click()
    target = dock.controller.choices.target
    painted = to_stored(target, target.data)
    for index in np.linspace(slices[0] + 1, slices[-1] - 1, PAINTED_SLICES).round().astype(int):
        studio.look_at((*middle[:2], index))
        painted[:, :, index] = truth[:, :, index]
        target.refresh()
        dock.support.buttons["slice"].click()
        studio.answer()
    for row, value in enumerate(sorted(dock.controller.support.values)):
        dock.classes.tree.topLevelItem(row).setText(0, names[value])
    target.mode = "pan_zoom"
    studio.shoot("fewshot_painted")
    studio.look_at((*middle[:2], middle[2] + 2))
    dock.propose_button.click()
    studio.answer()
    studio.shoot("fewshot_proposal")
    studio.shoot_dock("fewshot")
    viewer.close()


def train_pictures(folder: Path) -> None:
    """The Train dock: a network learns the tumour of the brain MR from three slices and two empty ones."""
    with tempfile.TemporaryDirectory() as empty:
        os.environ[RUNS] = str(Path(empty) / "voxelsmith-runs")
        studio = Studio(folder, "Train", "brain_mr")
        viewer, dock = studio.viewer, studio.dock
        image, truth_layer = viewer.layers
        truth = to_stored(truth_layer, truth_layer.data)
        truth_layer.visible = False
        painted = labels_like(image, name="painted")
        stored = to_stored(painted, painted.data)
        stored[:, :, list(PAINTED)] = truth[:, :, list(PAINTED)]
        viewer.add_layer(painted)
        choice = dock.data.combos["labels"]
        choice.setCurrentText(painted.name)
        choice.activated.emit(choice.currentIndex())
        middle = np.argwhere(truth).mean(axis=0).round()
        for index in PAINTED:
            studio.look_at((*middle[:2], index))
            settle()
            dock.data.buttons["slice"].click()
        while not dock.data.classes.rowCount():
            QTest.qWait(20)
        dock.data.classes.item(0, 1).setText("tumour")
        studio.look_at((*middle[:2], UNPAINTED))
        dock.training.train_button.click()
        while not dock.training.curve.loss.steps or dock.training.curve.loss.steps[-1] < TRAINED_STEPS:
            QTest.qWait(50)
        studio.shoot("train_learning")
        dock.training.stop_button.click()
        while dock.controller.training.running:
            QTest.qWait(50)
        dock.result.buttons["apply"].click()
        studio.answer()
        dock.training.boxes["uncertainty"].click()
        while "uncertainty" not in dock.controller.preview.layers:
            QTest.qWait(50)
        studio.shoot("train_uncertainty")
        studio.shoot_dock("train")
        viewer.close()


def tumour_pictures(folder: Path) -> None:
    """The Tumour dock: the glioma phantom is segmented, compared with its truth, and seen in four sequences at once."""
    studio = Studio(folder, "Tumour", "glioma_phantom")
    viewer, dock = studio.viewer, studio.dock
    truth = viewer.layers["glioma truth"]
    truth.visible = False
    dock.settings.choose_model("cmf-2")
    while dock.controller.looking:
        QTest.qWait(20)
    dock.run_button.click()
    studio.answer()
    reference = dock.result.combos["reference"]
    reference.setCurrentText(truth.name)
    reference.activated.emit(reference.currentIndex())
    while dock.results.measures.busy:
        QTest.qWait(20)
    studio.look_at(np.argwhere(to_stored(truth, truth.data)).mean(axis=0).round())
    together = dock.slots.together
    together.setCurrentIndex(together.findData("grid"))
    together.activated.emit(together.currentIndex())
    dock.result.brush_buttons["ET"].click()
    studio.shoot("tumour_together")
    together.setCurrentIndex(together.findData("apart"))
    together.activated.emit(together.currentIndex())
    while dock.results.measures.busy:
        QTest.qWait(20)
    studio.shoot_dock("tumour")
    viewer.close()


def models_pictures(folder: Path) -> None:
    """The Models dock, on a machine where nothing was fetched yet."""
    with tempfile.TemporaryDirectory() as empty:
        os.environ[CACHE] = empty
        studio = Studio(folder, "Models", "chest_ct")
        studio.dock.models.setCurrentRow(1)
        studio.shoot_dock("models")
        studio.viewer.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Take the pictures of the documentation.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "images")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    prompt_pictures(out)
    overview_pictures(out)
    rendering_picture(out)
    volumes_pictures(out)
    fewshot_pictures(out)
    models_pictures(out)
    register_pictures(out)
    train_pictures(out)
    tumour_pictures(out)
