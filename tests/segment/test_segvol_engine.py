"""SegVol behind a session, around a network that a test can see through."""

import gc
from itertools import pairwise
from weakref import ref

import numpy as np
import pytest
from phantoms import answer, mask_of

from segvol_cases import Glow, ct_like, ellipsoid
from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import InputError, PromptError
from voxelsmith.core.metrics import dice
from voxelsmith.core.progress import run_job
from voxelsmith.core.prompts import Box, MaskPrompt, ObjectPrompts, Point, Scribble, TextPrompt
from voxelsmith.core.resample import reorient
from voxelsmith.core.volume import Volume
from voxelsmith.segment.engine import PromptRequest, engine_info, make_engine
from voxelsmith.segment.segvol.engine import SegVolEngine
from voxelsmith.segment.session import PromptSession

TRUTH = ellipsoid((300, 90, 50), (120, 40, 25), (40, 20, 12))
AFFINE = Affine(np.array([[0, -1, 0.1, 5], [-1, 0, 0, 9], [0, 0.1, 2, 3], [0, 0, 0, 1]]))
"""Stored P, L, S and oblique, so that axis i is cut into windows along h."""
BOX = Box.around(TRUTH)
CLICK, AWAY, INK = Point((120, 40, 25)), Point((20, 20, 40), False), Scribble([[n, 40, 25] for n in range(100, 140)])
ORGAN = TextPrompt("liver")


def scan(truth=TRUTH, affine=AFFINE):
    """A bright object in a darker body in air, shifted and noisy."""
    array = np.full(truth.shape, -1000.0)
    array[2:-2, 2:-2, 2:-2] = 50
    array[truth] = 200
    return Volume(np.rint(array + np.random.default_rng(0).normal(0, 4, truth.shape)).astype(np.int16), affine)


IMAGE = scan()


@pytest.mark.parametrize(
    "prompts",
    [
        (BOX,),
        (CLICK,),
        (INK,),
        (ORGAN,),
        (ORGAN, BOX),
        (ORGAN, CLICK, AWAY),
        (BOX, CLICK, AWAY),
        (ORGAN, BOX, CLICK, AWAY, INK),
        (ORGAN, AWAY),
        (BOX, AWAY),
    ],
    ids=lambda prompts: "+".join(type(p).__name__ for p in prompts),
)
def test_every_combination_of_prompts_reaches_the_network_and_finds_the_object(prompts):
    network = Glow()
    found = answer(IMAGE, *prompts, engine=SegVolEngine(network))
    assert dice(TRUTH, found.on_grid()) > 0.99
    assert found.engine == "segvol"
    whole = network.asked[0]
    assert (whole.box is not None) == (BOX in prompts)
    assert (whole.text is not None) == (ORGAN in prompts)
    assert (1 in whole.labels) == (CLICK in prompts or INK in prompts)
    assert (0 in whole.labels) == (AWAY in prompts)
    assert network.words == ["liver"] * (ORGAN in prompts)
    negative = [call for call in network.asked[1:] if 0 in call.labels]
    assert bool(negative) == (AWAY in prompts)


def test_the_mask_lies_on_the_grid_of_the_image_and_can_be_cut_elsewhere():
    found = answer(IMAGE, BOX, engine=SegVolEngine(Glow()))
    assert found.on_grid().shape == IMAGE.grid
    sizes = [found.at(t).on_grid().sum() for t in (0.05, 0.5, 0.994)]
    assert sizes[0] >= sizes[1] > sizes[2] > 0
    assert found.probability.values.dtype == np.float16


@pytest.mark.parametrize("codes", ["RAS", "SPL", "IAR", "LSA"])
def test_the_same_anatomy_stored_otherwise_gives_the_same_mask_in_space(codes):
    turned = reorient(IMAGE, codes)
    to_turned = turned.affine.inverse() @ IMAGE.affine
    prompts = [Point(tuple(to_turned.apply(p.index).round()), p.positive) for p in (CLICK, AWAY)]
    mask = answer(turned, *prompts, ORGAN, engine=SegVolEngine(Glow())).on_grid()
    assert mask.shape == turned.grid
    back = reorient(turned.labels(mask.astype(np.uint8)), IMAGE.affine.axcodes).array
    np.testing.assert_array_equal(back != 0, mask_of(IMAGE, CLICK, AWAY, ORGAN, engine=SegVolEngine(Glow())))


