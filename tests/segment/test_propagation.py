"""Propagation: labels carried over by registration, and how several examples vote."""

import numpy as np
import pytest
from bodies import GRID, body, support_of

from voxelsmith.core.errors import InputError
from voxelsmith.core.metrics import dice
from voxelsmith.core.progress import run_job
from voxelsmith.segment.propagation import PropagationRequest, local_correlation, propose
from voxelsmith.segment.proposal import PROPAGATION


def carried(query, support, **options):
    return run_job(propose(PropagationRequest(query, support, **options)))


@pytest.mark.parametrize("deformable", [False, True])
def test_a_shifted_body_gets_the_labels_of_the_other(deformable):
    query, truth = body(5, shift=(3, -2, 1))
    found = carried(query, support_of(body(0)), deformable=deformable)
    assert min(dice(truth.mask(v), found.labels.mask(v)) for v in (1, 2)) > 0.8
    assert query.same_grid(found.labels)
    assert found.provenance.engine == PROPAGATION
    assert ("deformable" if deformable else "affine") in found.provenance.settings


def test_the_example_that_looks_alike_outvotes_those_that_do_not():
    query, truth = body(5)
    good = body(6)
    image, labels = body(7)
    wrong = image.labels(np.roll(labels.array, 6, axis=1))
    noisy = image.array + np.random.default_rng(0).normal(0, 40, GRID).astype(np.float32)
    bad = (type(image)(noisy, image.affine), wrong)
    found = carried(query, support_of(bad, good, (type(image)(noisy + 1, image.affine), wrong)), deformable=False)
    alone = carried(query, support_of(bad), deformable=False)
    assert dice(truth.mask(1), found.labels.mask(1)) > dice(truth.mask(1), alone.labels.mask(1)) + 0.1


def test_confidence_is_nan_where_nothing_lies_and_falls_where_images_differ():
    query, _ = body(5)
    support = support_of(body(0))
    found = carried(query, support, deformable=False)
    empty = ~found.labels.array.any((0, 1))
    np.testing.assert_array_equal(np.isnan(found.confidence), empty)
    spoilt = query.array.copy()
    spoilt[..., 5:7] = np.random.default_rng(0).normal(100, 50, (*GRID[:2], 2))
    worse = carried(type(query)(spoilt, query.affine), support, deformable=False)
    assert worse.worst_slice in (5, 6)
    assert np.nanmean(found.confidence[5:7]) > np.nanmean(worse.confidence[5:7]) + 0.1


def test_local_correlation_is_1_for_the_same_image_and_0_where_nothing_varies():
    query, _ = body(5)
    np.testing.assert_allclose(local_correlation(query, query), 1, atol=0.02)
    other = type(query)(np.random.default_rng(1).normal(0, 1, GRID).astype(np.float32), query.affine)
    assert local_correlation(query, other).mean() < 0.3
    half = query.array.copy()
    half[15:] = half[15:].mean()
    assert local_correlation(query, type(query)(half, query.affine))[26:].max() < 0.05


def test_slices_alone_cannot_be_carried_over():
    query, _ = body(5)
    with pytest.raises(InputError, match="some slices only"):
        carried(query, support_of(body(0), axis=2, slices=(6,)))
