"""SegVol behind the Prompt dock: words, combinations, first looks, cancelling, caches, and what can go wrong."""

import threading

import numpy as np
import pytest
from desk import Desk

from segvol_cases import Glow, ct_like, install
from voxelsmith.core.prompts import Box, Point, TextPrompt
from voxelsmith.segment.segvol.engine import SegVolEngine
from voxelsmith.segment.session import PromptSession
from voxelsmith.weights import cache, zoo

BONE = ct_like() > 500
INSIDE, BESIDE = (46, 24, 20), (28, 33, 22)
RECTANGLE = (41, 19, 20), (51, 29, 20)


class GatedGlow(Glow):
    """Glow that looks closer when the gate opens."""

    identity = "gated"

    def __init__(self):
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()

    def decode(self, embedding, prompts):
        if self.asked:
            self.gate.wait(20)
        return super().decode(embedding, prompts)


@pytest.fixture
def network():
    return GatedGlow()


def show(viewer, array):
    viewer.add_image(array.transpose(2, 1, 0), name="scan", units="mm")


@pytest.fixture
def desk(qtbot, viewer, network):
    """A desk with SegVol around such a network, on a small CT, in a session."""
    show(viewer, ct_like())
    made = Desk(qtbot, viewer, SegVolEngine(network)).start()
    yield made
    network.gate.set()
    made.controller.close()


def say(desk, word):
    desk.controller.set_word(word)
    desk.settle()


def shown_word(desk):
    return desk.view.set_word.call_args.args[0]


def texts(desk):
    return [p.text for p in desk.live.prompts if isinstance(p, TextPrompt)]


def test_words_are_read_and_the_first_hint_says_so(desk):
    assert desk.view.set_tools.call_args.args[0] == {"points", "box", "scribbles", "word"}
    assert desk.status.startswith("Type a word")
    desk.controller.use_tool("word")
    desk.view.focus_word.assert_called_once()
    assert desk.live.layers.tool == "points"


def test_a_word_alone_is_answered_and_names_the_accepted_object(desk, network):
    say(desk, "vertebra")
    assert network.words == ["vertebra"]
    assert all(asked.text is not None and asked.box is None for asked in network.asked)
    assert desk.mask[BONE].mean() > 0.9
    assert shown_word(desk) == "vertebra"
    desk.controller.do("accept")
    assert shown_word(desk) == ""
    (row,) = desk.view.set_accepted.call_args.args[0]
    assert row.name == "vertebra"


def test_the_users_own_name_counts_more_than_the_word(desk):
    say(desk, "vertebra")
    desk.view.object_name = "L5"
    desk.controller.do("accept")
    assert desk.view.set_accepted.call_args.args[0][0].name == "L5"


def test_every_kind_of_prompt_reaches_the_network_as_in_python(desk, network):
    say(desk, "bone")
    desk.draw(*RECTANGLE)
    desk.settle()
    desk.click(INSIDE)
    desk.settle()
    desk.click(BESIDE, positive=False)
    desk.settle()
    whole = network.asked[-2]
    assert whole.box is not None
    assert whole.text[0] == len("bone")
    assert sorted(whole.labels) == [0, 1]
    assert [type(p) for p in desk.live.prompts] == [TextPrompt, Box, Point, Point]
    session = PromptSession(SegVolEngine(Glow()))
    session.set_image(desk.live.source.volume)
    session.prompt(desk.live.prompts)
    np.testing.assert_array_equal(desk.mask, session.mask())
    assert not desk.mask[BESIDE]


def test_a_further_prompt_encodes_nothing(desk, network):
    desk.click(INSIDE)
    desk.settle()
    encoded, decoded = len(network.encoded), len(network.asked)
    say(desk, "bone")
    assert (len(network.encoded), len(network.asked)) == (encoded, 2 * decoded)
    desk.controller.do("undo")
    desk.settle()
    assert len(network.asked) == 2 * decoded