def test_official_takes_the_stored_order_and_the_published_zoom_in():
    network = Glow()
    found = answer(IMAGE, BOX, engine=SegVolEngine(network, official=True))
    assert dice(TRUTH, found.on_grid()) > 0.99
    np.testing.assert_array_equal(
        network.asked[0].box[[0, 3]], [np.ceil(11 * 32 / 46 - 0.5), np.ceil(36 * 32 / 46 - 0.5) - 1]
    )
    one, other = Glow(), Glow()
    for used, official in ((one, True), (other, False)):
        answer(reorient(IMAGE, "SRA"), ORGAN, engine=SegVolEngine(used, official=official))
    assert one.encoded[0] != other.encoded[0]
    unasked = Glow()
    with pytest.raises(PromptError, match="points or a box"):
        answer(IMAGE, BOX, CLICK, engine=SegVolEngine(unasked, official=True))
    assert not unasked.encoded


def test_the_published_way_is_an_engine_of_its_own(monkeypatch):
    network = Glow()
    monkeypatch.setattr("voxelsmith.segment.segvol.engine.load_network", lambda device: network)
    made = make_engine("segvol-official", "cpu")
    info = engine_info("segvol-official")
    assert (made.name, made.title, info.weights) == (info.name, info.title, "segvol")
    session = PromptSession(made)
    session.set_image(IMAGE)
    session.prompt(BOX)
    np.testing.assert_array_equal(session.mask(), mask_of(IMAGE, BOX, engine=SegVolEngine(Glow(), official=True)))
    assert session.segmentation().engine == "segvol-official"


def dicom(modality):
    return Volume(IMAGE.array, IMAGE.affine, metadata={"dicom": {"Modality": modality}})


@pytest.mark.parametrize(
    ("image", "prompts", "told"),
    [
        (IMAGE, (BOX,), []),
        (IMAGE, (TextPrompt("Kidney_Left"),), []),
        (dicom("CT"), (BOX,), []),
        (Volume(IMAGE.array + 1100, IMAGE.affine, metadata={"dicom": {"Modality": "CT"}}), (BOX,), []),
        (dicom("MR"), (BOX,), ["its file says MR"]),
        (Volume(IMAGE.array + 1100, IMAGE.affine), (BOX,), ["its darkest voxel is 8"]),
        (IMAGE, (TextPrompt("left flipper"),), ["'left flipper' is not among the names"]),
        (dicom("MR"), (TextPrompt("left flipper"),), ["its file says MR", "'left flipper' is not among"]),
    ],
)
def test_what_it_was_not_trained_on_is_answered_and_told(image, prompts, told):
    found = answer(image, *prompts, engine=SegVolEngine(Glow()))
    assert found.on_grid().any()
    assert [sentence in found.note for sentence in told] == [True] * len(told)
    assert bool(found.note) == bool(told)
    assert found.at(0.4).note == found.note


def test_clicks_are_obeyed_even_where_the_network_sees_nothing():
    outside = Point((250, 80, 40))
    mask = mask_of(IMAGE, CLICK, outside, Point((120, 40, 26), False), engine=SegVolEngine(Glow()))
    assert mask[outside.voxel]
    assert not mask[120, 40, 26]


def test_one_more_click_encodes_nothing_and_equals_starting_anew():
    network = Glow()
    session = PromptSession(SegVolEngine(network))
    session.set_image(IMAGE)
    session.prompt(CLICK)
    encoded, decoded = len(network.encoded), len(network.asked)
    assert encoded == decoded == 2
    for prompt in (AWAY, ORGAN, Point((130, 40, 25))):
        session.prompt(prompt)
    assert len(network.encoded) == encoded
    assert len(network.asked) == decoded + 6
    fresh = mask_of(IMAGE, CLICK, AWAY, ORGAN, Point((130, 40, 25)), engine=SegVolEngine(Glow()))
    np.testing.assert_array_equal(session.mask(), fresh)
    session.undo()
    session.undo()
    assert session.prompts[1].texts == ()
    np.testing.assert_array_equal(
        session.refresh().mask, session.segmentation().on_grid()[session.segmentation().box.slices]
    )


def test_the_coarse_answer_comes_first_as_a_partial_result():
    request = PromptRequest(IMAGE, ObjectPrompts((BOX,)))
    reports = []
    final = run_job(SegVolEngine(Glow()).segment(request), reports.append)
    (early,) = [report.partial for report in reports if report.partial is not None]
    assert early.request is request
    assert dice(TRUTH, early.on_grid()) > 0.9
    assert early.probability.values.dtype == np.float16
    assert not np.array_equal(early.on_grid(), final.on_grid())


