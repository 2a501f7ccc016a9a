"""The same-volume engine on phantoms: better than shapes alone, true to what was painted, quick to answer and stop."""

import dataclasses

import numpy as np
import pytest
from phantoms import ball, noisy
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_info, threadpool_limits

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import InputError
from voxelsmith.core.metrics import dice
from voxelsmith.core.progress import Cancelled, run_job
from voxelsmith.core.support import SupportExample, SupportSet
from voxelsmith.core.volume import Volume
from voxelsmith.segment.canvas import CanvasSettings, SlicePreview
from voxelsmith.segment.interpolation import interpolate, signed_distance
from voxelsmith.segment.pixel_classifier import ClassifierSettings
from voxelsmith.segment.same_volume import SameVolumeEngine, SameVolumeRequest, SameVolumeSettings

QUICK = SameVolumeSettings(classifier=ClassifierSettings(voxels=4000, trees=20))
SHAPE = (36, 40, 30)
PAINTED = (4, 11, 18, 25)


def winding(shape=SHAPE):
    """A tube that swings from side to side, which no interpolation of shapes can know."""
    i, j, k = np.meshgrid(*map(np.arange, shape), indexing="ij")
    return np.hypot(i - 18 - 8 * np.sin(k / 3.5), j - 20) < 7


def support_of(image, labels, slices=PAINTED, axis=2, **more):
    return SupportSet().add(SupportExample(image, image.labels(labels), axis, slices, **more))


def propose(image, support, **more):
    request = SameVolumeRequest(image, support, settings=more.pop("settings", QUICK), **more)
    return run_job(SameVolumeEngine().propose(request))


def rest_of(slices=PAINTED, count=SHAPE[2]):
    return [s for s in range(min(slices), max(slices) + 1) if s not in slices]


@pytest.fixture(scope="module")
def tube():
    truth = winding()
    return truth, noisy(truth, noise=30)


@pytest.fixture(scope="module")
def proposal(tube):
    truth, image = tube
    return propose(image, support_of(image, truth.astype(np.uint8)))


def test_it_beats_shapes_alone_where_the_image_knows_better(tube, proposal):
    truth, _ = tube
    distances = {s: signed_distance(truth[..., s], (1.0, 1.0)) for s in PAINTED}
    shapes = np.moveaxis(interpolate(distances, range(SHAPE[2]), 1.0) > 0, 0, 2)
    found = np.asarray(proposal.labels.array) == 1
    alone, ours = (dice(truth[..., rest_of()], mask[..., rest_of()]) for mask in (shapes, found))
    assert alone < 0.85
    assert ours > 0.93


def test_painted_slices_are_never_changed(tube):
    truth, image = tube
    odd = truth.astype(np.uint8)
    odd[:4, :4, 11] = 1
    found = np.asarray(propose(image, support_of(image, odd)).labels.array)
    assert np.array_equal(found[..., PAINTED], odd[..., PAINTED])


def test_the_proposal_lies_on_the_image_and_tells_where_it_comes_from(tube, proposal):
    truth, image = tube
    assert proposal.labels.grid == image.grid
    assert proposal.labels.affine == image.affine
    assert proposal.probabilities.dtype == np.float16
    assert proposal.probabilities.shape == (1, *proposal.box.shape)
    assert proposal.provenance.image == image.fingerprint()
    assert proposal.provenance.support == (support_of(image, truth.astype(np.uint8)).examples[0].content_hash,)
    agree = (proposal.probability(1) > 0.5) == (np.asarray(proposal.labels.array) == 1)
    assert agree.mean() > 0.999


def test_confidence_is_one_where_painted_and_less_between(proposal):
    assert (proposal.confidence[list(PAINTED)] == 1).all()
    assert (proposal.confidence[rest_of()] < 1).all()
    assert proposal.worst_slice not in PAINTED


def test_an_empty_slice_is_as_sure_as_its_likeliest_pixel_is_not():
    truth = ball(SHAPE, (18, 20, 15), 7)
    image = noisy(truth)
    answer = propose(image, support_of(image, truth.astype(np.uint8), (13, 17)), span=(0, 29))
    empty = np.flatnonzero(~np.asarray(answer.labels.array).any(axis=(0, 1)))
    assert {0, 29} <= set(empty.tolist())
    likeliest = answer.probability(1).max(axis=(0, 1))
    np.testing.assert_allclose(answer.confidence[empty], 1 - likeliest[empty], atol=1e-6)
    assert answer.confidence[0] > 0.5


