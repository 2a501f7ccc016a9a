"""The session: what it shows, what it takes back, and what it never computes twice."""

import gc
import subprocess
import sys
import weakref

import numpy as np
import pytest
from cubes import GRID, Cubes, cubes, put
from phantoms import ball, noisy

from voxelsmith.core.errors import InputError, PromptError
from voxelsmith.core.progress import run_job
from voxelsmith.core.prompts import Box, MaskPrompt, Point, Scribble, TextPrompt
from voxelsmith.core.volume import Volume
from voxelsmith.segment.session import CommitStep, PromptSession, PromptStep


@pytest.fixture
def engine():
    return Cubes()


@pytest.fixture
def session(engine):
    session = PromptSession(engine)
    session.set_image(Volume(np.zeros(GRID)))
    return session


def test_a_real_object_from_box_to_labels():
    truth = ball((24, 24, 24), (12, 12, 12), 7)
    session, target = PromptSession(), np.zeros(truth.shape, np.uint8)
    session.set_image(noisy(truth))
    update = session.prompt(Box.around(truth))
    np.testing.assert_array_equal(session.mask()[update.changed.slices], update.mask)
    commit = session.commit(target, name="ball")
    np.testing.assert_array_equal(target == 1, session.mask(1))
    assert commit.name == "ball"
    assert session.active == 2


def test_nothing_works_before_there_is_an_image(engine):
    session = PromptSession(engine)
    for call in (lambda: session.add(Point((0, 0, 0))), session.mask, session.request):
        with pytest.raises(InputError, match="call set_image first"):
            call()


def test_a_series_is_refused_and_the_old_image_stays(session):
    image = session.image
    session.prompt(Point((1, 1, 1)))
    with pytest.raises(InputError, match="pick a frame"):
        session.set_image(Volume(np.zeros((3, 3, 3, 2)), extra_axis="time"))
    assert session.image is image
    assert session.mask().any()


def test_a_new_image_starts_over(session):
    session.prompt(Point((1, 1, 1)))
    session.commit(np.zeros(GRID, np.uint8))
    session.set_image(Volume(np.zeros((3, 3, 3))))
    assert not session.mask().any()
    assert session.mask().shape == (3, 3, 3)
    assert session.active == 1
    assert not session.prompts.objects
    assert not session.can_undo
    assert not session.can_redo
    assert session.undo() is None
    assert session.redo() is None


def test_refused_prompts_are_no_step(session):
    for prompt in (
        Point((9, 9, 9)),
        Box((9, 9, 9), (10, 10, 10)),
        Scribble([[0, 0, 9]]),
        MaskPrompt(np.ones((9,) * 3)),
    ):
        with pytest.raises(PromptError):
            session.add(prompt)
    with pytest.raises(PromptError, match="numbered from 1"):
        session.add(Point((1, 1, 1)), obj=0)
    assert not session.can_undo


def test_what_the_engine_cannot_read_is_told_before_anything_is_computed(session, engine):
    session.add(TextPrompt("liver"))
    with pytest.raises(PromptError, match="does not read words"):
        session.compute()
    session.undo()
    with pytest.raises(PromptError, match="Say where the object is"):
        session.compute()
    assert engine.calls == 0


def test_updates_keep_a_running_array_right(session):
    running = {1: np.zeros(GRID, bool), 2: np.zeros(GRID, bool)}
    for index, positive, obj in [
        ((1, 1, 1), True, 1),
        ((5, 4, 3), True, 1),
        ((5, 5, 4), True, 2),
        ((1, 1, 2), False, 1),
    ]:
        put(running[obj], session.prompt(Point(index, positive), obj))
        for n, array in running.items():
            np.testing.assert_array_equal(array, session.mask(n))
    while session.undo():
        put(running[session.active], session.refresh())
        np.testing.assert_array_equal(running[session.active], session.mask())
    assert not running[1].any()


def test_stepping_back_and_forth_computes_nothing(session, engine):
    masks = [session.mask()]
    for index in [(1, 1, 1), (3, 3, 3), (5, 4, 3)]:
        session.prompt(Point(index))
        masks.append(session.mask())
    for expected in masks[2::-1]:
        assert session.undo() == PromptStep(1)
        session.refresh()
        np.testing.assert_array_equal(session.mask(), expected)
    for expected in masks[1:]:
        session.redo()
        session.show(run_job(session.compute()))
        np.testing.assert_array_equal(session.mask(), expected)
    assert engine.calls == 3