def test_a_word_is_replaced_and_taken_away_and_other_prompts_stay(desk):
    desk.click(INSIDE)
    say(desk, "bone")
    say(desk, "rib")
    assert texts(desk) == ["rib"]
    say(desk, "")
    assert [type(p) for p in desk.live.prompts] == [Point]


def test_the_same_word_again_is_no_step(desk, network):
    say(desk, "bone")
    asked, steps = len(network.asked), len(desk.live.session.prompts.states)
    say(desk, "bone")
    assert (len(network.asked), len(desk.live.session.prompts.states)) == (asked, steps)


def test_undo_redo_and_reset_show_the_word_of_that_time(desk):
    for word in ("bone", "rib"):
        say(desk, word)
    desk.controller.do("undo")
    assert shown_word(desk) == "bone"
    desk.controller.do("undo")
    assert (shown_word(desk), desk.mask.any()) == ("", False)
    desk.controller.do("redo")
    assert shown_word(desk) == "bone"
    desk.controller.do("reset")
    assert (shown_word(desk), texts(desk)) == ("", [])
    desk.controller.do("undo")
    assert shown_word(desk) == "bone"
    desk.controller.do("accept")
    assert shown_word(desk) == ""
    desk.controller.do("undo")
    assert shown_word(desk) == "bone"
    desk.controller.finish()
    assert shown_word(desk) == ""


def test_a_first_look_is_shown_while_the_windows_run(desk, network):
    network.gate.clear()
    desk.controller.set_word("bone")
    desk.qtbot.waitUntil(lambda: desk.status.startswith("First look"))
    assert desk.mask.any()
    assert "accept" not in desk.possible
    assert len(network.asked) == 1
    network.gate.set()
    desk.settle()
    assert len(network.asked) > 1
    assert "accept" in desk.possible


def test_cancel_during_the_windows_leaves_all_as_it_was(desk, network):
    say(desk, "bone")
    before = desk.mask
    network.gate.clear()
    network.asked.clear()
    desk.click(INSIDE, positive=False)
    desk.qtbot.waitUntil(lambda: desk.status.startswith("First look"))
    assert before[INSIDE]
    assert not desk.mask[INSIDE]
    desk.controller.do("cancel")
    network.gate.set()
    desk.settle()
    np.testing.assert_array_equal(desk.mask, before)
    assert desk.status == "Stopped; the preview shows earlier prompts."
    desk.controller.do("undo")
    np.testing.assert_array_equal(desk.mask, before)
    assert "accept" in desk.possible


def test_nothing_of_that_name(desk, network, monkeypatch):
    monkeypatch.setattr(network, "decode", lambda embedding, prompts: np.full_like(embedding, -9))
    say(desk, "unicorn")
    assert desk.status.startswith("Nothing of that name")
    assert texts(desk) == ["unicorn"]


def test_a_warning_about_image_or_word_stays_in_sight_and_is_notified_once(desk, told):
    say(desk, "vertebra")
    assert "\n" not in desk.status
    say(desk, "flipper")
    size, note = desk.status.split("\n")
    assert "voxels" in size
    assert note.startswith("'flipper' is not among the names")
    assert told.count(note) == 1
    desk.click(INSIDE)
    desk.settle()
    assert desk.status.endswith(note)
    desk.controller.do("undo")
    assert desk.status.endswith(note)
    assert told.count(note) == 1
    desk.controller.do("undo")
    assert "flipper" not in desk.status


@pytest.mark.parametrize("word", ["?!", "  ", "12"])
def test_what_is_no_word_is_refused_and_the_one_before_stays(desk, network, told, word):
    say(desk, "bone")
    before, asked = desk.mask, len(network.asked)
    say(desk, word)
    assert "at least one word" in told[-1]
    assert (texts(desk), shown_word(desk), len(network.asked)) == (["bone"], "bone", asked)
    np.testing.assert_array_equal(desk.mask, before)


