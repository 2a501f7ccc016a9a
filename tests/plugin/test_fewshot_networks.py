"""The Few-shot dock with networks that the user has trained: they are offered, chosen, and used."""

import os
from pathlib import Path

import pytest
from fewshot_bench import GRID, Bench, body

from voxelsmith.plugin.docks.fewshot.engine_part import OTHER_RUN
from voxelsmith.plugin.docks.fewshot.networks import EPISODES, TRAINED, Networks, network
from voxelsmith.segment import episodic
from voxelsmith.segment.fewshot import AUTOMATIC, ENGINES


def make_run(folder, method="film"):
    folder.mkdir(parents=True)
    episodic.save_network(method, episodic.made(method).state_dict(), folder / episodic.WEIGHTS, {})
    return folder


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("VOXELSMITH_RUNS", str(tmp_path))
    return tmp_path


@pytest.fixture
def bench(runs, qtbot, viewer, monkeypatch):
    bench = Bench(qtbot, viewer, monkeypatch)
    yield bench
    bench.engine.gate.set()
    bench.controller.close()


def titles(bench):
    combo = bench.dock.engine_part.combo
    return [combo.itemText(row) for row in range(combo.count())]


def choose(bench, title):
    combo = bench.dock.engine_part.combo
    row = combo.findText(title)
    combo.setCurrentIndex(row)
    combo.activated.emit(row)
    bench.settle()


def test_a_network_is_offered_as_soon_as_it_is_there_and_serves_a_proposal(bench, runs):
    assert titles(bench) == ["Automatic", *ENGINES.values(), OTHER_RUN]
    folder = make_run(runs / "organs")
    bench.dock.engine_part.combo.opening.emit()
    assert "Trained: organs" in titles(bench)
    bench.add_slice(3)
    choose(bench, "Trained: organs")
    assert "organs" in bench.dock.engine_part.reason.text()
    assert not bench.dock.engine_part.range_box.isHidden()
    bench.propose()
    assert bench.engine.requests[-1].trained == folder
    assert bench.engine.requests[-1].engine == AUTOMATIC
    choose(bench, "Automatic")
    bench.propose()
    assert bench.engine.requests[-1].trained is None


def test_what_is_chosen_stays_when_the_list_is_filled_again(bench, runs):
    make_run(runs / "organs")
    bench.dock.engine_part.combo.opening.emit()
    choose(bench, "Trained: organs")
    later = make_run(runs / "later")
    os.utime(later / episodic.WEIGHTS, (2e9, 2e9))
    bench.dock.engine_part.combo.opening.emit()
    assert titles(bench)[4:6] == ["Trained: later", "Trained: organs"]
    assert bench.dock.engine_part.combo.currentText() == "Trained: organs"


def test_a_run_elsewhere_is_chosen_by_its_folder(bench, tmp_path, monkeypatch, told):
    from qtpy.QtWidgets import QFileDialog

    folder = make_run(tmp_path / "elsewhere" / "mine", "prototype")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(folder))
    choose(bench, OTHER_RUN)
    assert bench.dock.engine_part.combo.currentText() == "Trained: mine"
    assert network(bench.dock.engine) == (EPISODES, folder)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path))
    choose(bench, OTHER_RUN)
    assert any("holds no network" in message for message in told)
    assert bench.dock.engine_part.combo.currentText() == "Trained: mine"


def test_a_network_that_knows_its_classes_needs_no_examples(bench, monkeypatch):
    from voxelsmith.plugin.docks.fewshot import networks, proposing

    folder = Path("/runs/liver")
    offer = networks.Offer(f"{TRAINED}:{folder}", "Trained: liver", "")
    monkeypatch.setattr(Networks, "offers", lambda self: [offer])
    seen = []

    def apply(model, image):
        seen.append(model)
        return (yield from bench.engine(proposing.FewShotRequest(image, bench.support)))

    monkeypatch.setattr(proposing, "load_model", lambda found: found)
    monkeypatch.setattr(proposing.trained, "apply", apply)
    assert not bench.dock.propose_button.isEnabled()
    bench.dock.engine_part.combo.opening.emit()
    choose(bench, "Trained: liver")
    assert bench.dock.propose_button.isEnabled()
    bench.propose()
    assert seen == [folder]
    assert bench.shown.any()


def test_names_of_entries_are_told_from_engines():
    assert network("prototypes") == ("prototypes", None)
    assert network("episodes:/a:b") == (EPISODES, Path("/a:b"))


class TestAdapting:
    def test_open_images_become_files_and_the_network_is_chosen(self, bench, runs, monkeypatch):
        from voxelsmith.core.progress import Progress
        from voxelsmith.io import read
        from voxelsmith.plugin.docks.fewshot import adapting

        seen = []

        class Process:
            def __init__(self, make, images, folder, seconds, what):
                seen.append((make, sorted(images.iterdir()), seconds))
                seen.append([read(file).array.shape for file in sorted(images.iterdir())])
                self.folder = folder

            def run(self):
                yield Progress(1, 2, "Training")
                make_run(self.folder, "prototype")

        monkeypatch.setattr(adapting, "ProcessJob", Process)
        bench.open(body(1, "second"))
        bench.dock.adapt_part.minutes.setValue(3)
        bench.dock.adapt_part.button.click()
        assert not bench.dock.adapt_part.button.isEnabled()
        bench.settle()
        make, files, seconds = seen[0]
        assert make is adapting.adapt
        assert seconds == 180
        assert seen[1] == [GRID, GRID]
        assert not any(file.exists() for file in files)
        assert bench.dock.engine_part.combo.currentText() == "Trained: adapted-1"
        assert bench.dock.adapt_part.button.isEnabled()
        assert "adapted-1" in bench.status

    def test_it_stops_when_it_is_cancelled(self, bench, monkeypatch):
        from voxelsmith.core.progress import Progress
        from voxelsmith.plugin.docks.fewshot import adapting

        def endless(sources, folder, seconds):
            while True:
                yield Progress(0, 0, "Training")

        monkeypatch.setattr(adapting, "adaptation", endless)
        bench.dock.adapt_part.button.click()
        bench.qtbot.waitUntil(lambda: bench.dock.runner.running)
        bench.dock.progress.cancel_button.click()
        bench.settle()
        assert bench.dock.adapt_part.button.isEnabled()
        assert titles(bench) == ["Automatic", *ENGINES.values(), OTHER_RUN]

    def test_without_an_image_it_says_what_is_missing(self, bench, told):
        bench.viewer.layers.clear()
        bench.dock.adapt_part.button.click()
        assert any("none is open" in message for message in told)
