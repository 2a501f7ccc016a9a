"""The Models dock asks before it downloads or deletes, and shows what is here."""

from unittest.mock import MagicMock

import pytest

from file_server import serving
from toy_catalogue import LICENCE, build_catalogue
from toy_zoo import build_zoo
from voxelsmith.plugin.docks.models.controller import ModelsController
from voxelsmith.plugin.docks.models.view import ModelsDock
from voxelsmith.plugin.runner import JobRunner
from voxelsmith.weights import containers, store
from voxelsmith.weights.zoo import OFFLINE, installed, locate


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    return build_zoo(tmp_path, monkeypatch)


@pytest.fixture
def giant(tmp_path, monkeypatch, zoo):
    with serving() as server:
        yield build_catalogue(tmp_path, monkeypatch, server)


@pytest.fixture
def view():
    return MagicMock(spec=ModelsDock)


@pytest.fixture
def runner(qtbot, viewer):
    return JobRunner(viewer)


@pytest.fixture
def controller(giant, view, runner):
    controller = ModelsController(view, runner)
    controller.choose(1)
    yield controller
    controller.close()


@pytest.fixture
def mine(giant, tmp_path, monkeypatch):
    monkeypatch.setattr(containers, "recognise", lambda path: "giant")
    file = tmp_path / "mine.pth"
    file.write_bytes(giant.network)
    return file


def listed(view):
    return dict(view.set_models.call_args.args[0])


def possible(view):
    return set(view.set_possible.call_args.args[0])


def settled(qtbot, runner):
    qtbot.waitUntil(lambda: not runner.running)


def get(qtbot, controller, runner):
    controller.do("get")
    controller.answer(True)
    settled(qtbot, runner)


class TestList:
    def test_each_network_with_its_state_and_its_actions(self, view, controller, zoo):
        assert listed(view)["Giant network"] == "not installed · about 1.05 MB"
        assert listed(view)["Toy network"].startswith("shipped · ")
        assert possible(view) == {"get", "add"}
        assert LICENCE in view.set_facts.call_args.args[0]
        controller.choose(0)
        assert possible(view) == {"verify", "add"}
        assert view.set_facts.call_args.args[2] == str(zoo.file)

    def test_what_the_catalogue_says_is_text_and_no_markup(self, giant, view, runner):
        giant.write(about=1)
        text = (giant.place.parents[2] / "zoo.toml").read_text()
        (giant.place.parents[2] / "zoo.toml").write_text(text.replace("Noise.", "<b>Noise</b>"))
        ModelsController(view, runner).choose(1)
        assert "&lt;b&gt;Noise" in view.set_facts.call_args.args[0]

    def test_a_wrong_setting_is_explained(self, giant, view, runner, monkeypatch):
        monkeypatch.setenv(store.LOCAL_FOLDER, "/nowhere")
        controller = ModelsController(view, runner)
        assert "/nowhere" in view.set_facts.call_args.args[0]
        assert possible(view) == {"add"}
        controller.do("get")
        assert not view.ask.called


class TestGet:
    def test_it_asks_with_size_and_licence_first(self, view, controller, giant, runner):
        controller.do("get")
        text = view.ask.call_args.args[0]
        assert "about 1.05 MB" in text
        assert "the page names none" in text
        assert giant.server.requests == []
        controller.answer(False)
        assert not runner.running
        assert view.drop_question.called

    def test_a_yes_without_a_question_does_nothing(self, controller, giant, runner):
        controller.do("get")
        controller.choose(0)
        controller.answer(True)
        assert not runner.running
        assert giant.server.requests == []

    def test_a_yes_downloads(self, qtbot, view, controller, giant, runner, told):
        controller.do("get")
        controller.answer(True)
        assert possible(view) == set()
        settled(qtbot, runner)
        assert locate("giant").read_bytes() == giant.network
        assert told == ["Giant network is installed."]
        assert listed(view)["Giant network"] == "installed · 1.05 MB"
        assert possible(view) == {"verify", "remove", "add"}
        assert view.set_models.call_args.args[1] == 1

    def test_cancel_keeps_the_part_and_get_goes_on(self, qtbot, view, controller, giant, runner):
        giant.server.gate.clear()
        controller.do("get")
        with qtbot.waitSignal(runner.progressed, check_params_cb=lambda progress: progress.done > 0):
            controller.answer(True)
        runner.cancel()
        settled(qtbot, runner)
        assert listed(view)["Giant network"].endswith("kB fetched")
        assert possible(view) == {"get", "remove", "add"}
        giant.server.gate.set()
        get(qtbot, controller, runner)
        assert locate("giant").read_bytes() == giant.network
        assert giant.server.ranges[1].startswith("bytes=")

    @pytest.mark.parametrize("mishap", ["offline", "broken"])
    def test_a_failure_is_told_and_can_be_tried_again(
        self, qtbot, view, controller, giant, runner, told, mishap, monkeypatch
    ):
        if mishap == "offline":
            monkeypatch.setenv(OFFLINE, "1")
        else:
            giant.server.status = 500
        get(qtbot, controller, runner)
        assert len(told) == 1
        assert ("forbids" if mishap == "offline" else "answered 500") in told[0]
        assert possible(view) == {"get", "add"}


