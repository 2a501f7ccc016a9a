"""Support examples and sets: what is kept, what is refused."""

import numpy as np
import pytest

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import GeometryError, InputError
from voxelsmith.core.support import SupportClass, SupportExample, SupportSet, labels_from_masks
from voxelsmith.core.volume import Volume

IMAGE = Volume(np.random.default_rng(0).normal(size=(6, 7, 8)).astype(np.float32), Affine.from_spacing((1, 2, 3)))


def painted(value=1, shape=(6, 7, 8)):
    labels = np.zeros(shape, np.int16)
    labels[2:4, 2:5, 1:7] = value
    return labels


def example(labels=None, axis=2, slices=(3, 5), **more):
    return SupportExample(IMAGE, IMAGE.labels(painted() if labels is None else labels), axis, slices, **more)


def test_only_the_annotated_slices_are_kept_and_later_strokes_do_not_reach_them():
    labels = painted()
    kept = example(labels)
    labels[:] = 9
    found = np.asarray(kept.labels.array)
    assert np.flatnonzero(found.any(axis=(0, 1))).tolist() == [3, 5]
    assert found.max() == 1
    assert found.dtype == np.uint8
    with pytest.raises(ValueError, match="read-only"):
        found[0, 0, 3] = 1


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_count_along_any_axis(axis):
    kept = np.moveaxis(np.asarray(example(axis=axis, slices=(3,)).labels.array), axis, 0)
    truth = np.moveaxis(painted(), axis, 0)
    assert np.array_equal(kept[3], truth[3])
    assert not np.delete(kept, 3, axis=0).any()


def test_a_reviewed_empty_slice_is_an_annotation():
    empty = example(slices=(0,), classes=frozenset({1}))
    assert not empty.has_foreground
    assert empty.classes == {1}
    assert empty.content_hash != example(slices=(7,), classes=frozenset({1})).content_hash


def test_ignored_voxels_carry_no_label_and_change_the_hash():
    ignored = np.zeros((6, 7, 8), bool)
    ignored[2] = True
    part = example(ignored=ignored)
    assert not np.asarray(part.labels.array)[2].any()
    assert part.ignored is not None
    assert np.flatnonzero(part.ignored.any(axis=(0, 1))).tolist() == [3, 5]
    assert part.content_hash != example().content_hash


def test_hashes_tell_image_annotation_and_slices_apart_but_not_where_it_came_from():
    same = example(provenance="layer Liver", enabled=False)
    assert same.content_hash == example().content_hash
    moved = painted()
    moved[0, 0, 3] = 1
    other = Volume(IMAGE.array + 1, IMAGE.affine)
    hashes = {
        example().content_hash,
        example(moved).content_hash,
        example(slices=(3,)).content_hash,
        example(classes=frozenset({1, 2})).content_hash,
        SupportExample(other, other.labels(painted()), 2, (3, 5)).content_hash,
    }
    assert len(hashes) == 5


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"slices": (3, 8)}, "some of 0 to 7"),
        ({"slices": ()}, "at least one"),
        ({"axis": 3}, "0, 1 or 2"),
        ({"slices": None}, "an axis needs slices"),
        ({"classes": frozenset({2})}, r"values \[1\]"),
        ({"ignored": np.zeros((1, 1, 1), bool)}, "mask of shape"),
        ({"labels": -painted()}, "from 1, got -1"),
    ],
)
def test_wrong_examples_get_a_sentence(more, sentence):
    with pytest.raises(InputError, match=sentence):
        example(**more)


def test_labels_of_another_grid_are_refused():
    with pytest.raises(GeometryError, match="must lie on the grid"):
        SupportExample(IMAGE, Volume(IMAGE.array, Affine.from_spacing((1, 2, 4))).labels(painted()))


def test_a_set_grows_without_changing_the_old_one_and_refuses_duplicates():
    first = SupportSet().add(example())
    second = first.add(example(slices=(4,)))
    assert (len(first.examples), len(second.examples)) == (1, 2)
    assert second.names == {1: "class 1"}
    with pytest.raises(InputError, match="already in the support set"):
        second.add(example(provenance="again"))


def test_examples_are_switched_replaced_and_removed():
    one, two = example(), example(slices=(4,))
    both = SupportSet().add(one).add(two)
    off = both.switch(one.content_hash, False)
    assert [e.content_hash for e in off.enabled] == [two.content_hash]
    assert len(both.enabled) == 2
    corrected = both.substitute(one.content_hash, example(painted(2)))
    assert corrected.values == (1, 2)
    assert corrected.examples[1] is two
    assert both.remove(two.content_hash).examples == (one,)
    with pytest.raises(InputError, match="no example"):
        both.remove("unknown")


def test_classes_are_named_and_coloured_apart():
    named = SupportSet().describe(1, "liver", (1, 0, 0)).describe(2, "spleen").describe(1, "left liver")
    assert named.names == {1: "left liver", 2: "spleen"}
    assert named.classes[0].colour == (1.0, 0.0, 0.0)
    assert SupportClass(2).colour != SupportClass(3).colour
    with pytest.raises(InputError, match="a name of its own"):
        named.describe(3, "spleen")
    with pytest.raises(InputError, match="0 is background"):
        named.describe(0, "air")
    with pytest.raises(InputError, match="0 to 1"):
        named.describe(1, colour=(255, 0, 0))


def test_a_set_without_foreground_is_refused():
    only_empty = SupportSet().add(example(slices=(0,), classes=frozenset({1})))
    with pytest.raises(InputError, match="something painted"):
        only_empty.require_foreground()
    shown = only_empty.add(example())
    shown.require_foreground()
    with pytest.raises(InputError, match="something painted"):
        shown.switch(example().content_hash, False).require_foreground()


def test_masks_become_labels_unless_they_overlap():
    liver, spleen = painted() > 0, np.zeros((6, 7, 8), bool)
    spleen[5] = True
    labels = labels_from_masks(IMAGE, {1: liver, 300: spleen}, {1: "liver", 300: "spleen"})
    assert labels.values() == [1, 300]
    assert labels.affine == IMAGE.affine
    spleen[2] = True
    with pytest.raises(InputError, match="liver and spleen share 18 voxels"):
        labels_from_masks(IMAGE, {1: liver, 300: spleen}, {1: "liver", 300: "spleen"})
    with pytest.raises(GeometryError, match="shape"):
        labels_from_masks(IMAGE, {1: liver[1:]})
