"""One level of an affine registration: slope and curvature tell how the match changes with the map."""

import numpy as np
import pytest

from registration_pairs import blobs, known_map, moved
from voxelsmith.core.progress import Progress, run_job
from voxelsmith.register.affine_level import Level
from voxelsmith.register.preparation import prepare
from voxelsmith.register.refine import refine

START = known_map(blobs(), angle=6, scale=(1.04, 0.97, 1), shift=(0.8, -0.5, 0.4))


def level(similarity):
    fixed = blobs()
    prepared = [prepare(fixed), prepare(moved(fixed, known_map(fixed, 3, scale=(1, 1, 1), shift=(0, 0, 0))))]
    return Level(*prepared, similarity, 20_000)


def changed(of, number, size):
    """The start, after a step of that size along one of the twelve directions."""
    change = np.eye(4)
    if number < 3:
        change[number, 3] = size
    else:
        change[(number - 3) // 3, (number - 3) % 3] += size / of.radius
        change[:3, 3] = of.middle - change[:3, :3] @ of.middle
    return START @ change


@pytest.mark.parametrize("similarity", ["ncc", "mi", "mind"])
def test_the_slope_is_that_of_the_similarity(similarity):
    of = level(similarity)
    slope = of.expansion(START).slope
    size = 0.2
    ahead, behind = (np.array([of.similarity(changed(of, n, s)) for n in range(12)]) for s in (size, -size))
    measured = (behind - ahead) / (2 * size)
    assert np.linalg.norm(slope - measured) < 0.15 * np.linalg.norm(measured)


@pytest.mark.parametrize("similarity", ["ncc", "mi", "mind"])
def test_the_loss_is_the_similarity_and_curvature_is_never_negative(similarity):
    of = level(similarity)
    found = of.expansion(START)
    assert found.loss == pytest.approx(-of.similarity(START))
    values = np.linalg.eigvalsh(found.curvature)
    assert values.max() > 0
    assert values.min() > -1e-4 * values.max()


def test_where_nothing_meets_there_is_no_slope_and_no_step():
    of = level("ncc")
    far = np.eye(4)
    far[0, 3] = 1000
    assert of.overlap(far) == 0
    assert not of.expansion(far).slope.any()
    matrix, similarities = run_job(refine(of, far, "affine", 10, 0.005, Progress(0, 1, "")))
    assert np.array_equal(matrix, far)
    assert len(similarities) == 1


def test_steps_that_are_kept_make_things_better():
    of = level("ncc")
    reports = []
    _, similarities = run_job(refine(of, START, "affine", 20, 0.005, Progress(0, 1, "")), reports.append)
    assert len(similarities) - 1 <= len(reports) <= 20
    assert similarities == sorted(similarities)
    assert similarities[-1] > 0.99 > similarities[0]
