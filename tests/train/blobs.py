"""A training small enough for tests: a network of one hidden layer that finds bright blobs in noise."""

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from voxelsmith.train.losses import dice_bce


class Blobs(Dataset):
    """Sample i: blobs of bright voxels under noise, of a shape of its own."""

    def __init__(self, poisoned=()):
        self.poisoned = frozenset(poisoned)

    def __getitem__(self, index):
        rng = np.random.default_rng((7, index))
        truth = np.zeros((1, 1, 8, 8, 6 + index % 3), np.float32)
        i, j, k = rng.integers(0, 4, 3)
        truth[..., i : i + 4, j : j + 4, k : k + 4] = 1
        image = truth + rng.normal(0, 0.4, truth.shape).astype(np.float32)
        if index in self.poisoned:
            image[0, 0, 0] = np.nan
        return {"image": image, "truth": truth}


class BlobRecipe:
    """Dropout and the step's generator make the loss random, as it is for real trainers."""

    def __init__(self, poisoned=(), width=4):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            self.model = nn.Sequential(
                nn.Conv3d(1, width, 3, padding=1), nn.ReLU(), nn.Dropout(0.2), nn.Conv3d(width, 1, 3, padding=1)
            )
        self.dataset = Blobs(poisoned)
        self.validated = []

    def loss(self, sample, rng):
        image = sample["image"] * float(rng.uniform(0.8, 1.2))
        logits = self.model(image)
        return {"loss": dice_bce(logits, sample["truth"]), "largest": logits.max()}

    def validate(self):
        parameter = next(self.model.parameters())
        self.validated.append(parameter.detach().clone())
        assert not self.model.training
        sample = {name: torch.from_numpy(array).to(parameter) for name, array in Blobs()[10**6].items()}
        return {"score": 1 - float(dice_bce(self.model(sample["image"]), sample["truth"])), "ten": 10.0}
