"""What SegVol learns from: views that are those of the engine, prompts that mean their masks, folders of pairs."""

import pickle

import numpy as np
import pytest
from segvol_scans import SMALL, scan, two_scans, views
from volumes import save, table, write_split

from voxelsmith.core.errors import GeometryError, InputError
from voxelsmith.core.volume import LabelVolume
from voxelsmith.io import read
from voxelsmith.segment.segvol import resize, zoom_in
from voxelsmith.segment.segvol.preprocess import prepare
from voxelsmith.train import segvol_views
from voxelsmith.train.pairs import paired_entries
from voxelsmith.train.segvol_prompts import box_around, marked, points_on, within_box
from voxelsmith.train.segvol_views import SegVolViews, SegVolVolume
from voxelsmith.train.split import learning_entries


def content(view):
    return view.image.tobytes(), view.target.tobytes(), view.regions.tobytes(), view.word


@pytest.fixture
def volume(tmp_path):
    return SegVolVolume(views(tmp_path).entries[0])


@pytest.fixture
def plain(monkeypatch):
    """No flips and no changes of brightness."""
    monkeypatch.setattr(segvol_views, "_FLIP", 0)
    monkeypatch.setattr(segvol_views, "_RECOLOUR", 0)


def test_a_view_depends_on_seed_and_index_alone(tmp_path):
    straight = views(tmp_path)
    found = [content(straight[i]) for i in range(10)]
    elsewhere = pickle.loads(pickle.dumps(straight))
    assert [content(elsewhere[i]) for i in reversed(range(10))] == found[::-1]
    assert len(set(found)) == len(found)
    assert content(views(tmp_path, seed=1)[0]) != found[0]


def test_the_whole_volume_is_seen_as_the_engine_sees_it(tmp_path, volume):
    prepared = prepare(read(tmp_path / "a.nii.gz"))
    seen = volume.look(np.random.default_rng(0), volume.whole(SMALL.view), 2)
    np.testing.assert_array_equal(seen.image, resize.zoomed_out(prepared.crop, SMALL.view))
    labels = prepared.axes.view(scan(0)[1])[prepared.box.slices]
    np.testing.assert_array_equal(seen.target, resize.zoomed_out(labels, SMALL.view) == 2)
    assert seen.word == "spleen"


