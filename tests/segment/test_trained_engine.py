"""A trained network behind prompts: which piece they pick, how clicks correct it, and that it looks once."""

import gc
import weakref

import numpy as np
import pytest
import torch
from scipy import ndimage

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import InputError, PromptError
from voxelsmith.core.progress import Progress, run_job
from voxelsmith.core.prompts import Box, MaskPrompt, ObjectPrompts, Point, Scribble
from voxelsmith.core.volume import Volume
from voxelsmith.models.unet import Architecture, UNet, levels_for
from voxelsmith.segment import trained_engine
from voxelsmith.segment.engine import PromptRequest
from voxelsmith.segment.plan import Normalisation, Plan
from voxelsmith.segment.proposal import Proposal, Provenance
from voxelsmith.segment.session import PromptSession
from voxelsmith.segment.trained import TrainedModel, apply
from voxelsmith.segment.trained_engine import TrainedEngine

GRID = (30, 28, 20)
LEFT = (slice(3, 11), slice(4, 12), slice(5, 13))
RIGHT = (slice(18, 26), slice(4, 12), slice(5, 13))
OTHER = (slice(11, 17), slice(14, 24), slice(5, 13))
IN_LEFT, IN_RIGHT, IN_OTHER, NOWHERE = (6, 7, 8), (21, 7, 8), (13, 18, 8), (2, 25, 17)


def truth():
    """Two pieces of class 2 and one of class 5."""
    labels = np.zeros(GRID, np.uint8)
    labels[LEFT] = labels[RIGHT] = 2
    labels[OTHER] = 5
    return labels


def scan():
    noise = np.random.default_rng(0).normal(0, 5, GRID)
    return Volume((100.0 * (truth() > 0) + noise).astype(np.float32), Affine.from_spacing((1, 1, 1.5)), "scan")


def model():
    plan = Plan("2d", 2, "RAS", (1.0, 1.0, 1.5), (1, 32, 32), (2, 5), ("kidney", "spleen"), Normalisation())
    strides, kernels = levels_for(plan.ordered_spacing[1:], plan.patch[1:])
    architecture = Architecture(inputs=1, outputs=3, width=4, strides=strides, kernels=kernels)
    torch.manual_seed(0)
    net = UNet(architecture)
    torch.nn.init.normal_(net.head.weight, std=1.0)
    return TrainedModel(plan, architecture, net.state_dict(), "organs")


class FakeApply:
    """Finds the truth, a little unsure, with a rim that is less likely; counts its steps."""

    def __init__(self, notes=()):
        self.begun, self.steps, self.notes = 0, 0, notes

    def __call__(self, model, image, device):
        self.begun += 1
        for step in range(5):
            self.steps += 1
            yield Progress(step, 5)
        labels, likely = truth(), []
        for value in (2, 5):
            mask = labels == value
            rim = ndimage.binary_dilation(mask) & ~mask
            likely.append(np.where(mask, 0.9, np.where(rim, 0.3, 0.0)))
        whole = Box((0, 0, 0), tuple(n - 1 for n in GRID))
        confidence = np.ones(GRID[2], np.float32)
        return Proposal(
            image.labels(labels),
            (2, 5),
            np.stack(likely).astype(np.float16),
            whole,
            2,
            confidence,
            Provenance("trained", "", ()),
            self.notes,
        )


@pytest.fixture
def finder(monkeypatch):
    fake = FakeApply()
    monkeypatch.setattr(trained_engine, "apply", fake)
    return fake


def answer(*prompts, engine=None, image=None):
    request = PromptRequest(image or scan(), ObjectPrompts(prompts))
    return run_job((engine or TrainedEngine(model())).segment(request))


def only(*places):
    mask = np.zeros(GRID, bool)
    for place in places:
        mask[place] = True
    return mask


@pytest.mark.parametrize(
    ("prompts", "expected"),
    [
        ((Point(IN_LEFT),), only(LEFT)),
        ((Point(IN_OTHER),), only(OTHER)),
        ((Point(IN_LEFT), Point(IN_RIGHT)), only(LEFT, RIGHT)),
        ((Scribble(np.array([IN_LEFT, (8, 8, 8)])),), only(LEFT)),
        ((Box((1, 2, 3), (28, 13, 15)),), only(LEFT, RIGHT)),
        ((Box((1, 2, 3), (6, 13, 15)),), only((slice(3, 7), *LEFT[1:]))),
        ((Box((9, 12, 3), (20, 26, 15)),), only(OTHER)),
        ((Box((1, 2, 3), (12, 13, 15)), Point(IN_RIGHT)), only(LEFT, RIGHT)),
        ((Point(IN_LEFT), Point(NOWHERE, False)), only(LEFT)),
    ],
)
def test_prompts_pick_pieces_of_one_class(finder, prompts, expected):
    found = answer(*prompts)
    np.testing.assert_array_equal(found.on_grid(), expected)
    assert (found.engine, found.note) == ("trained organs", "")


