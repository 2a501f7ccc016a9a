"""The session with several engines and with thresholds: what stays, what is cut again, and what is never computed."""

import numpy as np
import pytest

from blob import BlobEngine, PointBlobEngine
from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import InputError, PromptError
from voxelsmith.core.progress import run_job
from voxelsmith.core.prompts import Box, ObjectPrompts, Point
from voxelsmith.core.volume import Volume
from voxelsmith.segment.engine import Probability, PromptRequest
from voxelsmith.segment.session import PromptSession
from voxelsmith.segment.training_free import TrainingFreeEngine
from voxelsmith.segment.zoom import Region

GRID = (40, 30, 24)
A, B, C = Point((12, 12, 10)), Point((20, 14, 12)), Point((28, 18, 12))


@pytest.fixture
def image():
    array = np.random.default_rng(1).normal(0, 1, GRID)
    array[10:30, 10:20, 8:16] += 20
    return Volume(array, Affine.from_spacing((1, 1, 1.5)))


@pytest.fixture
def session(image):
    session = PromptSession(BlobEngine())
    session.set_image(image)
    return session


def answer(session, obj=None):
    return session.show(run_job(session.compute(obj)))


def test_a_threshold_cuts_the_same_mask_as_the_segmentation_does(session):
    session.prompt(A)
    before = session.segmentation()
    for threshold in (0.2, 0.73, 0.5):
        running = session.mask()
        update = session.set_threshold(threshold)
        running[update.changed.slices] = update.mask
        expected = before.at(threshold).on_grid()
        np.testing.assert_array_equal(session.mask(), expected)
        np.testing.assert_array_equal(running, expected)
        assert session.segmentation().threshold == session.threshold() == threshold
        assert session.segmentation().fingerprint == before.fingerprint
    assert session.engine.calls == 1
    assert not session.set_threshold(0.5).changed
    assert session.segmentation().probability is before.probability


def test_a_lower_threshold_gives_a_larger_mask_and_keeps_what_was_clicked(session):
    session.prompt([A, Point((12, 12, 11), positive=False)])
    sizes = []
    for threshold in (0.9, 0.5, 0.1):
        session.set_threshold(threshold)
        sizes.append(session.mask().sum())
        assert session.mask()[12, 12, 10]
        assert not session.mask()[12, 12, 11]
    assert sizes == sorted(set(sizes))


def test_the_threshold_holds_for_later_prompts_and_is_no_step(session):
    session.prompt(A)
    session.set_threshold(0.3)
    session.prompt(B)
    assert session.segmentation().threshold == 0.3
    wide = session.mask()
    session.undo()
    session.refresh()
    assert session.segmentation().threshold == 0.3
    session.set_threshold(0.8)
    session.redo()
    session.refresh()
    assert session.segmentation().threshold == 0.8
    assert session.mask().sum() < wide.sum()
    assert session.engine.calls == 2


def test_a_threshold_set_before_the_answer_is_used_by_the_job(session):
    session.add(A)
    session.set_threshold(0.3)
    job = session.compute()
    result = run_job(job)
    assert result.threshold == 0.3
    session.set_threshold(0.6)
    session.show(result)
    assert session.segmentation().threshold == 0.6


def test_objects_have_their_own_threshold_and_new_ones_the_usual(session):
    target = np.zeros(GRID, np.uint8)
    session.prompt(A)
    session.set_threshold(0.2)
    expected = session.mask()
    commit = session.commit(target)
    np.testing.assert_array_equal(target == 1, expected)
    assert (commit.engine, commit.threshold) == ("blob", 0.2)
    assert session.threshold() == 0.5
    session.prompt(B)
    session.set_threshold(0.9)
    assert (session.threshold(1), session.threshold(2)) == (0.2, 0.9)
    session.undo()
    session.undo()
    session.refresh()
    assert not target.any()
    np.testing.assert_array_equal(session.mask(), expected)
    session.commit(target)
    assert session.threshold() == 0.5


@pytest.mark.parametrize("value", [0, 1, -0.1, 7, float("nan")])
def test_a_threshold_lies_between_0_and_1(session, value):
    session.prompt(A)
    with pytest.raises(InputError, match="between 0 and 1"):
        session.set_threshold(value)
    with pytest.raises(InputError, match="between 0 and 1"):
        session.segmentation().at(value)
    assert session.threshold() == 0.5


