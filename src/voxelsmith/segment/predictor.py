"""The predictor: a network that was trained in the application, as a function of arrays.

Owns what it is shown at once. A slice or a block that is larger than the patches of the training is seen in patches of
that size which overlap, because a network with instance normalisation judges brightness by the mean of what it sees.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from voxelsmith.core.errors import ResourceError
from voxelsmith.segment.plan import Plan
from voxelsmith.segment.prior import Prior
from voxelsmith.segment.shape_prior import weighed
from voxelsmith.segment.zoom import FloatArray, Region, linear_weights

if TYPE_CHECKING:
    from voxelsmith.models.trainable import Network

_BATCH = 4


class Predictor:
    """A network on a device, as a function of arrays.

    Parameters
    ----------
    network
        The network; its mode is left to the caller.
    plan
        What it sees.
    prior
        What annotated slices say of the shapes in the others, with which its answer is weighed; None if nothing.
    """

    def __init__(self, network: Network, plan: Plan, prior: Prior | None = None) -> None:
        self._network, self.plan, self._prior = network, plan, prior
        self._multiple = network.architecture.multiple

    def __call__(self, channels: FloatArray) -> FloatArray:
        """Probabilities of the classes, float32 (N, C, *grid), from channels (N, inputs, *grid) of any grid.

        A grid larger than the patches of the training is seen in patches of that size: normalisation takes the mean of
        what is seen, and a network that learned patches misjudges the brightness of a whole slice.

        Raises
        ------
        ResourceError
            If memory runs out.
        """
        likely = np.zeros((len(channels), len(self.plan.classes), *channels.shape[2:]), np.float32)
        for _ in self._patch_by_patch(likely, channels):
            pass
        return likely

    def _patch_by_patch(self, likely: FloatArray, channels: FloatArray) -> Iterator[float]:
        """Write into zeros what the network says of overlapping patches, each counting less towards its faces.

        Yields the share that is done.
        """
        grid = channels.shape[2:]
        weight = np.zeros(grid, np.float32)
        places = list(_blocks(grid, self.plan.patch[-len(grid) :]))
        for done, at in enumerate(places, 1):
            taper = _taper([part.stop - part.start for part in at])
            every: Any = (..., *at)
            likely[every] += taper * self._at_once(channels[every])
            weight[at] += taper
            if done == len(places):
                likely /= weight
            yield done / len(places)

    def _at_once(self, channels: FloatArray) -> FloatArray:
        """Probabilities of the classes from one pass, the grid made as large as the network wants it."""
        import torch

        grid = channels.shape[2:]
        sides = [max(-(-n // m), 2 if m > 1 else 1) * m for n, m in zip(grid, self._multiple, strict=True)]
        padding = [(0, 0), (0, 0), *((0, side - n) for side, n in zip(sides, grid, strict=True))]
        place = next(self._network.parameters()).device
        try:
            with torch.no_grad():
                x = torch.from_numpy(np.pad(channels, padding, mode="edge")).to(place)
                logits = self._network(x)
                likely = logits.softmax(1) if self.plan.activation == "softmax" else logits.sigmoid()
        except torch.OutOfMemoryError as error:
            raise ResourceError(
                f"The memory of {place.type} is too small for {' x '.join(map(str, sides))} voxels at once; close what "
                "else uses it, or choose the CPU."
            ) from error
        found: FloatArray = likely[:, 1:].cpu().numpy()[(..., *(slice(n) for n in grid))]
        return found

    def slice(self, working: FloatArray, region: Region, number: int) -> FloatArray:
        """Probabilities in one slice at the image's own pixels.

        Parameters
        ----------
        working : float32 array, shape (D, A, B)
            The oriented image on its working grid.
        region
            That grid.
        number
            The slice, counted in the oriented image.

        Returns
        -------
        float32 array, shape (C, rows, columns)
        """
        axis, *plane = self.plan.order
        likely = self.row(working, int((number + 0.5) / region.factors[axis]))
        down, across = (linear_weights(region.box.shape[a], region.grid[a]) for a in plane)
        return np.asarray(down @ likely @ across.T, dtype=np.float32)

    def row(self, working: FloatArray, row: int) -> FloatArray:
        """Probabilities in one row of a working array: float32 (C, A, B)."""
        if self.plan.dims != "3d":
            likely: FloatArray = self(self.plan.slice_channels(working, row)[None])[0]
        else:
            depth = min(self.plan.patch[0], len(working))
            first = int(np.clip(row - depth // 2, 0, len(working) - depth))
            likely = self(self.plan.block_channels(working, first, first + depth)[None])[0][:, row - first]
        return self._weighed(likely, row)

    def fill(self, likely: FloatArray, working: FloatArray) -> Iterator[float]:
        """Write the probabilities of a working array (D, A, B) into zeros (C, D, A, B), part by part.

        Yields the share that is done; only when all of it is done do the numbers mean something.
        """
        if self.plan.dims == "3d":
            yield from self._patch_by_patch(likely[None], self.plan.block_channels(working, 0, len(working))[None])
            for row in range(len(working)):
                likely[:, row] = self._weighed(likely[:, row], row)
            return
        for first in range(0, len(working), _BATCH):
            rows = range(first, min(first + _BATCH, len(working)))
            found = self(np.stack([self.plan.slice_channels(working, row) for row in rows]))
            for row, flat in zip(rows, found, strict=True):
                likely[:, row] = self._weighed(flat, row)
            yield rows.stop / len(working)

    def _weighed(self, likely: FloatArray, row: int) -> FloatArray:
        """Probabilities in a row, shape (C, A, B), weighed with the prior if there is one."""
        if self._prior is None:
            return likely
        return weighed(likely, self._prior, row, compete=self.plan.activation == "softmax")


def _blocks(grid: tuple[int, ...], patch: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Blocks that cover a grid and overlap by half."""
    axes = []
    for n, side in zip(grid, patch, strict=True):
        count = 1 if n <= side else -(-2 * (n - side) // side) + 1
        starts = np.round(np.linspace(0, max(n - side, 0), count)).astype(int).tolist()
        axes.append([slice(start, min(start + side, n)) for start in starts])
    yield from product(*axes)


def _taper(shape: list[int]) -> FloatArray:
    """Weights that fall towards the faces of a block, above 0 everywhere."""
    out = np.ones(shape, np.float32)
    for axis, n in enumerate(shape):
        from_face = np.minimum(np.arange(n), np.arange(n)[::-1]) + 1
        out *= from_face.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return out