def test_a_job_can_be_stopped_between_windows_and_asked_again():
    truth = ellipsoid((420, 90, 90), (210, 45, 45), (180, 20, 40))
    image, network = scan(truth), Glow()
    one = SegVolEngine(network)
    reports = []

    def stop(progress):
        reports.append(progress)
        return not (progress.total > 2 and progress.done == 2)

    with pytest.raises(Exception, match="Stopped"):
        run_job(one.segment(PromptRequest(image, ObjectPrompts((BOX,)))), stop)
    total = reports[-1].total
    assert len(network.asked) == 3 < total
    assert all(a.done <= b.done for a, b in pairwise(r for r in reports if r.total))
    answer(image, BOX, engine=one)
    assert len(network.encoded) == 1 + total
    assert len(network.asked) == 3 + 1 + total


@pytest.mark.parametrize("shape", [(60, 70, 1), (1, 80, 60), (300, 280, 5)])
def test_volumes_thinner_than_a_window(shape):
    centre = (np.array(shape) - 1) / 2
    truth = ellipsoid(shape, centre, np.maximum(np.array(shape) / 5, 1))
    array = np.where(np.arange(shape[1]) < 4, -3000, 50)[:, None] + 150 * truth
    array = array + np.random.default_rng(0).normal(0, 3, shape)
    found = answer(Volume(array), Box.around(truth), engine=SegVolEngine(Glow())).on_grid()
    assert dice(truth, found) > 0.95


def test_images_that_were_closed_are_let_go():
    engine, image = SegVolEngine(Glow()), scan()
    answer(image, CLICK, engine=engine)
    closed = ref(image)
    del image
    gc.collect()
    assert closed() is None


def test_two_images_do_not_mix():
    other = scan(np.roll(TRUTH, (60, 20), (0, 1)))
    engine = SegVolEngine(Glow())
    masks = [mask_of(image, ORGAN, engine=engine) for image in (IMAGE, other, IMAGE)]
    np.testing.assert_array_equal(masks[0], masks[2])
    assert dice(masks[1], np.roll(TRUTH, (60, 20), (0, 1))) > 0.99


def test_nothing_found_is_an_empty_mask():
    class Blind(Glow):
        def decode(self, embedding, prompts):
            return np.full_like(embedding, -9)

    for prompt in (ORGAN, BOX):
        found = answer(IMAGE, prompt, engine=SegVolEngine(Blind()))
        assert not found.on_grid().any()
        assert not found.at(0.3).mask.any()


@pytest.mark.parametrize(
    ("image", "prompts", "error", "sentence"),
    [
        (IMAGE, (), PromptError, "Say where the object is"),
        (IMAGE, (AWAY,), PromptError, "Say where the object is"),
        (IMAGE, (Point((300, 0, 0)),), PromptError, "outside the image"),
        (IMAGE, (ORGAN, Box((0, 90, 0), (5, 99, 5))), PromptError, "outside the image"),
        (IMAGE, (Point((0, 0, 0)),), PromptError, "background"),
        (IMAGE, (MaskPrompt(TRUTH),), PromptError, "SegVol does not read earlier masks"),
        (Volume(np.zeros((9, 9, 9))), (ORGAN,), InputError, "constant"),
        (Volume(np.full((9, 9, 9), np.nan)), (ORGAN,), InputError, "finite"),
        (Volume(np.zeros((9, 9, 9, 2)), extra_axis="time"), (ORGAN,), InputError, "pick a frame"),
    ],
)
def test_wrong_input_gets_a_sentence_and_asks_nothing(image, prompts, error, sentence):
    network = Glow()
    with pytest.raises(error, match=sentence):
        answer(image, *prompts, engine=SegVolEngine(network))
    assert not network.encoded


def test_it_is_offered_and_made_without_its_weights(monkeypatch):
    monkeypatch.setenv("VOXELSMITH_OFFLINE", "1")
    info = engine_info("segvol")
    assert info.learned
    assert "CT" in info.good_at
    assert make_engine("segvol", "cpu").title == info.title


def test_a_ct_in_air():
    organ = ellipsoid((70, 66, 40), (28, 33, 22), (9, 7, 8))
    bone = ct_like() > 500
    found = answer(Volume(ct_like()), Box.around(bone), engine=SegVolEngine(Glow()))
    assert dice(bone, found.on_grid()) > 0.99
    assert not (found.on_grid() & organ).any()
