"""Weights for SegVol that a formula makes, the inputs that belong to them, and a network small enough for any test."""

import csv
import re
import zlib
from pathlib import Path

import numpy as np
import torch

from voxelsmith.models.segvol import Architecture, SegVolNet

GOLDEN = Path(__file__).parent / "golden" / "segvol"

TINY = Architecture(
    view=(8, 16, 24),
    patch=(4, 4, 8),
    width=32,
    depth=2,
    heads=4,
    hidden=48,
    decoder_heads=2,
    decoder_hidden=40,
    quality_hidden=16,
    vocabulary=60,
    text_length=77,
    text_width=16,
    text_depth=2,
    text_heads=2,
    text_hidden=24,
)

POINTS = np.array([[[14, 120, 140], [10, 100, 170], [3, 20, 30], [-1, -1, -1], [31, 255, 255]]], np.float32)
LABELS = np.array([[1, 1, 0, -1, 0]], np.float32)
TWO_POINTS = np.array([[[20, 150, 90], [0, 0, 0]], [[5, 60, 200], [12, 130, 131]]], np.float32)
TWO_LABELS = np.array([[1, 0], [1, 1]], np.float32)
BOX = np.array([[6, 75, 80, 22, 165, 200]], np.float32)
EMPTY_BOX = np.full((1, 6), -1, np.float32)
TWO_BOXES = np.array([[6, 75, 80, 22, 165, 200], [0, 0, 0, 31, 255, 255]], np.float32)

_NORM = re.compile(
    r"(.*\.)?(norm\d?|layer_norm[12]|final_layer_norm|norm_final_attn|output_upscaling\.1|mask_downscaling\.[14])"
)
_TABLE = re.compile(r".*(position_embeddings|_embed(ding)?|point_embeddings\.\d|_tokens?)")


def fill(name, shape):
    """The tensor of that name, uniform noise of a scale that keeps the network well-behaved, from a seed of its own."""
    if name.endswith("position_ids"):
        return torch.arange(shape[-1]).reshape(shape)
    noise = np.random.RandomState(zlib.crc32(name.encode())).random_sample(int(np.prod(shape)))
    noise = (2 * noise - 1).reshape(shape)
    module, _, kind = name.rpartition(".")
    if kind == "positional_encoding_gaussian_matrix":
        values = np.sqrt(3) * noise
    elif _NORM.fullmatch(module):
        values = 1 + 0.2 * noise if kind == "weight" else 0.1 * noise
    elif kind == "bias":
        values = 0.1 * noise
    elif kind == "position_embeddings" or (_TABLE.fullmatch(module) and not module.endswith("upscaled_embedding")):
        values = noise
    elif module.endswith(("output_upscaling.0", "output_upscaling.3")):
        values = np.sqrt(3 / shape[0]) * noise
    else:
        values = np.sqrt(3 / np.prod(shape[1:])) * noise
    return torch.from_numpy(values.astype(np.float32))


def filled(architecture=None, text=True):
    """The network with these weights, in evaluation mode."""
    with torch.device("meta"):
        net = SegVolNet(architecture, text=text)
    net.load_state_dict({name: fill(name, w.shape) for name, w in net.state_dict().items()}, assign=True)
    return net.eval()


def published_shapes():
    """Names and shapes of the tensors of the published checkpoint."""
    with (GOLDEN / "state_dict.tsv").open(encoding="utf-8") as lines:
        rows = csv.reader((line for line in lines if not line.startswith("#")), delimiter="\t")
        return {name: tuple(map(int, shape.split("x"))) for name, shape, _ in rows}


def view():
    """Waves, a bright ellipsoid and noise, float32 (1, 1, 32, 256, 256)."""
    d, h, w = np.meshgrid(np.arange(32.0), np.arange(256.0), np.arange(256.0), indexing="ij")
    values = 0.45 + 0.15 * np.sin(2 * np.pi * (3 * h / 256 + d / 32)) * np.cos(2 * np.pi * 5 * w / 256)
    values[((d - 14) / 8) ** 2 + ((h - 120) / 45) ** 2 + ((w - 140) / 60) ** 2 <= 1] += 0.3
    values += 0.05 * (2 * np.random.RandomState(20231122).random_sample(values.shape) - 1)
    return np.clip(values, 0, 1).astype(np.float32)[None, None]


def text_vector():
    """Something in place of the embedding of a text, float32 (1, 768)."""
    return (2 * np.random.RandomState(768).random_sample(768) - 1).astype(np.float32)[None]
