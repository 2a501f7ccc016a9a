"""The promptable engine around a network that a test can see through."""

import gc
from weakref import ref

import numpy as np
import pytest
import torch
from phantoms import answer, ball, mask_of, noisy

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import InputError, ModelUnavailableError, PromptError
from voxelsmith.core.metrics import dice
from voxelsmith.core.progress import run_job
from voxelsmith.core.prompts import Box, MaskPrompt, ObjectPrompts, Point, Scribble, TextPrompt
from voxelsmith.core.volume import Volume
from voxelsmith.models.promptable import CHANNELS, PromptableNet
from voxelsmith.segment.engine import PromptRequest, make_engine
from voxelsmith.segment.network import as_network, shipped_network
from voxelsmith.segment.promptable import PromptableEngine
from voxelsmith.segment.session import PromptSession
from voxelsmith.weights import store

SHAPE, CENTRE = (40, 44, 36), (20, 22, 18)
TRUTH = ball(SHAPE, CENTRE, 11)
IMAGE = noisy(TRUTH)
BOX = Box.around(TRUTH)
INSIDE, OUTSIDE = Point((20, 22, 14)), Point((20, 22, 31), positive=False)
WRONG = Point((31, 31, 25))


class Echo:
    """A network that returns its guess, as the untrained one does."""

    def __init__(self):
        self.calls = []

    def __call__(self, channels):
        self.calls.append(channels.shape[1:])
        return channels[CHANNELS.index("guess")].copy()


def engine():
    return PromptableEngine(Echo())


@pytest.mark.parametrize(
    ("prompt", "least"),
    [(BOX, 0.93), (Point(CENTRE), 0.9), (Scribble([[i, 22, 18] for i in range(14, 27)]), 0.85)],
    ids=["box", "point", "scribble"],
)
def test_a_bright_ball_in_noise(prompt, least):
    found = answer(IMAGE, prompt, engine=engine())
    assert dice(TRUTH, found.on_grid()) > least
    assert found.engine == "promptable"
    np.testing.assert_array_equal(found.at(0.5).on_grid(), found.on_grid())


def test_probabilities_cut_lower_hold_more():
    found = answer(IMAGE, BOX, engine=engine())
    sizes = [found.at(t).on_grid().sum() for t in (0.2, 0.5, 0.8)]
    assert sizes[0] > sizes[1] > sizes[2] > 0


def test_clicks_are_obeyed_and_the_last_has_the_last_word():
    clicked = (BOX, INSIDE, OUTSIDE, WRONG)
    mask = mask_of(IMAGE, *clicked, engine=engine())
    assert mask[INSIDE.voxel]
    assert not mask[OUTSIDE.voxel]
    assert mask[WRONG.voxel]
    again = mask_of(IMAGE, *clicked, Point(WRONG.index, positive=False), engine=engine())
    assert not again[WRONG.voxel]


def test_one_more_click_costs_one_more_answer_and_equals_starting_anew():
    network = Echo()
    kept = PromptableEngine(network)
    session = PromptSession(kept)
    session.set_image(IMAGE)
    steps = [BOX, INSIDE, OUTSIDE, WRONG]
    for count, prompt in enumerate(steps, 1):
        session.prompt(prompt)
        assert len(network.calls) == count
        fresh = mask_of(IMAGE, *steps[:count], engine=engine())
        np.testing.assert_array_equal(session.mask(), fresh)


@pytest.mark.parametrize("first", [BOX, MaskPrompt.cropped(ball(SHAPE, (18, 22, 18), 8))], ids=["box", "mask"])
def test_a_click_that_was_taken_back_leaves_no_trace(first):
    kept = engine()
    for prompts in ((first, INSIDE), (first, OUTSIDE), (first, OUTSIDE, WRONG), (first,)):
        found, fresh = (answer(IMAGE, *prompts, engine=one).probability for one in (kept, engine()))
        np.testing.assert_array_equal(found.values, fresh.values)


