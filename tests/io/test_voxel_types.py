"""Integers stay integers, exactly, whenever that is possible."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxelsmith.core.errors import InputError
from voxelsmith.io.voxel_types import integer_type, rescaled, storable

STORED = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


@given(
    st.sampled_from(STORED),
    st.integers(-1000, 1000).filter(bool),
    st.integers(-70000, 70000),
    st.lists(st.floats(0, 1), min_size=1, max_size=5),
)
def test_rescaling_gives_the_exact_numbers_in_a_type_that_holds_them(dtype, slope, intercept, shares):
    info = np.iinfo(dtype)
    low, high = max(info.min, -(2**40)), min(info.max, 2**40)
    numbers = [low + round((high - low) * share) for share in shares]
    out = rescaled(np.array(numbers, dtype), slope, intercept)
    assert out.tolist() == [n * slope + intercept for n in numbers]
    assert out.dtype.kind in "iu"
    assert out.dtype.itemsize >= np.dtype(dtype).itemsize


def test_what_float64_cannot_hold_is_left_to_float64():
    raw = np.array([2**62], np.int64)
    assert rescaled(raw, 1, 1).dtype == np.float64


def test_no_scaling_is_no_copy():
    raw = np.ones(3, np.int16)
    assert rescaled(raw, 1, 0) is raw


@pytest.mark.parametrize(
    ("low", "high", "stored", "expected"),
    [(0, 255, "uint8", "uint8"), (0, 255, "int8", "uint8"), (0, 100, "int8", "int8"), (-1, 255, "uint8", "int16")],
)
def test_the_smallest_type_that_is_no_smaller(low, high, stored, expected):
    assert integer_type(low, high, np.dtype(stored)) == expected


def test_no_type_holds_everything():
    assert integer_type(-1, 2**64 - 1, np.dtype("uint64")) is None


@pytest.mark.parametrize(
    ("given_type", "expected"), [("bool", "uint8"), ("float16", "float32"), ("longdouble", "float64"), (">i4", "int32")]
)
def test_types_that_no_format_has_become_the_next_that_it_has(given_type, expected):
    out = storable(np.ones(2, given_type))
    assert out.dtype == expected
    assert out.dtype.isnative
    assert out.tolist() == [1, 1]


@pytest.mark.parametrize("values", [np.ones(2, complex), np.array(["a"]), np.array([None])])
def test_other_types_are_refused(values):
    with pytest.raises(InputError, match="integers or real numbers"):
        storable(values)
