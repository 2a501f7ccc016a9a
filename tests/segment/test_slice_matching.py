"""Slice matching: shifted, stretched and cropped bodies find their slices again."""

import numpy as np
import pytest

from voxelsmith.core.errors import InputError
from voxelsmith.segment.slice_matching import body_box, chunks, descriptors, match, match_ranges, range_of


def body(positions, side=32):
    """Slices of a body whose outline, brightness and spot change along it; positions from 0 to 1."""
    a, b = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    planes = []
    for t in positions:
        outline = ((a - side / 2) / (6 + 9 * t)) ** 2 + ((b - side / 2) / 13) ** 2 <= 1
        spot = (a - side / 2) ** 2 + (b - side / 2 - 8 * np.cos(4 * t)) ** 2 <= 9
        planes.append(0.4 * outline + 0.5 * (spot & outline))
    return np.array(planes, dtype=np.float32)


def test_the_same_slices_match_themselves():
    d = descriptors(body(np.linspace(0, 1, 24)))
    np.testing.assert_allclose(match(d, d), np.arange(24))


def test_a_part_of_the_body_is_found_in_the_whole():
    whole = descriptors(body(np.linspace(0, 1, 40)))
    # The box of a body depends on the slices seen, so the part is described in the whole's own box.
    np.testing.assert_allclose(match(whole[12:25], whole), np.arange(12, 25))


def test_what_the_support_does_not_show_lies_beyond_its_ends():
    whole = descriptors(body(np.linspace(0, 1, 40)))
    found = match(whole, whole[12:25])
    np.testing.assert_allclose(found[12:25], np.arange(13))
    assert found[0] < 0
    assert found[-1] >= 12


def test_slices_of_another_thickness_match_at_the_right_place():
    query, support = (descriptors(body(np.linspace(0, 1, n))) for n in (13, 37))
    found = match(query, support, ratio=3.0)
    assert np.abs(found - 3 * np.arange(13)).max() <= 3


def test_the_order_never_turns_back():
    rng = np.random.default_rng(0)
    found = match(rng.random((20, 5)).astype(np.float32), rng.random((15, 5)).astype(np.float32))
    assert (np.diff(found) >= 0).all()
    assert np.diff(found).max() <= 2


def test_the_body_box_is_centre_and_size():
    planes = np.zeros((2, 20, 30), np.float32)
    planes[0, 4:10, 5:25] = 1
    assert body_box(planes) == ((6.5, 14.5), (6.0, 20.0))


def test_the_users_range_is_laid_onto_the_supports():
    found = match_ranges(30, (10, 19), (40, 59))
    assert found[10] == pytest.approx(40.5)
    assert found[19] == pytest.approx(58.5)
    assert found[9] == pytest.approx(38.5)
    with pytest.raises(InputError, match="within 0 to 29"):
        match_ranges(30, (10, 30), (0, 5))


def test_the_protocol_takes_support_slices_at_one_three_and_five_sixths():
    assert chunks((0, 11), (100, 111)) == [(range(0, 4), 102), (range(4, 8), 106), (range(8, 12), 110)]
    assert chunks((5, 24), (0, 59)) == [(range(5, 12), 10), (range(12, 18), 30), (range(18, 25), 50)]


def test_five_chunks_lie_at_one_to_nine_tenths():
    assert [middle for _, middle in chunks((0, 9), (0, 99), number=5)] == [10, 30, 50, 70, 90]


def test_chunks_cover_short_ranges_once():
    parts = chunks((3, 4), (7, 7))
    assert [n for part, _ in parts for n in part] == [3, 4]
    assert {middle for _, middle in parts} == {7}


def test_a_range_needs_a_slice():
    assert range_of([False, True, False, True]) == (1, 3)
    with pytest.raises(InputError, match="at least one slice"):
        range_of([False, False])
