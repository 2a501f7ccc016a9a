"""Pairs for registration: two subjects on one grid, roughly aligned, and what is known of them is true of both."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from pair_scans import head, save, save_scans, scan, split
from scipy import ndimage
from volumes import table, write_split

from voxelsmith.core.errors import InputError
from voxelsmith.core.metrics import dice
from voxelsmith.register import learned
from voxelsmith.train import registration_pairs
from voxelsmith.train.registration_pairs import RegistrationPairs, swapped
from voxelsmith.train.split import entries, learning_entries


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Pairs of a few thousand voxels."""
    monkeypatch.setattr(learned, "_MOST_VOXELS", 8000)


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    return learning_entries(folder, split(folder))


def rng(seed=0):
    return np.random.default_rng(seed)


def maps(folder, *heads):
    """Entries of label maps, each an array and its affine."""
    tables = []
    for n, (labels, affine) in enumerate(heads):
        save(folder / f"m{n}.nii", labels, affine)
        tables.append(table(patient=f"m{n}", labels=f"m{n}.nii", anatomy="freesurfer"))
    return entries(folder, write_split(folder, *tables))


def content(pair):
    return *(array.tobytes() for array in pair[:4]), pair.alike


def overlap(pair):
    values = range(1, int(pair.fixed_labels.max()) + 1)
    return np.mean([dice(pair.fixed_labels == v, pair.moving_labels == v) for v in values])


def test_a_pair_depends_on_seed_and_index_alone(listed):
    straight = RegistrationPairs(listed[0], 3)
    found = [content(straight[i]) for i in range(8)]
    backwards = RegistrationPairs(listed[0], 3)
    assert [content(backwards[i]) for i in reversed(range(8))] == found[::-1]
    again = pickle.loads(pickle.dumps(backwards))
    assert content(again[5]) == found[5]
    assert len(set(found)) == 8
    assert content(RegistrationPairs(listed[0], 4)[0]) != found[0]


def test_each_second_pair_is_the_one_before_it_the_other_way_round(listed):
    dataset = RegistrationPairs(listed[0])
    for index in (0, 2, 4):
        assert content(dataset[index + 1]) == content(swapped(dataset[index]))


def test_pairs_of_a_group_have_one_grid_of_whole_blocks_and_values_from_0_to_1(listed):
    dataset = RegistrationPairs(listed[0])
    for source in dataset.sources:
        shapes = set()
        for seed in range(4):
            pair = dataset.pair(rng(seed), source)
            shapes |= {array.shape for array in pair[:4]}
            for image in pair[:2]:
                assert image.dtype == np.float32
                assert 0 <= image.min() < image.max() <= 1
            assert pair.fixed_labels.dtype == pair.moving_labels.dtype == np.uint8
        (shape,) = shapes
        assert all(count % 8 == 0 for count in shape)
        assert 2000 < np.prod(shape) < 40_000


def test_label_maps_on_other_axes_and_elsewhere_are_laid_over_each_other(tmp_path):
    dataset = RegistrationPairs(maps(tmp_path, head(0), head(1, (40, -25, 30), (-1, 1, -1))), augmented=False)
    for seed in range(4):
        pair = dataset.pair(rng(seed), "synthetic")
        assert pair.fixed_labels.max() == 4
        assert overlap(pair) > 0.75


def test_images_are_laid_over_each_other(tmp_path):
    save_scans(tmp_path, [(0, 0, 0), (3, -2, 4)])
    tables = [table(patient=f"s{n}", image=f"s{n}.nii", labels=f"s{n}_labels.nii") for n in range(2)]
    listed = entries(tmp_path, write_split(tmp_path, *tables))
    pair = RegistrationPairs(listed, augmented=False).pair(rng(), "real")
    # Read by their headers, the second lies 5 mm from the first, of which the smaller structures have 8.
    assert overlap(pair) > 0.75
    assert np.corrcoef(pair.fixed.ravel(), pair.moving.ravel())[0, 1] > 0.9
    assert pair.alike


def test_large_images_are_averaged_not_sampled(tmp_path, monkeypatch):
    monkeypatch.setattr(learned, "_MOST_VOXELS", 800)
    for n in range(2):
        image, _, affine = scan(n)
        save(tmp_path / f"s{n}.nii", image + 300 * rng(n).standard_normal(image.shape).astype(np.float32), affine)
    listed = entries(tmp_path, write_split(tmp_path, *(table(patient=f"s{n}", image=f"s{n}.nii") for n in range(2))))
    dataset = RegistrationPairs(listed, augmented=False)
    (group,) = dataset._groups["real"]
    seen = group.subject(listed[0])
    assert seen.image.size < 0.1 * image.size
    assert np.std(seen.image) < 0.15
    assert not seen.labels.any()
    assert not dataset.pair(rng(), "real").fixed_labels.any()