def test_trees_take_one_core_and_leave_the_others(tube, monkeypatch):
    seen = []

    def spied(trees, x):
        seen.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "openmp")
        return genuine(trees, x)

    genuine = HistGradientBoostingClassifier.predict_proba
    monkeypatch.setattr(HistGradientBoostingClassifier, "predict_proba", spied)
    truth, image = tube
    with threadpool_limits(2, user_api="openmp"):
        propose(image, support_of(image, truth.astype(np.uint8)))
    assert set(seen) == {1}


@pytest.mark.parametrize("axis", [0, 1])
def test_any_axis_gives_the_same_answer(tube, proposal, axis):
    truth, image = tube
    turned = Volume(np.moveaxis(image.array, 2, axis), Affine.from_spacing((1, 1, 1)))
    answer = propose(turned, support_of(turned, np.moveaxis(truth, 2, axis).astype(np.uint8), axis=axis))
    found = np.moveaxis(np.asarray(answer.labels.array), axis, 2)
    assert dice(found, np.asarray(proposal.labels.array)) > 0.97


def test_two_runs_agree(tube, proposal):
    truth, image = tube
    again = propose(image, support_of(image, truth.astype(np.uint8)))
    assert np.array_equal(again.labels.array, proposal.labels.array)


def test_several_classes_are_told_apart():
    first, second = ball(SHAPE, (12, 12, 15), 9), ball(SHAPE, (24, 28, 15), 9)
    rng = np.random.default_rng(0)
    image = Volume((first * 100 + second * 200 + rng.normal(0, 20, SHAPE)).astype(np.float32))
    labels = (first + 7 * second).astype(np.uint8)
    answer = propose(image, support_of(image, labels, (7, 12, 15, 18, 23)))
    assert answer.classes == (1, 7)
    found = np.asarray(answer.labels.array)
    assert min(dice(labels == v, found == v) for v in (1, 7)) > 0.9


def test_examples_of_different_classes_in_one_slice_add_up():
    first, second = ball(SHAPE, (12, 12, 15), 9), ball(SHAPE, (24, 28, 15), 9)
    image = noisy(first | second)
    support = SupportSet()
    for value, mask in ((1, first), (2, second)):
        example = SupportExample(image, image.labels((mask * value).astype(np.uint8)), 2, (10, 15, 20))
        support = support.add(example)
    found = np.asarray(propose(image, support).labels.array)[..., 10:21]
    assert min(dice(mask[..., 10:21], found == value) for value, mask in ((1, first), (2, second))) > 0.9


def test_classes_painted_in_different_slices_still_leave_background():
    first, second = ball(SHAPE, (12, 12, 15), 9), ball(SHAPE, (24, 28, 15), 9)
    image = noisy(first | second)
    support = SupportSet()
    for value, mask, slices in ((1, first, (9, 14, 19)), (2, second, (11, 16, 21))):
        support = support.add(SupportExample(image, image.labels((mask * value).astype(np.uint8)), 2, slices))
    answer = propose(image, support)
    found = np.asarray(answer.labels.array)[..., 11:20]
    assert min(dice(mask[..., 11:20], found == value) for value, mask in ((1, first), (2, second))) > 0.9
    assert not (found[..., (0, 5)] == 2)[~second[..., (11, 16)]].any()


def test_ignored_voxels_may_become_anything():
    truth = ball(SHAPE, (18, 20, 15), 11)
    image = noisy(truth)
    wrong = truth.copy()
    ignored = np.zeros(SHAPE, bool)
    ignored[:18] = True
    wrong[:18] = False
    support = support_of(image, wrong.astype(np.uint8), (9, 12, 15, 18, 21), ignored=ignored)
    found = np.asarray(propose(image, support).labels.array) == 1
    half = (slice(0, 18), slice(None), slice(9, 22))
    assert dice(truth[half], found[half]) > 0.8
    assert np.array_equal(found[18:, :, 15], truth[18:, :, 15])


def test_scribbles_alone_are_enough():
    truth = ball(SHAPE, (18, 20, 15), 11)
    image = noisy(truth)
    ignored = np.ones(SHAPE, bool)
    ignored[12:24, 18:22, 15] = ignored[2:5, 4:36, 15] = ignored[31:34, 4:36, 15] = False
    labels = np.where(ignored, 0, truth).astype(np.uint8)
    example = SupportExample(image, image.labels(labels), ignored=ignored)
    found = np.asarray(propose(image, SupportSet().add(example), span=(0, 29)).labels.array) == 1
    assert dice(truth[..., 13:18], found[..., 13:18]) > 0.7
    assert np.array_equal(found[~ignored], truth[~ignored])