def test_the_same_result_shown_twice_changes_nothing(session):
    session.add(Point((1, 1, 1)))
    result = run_job(session.compute())
    assert session.show(result).changed is not None
    assert session.show(result).changed is None


def test_a_job_answers_the_prompts_of_its_start(session):
    session.add(Point((1, 1, 1)))
    job = session.compute()
    session.add(Point((5, 4, 3)))
    result = run_job(job)
    assert len(result.request.prompts.points) == 1
    assert session.show(result).changed is None
    assert not session.mask().any()
    session.show(run_job(session.compute()))
    np.testing.assert_array_equal(session.mask(), cubes([((1, 1, 1), True), ((5, 4, 3), True)]))


def test_results_for_another_image_are_dropped(session):
    session.add(Point((1, 1, 1)))
    job = session.compute()
    next(job)
    session.set_image(Volume(np.ones(GRID)))
    session.add(Point((1, 1, 1)))
    with pytest.raises(StopIteration) as stop:
        next(job)
    assert session.show(stop.value.value).changed is None
    assert not session.mask().any()


def test_results_of_the_engine_before_are_dropped(session):
    session.add(Point((1, 1, 1)))
    result = run_job(session.compute())
    other = Cubes("other")
    session.use_engine(other)
    assert session.show(result).changed is None
    session.show(run_job(session.compute()))
    assert other.calls == 1
    assert session.segmentation().engine == "other"
    assert session.can_undo


def test_results_carry_the_fingerprint_of_their_image(session):
    first, second = Volume(np.zeros(GRID)), Volume(np.ones(GRID))
    for image in (first, second):
        session.set_image(image)
        session.add(Point((1, 1, 1)))
        assert run_job(session.compute()).fingerprint == image.fingerprint()


def test_results_that_no_step_leads_back_to_are_let_go(session):
    session.prompt(Point((1, 1, 1)))
    session.prompt(Point((3, 3, 3)))
    result = weakref.ref(session.segmentation())
    session.undo()
    session.refresh()
    gc.collect()
    assert result() is not None
    session.prompt(Point((5, 4, 3)))
    gc.collect()
    assert result() is None


def test_clearing_is_one_step(session):
    session.clear()
    assert not session.can_undo
    session.prompt([Point((1, 1, 1)), Point((3, 3, 3))])
    session.clear()
    assert session.refresh().changed is not None
    assert not session.mask().any()
    session.undo()
    assert len(session.prompts[1].points) == 2
    session.undo()
    assert not session.can_undo


def test_there_must_be_something_to_commit(session):
    target = np.zeros(GRID, np.uint8)
    with pytest.raises(PromptError, match="no mask to accept"):
        session.commit(target)
    session.prompt([Point((3, 3, 3)), Point((3, 3, 3), False)])
    with pytest.raises(PromptError, match="no mask to accept"):
        session.commit(target)
    assert session.active == 1


def test_a_covered_object_is_told_and_is_no_step(session):
    target = np.full(GRID, 4, np.uint8)
    session.prompt(Point((3, 3, 3)))
    with pytest.raises(PromptError, match="allow overwriting"):
        session.commit(target)
    assert (target == 4).all()
    assert session.active == 1
    session.commit(target, 5, overwrite=True)
    assert (target == 5).sum() == 27


def test_commits_are_steps_like_prompts(session):
    target = np.zeros(GRID, np.uint8)
    session.prompt(Point((1, 1, 1)))
    session.commit(target)
    session.prompt(Point((1, 1, 2)))
    assert session.active == 2
    session.commit(target)
    assert set(np.unique(target)) == {0, 1, 2}
    steps = [session.undo() for _ in range(4)]
    assert [type(s) for s in steps] == [CommitStep, PromptStep, CommitStep, PromptStep]
    assert not target.any()
    for _ in range(4):
        session.redo()
    assert session.active == 3
    assert (target == 1).sum() == 27
    assert (target == 2).sum() == 9


def test_by_default_the_network_answers_loaded_at_the_first_prompt_without_a_window():
    script = (
        "import sys, numpy as np\n"
        "from voxelsmith.segment.session import PromptSession\n"
        "from voxelsmith.core.prompts import Box\n"
        "from voxelsmith.core.volume import Volume\n"
        "s = PromptSession(); s.set_image(Volume(np.random.rand(9, 9, 9)))\n"
        "print(s.engine.name, 'torch' in sys.modules)\n"
        "s.prompt(Box((2, 2, 2), (6, 6, 6)))\n"
        "print([m for m in ('qtpy', 'napari', 'PyQt6', 'PySide6', 'torch', 'magicgui') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["promptable False", "['torch']"]
