"""How far interpolated shapes count: decided by painted slices that are left out."""

import numpy as np
import pytest

from voxelsmith.segment.pixel_classifier import ClassifierSettings, LeftOut, PixelClassifier, _spread_out
from voxelsmith.segment.prior import Prior
from voxelsmith.segment.trust import best_fading

SHAPE = (13, 30, 30)
PAINTED = (0, 4, 8, 12)


def column(moves):
    """A square column that stays, or that jumps to the side in every other painted slice."""
    labels = np.zeros(SHAPE, np.uint8)
    for row in range(SHAPE[0]):
        start = 4 + 10 * (moves and (row // 4) % 2)
        labels[row, 10:20, start : start + 10] = 1
    return labels


def prior_of(labels, fading=1.0, lean=0.0):
    return Prior(labels, (1,), (PAINTED,), (2.0, 1.0, 1.0), 1.0, fading, lean)


def left_out(labels, row, sure):
    """What is said of a slice: the truth, more or less sure, on all pixels."""
    truth = labels[row].ravel().astype(int)
    right = np.where(truth == 1, sure, 1 - sure)
    seen = np.stack([1 - right, right], axis=1).astype(np.float32)
    return LeftOut(row, np.ones(SHAPE[1:], bool), seen, truth, np.ones(len(truth), np.float32))


def test_shapes_fade_no_slower_than_usual_where_the_image_is_right_and_they_are_wrong():
    labels = column(moves=True)
    prior = prior_of(labels)
    assert best_fading(prior, [left_out(labels, row, 0.7) for row in PAINTED[1:3]]) == 2.0
    assert prior.fading == 1.0


def test_shapes_reach_far_where_the_image_is_wrong():
    labels = column(moves=False)
    wrong = column(moves=True)
    slices = []
    for row in PAINTED[1:3]:
        said = left_out(wrong, row, 0.9)
        slices.append(LeftOut(row, said.pixels, said.seen, labels[row].ravel().astype(int), said.stands_for))
    assert best_fading(prior_of(labels), slices) < 1.0


def test_the_usual_fading_stays_where_it_makes_no_difference():
    labels = column(moves=False)
    assert best_fading(prior_of(labels, 0.7), [left_out(labels, 4, 0.9)]) == 0.7


def test_the_lean_is_taken_from_the_background():
    labels = column(moves=False)
    pixels = np.ones(SHAPE[1:], bool)
    plain, leaning = (prior_of(labels, lean=lean).log_odds(2, pixels) for lean in (0.0, 0.3))
    np.testing.assert_allclose(leaning[:, 1], plain[:, 1])
    np.testing.assert_allclose(leaning[:, 0], plain[:, 0] - 0.3, rtol=1e-5)


def test_a_slice_that_is_left_out_fades_by_its_distance_to_the_others():
    labels = column(moves=False)
    prior = prior_of(labels)
    pixels = np.ones(SHAPE[1:], bool)
    odds = [prior.log_odds(4, pixels, held_out=held_out) for held_out in (False, True)]
    # Painted itself it is as wide as a pixel; left out, the nearest slice is 4 x 2 mm away.
    np.testing.assert_allclose(odds[0][:, 1], 9 * odds[1][:, 1], rtol=1e-4)


@pytest.fixture
def learned():
    labels = column(moves=False)
    features = np.random.default_rng(0).normal(size=(2, *SHAPE)).astype(np.float16)
    features[0] += 3 * labels
    features[0, 8] = -features[0, 8]
    known = np.zeros(SHAPE, bool)
    known[list(PAINTED)] = True
    classifier = PixelClassifier(ClassifierSettings(trees=20))
    models, _ = classifier.learn(features, labels.astype(int), known, prior_of(labels))
    assert models == 2
    return labels, classifier


def test_what_is_left_out_was_not_learned_from(learned):
    labels, classifier = learned
    assert classifier.rows_to_leave_out(5) == list(PAINTED)
    assert classifier.rows_to_leave_out(2) == [PAINTED[1], PAINTED[3]]
    assert classifier.rows_to_leave_out(0) == []
    assert classifier.kinds == 2
    usual, inverted = (classifier.leave_out(row) for row in (4, 8))
    for one in (usual, inverted):
        assert one.seen.shape == (int(one.pixels.sum()), 2)
        np.testing.assert_array_equal(one.target, labels[one.row][one.pixels])
    right = [np.mean((one.seen[:, 1] > 0.5) == (one.target == 1)) for one in (usual, inverted)]
    # The slice with the sign of its brightness turned could only be known by having been seen.
    assert right[0] > 0.9
    assert right[1] < 0.85


def test_a_slice_that_alone_shows_a_class_is_never_left_out():
    labels = column(moves=False)
    labels[8][labels[8] == 1] = 2
    features = labels[None].astype(np.float16)
    known = np.zeros(SHAPE, bool)
    known[list(PAINTED)] = True
    prior = Prior(labels, (1, 2), (PAINTED, PAINTED), (2.0, 1.0, 1.0), 1.0, 1.0)
    classifier = PixelClassifier(ClassifierSettings(trees=5))
    classifier.learn(features, labels.astype(int), known, prior)
    assert classifier.rows_to_leave_out(5) == [0, 4, 12]


def test_places_along_the_slices_reach_to_the_painted_neighbours():
    rows = np.repeat([0, 4, 12], 500)
    painted = np.array([0, 4, 12])
    places = _spread_out(rows, painted, np.random.default_rng(0))
    found = [(places[rows == row].min(), places[rows == row].max()) for row in (0, 4, 12)]
    np.testing.assert_allclose(found, [(-4, 4), (0, 12), (4, 20)], atol=0.2)
    assert (_spread_out(np.full(9, 3), np.array([3]), np.random.default_rng(0)) == 3).all()