@pytest.mark.parametrize("view", [(8, 16, 16), (40, 20, 64)], ids=["smaller", "larger"])
def test_a_window_is_that_of_the_engine(volume, view, monkeypatch):
    monkeypatch.setattr(zoom_in, "VIEW", view)
    for centre in ([0, 0, 0], [7, 13, 14], np.array(volume.shape) - 1):
        places = volume.window(view, centre)
        seen = volume.look(np.random.default_rng(0), places, 1)
        origin = tuple(int(at[0]) for at in places)
        expected = zoom_in.window_view(volume.crop, origin)
        if seen is None:
            continue
        np.testing.assert_array_equal(seen.image, expected)
        for at, n, wanted in zip(places, volume.shape, view, strict=True):
            assert at[0] >= 0 if n > wanted else at[0] == -((wanted - n) // 2)
            assert at[-1] < n or n <= wanted
    assert seen is not None


def test_objects_lie_on_their_voxels_after_flips(tmp_path):
    dataset = views(tmp_path)
    for i in range(30):
        view = dataset[i]
        assert view.image.shape == view.target.shape == view.regions.shape == SMALL.view
        assert view.image.dtype == np.float32
        assert view.target.any()
        inside, level = view.image[view.target], {"liver": 0.45, "spleen": 0.85}[view.word]
        assert abs(np.median(inside) - level) < 0.2


def test_half_of_the_views_are_whole_and_most_windows_show_their_object(tmp_path, monkeypatch):
    dataset, asked = views(tmp_path), []
    real = SegVolViews.view
    monkeypatch.setattr(
        SegVolViews,
        "view",
        lambda self, rng, entry, *, whole: asked.append(whole) or real(self, rng, entry, whole=whole),
    )
    centred = []
    centre = SegVolVolume.centre
    monkeypatch.setattr(
        SegVolVolume, "centre", lambda self, rng, value: centred.append(value > 0) or centre(self, rng, value)
    )
    for i in range(120):
        dataset[i]
    assert 0.4 < np.mean(asked) < 0.6
    assert 0.52 < np.mean(centred) < 0.8


def test_flips_and_brightness_change_now_and_then(tmp_path, plain, monkeypatch):
    dataset = views(tmp_path)
    before = [dataset[i] for i in range(5)]
    assert max(view.image.max() for view in before) <= 1
    monkeypatch.setattr(segvol_views, "_FLIP", 1)
    for i, view in enumerate(before):
        np.testing.assert_array_equal(dataset[i].target, np.flip(view.target))
        np.testing.assert_array_equal(dataset[i].regions, np.flip(view.regions))
    monkeypatch.setattr(segvol_views, "_FLIP", 0)
    monkeypatch.setattr(segvol_views, "_RECOLOUR", 1)
    for i, view in enumerate(before):
        slope, level = np.polyfit(view.image.ravel(), dataset[i].image.ravel(), 1)
        assert 0.9 <= slope <= 1.1
        assert -0.1 <= level <= 0.1
        assert slope != 1


def test_windows_centre_on_objects_and_on_background(volume):
    rng = np.random.default_rng(0)
    for value in (0, 1, 2):
        assert {int(volume.labels[tuple(volume.centre(rng, value))]) for _ in range(5)} == {value}


@pytest.mark.parametrize("voxels", [10**6, 2000], ids=["fine", "coarse"])
def test_pseudo_masks_follow_their_places(volume, monkeypatch, voxels):
    monkeypatch.setattr(segvol_views, "_PSEUDO_VOXELS", voxels)
    monkeypatch.setattr(segvol_views, "pseudo_masks", lambda image, spacing: (image > 0.65).astype(np.int32))
    for places in (volume.window((40, 20, 64), (0, 0, 0)), volume.whole(SMALL.view)):
        seen = volume.look(np.random.default_rng(0), places, 2)
        assert np.mean(seen.regions[seen.target] == 1) > 0.6
        assert np.mean(seen.regions[~seen.target] == 1) < 0.05
    if voxels > volume.crop.size:
        np.testing.assert_array_equal(seen.regions, seen.image > 0.65)
    else:
        assert volume._regions.size < 0.5 * volume.crop.size


def test_only_volumes_with_image_and_labels_are_learned_from(tmp_path):
    two_scans(tmp_path)
    alone = write_split(tmp_path, table(image="a.nii.gz"), table(patient="b", labels="b_labels.nii.gz"))
    with pytest.raises(InputError, match="volumes with image and labels, but none is listed"):
        SegVolViews(learning_entries(tmp_path, alone)[0], SMALL.view)


def test_labels_of_nothing_or_of_another_grid_are_told(tmp_path):
    two_scans(tmp_path)
    save(tmp_path / "empty.nii.gz", np.zeros((30, 26, 14), np.int16))
    save(tmp_path / "other.nii.gz", np.ones((30, 26, 13), np.int16))
    for labels, error, told in (("empty", InputError, "no object was found"), ("other", GeometryError, "grid")):
        split = write_split(tmp_path, table(image="a.nii.gz", labels=f"{labels}.nii.gz"))
        with pytest.raises(error, match=told):
            SegVolViews(learning_entries(tmp_path, split)[0], SMALL.view)[0]


def test_volumes_beyond_the_memory_are_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(segvol_views, "_KEPT_VOXELS", 1)
    few = views(tmp_path)
    found = [content(few[i]) for i in range(8)]
    assert len(few._read) == 1
    monkeypatch.setattr(segvol_views, "_KEPT_VOXELS", 10**6)
    many = views(tmp_path)
    assert [content(many[i]) for i in range(8)] == found
    assert len(many._read) == 2


def test_prompts_mean_their_mask():
    mask = np.zeros((8, 16, 12), bool)
    mask[2:5, 3:9, 4:12] = True
    rng = np.random.default_rng(0)
    counts = set()
    for _ in range(60):
        marks = marked(rng, mask)
        np.testing.assert_array_equal(marks["box"], [2, 3, 4, 4, 8, 11])
        at, labels = marks["points"].astype(int), marks["labels"]
        np.testing.assert_array_equal(mask[tuple(at.T)], labels == 1)
        assert len({tuple(voxel) for voxel in at}) == len(at)
        counts.add((int(labels.sum()), int((1 - labels).sum())))
    assert {inside for inside, _ in counts} == {*range(1, 12)}
    assert {outside for _, outside in counts} == {*range(11)}
    assert min(int(marked(rng, mask, 4)["labels"].sum()) for _ in range(30)) == 5
    assert points_on(rng, mask, 0, 0)["labels"].tolist() == [1]
    assert len(points_on(rng, np.ones((1, 1, 2), bool), 5, 5)["points"]) == 2


def test_a_box_means_what_lies_in_it():
    regions = np.zeros((8, 10, 10), int)
    regions[1:7, 1:9, 1:9] = 1
    regions[3:5, 3:5, 3:5] = 2  # inside
    regions[6, 2:8, 2:8] = 3  # inside
    regions[0:2, 0, 0:9] = 4  # outside
    regions[3, 5:10, 9] = 5  # across the border
    meant = within_box(regions, regions == 1)
    assert set(np.unique(regions[meant])) == {1, 2, 3}
    np.testing.assert_array_equal(meant, np.isin(regions, (1, 2, 3)))
    np.testing.assert_array_equal(box_around(regions == 2)["box"], [3, 3, 3, 4, 4, 4])


@pytest.mark.parametrize("apart", [True, False])
def test_pairs_are_found_by_their_names(tmp_path, apart):
    image, labels = scan(0)
    for n in range(6):
        save(tmp_path / (f"images/c{n}.nii.gz" if apart else f"c{n}_image.nii.gz"), image)
        save(tmp_path / (f"labels/c{n}.nii.gz" if apart else f"c{n}_label.nii.gz"), labels)
    (tmp_path / "readme.txt").write_text("Scans.")
    found = paired_entries(tmp_path)
    assert [entry.patient for entry in found] == [f"c{n}" for n in range(6)]
    assert [entry.use for entry in found] == ["train"] * 4 + ["validate", "train"]
    assert isinstance(found[3].read_labels(), LabelVolume)
    assert found[3].read_image().grid == image.shape


def test_pairs_that_are_none_are_told(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="should hold folders images and labels"):
            paired_entries(folder)
    (tmp_path / "a_image.nii").touch()
    with pytest.raises(InputError, match="1 have no partner, the first is a;"):
        paired_entries(tmp_path)
    (tmp_path / "a_image.mha").touch()
    with pytest.raises(InputError, match="have one name"):
        paired_entries(tmp_path)
