"""Checks before a registration: every bad request gets its sentence, every doubtful one a note."""

from dataclasses import replace

import numpy as np
import pytest

from registration_pairs import GRID, blobs
from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import GeometryError, InputError, ResourceError
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.register import checks
from voxelsmith.register.checks import check
from voxelsmith.register.presets import PRESETS, preset, stopped_at
from voxelsmith.register.request import AffineSettings, RegistrationRequest, RegistrationSettings

SPREAD = np.array([[5.0, 5, 5], [30, 8, 6], [10, 30, 8], [20, 20, 25]])
LINE = np.outer(np.arange(5), [1.0, 2, 3])


def request(**changes):
    fixed = blobs()
    return RegistrationRequest(**{"fixed": fixed, "moving": replace(fixed, name="moving"), **changes})


def started_from(start, model="affine"):
    return RegistrationSettings(AffineSettings(start=start, model=model))


def far():
    return Volume(blobs().array, Affine.from_spacing(1, (400, 0, 0)), "far")


def labels(value=1, affine=None, grid=GRID):
    return LabelVolume(np.full(grid, value, np.uint8), affine or Affine.from_spacing(), "labels")


def test_a_good_request_has_no_notes():
    assert check(request()) == ()


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"moving": Volume(np.zeros((9, 9, 9, 3)), extra_axis="time")}, InputError, "3-D images.*3 time points"),
        ({"moving": Volume(np.zeros((40, 40, 1)))}, InputError, "at least 4 voxels along each axis.*40 x 40 x 1"),
        ({"fixed": Volume(np.zeros((9, 9, 9), complex))}, InputError, "real numbers"),
        ({"fixed_mask": labels(0)}, InputError, "fixed mask is empty"),
        ({"moving_mask": labels(0)}, InputError, "moving mask is empty"),
        ({"fixed_labels": labels(affine=Affine.from_spacing(1, (900, 0, 0)))}, GeometryError, "'labels' does not"),
        ({"moving": far(), "settings": started_from("header")}, GeometryError, "360 mm apart"),
        ({"moving": far(), "settings": started_from("auto", "none")}, GeometryError, "does not overlap"),
        ({"settings": started_from("landmarks")}, InputError, "needs some in both volumes"),
        (
            {"fixed_points": SPREAD[:2], "moving_points": SPREAD[:2], "settings": started_from("landmarks")},
            InputError,
            "at least 3 landmarks, got 2",
        ),
        (
            {"fixed_points": LINE, "moving_points": LINE, "settings": started_from("landmarks")},
            InputError,
            "do not lie on a line",
        ),
    ],
)
def test_what_cannot_work_is_told(changes, error, said):
    with pytest.raises(error, match=said):
        check(request(**changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"moving": far()}, "headers were not relied on"),
        ({"moving": Volume(blobs().array, Affine.from_spacing(0.01), "microscope")}, "'microscope' 0.616 mm"),
        ({"fixed_mask": labels(affine=Affine.from_spacing(2), grid=(20, 18, 15))}, "lies on another grid"),
        ({"fixed_labels": labels(1), "moving_labels": labels(2)}, "no value in common"),
        ({"fixed_points": SPREAD[:2], "moving_points": SPREAD[:2]}, "start was found from the images"),
        ({"fixed_points": SPREAD, "moving_points": SPREAD + 300}, "4 of 4 landmarks lie outside 'moving'"),
    ],
)
def test_what_is_doubtful_is_noted(changes, said):
    (note,) = check(request(**changes))
    assert said in note


@pytest.mark.parametrize(
    ("fixed", "moving", "said"),
    [
        (SPREAD, None, "come in pairs"),
        (None, SPREAD, "come in pairs"),
        (SPREAD, SPREAD[:3], "4 and the moving one 3"),
        (SPREAD[:, :2], SPREAD, r"shape \(N, 3\)"),
        (SPREAD * np.nan, SPREAD, "NaN"),
    ],
)
def test_landmarks_without_partners_are_no_request(fixed, moving, said):
    with pytest.raises(InputError, match=said):
        request(fixed_points=fixed, moving_points=moving)


def test_an_initial_map_is_a_matrix():
    with pytest.raises(GeometryError, match="4x4"):
        request(initial=np.eye(3))


def test_too_little_memory_offers_a_coarser_level(monkeypatch):
    wanted = request()
    wanted = replace(wanted, settings=preset("same-modality", wanted.fixed))
    coarser = replace(wanted, settings=stopped_at(wanted.settings, wanted.fixed, 2))
    between = (checks.memory_needed(wanted) + checks.memory_needed(coarser)) // 2
    monkeypatch.setattr(checks, "memory_at_hand", lambda: between)
    with pytest.raises(ResourceError, match="stop at 1/2 resolution"):
        check(wanted)
    check(coarser)
    monkeypatch.setattr(checks, "memory_at_hand", lambda: 1000)
    with pytest.raises(ResourceError, match="crop the volumes"):
        check(wanted)
    monkeypatch.setattr(checks, "memory_at_hand", lambda: None)
    check(wanted)


def test_memory_is_that_of_the_level_at_which_a_similarity_ends():
    fixed = blobs((128, 128, 80))
    wanted = RegistrationRequest(fixed, fixed, settings=preset("cross-modality", fixed))
    at_half = replace(wanted, settings=stopped_at(wanted.settings, fixed, 2))
    at_full = replace(wanted, settings=stopped_at(wanted.settings, fixed, 1))
    assert checks.memory_needed(wanted) == checks.memory_needed(at_half) < checks.memory_needed(at_full)


def test_presets_are_told_apart():
    fixed = blobs((80, 80, 80))
    found = {name: preset(name, fixed) for name in PRESETS}
    assert list(found) == ["same-modality", "cross-modality", "other-contrast", "large-motion", "fast"]
    assert found["cross-modality"].affine.similarity == "mi"
    assert found["cross-modality"].deformable.similarity in ("mind", "mi")
    assert found["large-motion"].deformable.convex
    assert found["other-contrast"].deformable.similarity == "remapped"
    assert found["fast"].deformable.iterations < found["same-modality"].deformable.iterations
    with pytest.raises(InputError, match="same-modality, cross-modality"):
        preset("best", fixed)


def test_the_last_level_can_be_chosen():
    fixed = blobs((80, 80, 80))
    settings = preset("same-modality", fixed)
    assert stopped_at(settings, fixed, 2).deformable.shrinks[-1] == 2
    assert stopped_at(settings, fixed, 1).deformable.shrinks[-1] == 1
    with pytest.raises(InputError, match="1 or more"):
        stopped_at(settings, fixed, 0)
    with pytest.raises(InputError, match="has none"):
        stopped_at(RegistrationSettings(), fixed, 2)
