"""The pixel classifier: classes are told apart within reach, the row in view first, and rarity is kept in mind."""

import numpy as np
import pytest

from voxelsmith.core.errors import InputError
from voxelsmith.segment.pixel_classifier import ClassifierSettings, PixelClassifier
from voxelsmith.segment.prior import Prior

SHAPE = (9, 60, 60)
PAINTED = (0, 4, 8)
CENTRES = {1: (12, 12), 2: (12, 24), 3: (46, 46), 4: (46, 12)}
RADIUS = 6


def columns():
    """Four upright columns in all slices, two of them side by side; with the background too many to learn together."""
    labels = np.zeros(SHAPE, np.uint8)
    a, b = np.indices(SHAPE[1:])
    for value, (x, y) in CENTRES.items():
        labels[:, np.hypot(a - x, b - y) < RADIUS] = value
    return labels


def learned(labels, features, first=None, **settings):
    values = tuple(np.unique(labels[labels > 0]).tolist())
    known = np.zeros(SHAPE, bool)
    known[list(PAINTED)] = True
    prior = Prior(labels, values, (PAINTED,) * len(values), (2.0, 1.0, 1.0), 1.0, 1.0)
    classifier = PixelClassifier(ClassifierSettings(trees=20, **settings))
    target = np.where(labels > 0, 1 + np.searchsorted(values, labels), 0)
    return classifier, prior, classifier.learn(features.astype(np.float16), target, known, prior, first)


def noisy_features(labels, seed=0):
    return labels[None] * 2.0 + np.random.default_rng(seed).normal(size=(2, *SHAPE))


def test_a_class_is_asked_for_within_its_reach_only():
    labels = columns()
    classifier, prior, (models, _) = learned(labels, noisy_features(labels))
    for model in range(models):
        classifier.grow(model)
    pixels = prior.near(2)[None]
    seen = classifier.predict([2], pixels)
    np.testing.assert_allclose(seen.sum(axis=1), 1, rtol=1e-5)
    near = prior.near_each(2)[:, pixels[0]].T
    assert not near.all()
    assert near.any(axis=0).all()
    assert seen[:, 1:][~near].max() < 1e-6
    assert seen[:, 1:][near].min() > 1e-3
    assert np.mean(seen.argmax(axis=1) == labels[2][pixels[0]]) > 0.95


def test_several_rows_are_answered_as_one_by_one():
    labels = columns()
    classifier, prior, (models, _) = learned(labels, noisy_features(labels))
    for model in range(models):
        classifier.grow(model)
    rows = [2, 6]
    pixels = np.stack([prior.near(row) for row in rows])
    both = classifier.predict(rows, pixels)
    single = [classifier.predict([row], pixels[n : n + 1]) for n, row in enumerate(rows)]
    np.testing.assert_allclose(both, np.concatenate(single), rtol=1e-6)


def test_what_the_row_in_view_may_show_is_learned_first():
    labels = columns()
    labels[3:][labels[3:] > 2] = 0
    classifier, prior, (models, enough) = learned(labels, noisy_features(labels), first=7)
    # Two classes end long before the row in view, so they can wait, and so can half of the models of the others.
    assert (models, enough) == (10, 3)
    for model in range(enough):
        classifier.grow(model)
    pixels = prior.near(7)[None]
    seen = classifier.predict([7], pixels)
    assert np.mean(seen.argmax(axis=1) == labels[7][pixels[0]]) > 0.95


@pytest.mark.parametrize("classes", [1, 3, 5])
def test_a_rare_class_stays_rare_where_the_image_says_nothing(classes):
    rng = np.random.default_rng(1)
    labels = np.zeros(SHAPE, np.uint8)
    for n in range(classes):
        labels[rng.random(SHAPE) < 0.02] = 1 + n
    features = rng.normal(size=(2, *SHAPE))
    classifier, _, (models, _) = learned(labels, features, voxels=600, rate=0.02)
    for model in range(models):
        classifier.grow(model)
    seen = classifier.predict([2], np.ones((1, *SHAPE[1:]), bool))
    # Half of the voxels that are learned from are of the class, but one in fifty is.
    assert seen[:, 1:].mean(axis=0).max() < 0.1
    assert np.mean(seen.argmax(axis=1) == 0) > 0.9


def test_a_few_classes_are_learned_together():
    labels = columns()
    labels[labels == 4] = 0
    _, _, (models, enough) = learned(labels, noisy_features(labels), first=7)
    # One model that sees the image, and one that sees shapes too; the latter answers first.
    assert (models, enough) == (2, 1)


def test_one_kind_alone_cannot_be_learned():
    labels = columns()
    values, known = (1,), np.zeros(SHAPE, bool)
    known[0] = labels[0] == 1
    prior = Prior(labels, values, ((),), (2.0, 1.0, 1.0), 1.0, 1.0)
    with pytest.raises(InputError, match="one kind"):
        PixelClassifier(ClassifierSettings()).learn(
            np.zeros((1, *SHAPE), np.float16), (labels == 1).astype(int), known, prior
        )
