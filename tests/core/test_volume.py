"""Volumes: which arrays they take, and that a fingerprint stands for the data and nothing else."""

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import GeometryError, InputError
from voxelsmith.core.volume import LabelVolume, Volume, smallest_label_dtype, volume_text

arrays = hnp.arrays(
    st.sampled_from([np.uint8, np.int16, np.float32, np.bool_]),
    hnp.array_shapes(min_dims=3, max_dims=3, max_side=4),
)


def test_a_volume_knows_its_grid():
    volume = Volume(np.zeros((2, 3, 4, 5)), Affine.from_spacing((1, 2, 3)), extra_axis="time")
    assert volume.grid == (2, 3, 4)
    assert volume.spacing.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("array", "extra_axis", "sentence"),
    [
        (np.zeros((3, 3)), None, "at most one more"),
        (np.zeros((2, 2, 2, 2, 2)), "time", "at most one more"),
        (np.zeros((3, 0, 3)), None, "at least one voxel"),
        (np.zeros((2, 2, 2, 2)), None, "extra_axis"),
        (np.zeros((2, 2, 2)), "channel", "extra_axis"),
    ],
)
def test_other_arrays_are_refused(array, extra_axis, sentence):
    with pytest.raises(InputError, match=sentence):
        Volume(array, extra_axis=extra_axis)


def test_frames():
    array = np.arange(24).reshape(2, 3, 2, 2)
    volume = Volume(array, extra_axis="time")
    np.testing.assert_array_equal(volume.frame(1).array, array[..., 1])
    assert volume.frame(1).extra_axis is None
    single = Volume(array[..., 0])
    assert single.frame() is single
    for index in (-1, 2):
        with pytest.raises(InputError, match=rf"Frame {index} does not exist; the volume has 2"):
            volume.frame(index)


def test_grids_are_compared_in_millimetres():
    one = Volume(np.zeros((2, 3, 4)), name="fixed")
    assert one.same_grid(Volume(np.ones((2, 3, 4), np.int8), Affine.from_spacing(1, (0.0005, 0, 0))))
    with pytest.raises(GeometryError, match="'moving' must lie on the grid of 'fixed'"):
        one.require_same_grid(Volume(np.zeros((2, 3, 4)), Affine.from_spacing(2), name="moving"))
    with pytest.raises(GeometryError, match=r"\(2, 3, 5\)"):
        one.require_same_grid(Volume(np.zeros((2, 3, 5))))


def test_labels_made_on_an_image_keep_its_place():
    image = Volume(np.zeros((2, 3, 4)), Affine.from_spacing(2), units="um", metadata={"path": "a"}, history=("x",))
    labels = image.labels(np.ones((2, 3, 4), np.uint8), names={1: "liver"})
    assert (labels.affine, labels.units, labels.metadata) == (image.affine, "um", {"path": "a"})
    assert labels.names == {1: "liver"}
    with pytest.raises(GeometryError, match=r"\(2, 3, 4\), got \(4, 3, 2\)"):
        image.labels(np.ones((4, 3, 2), np.uint8))


def test_labels_are_integers():
    with pytest.raises(InputError, match="integers, got float64"):
        LabelVolume(np.zeros((2, 2, 2)))
    labels = LabelVolume(np.array([[[-1, 0, 5, 5]]], np.int16))
    assert labels.values() == [-1, 5]
    assert labels.mask().tolist() == [[[True, False, True, True]]]
    assert labels.mask(5).sum() == 2


@pytest.mark.parametrize(("highest", "dtype"), [(0, "u1"), (255, "u1"), (256, "u2"), (65536, "u4"), (2**40, "u8")])
def test_the_smallest_type_for_labels(highest, dtype):
    assert smallest_label_dtype(highest) == np.dtype(dtype)


@given(arrays, st.sampled_from("CFK"), st.permutations(range(3)))
def test_the_fingerprint_does_not_depend_on_memory_order(array, order, axes):
    strided = np.array(array.transpose(axes), order=order).transpose(np.argsort(axes))
    padded = np.zeros(tuple(2 * n for n in array.shape), array.dtype)[::2, ::2, ::2]
    padded[...] = array
    expected = Volume(array).fingerprint()
    assert Volume(strided).fingerprint() == expected
    assert Volume(padded).fingerprint() == expected
    assert Volume(array[::-1].copy()[::-1], name="other", history=("opened",)).fingerprint() == expected


@given(arrays, st.data())
def test_the_fingerprint_changes_with_any_voxel(array, data):
    at = tuple(data.draw(st.integers(0, n - 1)) for n in array.shape)
    changed = array.copy()
    changed[at] = not changed[at] if array.dtype == bool else (3 if changed[at] != 3 else 4)
    assert Volume(changed).fingerprint() != Volume(array).fingerprint()


def test_the_fingerprint_tells_type_shape_and_place_apart():
    array = np.zeros((2, 3, 4), np.int16)
    others = [
        Volume(array),
        Volume(array.view(np.uint16)),
        Volume(array.reshape(4, 3, 2)),
        Volume(array, Affine.from_spacing(2)),
        Volume(array[..., None], extra_axis="time"),
    ]
    assert len({v.fingerprint() for v in others}) == len(others)


def test_lazy_arrays_have_the_fingerprint_of_their_voxels():
    array = np.random.default_rng(0).integers(0, 9, (4, 5, 6))
    assert Volume(da.from_array(array, chunks=2)).fingerprint() == Volume(array).fingerprint()


@pytest.mark.parametrize(
    ("cubic_mm", "text"),
    [(184_000, "184 mL"), (100, "0.1 mL"), (99, "99 mm³"), (0.001, "0.001 mm³"), (7.83e-6, "7,830 µm³"), (0, "0 µm³")],
)
def test_volume_text_has_a_unit_that_suits(cubic_mm, text):
    assert volume_text(cubic_mm) == text
