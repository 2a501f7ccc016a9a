"""The stream of samples: in order from any step on, and errors of the user arrive as they were raised."""

import pytest
import torch
from torch.utils.data import Dataset

from voxelsmith.core.errors import GeometryError
from voxelsmith.train.settings import Settings
from voxelsmith.train.stream import stream


class Numbers(Dataset):
    """Sample i is i; from 9 on, volumes do not fit."""

    def __getitem__(self, index):
        if index >= 9:
            raise GeometryError(f"Labels {index} must lie on the grid of the image; resample them first.")
        return {"number": index}


@pytest.mark.parametrize("workers", [0, 1])
def test_samples_come_in_order_until_an_error_that_is_one_sentence(workers):
    settings = Settings(steps=20, accumulate=2, workers=workers)
    samples = stream(Numbers(), settings, step=2, device=torch.device("cpu"))
    assert [next(samples)["number"] for _ in range(5)] == [4, 5, 6, 7, 8]
    with pytest.raises(GeometryError) as caught:
        next(samples)
    assert str(caught.value) == "Labels 9 must lie on the grid of the image; resample them first."


def test_it_ends_with_the_last_step():
    samples = stream(Numbers(), Settings(steps=4, accumulate=2), step=3, device=torch.device("cpu"))
    assert [sample["number"] for sample in samples] == [6, 7]
