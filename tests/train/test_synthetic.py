"""Made-up volumes: the same from the same seed, plausible in number, size and contrast of their objects."""

import numpy as np
import pytest
from scipy import ndimage

from voxelsmith.core.errors import GeometryError, InputError
from voxelsmith.train import shapes, vessels
from voxelsmith.train.appearance import _MODALITIES, Tissues, render
from voxelsmith.train.canvas import Canvas
from voxelsmith.train.sample import Annotated
from voxelsmith.train.scene import MAX_VOXELS, random_grid, random_scene
from voxelsmith.train.synthetic import synthetic_sample


@pytest.fixture(scope="module")
def samples() -> list[Annotated]:
    return [synthetic_sample(np.random.default_rng(seed)) for seed in range(50)]


def contrasts(sample: Annotated) -> list[float]:
    """For each object the difference in mean to the two voxels around it, in standard deviations of its inside."""
    found = []
    for label, box in enumerate(ndimage.find_objects(sample.labels), 1):
        around = tuple(slice(max(side.start - 3, 0), side.stop + 3) for side in box)
        inside = sample.labels[around] == label
        ring = ndimage.binary_dilation(inside, iterations=2) & ~inside
        image = sample.image[around]
        if ring.any():
            found.append(abs(image[inside].mean() - image[ring].mean()) / (image[inside].std() + 1e-6))
    return found


