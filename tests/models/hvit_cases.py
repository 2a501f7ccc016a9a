"""Golden data of H-ViT: the weights and images that its recipe defines, made from names alone."""

import json
import zlib
from pathlib import Path

import numpy as np
import torch

from voxelsmith.models.hvit import HViT, official

GOLDEN = Path(__file__).parents[1] / "golden" / "hvit"


def stream(tag):
    return np.random.default_rng(zlib.crc32(tag.encode()))


def listed(name):
    """Names and shapes of the published state dict of a case."""
    lines = (GOLDEN / f"{name}.keys.txt").read_text().splitlines()
    return {
        key: tuple(json.loads(shape.translate(str.maketrans("()", "[]")).replace(",]", "]")))
        for key, shape in (line.split("\t") for line in lines)
    }


def parameter(key, shape):
    x = stream(key).standard_normal(shape)
    last = key.rpartition(".")[2]
    if last in ("gamma1", "gamma2") or (last == "weight" and len(shape) == 1):
        x = 1 + 0.1 * x
    elif last == "bias":
        x = 0.1 * x
    else:
        x = x / np.sqrt(np.prod(shape[1:]))
    if key == "reg_head.conv3d.weight":
        x = 0.15 * x
    return torch.from_numpy(x.astype(np.float32))


def image(tag, grid, sample=0):
    """Image of the recipe, shape (1, 1, *grid)."""
    z, y, x = np.ix_(*(np.linspace(-1, 1, count) for count in grid))
    p = stream(f"{tag}:{sample}:params").uniform(-0.3, 0.3, size=9)
    r = np.sqrt(((z - p[0]) / 0.8) ** 2 + ((y - p[1]) / 0.7) ** 2 + ((x - p[2]) / 0.9) ** 2)
    body = 1 / (1 + np.exp(12 * (r - 0.9)))
    waves = np.sin(5 * z + 9 * p[3]) * np.cos(4 * y + 9 * p[4])
    texture = 0.5 + 0.25 * waves + 0.25 * np.sin(6 * x + 9 * p[5])
    noise = stream(f"{tag}:{sample}:noise").standard_normal(grid)
    volume = np.clip(body * texture + 0.02 * noise, 0, 1).astype(np.float32)
    return torch.from_numpy(volume)[None, None]


def case(name):
    """Golden arrays, and the network with its golden weights."""
    golden = np.load(GOLDEN / f"{name}.npz")
    config = json.loads(str(golden["config_json"]))
    model = HViT(official.architecture(config, light=str(golden["class_name"]) == "HViT_Light")).eval()
    published = {key: parameter(key, shape) for key, shape in listed(name).items()}
    model.load_state_dict(official.state(published))
    return golden, config, model


def pair(grid, batch=1):
    """Moving and fixed images of the recipe."""
    return tuple(torch.cat([image(tag, grid, b) for b in range(batch)]) for tag in ("moving", "fixed"))