def test_a_slice_across_the_others_is_learned_from_and_kept(tube, proposal):
    truth, image = tube
    labels = truth.astype(np.uint8)
    support = support_of(image, labels).add(SupportExample(image, image.labels(labels), 1, (20,)))
    answer = propose(image, support)
    found = np.asarray(answer.labels.array) == 1
    assert answer.axis == 2
    assert np.array_equal(found[:, 20, 4:26], truth[:, 20, 4:26])
    before = dice(truth[..., rest_of()], np.asarray(proposal.labels.array)[..., rest_of()] == 1)
    assert dice(truth[..., rest_of()], found[..., rest_of()]) > before


def test_a_reviewed_empty_slice_ends_the_object():
    truth = ball(SHAPE, (18, 20, 15), 11)
    image = noisy(truth)
    answer = propose(image, support_of(image, truth.astype(np.uint8), (2, 9, 15, 21, 28)))
    found = np.asarray(answer.labels.array).any(axis=(0, 1))
    assert not found[:3].any()
    assert not found[28:].any()
    assert np.isnan(answer.confidence[:2]).all()


def test_one_slice_is_enough_to_start():
    truth = ball(SHAPE, (18, 20, 15), 11)
    answer = propose(noisy(truth), support_of(noisy(truth), truth.astype(np.uint8), (15,)))
    assert dice(truth, np.asarray(answer.labels.array)) > 0.8


def test_a_class_that_nobody_painted_is_told():
    truth = ball(SHAPE, (18, 20, 15), 11)
    image = noisy(truth)
    support = support_of(image, truth.astype(np.uint8)).describe(4, "ureter")
    (note,) = propose(image, support).notes
    assert "ureter" in note


def test_pixels_are_averaged_when_there_are_many():
    truth = ball((60, 60, 20), (30, 30, 10), 20, (1, 1, 2))
    image = noisy(truth, spacing=(1, 1, 2))
    settings = dataclasses.replace(QUICK, canvas=CanvasSettings(working_voxels=8000))
    answer = propose(image, support_of(image, truth.astype(np.uint8), (2, 6, 10, 14, 18)), settings=settings)
    assert answer.labels.grid == (60, 60, 20)
    assert dice(truth, np.asarray(answer.labels.array)) > 0.9


def test_the_slice_in_view_is_answered_first_and_refined(tube):
    truth, image = tube
    seen = []
    request = SameVolumeRequest(image, support_of(image, truth.astype(np.uint8)), view=14, settings=QUICK)
    run_job(SameVolumeEngine().propose(request), seen.append)
    previews = [(n, p.partial) for n, p in enumerate(seen) if isinstance(p.partial, SlicePreview)]
    (at, rough), (soon, early), (later, fine) = previews
    assert at == 1
    assert [(p.index, p.refined) for p in (rough, early, fine)] == [(14, False), (14, True), (14, True)]
    assert [seen[n].message for n in (soon, later - 1)] == ["Learning", "Checking with painted slices"]
    assert dice(truth[..., 14], early.labels) > dice(truth[..., 14], rough.labels)
    assert dice(truth[..., 14], fine.labels) > dice(truth[..., 14], rough.labels)
    assert [p.done for p in seen] == sorted(p.done for p in seen)


def test_it_can_be_stopped_at_every_report(tube):
    truth, image = tube
    request = SameVolumeRequest(image, support_of(image, truth.astype(np.uint8)), settings=QUICK)
    reports = []
    with pytest.raises(Cancelled):
        run_job(SameVolumeEngine().propose(request), lambda p: reports.append(p) or len(reports) < 5)
    assert len(reports) == 5


def test_wrong_requests_get_a_sentence(tube):
    truth, image = tube
    labels = truth.astype(np.uint8)
    other = noisy(truth, seed=1)
    flat = Volume(np.zeros(SHAPE, np.float32))
    many = Volume(np.zeros((*SHAPE, 2), np.float32), extra_axis="time")
    with pytest.raises(InputError, match="across volumes"):
        propose(other, support_of(image, labels))
    with pytest.raises(InputError, match="something painted"):
        propose(image, SupportSet())
    with pytest.raises(InputError, match="one brightness"):
        propose(flat, support_of(flat, labels))
    with pytest.raises(InputError, match="select one frame"):
        propose(many, support_of(image, labels))
    with pytest.raises(InputError, match="0, 1 or 2"):
        propose(image, support_of(image, labels), axis=3)
    with pytest.raises(InputError, match="go from 0 to 29"):
        propose(image, support_of(image, labels), span=(3, 30))
    with pytest.raises(InputError, match="one kind"):
        propose(image, support_of(image, labels, ignored=~truth))