def test_a_seed_gives_the_same_volume_again_and_another_seed_another_one():
    first, again, other = (synthetic_sample(np.random.default_rng(seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.labels, again.labels)
    np.testing.assert_array_equal(first.spacing, again.spacing)
    assert first.grid != other.grid or not np.array_equal(first.labels, other.labels)


def test_samples_are_finite_float32_images_with_int16_labels(samples):
    for sample in samples:
        assert sample.image.dtype == np.float32
        assert sample.labels.dtype == np.int16
        assert np.isfinite(sample.image).all()
        assert sample.image.std() > 0.01


def test_grids_are_of_the_promised_size_and_half_of_them_have_thick_slices():
    grids = [random_grid(np.random.default_rng(seed)) for seed in range(200)]
    assert all(min(grid) >= 24 and max(grid) <= 96 and np.prod(grid) <= MAX_VOXELS for grid, _ in grids)
    ratios = np.array([spacing.max() / spacing.min() for _, spacing in grids])
    assert ratios.max() <= 6
    assert 0.3 < np.mean(ratios > 1.2) < 0.7
    thick_axes = {int(np.argmax(spacing)) for _, spacing in grids if spacing.max() > 1.2 * spacing.min()}
    assert thick_axes == {0, 1, 2}


def test_most_volumes_hold_several_objects_beside_much_that_is_not_annotated(samples):
    counts = [sample.labels.max() for sample in samples]
    foreground = [np.mean(sample.labels > 0) for sample in samples]
    assert min(counts) >= 1
    assert max(counts) <= 30
    assert np.mean(np.array(counts) >= 5) >= 0.8
    assert 0.05 < np.median(foreground) < 0.5


def test_objects_are_numbered_without_gaps_connected_and_of_very_different_sizes(samples):
    sizes = []
    for sample in samples[:20]:
        values, counts = np.unique(sample.labels[sample.labels > 0], return_counts=True)
        assert values.tolist() == list(range(1, len(values) + 1))
        assert counts.min() >= 40
        assert all(ndimage.label(sample.labels == value)[1] == 1 for value in values)
        sizes.extend(counts.tolist())
    assert np.percentile(sizes, 90) > 20 * np.percentile(sizes, 10)


def test_most_objects_stand_out_from_what_surrounds_them_but_not_all(samples):
    values = np.concatenate([contrasts(sample) for sample in samples])
    assert np.mean(values > 1) >= 0.7
    assert np.mean(values < 0.5) >= 0.05


def test_the_background_is_not_uniform(samples):
    spreads = []
    for sample in samples:
        smooth = ndimage.uniform_filter(sample.image, 5)[sample.labels == 0]
        spreads.append(np.ptp(np.percentile(smooth, (5, 95))) / np.ptp(np.percentile(sample.image, (1, 99))))
    assert np.mean(np.array(spreads) > 0.15) > 0.9


@pytest.mark.parametrize(
    "painter",
    [
        shapes.paint_regions,
        shapes.paint_organ,
        shapes.paint_lesions,
        shapes.paint_shell,
        shapes.paint_nest,
        shapes.paint_lobes,
        shapes.paint_cells,
        shapes.paint_sheet,
        vessels.paint_tube,
        vessels.paint_tree,
    ],
    ids=lambda painter: painter.__name__,
)
def test_each_painter_leaves_something_on_most_canvases(painter):
    painted = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        canvas = Canvas.blank(rng, (48, 40, 24), (1.0, 1.0, 2.5))
        painter(rng, canvas)
        assert canvas.tissues.max() < len(canvas.classes)
        painted += int((canvas.tissues > 0).sum() >= 20)
    assert painted >= 7


def test_an_ellipsoid_has_the_asked_radii_in_millimetres():
    rng = np.random.default_rng(0)
    canvas = Canvas.blank(rng, (60, 60, 20), (1.0, 1.0, 3.0))
    window, radius = shapes.ellipsoid(rng, canvas, canvas.extent / 2, np.array([20.0, 12.0, 8.0]), 0)
    volume = (radius < 1).sum() * np.prod(canvas.spacing)
    assert volume == pytest.approx(4 / 3 * np.pi * 20 * 12 * 8, rel=0.03)
    assert radius.shape == canvas.tissues[window.slices].shape


def test_a_scene_hides_tissues_that_its_image_shows():
    scenes = [random_scene(np.random.default_rng(seed), (48, 48, 48), (1, 1, 1)) for seed in range(10)]
    assert any(((scene.tissues > 0) & (scene.labels == 0)).any() for scene in scenes)
    assert all((scene.tissues[scene.labels > 0] > 0).all() for scene in scenes)


def test_random_labels_fit_the_grid():
    labels = random_scene(np.random.default_rng(2), (30, 40, 50), (2, 1, 1)).labels
    assert labels.shape == (30, 40, 50)
    assert labels.any()


@pytest.mark.parametrize("modality", _MODALITIES, ids=lambda modality: modality.__name__)
def test_every_modality_shows_an_object_of_its_own_class(modality):
    index = np.zeros((40, 40, 40), dtype=np.int16)
    index[:, :, 20:] = 2
    index[12:28, 12:28, 12:28] = 1
    tissues = Tissues(index, np.array([0, 1, 2]), np.array([True, False, True]), np.array([1.0, 1.0, 2.0]))
    seen = 0
    for seed in range(12):
        image = modality(np.random.default_rng(seed), tissues)
        assert image.dtype == np.float32
        assert np.isfinite(image).all()
        difference = abs(image[14:26, 14:26, 14:19].mean() - image[:10, :10, :18].mean())
        seen += difference > 0.05
    assert seen >= 9


def test_tissues_of_one_class_look_alike():
    labels = np.zeros((32, 32, 32), dtype=np.int16)
    labels[:, :, 16:] = 1
    labels[:, 16:, 16:] = 2
    alike, different = [], []
    for seed in range(30):
        for classes, into in (([0, 1, 1], alike), ([0, 1, 2], different)):
            image = render(np.random.default_rng(seed), labels, (1, 1, 1), classes=classes)
            into.append(abs(image[labels == 1].mean() - image[labels == 2].mean()))
    assert np.median(alike) < 0.4 * np.median(different)


def test_air_stays_empty_and_other_background_does_not():
    labels = np.zeros((32, 32, 32), dtype=np.int16)
    labels[10:20, 10:20, 10:20] = 1
    spread = {True: [], False: []}
    for air, values in spread.items():
        for seed in range(20):
            image = render(np.random.default_rng(seed), labels, (1, 1, 1), air=air)
            values.append(ndimage.uniform_filter(image, 5)[:6].std())
    assert np.median(spread[True]) < 0.5 * np.median(spread[False])


def test_an_annotated_volume_refuses_what_does_not_belong_together():
    image, labels = np.zeros((4, 5, 6), np.float32), np.zeros((4, 5, 6), np.int16)
    with pytest.raises(GeometryError, match="one 3-D shape"):
        Annotated(image, labels[1:], np.ones(3))
    with pytest.raises(InputError, match="integers"):
        Annotated(image, labels.astype(np.float32), np.ones(3))
    with pytest.raises(GeometryError, match="positive millimetres"):
        Annotated(image, labels, np.array([1, 0, 1]))
