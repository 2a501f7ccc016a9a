"""Checks before a tumour is segmented: every bad input gets its sentence, good input none."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from brain_phantoms import geometry, sequences
from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import InputError
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.segment.tumour import brain
from voxelsmith.segment.tumour.checks import check, require
from voxelsmith.segment.tumour.findings import look_at
from voxelsmith.segment.tumour.request import TumourRequest, TumourSettings, unreliable_regions


@pytest.fixture(scope="module")
def patient():
    return sequences(spacing=2.0)[0]


@pytest.fixture(scope="module")
def coarse():
    return sequences()[0]


@pytest.fixture
def no_deepbet(monkeypatch):
    monkeypatch.setattr(brain, "can_strip", lambda: False)


def told(images, severity, **options):
    settings = TumourSettings(**{k: v for k, v in options.items() if k != "mask"})
    findings = check(TumourRequest(images, options.get("mask"), settings))
    return [f.sentence for f in findings if f.severity == severity]


def changed(images, name, array):
    return {**images, name: replace(images[name], array=array)}


def test_four_sequences_that_belong_together_need_no_word(patient):
    assert check(TumourRequest(patient)) == ()


@pytest.mark.parametrize("pair", [*itertools.combinations(("t1", "t1c", "t2", "flair"), 2)], ids="-".join)
def test_exchanged_sequences_are_told(patient, pair):
    first, second = pair
    warnings = told({**patient, first: patient[second], second: patient[first]}, "warning")
    assert len(warnings) == 1
    assert "exchanged" in warnings[0]


@pytest.mark.parametrize(("first", "second"), [("t2", "flair"), ("t1c", "t2"), ("t1c", "flair")])
def test_two_exchanged_sequences_are_told_without_the_others(patient, first, second):
    right = {first: patient[first], second: patient[second]}
    wrong = {first: patient[second], second: patient[first]}
    assert not [s for s in told(right, "warning") if "exchanged" in s]
    assert [s for s in told(wrong, "warning") if "exchanged" in s]


def test_a_t2_under_another_name_is_told(patient):
    assert any("looks like a T2" in s for s in told({"flair": patient["t2"]}, "warning"))
    assert any("does not look like one" in s for s in told({"t2": patient["t1"], "t1c": patient["t1c"]}, "warning"))


def test_brains_of_two_patients_are_told(coarse):
    other = sequences(["flair"], grown=0.93)[0]["flair"]
    warnings = told({**coarse, "flair": other}, "warning")
    assert len(warnings) == 1
    assert "same patient" in warnings[0]


def test_a_brain_that_lies_elsewhere_on_the_grid_is_told(coarse):
    moved = np.roll(coarse["t2"].array, 3, axis=1)
    assert any("same patient" in s for s in told(changed(coarse, "t2", moved), "warning"))


def test_half_a_brain_is_told(coarse):
    cut = coarse["flair"].array.copy()
    cut[: cut.shape[0] // 2] = 0
    warnings = told(changed(coarse, "flair", cut), "warning")
    assert any("no part is cut off" in s for s in warnings)
    assert any("same patient" in s for s in warnings)


def test_a_wrong_voxel_size_is_told(coarse):
    small = replace(coarse["t1c"], affine=coarse["t1c"].affine.scaled(0.5))
    (finding,) = look_at("t1c", small)
    assert finding.severity == "warning"
    assert "the voxel size is right" in finding.sentence


def test_nan_in_the_brain_is_told_and_nan_around_it_is_background(coarse):
    array = coarse["t1"].array.copy()
    array[array == 0] = np.nan
    assert told(changed(coarse, "t1", array), "warning") == []
    middle = tuple(n // 2 for n in array.shape)
    array[middle] = np.nan
    array[middle[0] + 1, middle[1], middle[2]] = np.inf
    (warning,) = told(changed(coarse, "t1", array), "warning")
    assert "T1 has 2 voxels in the brain that are NaN or infinite" in warning


@pytest.mark.parametrize("value", [-3.5, 0.0, 1000.0])
def test_background_is_what_fills_the_border(coarse, value):
    array = np.where(coarse["t1"].array == 0, np.float32(value), coarse["t1"].array)
    assert brain.background(array) == value
    assert np.array_equal(brain.foreground(array), brain.foreground(coarse["t1"].array))


def with_skull(images):
    """Heads: noise in the air, and a skull of nearly twice the brain's volume around it."""
    affine, grid = geometry(4.0)
    larger = tuple(n + 20 for n in grid)
    affine = affine.shifted((-10, -10, -10))
    at = affine.apply(np.stack(np.meshgrid(*map(np.arange, larger), indexing="ij"), axis=-1))
    head = np.linalg.norm(at / np.array([90.0, 110.0, 95.0]), axis=-1) < 1
    noise = np.random.default_rng(1).normal(5, 1, larger)
    out = {}
    for name, volume in images.items():
        array = np.where(head, 70 + noise, noise).astype(np.float32)
        inner = array[10:-10, 10:-10, 10:-10]
        array[10:-10, 10:-10, 10:-10] = np.where(volume.array != 0, volume.array, inner)
        out[name] = Volume(array, affine, name)
    return out


def test_a_skull_is_told_with_what_to_do(coarse, no_deepbet):
    (error,) = told(with_skull(coarse), "error")
    assert "give a brain mask, or install deepbet" in error


