"""Annotated slices as training data: what is known, who judges, how samples are drawn."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from painted import GRID, SLICES, example, quick, scan

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import InputError
from voxelsmith.core.resample import reorient
from voxelsmith.core.support import SupportExample, SupportSet
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.train.annotated import AnnotatedSlices
from voxelsmith.train.held_out import held_out
from voxelsmith.train.slice_augmentation import Augmentation, Sample
from voxelsmith.train.tvunet_recipe import plan_for

CPU = torch.device("cpu")


def data(*examples, **options):
    support = SupportSet()
    for each in examples:
        support = support.add(each)
    changes = {name: options.pop(name) for name in ("dims", "coordinates", "side") if name in options}
    return AnnotatedSlices(plan_for(support, quick(**changes), CPU), support.enabled, batch=2, **options)


def test_untouched_slices_are_unknown_and_empty_ones_that_were_reviewed_are_background():
    image, labels = scan()
    array = labels.array.copy()
    array[..., 4] = 0
    found = data(example(image_and_labels=(image, replace(labels, array=array))))
    (volume,) = found.volumes
    assert volume.target.shape == (12, 40, 36)
    assert sorted(volume.learned + volume.judged) == list(SLICES)
    assert (volume.target[4] == 0).all()
    assert (volume.target[5] == -1).all()
    assert set(np.unique(volume.target[6]).tolist()) == {0, 1, 2}
    assert ((volume.target[6] == 2) == (labels.array[..., 6] == 3)).all()


def test_scribbles_leave_the_rest_of_a_slice_unknown():
    ignored = np.ones(GRID, bool)
    ignored[10:14] = ignored[28:32] = False
    found = data(example(ignored=ignored))
    assert (found.volumes[0].target[:, 20] == -1).all()
    assert (found.volumes[0].target[6, 12] >= 0).all()


def test_where_a_class_was_not_looked_for_only_labels_are_known():
    image, labels = scan(1)
    only = replace(labels, array=np.where(labels.array == 1, 1, 0).astype(np.uint8))
    found = data(example(), SupportExample(image, only, 2, (6,), frozenset({1})))
    assert set(np.unique(found.volumes[1].target[6]).tolist()) == {-1, 1}


def test_slices_are_found_again_in_any_orientation():
    straight = data(example(), augmented=False)
    image, labels = scan()
    turned = SupportExample(reorient(image, "IPL"), reorient(labels, "IPL"), 0, (1, 3, 5, 7, 9), frozenset({1, 3}))
    plan = straight.plan
    found = AnnotatedSlices(plan, [turned], batch=2)
    np.testing.assert_array_equal(found.volumes[0].target, straight.volumes[0].target)
    np.testing.assert_allclose(found.volumes[0].working, straight.volumes[0].working, atol=1e-6)


def test_large_slices_are_averaged_and_labels_stay_with_them():
    found = data(example(), side=20)
    (volume,) = found.volumes
    assert volume.working.shape == volume.target.shape == (12, 20, 18)
    bright = volume.working[6][volume.target[6] == 2].mean()
    assert bright > volume.working[6][volume.target[6] == 0].mean() + 0.8


def test_samples_are_decided_by_seed_and_index():
    one, same, other = data(example()), data(example()), data(example(), seed=1)
    for index in (0, 5):
        for name in ("image", "target"):
            np.testing.assert_array_equal(one[index][name], same[index][name])
    assert not np.array_equal(one[0]["image"], one[1]["image"])
    assert not np.array_equal(one[0]["image"], other[0]["image"])


@pytest.mark.parametrize(
    ("dims", "shape"), [("2d", (2, 1, 48, 48)), ("2.5d", (2, 3, 48, 48)), ("3d", (2, 1, 16, 48, 48))]
)
def test_samples_have_the_shape_of_the_patch(dims, shape):
    sample = data(example(), dims=dims)[0]
    assert sample["image"].shape == shape
    assert sample["target"].shape == (shape[0], *shape[2:])
    assert sample["image"].dtype == np.float32
    assert sample["target"].dtype == np.int64
    assert sample["target"].max() > 0
    assert np.isfinite(sample["image"]).all()


def test_both_classes_are_drawn():
    found = data(example())
    drawn = set().union(*(np.unique(found[n]["target"]).tolist() for n in range(8)))
    assert drawn == {-1, 0, 1, 2}


def test_coordinates_tell_where_a_voxel_lies():
    found = data(example(), coordinates=True, augmented=False)
    image = found[3]["image"][0]
    assert image.shape[0] == 4
    rows = image[2, :40, 0]
    assert rows[0] == pytest.approx(-1)
    assert rows[-1] == pytest.approx(1)
    assert (np.diff(rows) > 0).all()


def test_augmentation_turns_blocks_within_their_slices_and_leaves_the_outside_unknown():
    image = np.zeros((1, 6, 32, 32), np.float32)
    image[:, 3] = 1
    target = np.full((6, 32, 32), 1, np.int16)
    target[3] = 2
    changed = Augmentation("3d")
    for seed in range(4):
        out = changed(np.random.default_rng(seed), Sample(image, image[:0], target))
        assert set(np.unique(out.target[3]).tolist()) <= {2, -1}
        assert 2 not in out.target[[0, 1, 2, 4, 5]]
    flat = Augmentation("2d")
    seen = {
        int(value)
        for seed in range(8)
        for value in np.unique(flat(np.random.default_rng(seed), Sample(image[:, 0], image[:0, 0], target[0])).target)
    }
    assert seen == {1, -1}


def test_nothing_is_flipped_unless_allowed():
    ramp = np.broadcast_to(np.linspace(-1, 1, 32, dtype=np.float32)[:, None], (1, 32, 32)).copy()
    target = np.zeros((32, 32), np.int16)

    def falling(flips):
        change = Augmentation("2d", flips)
        out = [change(np.random.default_rng(n), Sample(ramp, ramp[:0], target)).image[0] for n in range(12)]
        return sum(image[8:24].mean(axis=1)[-1] < image[8:24].mean(axis=1)[0] for image in out)

    assert falling(()) == 0
    assert falling((1,)) == 0
    assert 0 < falling((0,)) < 12


def test_a_run_far_from_the_others_is_held_out():
    all_classes = frozenset({1})
    assert held_out([0, 1, 2], [all_classes] * 3) == ()
    assert held_out([0, 10, 20, 30, 40], [all_classes] * 5) == (2,)
    assert held_out([0, 10, 25, 36, 38], [all_classes] * 5) == (2,)
    assert held_out([0, 2, 4, 30, 56, 58], [all_classes] * 6) == (3,)
    run = held_out([float(n) for n in range(20)], [all_classes] * 20)
    assert run == (8, 9, 10, 11)


def test_no_class_loses_its_only_slice_and_an_empty_run_judges_nothing():
    assert held_out([0, 10, 20, 30], [frozenset({1}), frozenset({1, 2}), frozenset({1}), frozenset({1})]) == (2,)
    assert held_out([0, 1, 2, 3], [frozenset({n}) for n in range(1, 5)]) == ()
    assert held_out([0, 1, 2, 3], [frozenset({1}), frozenset(), frozenset(), frozenset({1})]) == ()
    assert held_out([0, 10, 20, 30, 40], [frozenset({1})] * 5, allowed={3}) == (3,)


def test_fewer_than_four_slices_are_all_learned_from():
    found = data(example(slices=(4, 6, 8)))
    assert found.judges == []
    assert found.slices == 3


def test_new_slices_are_taken_in_and_judges_stay():
    found = data(example())
    before = found.fingerprint
    assert found.volumes[0].judged == (6,)
    found.take([example(slices=(*SLICES, 5, 7, 9))])
    assert found.volumes[0].judged == (6,)
    assert found.volumes[0].learned == (2, 4, 5, 7, 8, 9, 10)
    assert found.fingerprint != before
    assert found.epoch == 4


def test_slices_that_were_learned_from_never_begin_to_judge():
    found = data(example(slices=(4, 6, 8)))
    found.take([example(slices=(2, 4, 6, 7, 8, 10))])
    assert found.volumes[0].judged == (7,)


def test_a_new_class_is_refused_and_nothing_changes():
    found = data(example())
    before = found.volumes
    image, labels = scan()
    with pytest.raises(InputError, match=r"learns the classes \[1, 3\], but the labels have \[5\]"):
        found.take([SupportExample(image, replace(labels, array=labels.array // 3 * 5), 2, SLICES)])
    assert found.volumes is before


def test_volumes_that_judge_spare_no_slices():
    other = example(image_and_labels=scan(3))
    support = SupportSet().add(example())
    found = AnnotatedSlices(plan_for(support, quick(), CPU), support.enabled, judges=[other])
    assert found.slices == 5
    assert [rows for _, rows in found.judges] == [SLICES]


def test_patches_are_halved_down_to_the_smallest():
    found = data(example())
    assert found.patch == (1, 48, 48)
    assert found.halve()
    assert found.patch == (1, 32, 32)
    assert found[0]["image"].shape == (2, 1, 32, 32)
    assert not found.halve()


def test_a_window_around_the_annotation_for_hounsfield_units_and_percentiles_for_others():
    ct = data(example(image_and_labels=(scan(air=-1000)[0], scan()[1]))).plan.normalisation
    assert ct.low is not None
    assert ct.low < -1000 < ct.high
    assert data(example()).plan.normalisation.low is None


@pytest.mark.parametrize(
    ("slices", "change", "sentence"),
    [
        ((0,), {}, "something painted on them; paint a few first"),
        ((6,), {"ignored": True}, "all annotated ones are one class; annotate background as well"),
    ],
)
def test_annotation_that_teaches_nothing_is_told(slices, change, sentence):
    image, labels = scan()
    array = labels.array.copy()
    array[..., 0] = 0
    array[array == 3] = 0
    more = {"ignored": array == 0} if change else {}
    one = SupportExample(image, LabelVolume(array, image.affine), 2, slices, frozenset({1}), **more)
    support = SupportSet().add(one)
    with pytest.raises(InputError, match=sentence):
        AnnotatedSlices(plan_for(support, quick(), CPU), support.enabled)


def test_a_constant_image_is_told():
    image = Volume(np.ones(GRID, np.float32), Affine.from_spacing((1, 1, 2)))
    with pytest.raises(InputError, match="constant"):
        data(example(image_and_labels=(image, scan()[1])))
