"""The parts of the Few-shot dock one by one: strip, thumbnails, lists, history."""

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt

from voxelsmith.core.affine import Affine
from voxelsmith.core.support import SupportClass, SupportExample
from voxelsmith.core.volume import Volume
from voxelsmith.plugin.docks.fewshot.classes_part import ClassesPart
from voxelsmith.plugin.docks.fewshot.history import History
from voxelsmith.plugin.docks.fewshot.strip import MARGIN, ConfidenceStrip, shade
from voxelsmith.plugin.docks.fewshot.support_part import Item, SupportPart
from voxelsmith.plugin.docks.fewshot.thumbnails import SIDE, thumbnail


class TestStrip:
    @pytest.fixture
    def strip(self, qtbot):
        strip = ConfidenceStrip()
        qtbot.addWidget(strip)
        strip.resize(MARGIN * 2 + 100, strip.height())
        strip.set_confidence(np.array([np.nan, 0.9, 0.2, 1.0, np.nan], np.float32), {3})
        return strip

    def colour(self, strip, index):
        colour = strip.grab().toImage().pixelColor(round(strip.left_of(index) + 10), 8)
        return colour.red(), colour.green(), colour.blue()

    def test_the_least_sure_slice_is_orange_and_a_sure_one_blue(self, strip):
        strip.set_current(0)
        assert self.colour(strip, 2) == shade(0.2, 0.2)
        assert self.colour(strip, 3) == shade(1.0, 0.2)
        assert shade(0.2, 0.2)[0] > 200
        assert shade(1.0, 0.2)[2] > 200
        assert self.colour(strip, 4) not in (shade(0.2, 0.2), shade(1.0, 0.2))

    def test_equally_sure_slices_are_not_told_apart(self):
        assert shade(1.0, 1.0) == shade(1.0, 0.2)
        assert shade(0.999, 0.999)[2] > 200

    def test_a_click_says_which_slice(self, strip, qtbot):
        for index in range(5):
            with qtbot.waitSignal(strip.chosen) as seen:
                at = QPoint(round(strip.left_of(index)) + 5, 5)
                qtbot.mousePress(strip, Qt.MouseButton.LeftButton, pos=at)
            assert seen.args == [index]
        assert strip.slice_at(-50) == 0
        assert strip.slice_at(5000) == 4

    def test_where_slices_share_a_pixel_the_least_sure_one_is_seen(self, strip):
        confidence = np.ones(4000, np.float32)
        confidence[2000] = 0.1
        strip.set_confidence(confidence)
        strip.set_current(0)
        image = strip.grab().toImage()
        reds = [image.pixelColor(x, 8).red() for x in range(image.width())]
        assert max(reds[MARGIN + 10 : -MARGIN - 10]) > 200

    def test_without_a_proposal_it_is_hidden(self, strip):
        assert not strip.isHidden()
        strip.set_confidence(None)
        assert strip.isHidden()


class TestThumbnail:
    @pytest.mark.parametrize(
        ("matrix", "corner"),
        [
            (np.diag([1.0, 1, 1, 1]), (SIDE - 1, 0)),
            (np.diag([-1.0, 1, 1, 1]), (SIDE - 1, SIDE - 1)),
            (np.diag([-1.0, -1, 1, 1]), (0, SIDE - 1)),
        ],
    )
    def test_it_is_drawn_as_a_physician_reads_it(self, matrix, corner):
        # The last voxels along i and j are marked: with RAS axes they are right and anterior, so up and left.
        labels = np.zeros((12, 12, 3), np.uint8)
        labels[-2:, :2, 1] = 5
        image = Volume(np.random.default_rng(0).normal(size=labels.shape).astype(np.float32), Affine(matrix))
        found = thumbnail(SupportExample(image, image.labels(labels)))
        assert found.labels[corner] == 5
        assert (found.labels == 5).mean() == pytest.approx(4 / 144, abs=0.01)
        picture = found.picture({5: (1, 0, 0)})
        assert picture[corner][0] > 140
        assert picture.shape == (SIDE, SIDE, 3)

    def test_long_voxels_keep_their_shape(self):
        labels = np.zeros((10, 3, 20), np.uint8)
        labels[:, 1, :] = 1
        image = Volume(np.random.default_rng(0).normal(size=labels.shape), Affine.from_spacing((1, 1, 4)))
        found = thumbnail(SupportExample(image, image.labels(labels), 1, (1,)))
        filled = found.labels > 0
        assert filled.any(1).sum() == SIDE
        assert filled.any(0).sum() == SIDE * 10 // 80


class TestLists:
    def test_examples_are_switched_and_removed_by_hash(self, qtbot):
        part = SupportPart()
        qtbot.addWidget(part)
        assert part.items.isHidden()
        assert not part.empty.isHidden()
        picture = np.zeros((SIDE, SIDE, 3), np.uint8)
        part.set_items([Item(h, h, "tip", h == "b", picture) for h in "ab"])
        assert not part.items.isHidden()
        assert part.empty.isHidden()
        with qtbot.waitSignal(part.switched) as seen:
            part.items.item(0).setCheckState(Qt.CheckState.Checked)
        assert seen.args == ["a", True]
        assert not part.buttons["remove"].isEnabled()
        part.items.item(1).setSelected(True)
        with qtbot.waitSignal(part.removed) as seen:
            part.buttons["remove"].click()
        assert seen.args == [["b"]]

    def test_classes_keep_their_ticks_and_the_choice_when_listed_anew(self, qtbot):
        part = ClassesPart()
        qtbot.addWidget(part)
        classes = [SupportClass(1, "liver"), SupportClass(4, "spleen")]
        part.set_classes(classes)
        part.choose(4)
        part.tree.topLevelItem(0).setCheckState(0, Qt.CheckState.Unchecked)
        part.set_classes([*classes, SupportClass(2, "kidney")])
        assert part.value == 4
        assert part.looked_for == {2, 4}
        with qtbot.waitSignal(part.renamed) as seen:
            part.tree.topLevelItem(1).setText(0, "left kidney")
        assert seen.args == [2, "left kidney"]


class TestHistory:
    class Count:
        def __init__(self, log, name, fails=False):
            self.log, self.name, self.fails = log, name, fails

        def undo(self):
            if self.fails:
                raise RuntimeError
            self.log.append(f"-{self.name}")

        def redo(self):
            self.log.append(f"+{self.name}")

    def test_steps_are_walked_in_order(self):
        log, history = [], History()
        for name in "ab":
            history.push(self.Count(log, name))
        history.undo()
        history.undo()
        assert not history.can_undo
        history.redo()
        assert log == ["-b", "-a", "+a"]
        history.push(self.Count(log, "c"))
        assert history.can_undo
        assert not history.can_redo

    def test_what_cannot_be_taken_back_stays(self):
        history = History()
        history.push(self.Count([], "a", fails=True))
        with pytest.raises(RuntimeError):
            history.undo()
        assert history.can_undo
        assert not history.can_redo
