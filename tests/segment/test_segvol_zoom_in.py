"""The default zoom-in looks where it should, once, and joins what it sees."""

import numpy as np
import pytest

from segvol_cases import Glow, ellipsoid, phantom
from voxelsmith.core.metrics import dice
from voxelsmith.core.progress import Progress, run_job
from voxelsmith.core.prompts import Box
from voxelsmith.segment.segvol.caches import Embeddings
from voxelsmith.segment.segvol.network import VIEW, ViewPrompts
from voxelsmith.segment.segvol.prompts import CropPrompts
from voxelsmith.segment.segvol.resize import zoomed_out
from voxelsmith.segment.segvol.zoom_in import region_of, window_view, windows, without_specks, zoom_in

WORD = np.ones(768, dtype=np.float32)


def prompts(points=(), positive=(), box=None, text=None):
    return CropPrompts(
        np.array(points, dtype=np.intp).reshape(-1, 3), np.array(positive, dtype=bool), box, text, np.ones(3)
    )


def looked(volume, asked, coarse=None):
    """The answer, as logits on the whole volume, and the network that gave it."""
    network = Glow()
    if coarse is None:
        coarse = Glow().decode(zoomed_out(volume), asked.in_view(volume.shape))
    found = run_job(zoom_in(volume, coarse, asked, network, Embeddings()))
    logits = np.full(volume.shape, -9, dtype=np.float32)
    if found is not None:
        logits[found.box.slices] = found.values
    return logits, network


def mask_of(name):
    return phantom(name) > 0.55


@pytest.mark.parametrize("name", ["fits", "large", "thin_border"])
def test_the_object_is_found_to_the_voxel(name):
    volume, truth = phantom(name), mask_of(name)
    for asked in (prompts(text=WORD), prompts(box=Box.around(truth))):
        logits, network = looked(volume, asked)
        assert dice(truth, logits > 0) > 0.999
        assert len(network.asked) == (8 if name == "large" else 1)


