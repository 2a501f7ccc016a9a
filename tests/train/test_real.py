"""Real volumes: objects are cut out of them with their surroundings, and files that do not fit are told."""

import numpy as np
import pytest
from volumes import SHAPE, labelled, save, save_hdf5

from voxelsmith.core.errors import FormatError, GeometryError, InputError
from voxelsmith.train import real
from voxelsmith.train.entry import Entry
from voxelsmith.train.real import RealVolume


@pytest.fixture
def volume(tmp_path):
    """Write an image and labels, either of which may be left out; returns the volume."""

    def make(image=None, labels=None, spacing=(1.0, 1.0, 1.5), label_spacing=None):
        image = labelled(1)[0] if image is None else image
        save(tmp_path / "a.nii.gz", image, spacing)
        if labels is not None:
            save(tmp_path / "b.nii.gz", labels, label_spacing or spacing)
        return RealVolume(
            Entry("train", "g", "p", tmp_path / "a.nii.gz", None if labels is None else tmp_path / "b.nii.gz")
        )

    return make


def flat(labels):
    """An image without noise."""
    return 100 + 60 * (labels > 0).astype(np.float32)


def drawn(volume, seeds=40, of="annotated_object"):
    return [getattr(volume, of)(np.random.default_rng(seed)) for seed in range(seeds)]


def test_an_object_is_cut_out_with_its_surroundings(volume):
    image, labels = labelled(1)
    sizes = {int(np.count_nonzero(labels == value)): value for value in (1, 2)}
    seen = set()
    for found in drawn(volume(image, labels)):
        assert set(np.unique(found.labels)) == {0, 1}
        assert found.spacing == pytest.approx([1, 1, 1.5])
        assert found.image.shape == found.labels.shape
        assert found.name == "p a"
        count = int(found.labels.sum())
        seen.add(count)
        if count in sizes:
            value = sizes[count]
            np.testing.assert_array_equal(np.sort(found.image[found.labels > 0]), np.sort(image[labels == value]))
    assert set(sizes) <= seen
    assert sum(sizes) in seen


def test_surroundings_are_half_the_object_or_eight_voxels_and_end_with_the_image(volume):
    image = np.random.default_rng(0).normal(size=(60, 30, 40)).astype(np.float32)
    labels = np.zeros(image.shape, np.uint8)
    labels[20:40, 2:10, 10:30] = 1
    for found in drawn(volume(image, labels), 3):
        assert found.labels.shape == (20 + 2 * 10, 10 + 8, 20 + 2 * 10)
        np.testing.assert_array_equal(found.image, image[10:50, :18, 0:40])


def test_large_objects_are_cut_out_coarser(volume, monkeypatch):
    monkeypatch.setattr(real, "_WORKING_VOXELS", 800)
    image, labels = labelled(1)
    full = {9 * 9 * 9, 7 * 8 * 8}
    for found in drawn(volume(image, labels), 10):
        assert found.image.size <= 1.1 * 800
        assert found.labels.sum() not in full
        millilitres = found.labels.sum() * np.prod(found.spacing)
        assert any(0.6 < millilitres / (count * 1.5) < 1.5 for count in (*full, sum(full)))


def test_crumbs_are_no_objects(volume):
    _, labels = labelled(1)
    labels[labels == 2] = 0
    labels[20:22, 2:6, 2:6] = 2
    found = drawn(volume(labels=labels))
    assert {int(f.labels.sum()) for f in found} == {9 * 9 * 9}
    labels[labels == 1] = 0
    assert drawn(volume(labels=labels), 3) == [None] * 3


def test_without_labels_there_is_no_annotated_object(volume):
    assert drawn(volume(), 3) == [None] * 3


def test_pseudo_masks_serve_alone_or_with_those_in_their_box(volume, monkeypatch):
    regions = np.zeros(SHAPE, np.int32)
    regions[2:14, 2:14, 2:14] = 1
    regions[5:10, 5:10, 5:10] = 2
    regions[16:22, 12:18, 8:14] = 3
    regions[0:2, 0:2, 0:2] = 4
    asked = []

    def pseudo_masks(image, spacing):
        asked.append((image.shape, tuple(spacing)))
        return regions

    monkeypatch.setattr(real, "pseudo_masks", pseudo_masks)
    counts = [int(found.labels.sum()) for found in drawn(volume(), 60, "pseudo_object")]
    assert asked == [(SHAPE, (1.0, 1.0, 1.5))]
    alone = {value: int((regions == value).sum()) for value in (1, 2, 3)}
    assert set(counts) == {*alone.values(), alone[1] + alone[2]}
    assert counts.count(alone[1]) > counts.count(alone[1] + alone[2])