class TestOthers:
    def test_add(self, qtbot, view, controller, giant, runner, mine, told):
        controller.choose(0)
        controller.add(str(mine), True)
        settled(qtbot, runner)
        assert locate("giant").is_symlink()
        assert "was added as giant" in told[0]
        assert listed(view)["Giant network"] == "installed · about 1.05 MB · without words.txt"
        assert view.set_models.call_args.args[1] == 1
        assert possible(view) == {"get", "verify", "remove", "add"}

    @pytest.mark.parametrize(("row", "name"), [(0, "Toy network"), (1, "Giant network")])
    def test_verify(self, qtbot, controller, giant, runner, told, row, name):
        get(qtbot, controller, runner)
        controller.choose(row)
        told.clear()
        controller.do("verify")
        settled(qtbot, runner)
        assert told == [f"{name} is intact."]

    def test_a_damaged_file_is_told(self, qtbot, controller, giant, runner, told):
        get(qtbot, controller, runner)
        (giant.place / "net.bin").write_bytes(b"other")
        told.clear()
        controller.do("verify")
        settled(qtbot, runner)
        assert "damaged" in told[0]

    def test_remove_asks_first(self, qtbot, view, controller, giant, runner, told):
        get(qtbot, controller, runner)
        controller.do("remove")
        assert installed("giant")
        controller.answer(True)
        assert not installed("giant")
        assert "free again" in told[-1]
        assert possible(view) == {"get", "add"}

    def test_a_closed_controller_stops_its_download(self, qtbot, view, controller, giant, runner):
        giant.server.gate.clear()
        controller.do("get")
        controller.answer(True)
        controller.close()
        assert not runner.running
        assert not installed("giant")


class TestView:
    @pytest.fixture
    def dock(self, giant, viewer, qtbot):
        dock = ModelsDock(viewer)
        qtbot.addWidget(dock)
        dock.show()
        dock.models.setCurrentRow(1)
        yield dock
        dock.close()

    def test_a_download_by_its_buttons(self, qtbot, dock, giant):
        assert dock.question.isHidden()
        dock.buttons["get"].click()
        assert "the page names none" in dock.question_text.text()
        assert not dock.question.isHidden()
        dock.yes.click()
        assert dock.question.isHidden()
        qtbot.waitUntil(lambda: dock.buttons["verify"].isEnabled())
        assert dock.models.currentItem().text() == "Giant network\ninstalled · 1.05 MB"
        assert dock.file.text() == str(giant.place / "net.bin")

    def test_no_is_the_answer_that_enter_gives(self, qtbot, dock, giant):
        dock.buttons["get"].click()
        assert dock.focusWidget() is dock.no
        dock.no.click()
        assert dock.question.isHidden()
        assert giant.server.requests == []

    def test_it_fits_320_pixels(self, dock):
        dock.set_facts("x", "https://example.org", "/a/very/long/path/" + "x" * 300)
        dock.ask("Really? " * 50, "download")
        assert dock.minimumSizeHint().width() <= 320

    def test_buttons_have_keys_and_tooltips(self, dock):
        dock.ask("Really?", "download")
        buttons = [*dock.buttons.values(), dock.link, dock.page, dock.yes, dock.no, dock.progress.cancel_button]
        keys = [button.shortcut().toString() for button in buttons]
        assert all(keys)
        assert len(set(keys)) == len(keys)
        assert all(button.toolTip() for button in buttons)

    def test_the_source_page_is_opened_only_if_there_is_one(self, dock, monkeypatch):
        opened = []
        monkeypatch.setattr("voxelsmith.plugin.docks.models.view.QDesktopServices.openUrl", opened.append)
        dock.set_facts("x", "https://example.org/page")
        dock.page.click()
        assert [url.toString() for url in opened] == ["https://example.org/page"]
        dock.set_facts("x")
        assert dock.page.isHidden()

    @pytest.mark.parametrize("link", [True, False])
    def test_a_file_is_asked_for(self, dock, qtbot, monkeypatch, link):
        monkeypatch.setattr(
            "voxelsmith.plugin.docks.models.view.QFileDialog.getOpenFileName", lambda *args: ("/some/file.pth", "")
        )
        dock.file_chosen.disconnect()
        dock.link.setChecked(link)
        with qtbot.waitSignal(dock.file_chosen) as chosen:
            dock.buttons["add"].click()
        assert chosen.args == ["/some/file.pth", link]


def test_napari_opens_and_closes_it(make_napari_viewer, giant):
    viewer = make_napari_viewer(show=True)
    _, dock = viewer.window.add_plugin_dock_widget("napari-voxelsmith", "Models")
    assert isinstance(dock, ModelsDock)
    assert dock.models.count() == 2
    viewer.window.remove_dock_widget(dock)
    dock.controller.add("/nowhere", False)
    assert not dock.runner.running
