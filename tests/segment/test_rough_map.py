"""Rough map: registration where it works, the best shift where it does not."""

from dataclasses import replace

import numpy as np
import pytest
from bodies import body, support_of
from scipy import ndimage

from registration_pairs import blobs, known_map, moved
from voxelsmith.core.affine import Affine
from voxelsmith.core.metrics import dice
from voxelsmith.core.progress import run_job
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.segment.common_grid import Sliced, sliced_example
from voxelsmith.segment.placement import Placement, place, telling
from voxelsmith.segment.propagation import PropagationRequest, propose
from voxelsmith.segment.rough_map import lay


def sliced(image, labels=None):
    array = np.zeros(image.grid, np.uint8) if labels is None else np.asarray(labels.array)
    return Sliced(image, 2, array, np.ones(image.grid, bool))


def cut(volume, slices, shift):
    matrix = volume.affine.shifted((0, 0, slices.start)).matrix.copy()
    matrix[:3, 3] += shift
    return type(volume)(volume.array[..., slices], Affine(matrix), volume.name)


@pytest.fixture(scope="module")
def whole():
    return blobs((26, 24, 20))


def test_a_turned_and_scaled_volume_is_laid_by_an_affine_map(whole):
    true = known_map(whole)
    found = run_job(lay(whole, moved(whole, true)))
    assert found.how == "affine"
    assert found.alike > 0.95
    points = np.random.default_rng(0).uniform(6, 18, (50, 3))
    np.testing.assert_allclose(Affine(found.matrix).apply(points), Affine(true).apply(points), atol=0.5)


def test_a_slab_far_away_is_laid_where_it_belongs(whole):
    found = run_job(lay(cut(whole, slice(8, 16), (0, 0, 700)), whole))
    points = np.random.default_rng(0).uniform((6, 6, 708), (18, 18, 715), (50, 3))
    np.testing.assert_allclose(Affine(found.matrix).apply(points), points - (0, 0, 700), atol=2)
    assert found.matched
    assert found.alike > 0.9


def test_a_slab_gets_the_labels_of_the_whole(whole):
    labels = LabelVolume((np.asarray(whole.array) > 55).astype(np.uint8), whole.affine)
    query, truth = (cut(v, slice(8, 16), (0, 0, 700)) for v in (whole, labels))
    found = run_job(propose(PropagationRequest(query, support_of((whole, labels)), deformable=False)))
    assert dice(truth.mask(1), found.labels.mask(1)) > 0.8


def test_places_of_another_part_of_the_body_are_not_trusted(whole):
    texture = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=whole.grid), 1.5)
    other = Volume((1000 * texture).astype(np.float32), whole.affine)
    alike, unlike = (run_job(place(sliced(whole), sliced(v))) for v in (whole, other))
    assert alike.trusted
    assert not unlike.trusted
    assert run_job(place(sliced(whole), sliced(other), "affine")).trusted


def test_places_tell_if_most_placements_are_trusted():
    example = sliced(*body(0))
    good = Placement("affine", lambda index: index)
    bad = Placement("affine", lambda index: index, trusted=False)
    assert telling([example] * 2, [good, bad])
    assert not telling([example] * 3, [good, bad, bad])


def test_places_tell_nothing_if_the_examples_disagree_about_them():
    image, labels = body(0)
    near, far = (Placement("affine", lambda index, d=d: 2.0 * index + (d, 0, 0)) for d in (2.0, 40.0))
    example = sliced(image, labels)
    assert telling([example, example], [near, replace(near)])
    assert not telling([example, example], [near, far])


def test_slices_of_one_image_do_not_disagree_about_places():
    image, labels = body(0)
    here = Placement("affine", lambda index: index * (2.0, 2.0, 40.0))
    slices = [
        sliced_example(e, image, 2, 2.0)
        for n in (4, 7)
        for e in support_of((image, labels), axis=2, slices=(n,)).enabled
    ]
    assert telling(slices, [here, here])
    assert not telling(slices, [here, replace(here)])