def test_pseudo_masks_of_large_images_are_made_on_a_coarser_grid(volume, monkeypatch):
    monkeypatch.setattr(real, "_PSEUDO_VOXELS", 1500)
    asked = []

    def pseudo_masks(image, spacing):
        asked.append(image.size)
        return (image > 130).astype(np.int32)

    monkeypatch.setattr(real, "pseudo_masks", pseudo_masks)
    labels = np.zeros(SHAPE, np.int16)
    labels[6:18, 4:16, 5:15] = 1
    (found,) = drawn(volume(flat(labels)), 1, "pseudo_object")
    assert asked[0] <= 1.1 * 1500
    mask, truth = found.labels > 0, found.image > 130
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.8
    assert found.spacing == pytest.approx([1, 1, 1.5])


def test_noise_has_no_pseudo_objects(volume):
    noise = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    assert drawn(volume(noise), 2, "pseudo_object") == [None, None]


def test_the_same_seed_gives_the_same_object_whatever_was_drawn_before(volume):
    _, labels = labelled(1)
    one, other = volume(flat(labels), labels), volume(flat(labels), labels)
    for of in ("pseudo_object", "annotated_object"):
        straight, backwards = drawn(one, 5, of), [getattr(other, of)(np.random.default_rng(n)) for n in (4, 3, 2, 1, 0)]
        for a, b in zip(straight, backwards[::-1], strict=True):
            np.testing.assert_array_equal(a.image, b.image)
            np.testing.assert_array_equal(a.labels, b.labels)


@pytest.mark.parametrize("values", [(1, 70_000), (70_000, 2**31 + 5)], ids=str)
def test_large_label_numbers_are_objects_like_others(tmp_path, values):
    image, labels = labelled(1)
    save(tmp_path / "a.nii.gz", image, (1e-3, 5e-4, 5e-4))
    large = np.select([labels == 1, labels == 2], np.array(values, np.int64))
    save_hdf5(tmp_path / "b.h5", label=large)
    found = drawn(RealVolume(Entry("train", "g", "p", tmp_path / "a.nii.gz", tmp_path / "b.h5:label")))
    assert {int(f.labels.sum()) for f in found} == {9 * 9 * 9, 7 * 8 * 8, 9 * 9 * 9 + 7 * 8 * 8}


def test_labels_without_background_are_all_objects(tmp_path):
    labels = np.full(SHAPE, 80_000, np.int64)
    labels[12:] = 90_000
    save(tmp_path / "a.nii.gz", labelled(1)[0], (1e-3, 5e-4, 5e-4))
    save_hdf5(tmp_path / "b.h5", label=labels)
    found = drawn(RealVolume(Entry("train", "g", "p", tmp_path / "a.nii.gz", tmp_path / "b.h5:label")))
    assert {f.labels.size for f in found} <= {20 * 22 * 20, 24 * 22 * 20}
    assert {int(f.labels.sum()) for f in found} == {12 * 22 * 20, 24 * 22 * 20}


def test_values_that_are_not_finite_become_the_darkest(volume):
    image, labels = labelled(1)
    image = image.astype(np.float64)
    darkest = np.float32(image.min())
    places = [(5, 5, 5), (6, 6, 6), (7, 7, 7), (8, 8, 8)]
    for place, value in zip(places, (np.nan, np.inf, -np.inf, 1e300), strict=True):
        image[place] = value
    read = volume(image, labels).image
    assert read.dtype == np.float32
    assert darkest > 0
    assert [read[place] for place in places] == [darkest] * 4
    assert read.max() < 250


def test_an_image_without_any_finite_value_is_empty(volume):
    assert not volume(np.full(SHAPE, np.nan, np.float32)).image.any()


def test_labels_on_another_grid_are_told(volume):
    image, labels = labelled(1)
    with pytest.raises(GeometryError, match=r"must lie on the grid of 'a'.*resample it first"):
        volume(image, labels[:-1])
    with pytest.raises(GeometryError, match="resample it first"):
        volume(image, labels, label_spacing=(1, 1, 3))


def test_an_entry_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(InputError, match="has labels only"):
        RealVolume(Entry("train", "g", "p", None, tmp_path / "b.nii.gz"))
    with pytest.raises(FormatError, match=r"There is no file .*a\.nii\.gz"):
        RealVolume(Entry("train", "g", "p", tmp_path / "a.nii.gz", None))
