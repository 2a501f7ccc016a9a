"""Episodes: decided by seed and number, plausible, and never of a patient of the other side."""

import pickle

import numpy as np
import pytest
from volumes import labelled, save, table, write_split

from voxelsmith.core.errors import FormatError, InputError
from voxelsmith.train import episodes as module
from voxelsmith.train.entry import Entry
from voxelsmith.train.episodes import EpisodeSet, view
from voxelsmith.train.fewshot import SPLIT
from voxelsmith.train.sample import Annotated
from voxelsmith.train.split import entries, learning_entries
from voxelsmith.train.stacks import Stack, stack_of


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Made-up anatomies that take no time."""
    monkeypatch.setattr(module, "anatomy_sample", anatomy)


def anatomy(rng, labels, spacing, *, scheme, name):
    image = labels / labels.max() + rng.normal(0, 0.02, labels.shape)
    return Annotated(image.astype(np.float32), labels, spacing, name)


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    """Two patients of one group, another volume without labels, and a label map."""
    folder = tmp_path_factory.mktemp("volumes")
    for n, name in enumerate("ab"):
        image, labels = labelled(n)
        save(folder / name / "image.nii.gz", image, (1, 1, 1.5))
        save(folder / name / "labels.nii.gz", labels, (1, 1, 1.5))
    save(folder / "alone.nii.gz", labelled(7)[0])
    save(folder / "map.nii.gz", labelled(0, (2, 41), (32, 30, 28))[1])
    tables = [table(patient=p, image=f"{p}/image.nii.gz", labels=f"{p}/labels.nii.gz") for p in "ab"]
    tables += [table(patient="c", group="Alone", image="alone.nii.gz")]
    tables += [table(patient="d", group="Heads", labels="map.nii.gz", anatomy="freesurfer")]
    return entries(folder, write_split(folder, *tables))


def made(listed, seed=0, **changes):
    return EpisodeSet(listed, seed, **{"side": 32, "batch": 2, **changes})


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_sample_is_decided_by_seed_and_number_wherever_it_is_built(listed):
    first = made(listed)
    several = [first[n] for n in range(6)]
    elsewhere = pickle.loads(pickle.dumps(first))
    assert same(several[5], made(listed)[5])
    assert same(several[3], elsewhere[3])
    assert not same(several[5], made(listed, seed=1)[5])


@pytest.mark.parametrize("source", module.SOURCES)
def test_episodes_of_every_source_are_plausible(listed, source):
    made_ones = [made(listed).episodes(np.random.default_rng(n), source) for n in range(4)]
    for sample in made_ones:
        assert {part.shape for part in sample} == {sample.support.shape}
        assert sample.support.shape[:2] == (2, 1)
        assert max(sample.support.shape[2:]) == 32
        assert all(n % module.MULTIPLE == 0 for n in sample.support.shape[2:])
        assert all(part.dtype == np.float32 for part in sample)
        for image, mask in ((sample.support, sample.annotation), (sample.query, sample.truth)):
            assert image.min() >= 0
            assert image.max() <= 1
            assert set(np.unique(mask)) == {0, 1}
            shares = mask.mean(axis=(1, 2, 3))
            assert (shares > 0).all()
            assert (shares < 0.9).all()
    sample = made_ones[0]
    assert not np.array_equal(sample.support, sample.query)


def test_sources_follow_from_the_volumes(listed):
    assert made(listed).sources == module.SOURCES
    assert made([e for e in listed if e.group == "Alone"]).sources == ("superpixel", "supervoxel")
    assert made([e for e in listed if e.group == "Heads"]).sources == ("synthetic",)
    with pytest.raises(InputError, match="at least one volume"):
        made([])


def test_the_query_of_real_labels_is_mostly_another_patient(listed):
    labelled_ones = made(listed)
    first = next(e for e in listed if e.patient == "a")
    rng = np.random.default_rng(0)
    partners = [labelled_ones._partner(rng, first).patient for _ in range(200)]
    assert 0.6 < partners.count("b") / 200 < 0.8
    assert set(partners) == {"a", "b"}


def test_slices_at_the_same_height_show_the_same_structure():
    rng, own, others = np.random.default_rng(0), list(range(10, 20)), list(range(40, 80))
    found = [module._at_height(rng, 19, own, others) for _ in range(50)]
    assert min(found) >= 75
    assert max(module._at_height(rng, 10, own, others) for _ in range(50)) <= 44


def test_neighbours_are_other_slices_at_most_three_away_if_there_are_any():
    rng = np.random.default_rng(0)
    assert {module._nearby(rng, 5, [0, 3, 5, 6, 9]) for _ in range(50)} == {3, 6}
    assert module._nearby(rng, 0, [0, 8, 20]) == 8


def test_a_view_without_changes_is_the_slice_and_mask_and_image_move_together():
    image = np.zeros((16, 32), np.float32)
    image[4:10, 6:20] = 1
    rng = np.random.default_rng(0)
    plain, mask = view(rng, image, image > 0, (16, 32), changed=False)
    assert np.allclose(plain, image, atol=1e-6)
    assert np.array_equal(mask, image)
    for _ in range(5):
        moved, mask = view(rng, image, image > 0, (32, 64))
        assert not np.array_equal(mask, image.repeat(2, 0).repeat(2, 1))
        assert ((moved > 0.4) == (mask > 0.5)).mean() > 0.95


def test_supervoxels_and_slices_of_a_stack(listed):
    stack = stack_of(listed[0])
    assert stack.image.shape == stack.labels.shape == (20, 24, 22)
    assert stack.spacing.tolist() == [1.5, 1, 1]
    shown = stack.shown("labels")
    assert shown[1] == list(range(4, 13))
    assert shown[2] == list(range(8, 16))


def test_a_supervoxel_is_one_thing_through_the_slices():
    away = np.sqrt(((np.indices((20, 24, 24)) - 11) ** 2).sum(0))
    stack = Stack((away < 7).astype(np.float32), np.zeros(away.shape, np.uint8), np.ones(3))
    inside = np.unique(stack.supervoxels[away < 5])
    assert inside.size == 1
    assert inside[0] > 0
    assert not np.isin(stack.supervoxels[away > 8], inside).any()
    assert set(range(7, 16)) <= set(stack.shown("supervoxels")[int(inside[0])]) <= set(range(4, 19))


def test_volumes_that_show_nothing_are_told_of(tmp_path):
    save(tmp_path / "flat.nii.gz", np.zeros((16, 16, 12), np.float32))
    flat = Entry("train", "g", "p", tmp_path / "flat.nii.gz", None)
    with pytest.raises(InputError, match="no region"):
        made([flat]).episodes(np.random.default_rng(0), "supervoxel")


def test_a_side_is_a_multiple_of_16(listed):
    with pytest.raises(InputError, match="multiple of 16"):
        made(listed, side=40)


def test_all_of_one_group_lets_no_other_group_starve(listed):
    rng = np.random.default_rng(0)
    drawn = [module._one(rng, [e for e in listed if e.image is not None]).group for _ in range(200)]
    assert 70 < drawn.count("Alone") < 130


def test_no_query_of_the_benchmark_is_learned_from(tmp_path):
    listed = entries(tmp_path, SPLIT)
    learned = [e for e in listed if e.use != "test"]
    assert len(learned) > 80
    assert {e.patient for e in learned}.isdisjoint({e.patient for e in listed if e.use == "test"})
    numbers = [int(e.patient.split("_")[1]) for e in learned if e.group == "Hippocampus"]
    assert max(numbers) <= 120
    assert not {"Lung lobes, MR", "Organs, CT", "Organs, MR"} & {e.group for e in learned}
    with pytest.raises(FormatError, match="are not there"):
        learning_entries(tmp_path, SPLIT)


def test_a_stack_without_a_region_shows_none():
    empty = Stack(np.zeros((4, 8, 8), np.float32), np.zeros((4, 8, 8), np.uint8), np.ones(3))
    assert empty.shown("labels") == {}
