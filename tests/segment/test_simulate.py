"""The simulated user: it clicks where a person would, and stops when nothing is wrong."""

import numpy as np
import pytest
from phantoms import ball, noisy

from voxelsmith.core.errors import PromptError
from voxelsmith.core.prompts import Box, Point
from voxelsmith.segment.engine import Segmentation
from voxelsmith.segment.simulate import next_click, simulate


class Stubborn:
    """An engine that answers with prepared masks and remembers what it was asked."""

    name = "stubborn"
    title = "Stubborn"
    accepts = frozenset({Point, Box})

    def __init__(self, *masks):
        self.masks, self.requests = list(masks), []

    def segment(self, request):
        self.requests.append(request)
        mask = self.masks.pop(0) if len(self.masks) > 1 else self.masks[0]
        return Segmentation(request, Box((0, 0, 0), tuple(n - 1 for n in mask.shape)), mask, self.name)
        yield


TRUTH = ball((20, 20, 20), (10, 10, 10), 6)
NOTHING = np.zeros_like(TRUTH)
IMAGE = noisy(TRUTH)


def test_the_click_is_in_the_middle_of_the_largest_error():
    mask = TRUTH | ball(TRUTH.shape, (3, 3, 3), 2)
    assert next_click(TRUTH, mask, (1, 1, 1)) == Point((3, 3, 3), False)
    assert next_click(TRUTH, NOTHING, (1, 1, 1)) == Point((10, 10, 10), True)
    assert next_click(TRUTH, TRUTH, (1, 1, 1)) is None


def test_the_middle_is_measured_in_millimetres():
    error = np.zeros((9, 9, 5), bool)
    error[:, :3, :] = True
    click = next_click(error, np.zeros_like(error), (1, 1, 10))
    assert click.index[1] == 1
    error = np.zeros((9, 21, 3), np.uint8)
    error[2:7, 2:19] = 7
    assert next_click(error, np.zeros_like(error), (1, 1, 10)).index[0] == 4


def test_a_box_and_then_clicks():
    engine = Stubborn(NOTHING)
    answers = list(simulate(engine, IMAGE, TRUTH, clicks=2))
    assert len(answers) == 3
    assert all(a.seconds >= 0 for a in answers)
    prompts = [request.prompts.prompts for request in engine.requests]
    assert prompts[0] == (Box.around(TRUTH),)
    assert prompts[2] == (*prompts[1], Point((10, 10, 10)))


def test_a_click_can_be_first():
    engine = Stubborn(NOTHING)
    list(simulate(engine, IMAGE, TRUTH, clicks=1, box=False))
    assert engine.requests[0].prompts.prompts == (Point((10, 10, 10)),)


def test_nothing_is_corrected_when_nothing_is_wrong():
    assert len(list(simulate(Stubborn(NOTHING, TRUTH), IMAGE, TRUTH, clicks=5))) == 2


def test_there_must_be_something_to_find():
    with pytest.raises(PromptError, match="empty"):
        next(simulate(Stubborn(NOTHING), IMAGE, NOTHING))
    assert list(simulate(Stubborn(NOTHING), IMAGE, NOTHING, box=False)) == []