def test_a_head_without_noise_around_it_is_no_brain(coarse, no_deepbet):
    heads = with_skull({"t1c": coarse["t1c"]})
    cut = np.where(heads["t1c"].array < 20, 0, heads["t1c"].array)
    assert told({"t1c": replace(heads["t1c"], array=cut)}, "error")


def test_a_mask_makes_up_for_a_skull(coarse, no_deepbet):
    heads = with_skull(coarse)
    mask = LabelVolume((coarse["t1"].array != 0).astype(np.uint8), coarse["t1"].affine)
    assert told(heads, "error", mask=mask) == []


def test_exchanged_sequences_are_told_in_a_mask_too(patient, no_deepbet):
    mask = LabelVolume((patient["t1"].array != 0).astype(np.uint8), patient["t1"].affine)
    noise = np.random.default_rng(0).normal(90, 5, mask.grid)
    heads = {m: replace(v, array=np.where(v.array != 0, v.array, noise)) for m, v in patient.items()}
    assert told(heads, "warning", mask=mask) == []
    (warning,) = told({**heads, "t2": heads["flair"], "flair": heads["t2"]}, "warning", mask=mask)
    assert "T2 and FLAIR seem to be exchanged" in warning


def test_deepbet_makes_up_for_a_skull(coarse, monkeypatch):
    monkeypatch.setattr(brain, "can_strip", lambda: True)
    heads = with_skull(coarse)
    assert told(heads, "error") == []
    assert any("deepbet will look for the brain" in s for s in told(heads, "note"))
    assert told(heads, "error", strip="never")


def test_one_sequence_with_skull_among_others_is_told(coarse, no_deepbet):
    images = {**coarse, "t2": with_skull(coarse)["t2"]}
    assert told(images, "error") == []
    assert any("T2 still has its skull; the brain is taken" in s for s in told(images, "warning"))


@pytest.mark.parametrize(
    ("array", "axis", "words"),
    [
        (np.zeros((40, 40, 40)), None, "same value everywhere"),
        (np.full((40, 40, 40), np.nan), None, "no finite value"),
        (np.ones((40, 40, 1)), None, "at least 8 voxels"),
        (np.ones((40, 40, 40, 5)), "time", "5 time points"),
        (np.ones((40, 40, 40, 3)), "channel", "3 channels"),
        (np.ones((40, 40, 40), complex), None, "real numbers"),
    ],
)
def test_what_is_no_image_of_a_brain_is_refused(array, axis, words):
    (finding,) = look_at("flair", Volume(array, extra_axis=axis))
    assert finding.severity == "error"
    assert words in finding.sentence
    with pytest.raises(InputError, match=words):
        require(check(TumourRequest({"flair": Volume(array, extra_axis=axis)})))


def test_other_grids_are_registered_or_their_headers_relied_on(coarse):
    shifted = replace(coarse["t2"], affine=coarse["t2"].affine.shifted((2, 0, 0)))
    images = {**coarse, "t2": shifted}
    assert any("will be registered" in s for s in told(images, "note"))
    assert any("headers are relied on" in s for s in told(images, "note", registration="never"))


def test_volumes_that_do_not_meet_are_told(coarse):
    far = replace(coarse["t2"], affine=Affine.from_spacing(1, (900, 0, 0)) @ coarse["t2"].affine)
    images = {**coarse, "t2": far}
    assert told(images, "error") == []
    assert any("do not overlap in space" in s for s in told(images, "error", registration="never"))
    mask = LabelVolume((far.array != 0).astype(np.uint8), far.affine)
    assert any("does not overlap" in s for s in told(coarse, "error", mask=mask))


def test_an_empty_mask_is_told(coarse):
    mask = LabelVolume(np.zeros(coarse["t1"].grid, np.uint8), coarse["t1"].affine)
    assert any("empty" in s for s in told(coarse, "error", mask=mask))


@pytest.mark.parametrize(
    ("names", "regions"),
    [
        (("t1", "t1c", "t2", "flair"), set()),
        (("t1c", "flair"), set()),
        (("t1c", "t2"), set()),
        (("t1", "t1c"), {"WT"}),
        (("t1c",), {"WT"}),
        (("t1", "t2", "flair"), {"TC", "ET"}),
        (("flair",), {"TC", "ET"}),
        (("t1",), {"WT", "TC", "ET"}),
    ],
)
def test_what_cannot_be_relied_on_without_a_sequence(coarse, names, regions):
    assert set(unreliable_regions(names)) == regions
    warnings = told({name: coarse[name] for name in names}, "warning")
    assert sum("relied on" in s for s in warnings) == len(set(unreliable_regions(names).values()))
    assert any("only one sequence" in s for s in warnings) == (len(names) == 1)


def test_the_gravest_comes_first(coarse):
    findings = check(TumourRequest({"t1": Volume(np.zeros((40, 40, 40)))}))
    assert [f.severity for f in findings] == ["error", *["warning"] * (len(findings) - 1)]


def test_a_request_takes_one_to_four_known_sequences(coarse):
    for images in ({}, {"dwi": coarse["t1"]}):
        with pytest.raises(InputError, match="one to four of t1, t1c, t2, flair"):
            TumourRequest(images)


@pytest.mark.parametrize("wrong", [{"spacing": 0.1}, {"overlap": 1.0}, {"least_whole_mm3": -1.0}])
def test_settings_out_of_range_are_told(wrong):
    with pytest.raises(InputError):
        TumourSettings(**wrong)
