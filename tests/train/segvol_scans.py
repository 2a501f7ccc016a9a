"""Scans of two blocks on disk, one brighter than the other, and the network and views that learn from them."""

from dataclasses import replace

import numpy as np
import torch
from volumes import save, table, write_split

from segvol_weights import TINY
from voxelsmith.models.segvol import SegVolNet
from voxelsmith.train.segvol import SegVolRecipe
from voxelsmith.train.segvol_views import SegVolViews
from voxelsmith.train.split import learning_entries

SMALL = replace(TINY, view=(8, 16, 16), patch=(4, 4, 4), hidden=64, decoder_hidden=64)
NAMES = 'names = { 1 = "liver", 2 = "spleen" }\n'


def scan(shift):
    """An image in brightness as of CT, axes (i, j, k), and its labels."""
    labels = np.zeros((30, 26, 14), np.int16)
    labels[4 + shift : 13 + shift, 4:13, 3:11] = 1
    labels[18 : 27 - shift, 13:23, 4:12] = 2
    image = np.random.default_rng(shift).normal(100, 8, labels.shape) + 60 * (labels == 1) + 130 * (labels == 2)
    return image.astype(np.float32), labels


def two_scans(folder, names=NAMES):
    """A split of two scans to train on."""
    for n, name in enumerate("ab"):
        image, labels = scan(n)
        save(folder / f"{name}.nii.gz", image)
        save(folder / f"{name}_labels.nii.gz", labels)
    tables = (table(patient=n, image=f"{n}.nii.gz", labels=f"{n}_labels.nii.gz") + names for n in "ab")
    return write_split(folder, *tables)


def views(folder, names=NAMES, seed=0):
    return SegVolViews(learning_entries(folder, two_scans(folder, names))[0], SMALL.view, seed)


def recipe(folder, names=NAMES, **options):
    """The recipe with a small network of random weights."""
    torch.manual_seed(0)
    model = SegVolNet(SMALL, text=False)
    rng = np.random.default_rng(5)
    words = {name: rng.standard_normal(SMALL.width).astype(np.float32) for name in ("liver", "spleen")}
    return SegVolRecipe(model, views(folder, names), views(folder, names, 1), words, {}, **options)