def test_alike_pairs_share_their_contrast_and_others_do_not(listed):
    dataset = RegistrationPairs(listed[0], augmented=False)
    apart = {True: [], False: []}
    for alike, gaps in apart.items():
        for seed in range(12):
            pair = dataset.pair(rng(seed), "synthetic", alike=alike)
            assert pair.alike is alike
            for value in range(1, int(pair.fixed_labels.max()) + 1):
                seen = [image[labels == value].mean() for image, labels in zip(pair[:2], pair[2:4], strict=True)]
                gaps.append(abs(seen[0] - seen[1]))
    assert np.mean(apart[True]) < 0.4 * np.mean(apart[False])


def test_one_contrast_is_not_one_noise(tmp_path):
    dataset = RegistrationPairs(maps(tmp_path, head(0)), augmented=False)
    pair = dataset.pair(rng(5), "synthetic", alike=True)
    for value in (1, 3):
        # Towards the borders of a structure both are blurred alike.
        inside = ndimage.binary_erosion((pair.fixed_labels == value) & (pair.moving_labels == value), iterations=2)
        assert abs(np.corrcoef(pair.fixed[inside], pair.moving[inside])[0, 1]) < 0.5


def test_what_nobody_annotates_is_sometimes_taken_away(listed, monkeypatch):
    dataset = RegistrationPairs(listed[0])
    monkeypatch.setattr(registration_pairs, "render", lambda rng, labels, *_, **__: (labels > 0).astype(np.float32))
    # A view that skin fills is all ones here, and would be scaled to nothing.
    monkeypatch.setattr(registration_pairs, "_scaled", lambda image: image)
    filled = []
    for seed in range(16):
        pair = dataset.pair(rng(seed), "synthetic", alike=False)
        filled.append(((pair.fixed > 0) & (pair.fixed_labels == 0)).mean())
    assert 4 <= sum(share < 0.01 for share in filled) <= 15
    assert max(filled) > 0.1


def test_only_labels_that_both_have_count(tmp_path):
    without = head(1, values=(530, 2, 41, 10, 41))
    pair = RegistrationPairs(maps(tmp_path, head(0), without), augmented=False).pair(rng(), "synthetic")
    assert set(np.unique(pair.fixed_labels)) == set(np.unique(pair.moving_labels)) == {0, 1, 2, 3}


def test_augmentation_moves_what_is_alike_otherwise(tmp_path):
    listed = maps(tmp_path, head(0))
    still, moved = (RegistrationPairs(listed, augmented=a).pair(rng(1), "synthetic") for a in (False, True))
    assert np.array_equal(still.fixed_labels, still.moving_labels)
    assert 0.2 < overlap(moved) < 0.95


def test_patients_are_not_paired_with_themselves(tmp_path, monkeypatch):
    save_scans(tmp_path, [(0, 0, 0)] * 3)
    tables = [table(patient=p, image=f"s{n}.nii") for n, p in enumerate(("a", "a", "b"))]
    dataset = RegistrationPairs(entries(tmp_path, write_split(tmp_path, *tables)))
    (group,) = dataset._groups["real"]
    asked = []
    subject = group.subject
    monkeypatch.setattr(group, "subject", lambda entry: asked.append(entry.patient) or subject(entry))
    for seed in range(8):
        dataset.pair(rng(seed), "real")
    assert {frozenset(two) for two in zip(asked[::2], asked[1::2], strict=True)} == {frozenset("ab")}


def test_subjects_beyond_the_memory_limit_are_read_again(listed, monkeypatch):
    plenty = RegistrationPairs(listed[0])
    found = [content(plenty.pair(rng(n), "synthetic")) for n in range(4)]
    monkeypatch.setattr("voxelsmith.train.subjects._KEPT_VOXELS", 1)
    scarce = RegistrationPairs(listed[0])
    assert [content(scarce.pair(rng(n), "synthetic")) for n in range(4)] == found
    assert len(scarce._groups["synthetic"][0]._read) == 1


def test_subjects_can_be_read_where_gradients_are_off(listed):
    with torch.no_grad():
        RegistrationPairs(listed[1], augmented=False).pair(rng(), "real")


def test_volumes_that_cannot_be_paired_end_with_a_sentence(tmp_path, listed):
    alone = [entry for entry in listed[0] if entry.name.startswith("s0")]
    with pytest.raises(InputError, match="two patients of one group"):
        RegistrationPairs(alone)
    strangers = RegistrationPairs(maps(tmp_path, head(0), head(1, values=(530, 11, 12, 13, 17))), augmented=False)
    with pytest.raises(InputError, match="no annotated structure in common"):
        strangers.pair(rng(), "synthetic")
    bare = replace(alone[0], image=None, labels=None, anatomy="plain")
    with pytest.raises(InputError, match="no labels to make images from"):
        RegistrationPairs([bare]).pair(rng(), "synthetic")
    large = head(0)[0].astype(np.int32)
    large[0, 0, 0] = 40_000
    save(tmp_path / "m0.nii", large, np.eye(4))
    with pytest.raises(InputError, match="labels up to 32767"):
        RegistrationPairs(maps_of(tmp_path)).pair(rng(), "synthetic")


def maps_of(folder):
    return entries(folder, write_split(folder, table(labels="m0.nii", anatomy="plain")))
