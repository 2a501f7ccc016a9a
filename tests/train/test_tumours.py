"""Made-up tumours: nested, inside the brain, bright where the sequences show them bright, and the same for one seed."""

import nibabel as nib
import numpy as np
import pytest
from tumour_cases import head

from voxelsmith.core.errors import InputError
from voxelsmith.models.crossmodality import MODALITIES
from voxelsmith.train.tumours import brain_maps, synthetic_patch

AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    nib.save(nib.Nifti1Image(head(), AFFINE), folder / "a.nii.gz")
    return brain_maps(folder)[0]


def patch(source, seed, side=40, spacing=1.5):
    return synthetic_patch(np.random.default_rng(seed), source, MODALITIES, side, spacing)


def many(source, count=24):
    return [patch(source, seed) for seed in range(count)]


def test_the_same_seed_makes_the_same_patch(source):
    one, two, other = patch(source, 3), patch(source, 3), patch(source, 4)
    assert np.array_equal(one.x, two.x)
    assert np.array_equal(one.depth, two.depth)
    assert not np.array_equal(one.x, other.x)


def test_tumours_lie_in_the_brain_and_have_all_parts(source):
    made = many(source)
    for each in made:
        assert each.x.shape == (4, 40, 40, 40)
        assert each.x.dtype == np.float32
        assert np.isfinite(each.x).all()
        assert np.abs(each.x).max() <= 5
        assert each.available.all()
        assert not each.depth[(each.x == 0).all(0)].any()
        assert set(np.unique(each.depth)) <= {0, 1, 2, 3}
    assert {3, 2, 1} <= set(np.unique(np.stack([each.depth for each in made])))
    without = sum(not each.depth.any() for each in made)
    assert 0 < without < len(made) / 2


def test_sequences_show_what_they_show_on_scanners(source):
    contrasts = {name: [] for name in ("flair", "t2", "t1c")}
    for each in many(source):
        healthy = (each.depth == 0) & (each.x != 0).all(0)
        for name, depth in (("flair", 1), ("t2", 1), ("t1c", 3)):
            if (each.depth == depth).sum() > 200:
                image = each.x[MODALITIES.index(name)]
                contrasts[name].append(image[each.depth == depth].mean() - np.median(image[healthy]))
    for name, found in contrasts.items():
        assert len(found) >= 5, name
        assert np.mean(np.array(found) > 0.5) > 0.8, name


def test_intensities_are_about_z_scores_of_the_whole_brain(source):
    views = [patch(source, seed, side=44, spacing=1.5).x for seed in range(6)]
    for n in range(4):
        inside = np.concatenate([x[n][x[n] != 0] for x in views])
        assert abs(inside.mean()) < 0.5
        assert 0.7 < inside.std() < 1.4


def test_the_map_is_turned_to_left_posterior_superior(source, tmp_path):
    turned = np.flip(head().transpose(2, 0, 1), 0)
    affine = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [-1, 0, 0, 63], [0, 0, 0, 1]], float)
    nib.save(nib.Nifti1Image(np.ascontiguousarray(turned), affine), tmp_path / "b.nii")
    assert np.array_equal(brain_maps(tmp_path)[0].tissues, source.tissues)


def test_folders_without_heads_are_refused(tmp_path):
    with pytest.raises(InputError, match="label maps of heads"):
        brain_maps(tmp_path)
    nib.save(nib.Nifti1Image(np.ones((20, 20, 20), np.int16), AFFINE), tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match="white matter"):
        synthetic_patch(np.random.default_rng(0), brain_maps(tmp_path)[0], MODALITIES, 16, 1.0)