def test_a_window_at_the_border_of_a_thin_volume_is_padded_together_with_its_prompts():
    volume, truth = phantom("thin_border"), mask_of("thin_border")
    box = Box.around(truth)
    inner = tuple(int(x) for x in np.argwhere(truth)[len(np.argwhere(truth)) // 2])
    _, network = looked(volume, prompts([inner, (19, 5, 200)], [True, False], box))
    (asked,) = network.asked
    lo, hi = asked.box[:3].astype(int), asked.box[3:].astype(int)
    pad = np.array([6, 0, 0])
    origin = np.array(box.lo) - lo
    np.testing.assert_array_equal(hi - lo, np.array(box.hi) - box.lo)
    np.testing.assert_array_equal(origin[0], -pad[0])
    assert asked.labels.tolist() == [1, 0]
    view = window_view(volume, tuple(origin.tolist()))
    assert view[tuple(asked.points[0].astype(int))] == volume[inner]
    assert (view[:6] == 0).all()
    assert (view[26:] == 0).all()
    assert (view[6:26] > 0).all()


def test_every_window_keeps_the_box_and_the_negative_points_in_it():
    volume, truth = phantom("large"), mask_of("large")
    box, negative = Box.around(truth), (31, 200, 310)
    _, network = looked(volume, prompts([negative], [False], box))
    assert all(call.box is not None for call in network.asked)
    held = [call for call in network.asked if len(call.points)]
    origins = np.array(windows(box, volume.shape))
    inside = ((negative >= origins) & (negative < origins + VIEW)).all(axis=1)
    assert 0 < len(held) == inside.sum() < len(origins)
    assert all(call.labels.tolist() == [0] for call in held)


def test_windows_with_nothing_in_them_are_skipped():
    volume = np.full((40, 700, 700), 0.3, dtype=np.float32)
    volume[ellipsoid(volume.shape, (20, 80, 80), (9, 60, 60))] = 0.9
    volume[ellipsoid(volume.shape, (20, 600, 600), (9, 60, 60))] = 0.9
    logits, network = looked(volume, prompts(text=WORD))
    assert dice(volume > 0.55, logits > 0) > 0.999
    region = region_of(zoomed_out(volume) > 0.55, prompts(text=WORD), volume.shape)
    assert 1 < len(network.asked) < len(windows(region, volume.shape)) / 2


def test_specks_do_not_widen_the_region_unless_they_are_marked():
    volume = np.full((40, 700, 300), 0.3, dtype=np.float32)
    volume[ellipsoid(volume.shape, (20, 120, 100), (9, 60, 60))] = 0.9
    volume[19:23, 650:656, 200:206] = 0.9
    _, network = looked(volume, prompts(text=WORD))
    assert len(network.asked) == 1
    logits, network = looked(volume, prompts([(20, 653, 203)], [True]))
    assert len(network.asked) > 1
    assert logits[20, 653, 203] > 0


def test_with_a_box_only_what_it_touches_counts():
    coarse = np.full(VIEW, -1, dtype=np.float32)
    coarse[2:5, 10:20, 10:20] = coarse[20:30, 100:200, 100:200] = 1
    box = np.array([3, 12, 12, 6, 18, 18], dtype=np.float32)
    none = np.empty((0, 3), np.float32)
    kept = without_specks(coarse, ViewPrompts(none, np.empty(0, np.int64), box)) > 0
    assert Box.around(kept) == Box((2, 10, 10), (4, 19, 19))
    marked = ViewPrompts(np.array([[25, 150, 150]], np.float32), np.ones(1, np.int64), box)
    np.testing.assert_array_equal(without_specks(coarse, marked), coarse)


def test_windows_lie_on_a_lattice_inside_the_crop():
    shape = (120, 512, 512)
    for lo in ((30, 120, 250), (32, 129, 255), (33, 140, 260)):
        region = Box(lo, tuple(x + n for x, n in zip(lo, (20, 120, 100), strict=True)))
        assert windows(region, shape) == [(24, 64, 192)]
    rng = np.random.default_rng(0)
    for _ in range(300):
        lo = np.array([rng.integers(n) for n in shape])
        hi = np.array([rng.integers(a, n) for a, n in zip(lo, shape, strict=True)])
        region = Box(tuple(lo.tolist()), tuple(hi.tolist()))
        origins = np.array(windows(region, shape))
        assert (origins >= 0).all()
        assert (origins + VIEW <= shape).all()
        np.testing.assert_array_equal(np.minimum(origins.min(axis=0), lo), origins.min(axis=0))
        assert (origins.max(axis=0) + VIEW > hi).all()
        for axis, window in enumerate(VIEW):
            steps = np.diff(np.unique(origins[:, axis]))
            assert (steps <= window // 2).all()


def test_without_a_coarse_answer_it_looks_where_the_prompts_are():
    volume = phantom("large")
    nothing = np.full(VIEW, -3, dtype=np.float32)
    assert run_job(zoom_in(volume, nothing, prompts(text=WORD), Glow(), Embeddings())) is None
    logits, network = looked(volume, prompts([(31, 200, 160)], [True]), nothing)
    assert len(network.asked) == 1
    assert logits[31, 200, 160] > 0
    _, network = looked(volume, prompts(box=Box((5, 10, 10), (20, 60, 60))), nothing)
    assert len(network.asked) == 1
    far = prompts([(5, 10, 10), (55, 390, 320)], [True, True])
    _, network = looked(volume, far, nothing)
    assert [call.labels.tolist() for call in network.asked] == [[1], [1]]


def test_overlapping_answers_fade_into_each_other():
    class Disagreeing(Glow):
        def decode(self, embedding, asked):
            self.asked.append(asked)
            return np.full(VIEW, 1.0 if len(self.asked) % 2 else 3.0, dtype=np.float32)

    volume = np.full((32, 256, 400), 0.9, dtype=np.float32)
    found = run_job(zoom_in(volume, np.ones(VIEW, np.float32), prompts(text=WORD), Disagreeing(), Embeddings()))
    profile = found.values[16, 128]
    assert profile[0] == pytest.approx(1)
    assert profile[-1] == pytest.approx(1)
    assert profile.max() > 2
    assert np.abs(np.diff(profile)).max() < 0.35
    assert ((profile > 0.99) & (profile < 3.01)).all()


def test_embeddings_are_found_by_content_and_weights_and_bounded():
    network, other = Glow(), Glow()
    other.identity = "other"
    views = [np.full(VIEW, n, dtype=np.float32) for n in range(4)]
    cache = Embeddings(limit=3 * views[0].nbytes)

    def embed(view, network):
        reports = []
        run_job(cache.of(view, network, Progress(3, 7, "now")), lambda report: reports.append(report))
        assert set(reports) <= {Progress(3, 7, "now")}

    for view in (*views[:3], views[0].copy()):
        embed(view, network)
    assert len(network.encoded) == 3
    embed(views[0], other)
    assert len(other.encoded) == 1
    assert cache.nbytes == 3 * views[0].nbytes
    embed(views[0], network)
    embed(views[1], network)
    assert network.encoded == [0, 1, 2, 1]