def test_a_click_outside_the_region_asks_nothing():
    network = Echo()
    one = PromptableEngine(network)
    small = Box((15, 17, 13), (25, 27, 23))
    before = answer(IMAGE, small, engine=one).probability.values
    after = answer(IMAGE, small, Point((0, 0, 0), positive=False), engine=one).probability.values
    np.testing.assert_array_equal(after, before)
    assert len(network.calls) == 1


def test_images_that_were_closed_are_let_go():
    one, image = engine(), noisy(TRUTH)
    answer(image, Point(CENTRE), engine=one)
    closed = ref(image)
    del image
    gc.collect()
    assert closed() is None


def test_a_click_alone_is_followed_the_same_way():
    network = Echo()
    session = PromptSession(PromptableEngine(network))
    session.set_image(IMAGE)
    session.prompt(Point(CENTRE))
    asked = len(network.calls)
    session.prompt(OUTSIDE)
    assert len(network.calls) == asked + 1
    np.testing.assert_array_equal(session.mask(), mask_of(IMAGE, Point(CENTRE), OUTSIDE, engine=engine()))


def test_a_positive_click_beyond_the_box_widens_the_region():
    truth = TRUTH | ball(SHAPE, (20, 22, 31), 4)
    far = Point((20, 22, 33))
    mask = mask_of(noisy(truth), BOX, far, engine=engine())
    assert mask[far.voxel]
    assert mask[20, 22, 31]


def test_two_objects_and_two_images_do_not_mix():
    both = engine()
    dark = noisy(TRUTH, contrast=-100)
    one, other = mask_of(IMAGE, BOX, engine=both), mask_of(dark, BOX, INSIDE, engine=both)
    np.testing.assert_array_equal(one, mask_of(IMAGE, BOX, engine=engine()))
    np.testing.assert_array_equal(other, mask_of(dark, BOX, INSIDE, engine=engine()))


def test_an_earlier_mask_without_clicks_stays_as_it_is():
    earlier = ball(SHAPE, (18, 22, 18), 8)
    np.testing.assert_array_equal(mask_of(IMAGE, MaskPrompt.cropped(earlier), engine=engine()), earlier)


def test_an_earlier_mask_is_corrected_by_clicks():
    earlier = TRUTH.copy()
    earlier[:, :, :14] = False
    mask = mask_of(IMAGE, MaskPrompt.cropped(earlier), Point((20, 22, 10)), engine=engine())
    assert dice(TRUTH, mask) > dice(TRUTH, earlier) + 0.03


def test_a_large_earlier_mask_stays_to_the_voxel_away_from_the_clicks():
    shape = (120, 110, 60)
    earlier = ball(shape, (60, 55, 30), 25) ^ (np.random.default_rng(0).random(shape) < 0.02)
    image = noisy(ball(shape, (60, 55, 30), 25), noise=5)
    prompt = MaskPrompt.cropped(earlier)
    np.testing.assert_array_equal(mask_of(image, prompt, engine=engine()), earlier)
    clicked = mask_of(image, prompt, Point((60, 80, 30)), engine=engine())
    np.testing.assert_array_equal(clicked[:, :40], earlier[:, :40])
    assert clicked[60, 80, 30]