def test_prompts_that_say_nothing_get_a_sentence_and_the_session_lives(desk, told):
    desk.controller.do("run")
    assert "Say where the object is" in told[-1]
    assert "a word for it" in told[-1]
    assert "mask" not in told[-1]
    desk.click((46, 24, 90))
    assert "outside the image" in told[-1]
    desk.click((0, 0, 20))
    desk.settle()
    assert "background" in told[-1]
    desk.controller.do("undo")
    say(desk, "bone")
    assert desk.mask.any()


def test_a_slice_is_looked_at_as_well(qtbot, viewer):
    show(viewer, ct_like()[:, :, 20:21])
    desk = Desk(qtbot, viewer, SegVolEngine(Glow())).start()
    say(desk, "bone")
    assert desk.mask[BONE[:, :, 20:21]].mean() > 0.9
    desk.controller.close()


def test_an_engine_without_words_refuses_the_object_and_hides_the_line(desk, told):
    say(desk, "bone")
    desk.controller.choose_engine("training-free")
    desk.settle()
    assert "does not read words" in told[-1]
    assert texts(desk) == ["bone"]
    say(desk, "")
    desk.controller.choose_engine("training-free")
    desk.settle()
    assert "word" not in desk.view.set_tools.call_args.args[0]
    desk.controller.use_tool("word")
    assert "does not read word" in desk.status


@pytest.fixture
def plain(qtbot, viewer):
    """A desk with another engine; SegVol is offered as it is published."""
    show(viewer, ct_like())
    made = Desk(qtbot, viewer)
    yield made
    made.controller.close()


def offered_weights(desk):
    return desk.view.offer_weights.call_args.args[0]


def choose(desk, name):
    desk.controller.choose_engine(name)
    desk.settle()


def engine_shown(desk):
    return desk.view.set_engines.call_args.args[1]


def test_without_weights_the_session_goes_on_and_they_are_offered(plain, told):
    plain.start().click(INSIDE)
    plain.settle()
    before = plain.mask
    choose(plain, "segvol")
    assert "not on this machine" in told[-1]
    assert "Models dock" in told[-1]
    assert engine_shown(plain) == "threshold"
    assert offered_weights(plain) == "SegVol"
    np.testing.assert_array_equal(plain.mask, before)
    plain.click((46, 24, 21))
    plain.settle()
    assert "accept" in plain.possible
    choose(plain, "training-free")
    assert offered_weights(plain) == ""


def test_without_weights_no_session_starts_and_they_are_offered_before(plain, told):
    choose(plain, "segvol")
    assert (told, offered_weights(plain)) == ([], "SegVol")
    plain.start().settle()
    assert plain.live is None
    assert "Models dock" in plain.status
    assert engine_shown(plain) == "threshold"
    assert plain.start().live is not None


def test_a_file_that_was_tampered_with_is_refused(plain, told):
    file = cache.entry_folder("segvol") / zoo.entry("segvol").files[0].name
    file.parent.mkdir(parents=True)
    try:
        file.write_bytes(b"something else")
        cache.pin(file, "0" * 64)
        plain.start()
        choose(plain, "segvol")
        assert "damaged or another file" in told[-1]
        assert offered_weights(plain) == ""
        assert engine_shown(plain) == "threshold"
        plain.click(INSIDE)
        plain.settle()
        assert plain.mask.any()
    finally:
        zoo.remove("segvol")


def test_a_change_to_segvol_answers_the_prompts_that_there_are(plain, network, monkeypatch):
    install(monkeypatch, network)
    plain.start().click(INSIDE)
    plain.settle()
    choose(plain, "segvol")
    assert (engine_shown(plain), offered_weights(plain)) == ("segvol", "")
    assert "word" in plain.view.set_tools.call_args.args[0]
    assert plain.view.set_maker.call_args.args[0] == "Mask by SegVol, threshold 0.50"
    say(plain, "bone")
    assert network.words == ["bone"]
    assert plain.mask[BONE].mean() > 0.9