def test_clicks_correct_the_piece_where_they_reach_and_keep_their_promise(finder):
    cut = Point((3, 4, 5), False)
    found = answer(Point(IN_LEFT), cut).on_grid()
    assert not found[3, 4, 5]
    assert found[IN_LEFT]
    assert 0 < (found != only(LEFT)).sum() < only(LEFT).sum() / 2
    more = answer(Point(IN_LEFT), Point((6, 13, 8))).on_grid()
    assert more[6, 13, 8]
    assert not more[RIGHT].any()


def test_the_threshold_moves_the_border_but_takes_no_other_piece(finder):
    found = answer(Point(IN_LEFT))
    low = found.at(0.2).on_grid()
    np.testing.assert_array_equal(low, ndimage.binary_dilation(only(LEFT)))
    assert np.argwhere(found.at(0.95).on_grid()).tolist() == [list(IN_LEFT)]
    boxed = answer(Box((1, 2, 3), (10, 13, 15))).at(0.2).on_grid()
    assert not boxed[11].any()


def test_where_the_network_finds_nothing_the_other_engine_answers_and_it_is_said(finder):
    image = scan()
    image.array[20:27, 20:26, 5:13] = 300
    found = answer(Box((19, 19, 4), (27, 26, 13)), image=image)
    assert found.on_grid()[23, 23, 8]
    assert found.note == "organs finds nothing there, so the answer is that of Training-free random walk."
    assert found.engine == "trained organs"


def test_notes_of_the_network_come_along(monkeypatch):
    monkeypatch.setattr(trained_engine, "apply", FakeApply(("Look twice.",)))
    assert answer(Point(IN_LEFT)).note == "Look twice."


def test_an_image_is_searched_once_and_a_broken_search_goes_on(finder):
    engine, image = TrainedEngine(model()), scan()
    request = PromptRequest(image, ObjectPrompts((Point(IN_LEFT),)))
    job = engine.segment(request)
    for _ in range(3):
        next(job)
    job.close()
    answer(Point(IN_LEFT), engine=engine, image=image)
    answer(Point(IN_OTHER), engine=engine, image=image)
    assert (finder.begun, finder.steps) == (1, 5)
    answer(Point(IN_LEFT), engine=engine, image=scan())
    assert finder.begun == 2


def test_a_search_that_failed_is_begun_anew(monkeypatch):
    calls = []

    def failing(model, image, device):
        calls.append(1)
        yield Progress(0, 1)
        raise InputError("The image is constant.")

    monkeypatch.setattr(trained_engine, "apply", failing)
    engine, image = TrainedEngine(model()), scan()
    for _ in range(2):
        with pytest.raises(InputError, match="constant"):
            answer(Point(IN_LEFT), engine=engine, image=image)
    assert len(calls) == 2


def test_a_closed_image_is_forgotten(finder):
    engine, image = TrainedEngine(model()), scan()
    answer(Point(IN_LEFT), engine=engine, image=image)
    gone = weakref.ref(image)
    kept = weakref.ref(engine._found)
    del image
    gc.collect()
    assert gone() is None
    assert kept() is None


def test_it_reads_no_masks(finder):
    with pytest.raises(PromptError, match="Trained: organs does not read earlier masks"):
        answer(Point(IN_LEFT), MaskPrompt(only(LEFT)))


def test_a_real_network_in_a_session():
    image, net = scan(), model()
    labels = np.asarray(run_job(apply(net, image, "cpu")).labels.array)
    at = tuple(int(n) for n in np.argwhere(labels > 0)[len(labels) // 2])
    parts, _ = ndimage.label(labels == labels[at])
    session = PromptSession(TrainedEngine(net, device="cpu"))
    session.set_image(image)
    session.prompt(Point(at))
    np.testing.assert_array_equal(session.mask(), parts == parts[at])
    session.set_threshold(0.9)
    assert session.mask().sum() < (parts == parts[at]).sum()