@pytest.mark.parametrize(
    ("shape", "box", "least_of_a_click"),
    [
        ((60, 60, 1), Box((15, 15, 0), (45, 45, 0)), 0.8),
        ((1, 50, 60), Box((0, 10, 15), (0, 40, 45)), 0.8),
        ((60, 60, 3), Box((15, 15, 0), (45, 45, 2)), 0.8),
        ((2000, 40, 5), Box((500, 5, 0), (1500, 35, 4)), 0.1),
    ],
    ids=["one slice", "one slice across", "three slices", "2000 wide"],
)
def test_flat_thin_and_wide_images(shape, box, least_of_a_click):
    truth = np.zeros(shape, dtype=bool)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    half = np.maximum(np.array(box.shape) / 2, 1)
    truth[(((index - (np.array(box.lo) + box.hi) / 2) / half) ** 2).sum(axis=-1) <= 1] = True
    image = noisy(truth)
    assert dice(truth, mask_of(image, box, engine=engine())) > 0.8
    middle = tuple(int(x) for x in (np.array(box.lo) + box.hi) // 2)
    assert dice(truth, mask_of(image, Point(middle), engine=engine())) > least_of_a_click


def test_a_large_object_is_looked_at_closer():
    shape = (150, 140, 130)
    truth = ball(shape, (75, 70, 65), 50)
    network = Echo()
    found = answer(noisy(truth), Box.around(truth), engine=PromptableEngine(network))
    assert len(network.calls) > 1
    assert dice(truth, found.on_grid()) > 0.93
    assert np.prod(found.probability.region.grid) > 500_000


def test_a_job_can_be_stopped_and_asked_again():
    one = engine()
    job = one.segment(PromptRequest(IMAGE, ObjectPrompts((BOX, INSIDE))))
    next(job)
    job.close()
    np.testing.assert_array_equal(mask_of(IMAGE, BOX, INSIDE, engine=one), mask_of(IMAGE, BOX, INSIDE, engine=engine()))


@pytest.mark.parametrize(
    ("array", "error"),
    [(np.zeros(SHAPE, np.float32), "constant"), (np.full(SHAPE, np.nan, np.float32), "finite")],
)
def test_nothing_to_tell_apart_is_said(array, error):
    with pytest.raises(InputError, match=error):
        mask_of(Volume(array, Affine.from_spacing()), BOX, engine=engine())


def test_voxels_that_are_not_finite_do_not_spoil_the_rest():
    array = IMAGE.array.copy()
    array[::7, ::5, 3] = np.nan
    array[0, 0, 0] = np.inf
    assert dice(TRUTH, mask_of(Volume(array, IMAGE.affine), BOX, engine=engine())) > 0.9


def test_it_reads_no_text():
    with pytest.raises(PromptError, match="words"):
        run_job(engine().segment(PromptRequest(IMAGE, ObjectPrompts((TextPrompt("liver"),)))))


def test_half_the_precision_of_the_weights_changes_next_to_nothing():
    exact, half = PromptableNet(), PromptableNet()
    shipped = store.load("promptable")
    rng = torch.Generator().manual_seed(0)
    # What float16 lost is at most this much, in one direction or the other.
    exact.load_state_dict(
        {k: w + 2**-12 * w * (2 * torch.rand(w.shape, generator=rng) - 1) for k, w in shipped.items()}
    )
    half.load_state_dict(shipped)
    image = noisy(TRUTH, noise=60)
    masks = [mask_of(image, BOX, INSIDE, OUTSIDE, engine=PromptableEngine(as_network(n))) for n in (exact, half)]
    assert dice(*masks) > 0.995


def test_the_shipped_network_answers_well_everywhere_and_the_same():
    engine = make_engine("promptable", "cpu")
    found = answer(IMAGE, BOX, engine=engine)
    assert dice(TRUTH, found.on_grid()) > 0.9
    session = PromptSession(make_engine("promptable"))
    session.set_image(IMAGE)
    session.prompt(BOX)
    np.testing.assert_array_equal(session.mask(), found.on_grid())


def test_a_network_is_loaded_once_and_tampered_weights_are_refused(monkeypatch, tmp_path):
    assert shipped_network("cpu") is shipped_network("cpu")
    data = bytearray(store.path("promptable").read_bytes())
    data[-1] ^= 1
    (tmp_path / "promptable.safetensors").write_bytes(data)
    monkeypatch.setenv("VOXELSMITH_WEIGHTS", str(tmp_path))
    shipped_network.cache_clear()
    with pytest.raises(ModelUnavailableError, match="promptable"):
        answer(IMAGE, BOX, engine=make_engine("promptable"))


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 2, 0)])
def test_a_transposed_image_gives_nearly_the_transposed_mask(order):
    mask = answer(IMAGE, BOX, engine=make_engine("promptable")).on_grid()
    turned = Volume(IMAGE.array.transpose(order), Affine.from_spacing())
    box = Box(*(tuple(np.array(corner)[list(order)].tolist()) for corner in (BOX.lo, BOX.hi)))
    assert dice(mask.transpose(order), mask_of(turned, box, engine=make_engine("promptable"))) > 0.97