def test_masks_without_probabilities_have_no_threshold(image):
    session = PromptSession(TrainingFreeEngine())
    session.set_image(image)
    session.prompt(Box((9, 9, 7), (31, 21, 17)))
    assert session.probability() is None
    with pytest.raises(InputError, match="'training-free' gives none"):
        session.set_threshold(0.4)
    assert session.threshold() == 0.5


def test_probabilities_are_those_that_the_mask_was_cut_from(session):
    assert session.probability() is None
    session.prompt(A)
    fine = session.probability()
    np.testing.assert_array_equal(fine.values > 0.5, fine.above(0.5))
    np.testing.assert_array_equal(session.segmentation().probability.above(0.37), fine.above(0.37))
    np.testing.assert_array_equal(fine.on_grid(GRID)[fine.region.box.slices], fine.values)
    assert session.probability() is fine


def test_a_map_on_a_part_of_the_image_is_zero_outside():
    box = Box((3, 2, 1), (11, 9, 6))
    coarse = Probability(Region.over(box, (1, 1, 2), 60), np.full(Region.over(box, (1, 1, 2), 60).grid, 0.25, "f2"))
    fine = coarse.fine()
    np.testing.assert_allclose(fine.region.spacing, (1, 1, 2))
    full = coarse.on_grid((20, 15, 9))
    assert full.dtype == np.float32
    np.testing.assert_array_equal(full[box.slices], fine.values)
    np.testing.assert_allclose(full.sum(), 0.25 * np.prod(box.shape), rtol=1e-3)


def test_another_engine_keeps_prompts_commits_and_the_masks_of_others(session):
    target = np.zeros(GRID, np.uint8)
    session.prompt(C, obj=3)
    session.prompt(A)
    session.commit(target)
    labels = target.copy()
    session.active = 2
    session.prompt(B)
    masks = {obj: session.mask(obj) for obj in (1, 2, 3)}
    session.use_engine(TrainingFreeEngine())
    session.refresh()
    for obj, mask in masks.items():
        np.testing.assert_array_equal(session.mask(obj), mask)
        assert session.segmentation(obj).engine == "blob"
    np.testing.assert_array_equal(target, labels)
    answer(session)
    assert [session.segmentation(obj).engine for obj in (1, 2, 3)] == ["blob", "training-free", "blob"]


def test_stepping_back_shows_what_was_shown_whoever_made_it(session):
    target = np.zeros(GRID, np.uint8)
    session.prompt(A)
    accepted = session.mask()
    session.commit(target)
    session.use_engine(TrainingFreeEngine())
    session.undo()
    session.refresh()
    np.testing.assert_array_equal(session.mask(), accepted)
    answer(session)
    assert session.segmentation().engine == "training-free"


def test_changing_to_and_fro_computes_each_answer_once(session):
    blob, other = session.engine, PointBlobEngine()
    session.prompt(A)
    for engine in (other, blob, other, blob):
        session.use_engine(engine)
        answer(session)
        assert session.segmentation().engine == engine.name
    assert (blob.calls, other.calls) == (1, 1)


def test_an_engine_of_the_same_name_with_other_settings_answers_for_itself(session):
    session.prompt(A)
    other = BlobEngine()
    session.use_engine(other)
    answer(session)
    assert other.calls == 1


def test_an_engine_that_does_not_read_the_prompts_is_refused(session):
    session.prompt([A, Box((5, 5, 5), (20, 20, 15))])
    before, mask = session.engine, session.mask()
    with pytest.raises(PromptError, match="Point blob does not read boxes"):
        session.use_engine(PointBlobEngine())
    assert session.engine is before
    np.testing.assert_array_equal(session.mask(), mask)


def test_a_job_of_the_engine_before_is_dropped(session):
    session.add(A)
    job = session.compute()
    session.use_engine(PointBlobEngine())
    assert session.show(run_job(job)).changed is None
    assert session.segmentation() is None


def test_cutting_needs_the_request_only(image):
    result = run_job(BlobEngine().segment(PromptRequest(image, ObjectPrompts((A,)))))
    assert result.at(0.2).mask.sum() > result.mask.sum() > result.at(0.9).mask.sum()
