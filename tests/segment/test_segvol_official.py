"""The official zoom-in does what the published code did on three volumes, window by window."""

import numpy as np
import pytest

from segvol_cases import GOLDEN, SCENARIOS, TRACES, ZOOM_SAMPLE, Glow, phantom
from voxelsmith.core.errors import PromptError
from voxelsmith.core.progress import run_job
from voxelsmith.core.prompts import Box
from voxelsmith.segment.segvol.caches import Embeddings
from voxelsmith.segment.segvol.network import ViewPrompts
from voxelsmith.segment.segvol.official import check, region_of, windows, zoom_in
from voxelsmith.segment.segvol.resize import spread_out, zoomed_out


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "pipeline.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module", params=SCENARIOS)
def scenario(request):
    return request.param, phantom(request.param)


def prompts_of(call):
    """What the trace says the network was asked."""
    return ViewPrompts(
        np.array(call["points"] or np.empty((0, 3)), dtype=np.float32),
        np.array(call["labels"] or [], dtype=np.int64),
        None if call["box"] is None else np.array(call["box"], dtype=np.float32),
        None if call["text"] is None else np.ones(768, dtype=np.float32),
    )


@pytest.mark.parametrize("mode", ["box", "text", "point"])
def test_traces_are_reproduced(golden, scenario, mode):
    (name, volume), trace = scenario, TRACES[f"{scenario[0]}/{mode}"]
    view = zoomed_out(volume)
    np.testing.assert_array_equal(view.ravel()[ZOOM_SAMPLE], golden[f"{name}/zoom_image_sample"])
    network, asked = Glow(), prompts_of(trace["zoom_out_call"])
    coarse = Glow().decode(view, asked)

    found = Box.around(spread_out(coarse, volume.shape) > 0)
    region = region_of(found, volume.shape)
    starts, ends = trace["roi_min_max"][:3], trace["roi_min_max"][3:]
    assert region == tuple(slice(a, min(b + 1, n)) for a, b, n in zip(starts, ends, volume.shape, strict=True))
    padded = [max(s.stop - s.start, n) for s, n in zip(region, (32, 256, 256), strict=True)]
    assert [[[s.start, s.stop] for s in at] for at in windows(padded)] == trace["window_slices"]

    logits = run_job(zoom_in(volume, coarse, asked, network, Embeddings()))
    np.testing.assert_allclose(
        logits.ravel()[golden[f"{name}/sample_idx"]], golden[f"{name}/{mode}/logits_sample"], atol=1e-4
    )
    stats = [logits.mean(dtype=float), logits.std(dtype=float), logits.min(), logits.max()]
    np.testing.assert_allclose(stats, golden[f"{name}/{mode}/logits_stats"][:4], atol=1e-4)
    assert (logits > 0).sum() == golden[f"{name}/{mode}/logits_stats"][5]
    np.testing.assert_allclose(network.encoded, [c["img_mean"] for c in trace["window_calls"]], atol=1e-5)
    for made, call in zip(network.asked, trace["window_calls"], strict=True):
        assert (None if made.box is None else made.box.tolist()) == call["box"]
        assert (made.text is None) == (call["text"] is None)
        assert sorted(made.labels) == sorted(call["labels"] or [])


def test_points_are_drawn_from_the_voxels_that_show_them_and_seeded(scenario):
    name, volume = scenario
    asked = prompts_of(TRACES[f"{name}/point"]["zoom_out_call"])
    coarse = Glow().decode(zoomed_out(volume), asked)
    networks = [Glow() for _ in range(3)]
    for network, seed in zip(networks, (0, 0, 1), strict=True):
        run_job(zoom_in(volume, coarse, asked, network, Embeddings(), seed))
    drawn = [[call.points.tolist() for call in network.asked] for network in networks]
    assert drawn[0] == drawn[1] != drawn[2]
    allowed = {tuple(p) for n in networks for call in n.asked for p in call.points[call.labels == 1].tolist()}
    shown = np.zeros((32, 256, 256), dtype=np.float32)
    shown[tuple(asked.points[asked.labels == 1].astype(int).T)] = 1
    reflected = np.argwhere(spread_out(shown, volume.shape))
    places = TRACES[f"{name}/point"]["window_slices"]
    starts = [np.add([a for a, _ in at], TRACES[f"{name}/point"]["roi_min_max"][:3]) for at in places]
    assert allowed <= {tuple(p - start) for start in starts for p in reflected.astype(float)}


def test_points_and_a_box_are_refused_as_published():
    box = np.array([0, 0, 0, 5, 5, 5], np.float32)
    check(ViewPrompts(np.empty((0, 3), np.float32), np.empty(0, np.int64), box))
    with pytest.raises(PromptError, match="points or a box"):
        check(ViewPrompts(np.ones((1, 3), np.float32), np.ones(1, np.int64), box))


def test_an_empty_coarse_answer_stays_as_it_is():
    volume = np.zeros((40, 260, 100), dtype=np.float32)
    coarse = np.full((32, 256, 256), -2, dtype=np.float32)
    network = Glow()
    box = ViewPrompts(np.empty((0, 3), np.float32), np.empty(0, np.int64), np.array([0, 0, 0, 5, 5, 5], np.float32))
    logits = run_job(zoom_in(volume, coarse, box, network, Embeddings()))
    assert logits.shape == volume.shape
    assert (logits == -2).all()
    assert not network.encoded
