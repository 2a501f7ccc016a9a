"""Inputs of SegVol's golden data, as their recipe defines them, and a network that a test can see through."""

import json
from pathlib import Path

import numpy as np

from voxelsmith.core.progress import Progress
from voxelsmith.segment.segvol import engine
from voxelsmith.weights import zoo

GOLDEN = Path(__file__).parent / "golden" / "segvol"
TRACES = json.loads((GOLDEN / "pipeline.json").read_text())
SCENARIOS = {  # name: (shape, centre, radii, seed of the noise)
    "fits": ((60, 300, 330), (25.0, 160.0, 150.0), (9.0, 60.0, 70.0), 11),
    "large": ((60, 400, 330), (31.0, 200.0, 160.0), (22.0, 150.0, 140.0), 12),
    "thin_border": ((20, 280, 270), (3.0, 40.0, 230.0), (6.0, 50.0, 45.0), 13),
}
ZOOM_SAMPLE = np.random.RandomState(4096).randint(0, 32 * 256 * 256, size=2000)[:500]


class Glow:
    """What is brighter than 0.55 is the object, a little more inside the box and a little less outside it."""

    identity = "glow"

    def __init__(self):
        self.encoded, self.asked, self.words = [], [], []

    def encode(self, view):
        assert view.shape == (32, 256, 256)
        assert view.dtype == np.float32
        yield Progress(0, 1)
        self.encoded.append(float(view.mean()))
        return view.copy()

    def decode(self, embedding, prompts):
        self.asked.append(prompts)
        logits = 10 * (embedding - np.float32(0.55))
        if prompts.box is not None:
            lo, hi = np.maximum(prompts.box[:3], 0).astype(int), prompts.box[3:].astype(int) + 1
            inside = np.full(logits.shape, -1, dtype=np.float32)
            inside[tuple(map(slice, lo, hi))] = 1
            logits += inside
        return logits

    def text(self, word):
        self.words.append(word)
        return np.full(768, len(word), dtype=np.float32)


def install(monkeypatch, network):
    """Have a network found as if its weights were installed."""
    monkeypatch.setattr(zoo, "installed", lambda name: True)
    monkeypatch.setattr(zoo, "locate", lambda name: Path(name))
    monkeypatch.setattr(engine, "load_network", lambda device: network)


def ellipsoid(shape, centre, radii):
    """Its mask."""
    axes = np.ogrid[tuple(map(slice, shape))]
    return sum(((x - c) / r) ** 2 for x, c, r in zip(axes, centre, radii, strict=True)) <= 1


def phantom(name):
    """Volume (d, h, w) in 0..1 of a scenario."""
    shape, centre, radii, seed = SCENARIOS[name]
    noise = np.random.RandomState(seed).random_sample(shape)
    volume = 0.3 + 0.5 * ellipsoid(shape, centre, radii) + 0.1 * (2 * noise - 1)
    return np.clip(volume, 0, 1).astype(np.float32)


def ct_like():
    """A small CT (x, y, z): a body with an organ and a bone, in air."""
    shape = (70, 66, 40)
    body = ellipsoid(shape, (36, 30, 0), (28, 24, np.inf))
    body[:, :, :4] = body[:, :, 37:] = False
    hu = np.full(shape, -1000.0)
    hu[body] = 40
    hu[ellipsoid(shape, (28, 33, 22), (9, 7, 8))] = 110
    hu[ellipsoid(shape, (46, 24, 0), (4, 4, np.inf)) & body] = 700
    noise = np.random.RandomState(21).random_sample(shape)
    return np.rint(hu + 30 * (2 * noise - 1)).astype(np.int16)
